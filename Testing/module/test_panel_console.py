"""The console: a volume node in, a segmentation and findings out."""

import pytest
import slicer

from MedDetectLib.core.errors import Cancelled, InputError
from Testing.harness import kit
from Testing.module.panel_world import add_volume, stand_in, volume_of_balls


@pytest.fixture
def logic(world):
    world.node = add_volume(volume_of_balls())
    return slicer.util.getModuleLogic("MedDetect")


def test_the_logic_is_had_by_the_modules_name(logic, world):
    assert logic is world.widget.logic
    assert type(logic).__name__ == "MedDetectLogic"


def test_detect_waits_and_gives_a_segmentation_and_findings(logic, world):
    result = logic.detect(world.node, "balls")
    assert [item.id for item in result.findings] == ["F1", "F2", "F3"]
    assert tuple(result.segmentationNode.GetSegmentation().GetSegmentIDs()) == ("F1", "F2", "F3")
    assert result.error is None


def test_detect_with_a_callback_returns_at_once(logic, world):
    got = []
    run = logic.detect(world.node, "balls", callback=got.append)
    assert got == []
    assert run.running
    kit.until(lambda: got)
    assert len(got[0].findings) == 3
    assert got[0].segmentationNode.GetScene() is slicer.mrmlScene


def test_an_error_is_raised_or_handed_to_the_callback(logic, world):
    def fail(_volume):
        raise InputError("odd", "the image is odd")

    logic.client = stand_in(find=fail)
    with pytest.raises(InputError, match="odd"):
        logic.detect(world.node, "balls")
    got = []
    logic.detect(world.node, "balls", callback=got.append)
    kit.until(lambda: got)
    assert isinstance(got[0].error, InputError)
    assert got[0].findings is None


def test_a_run_can_be_cancelled(logic, world):
    logic.client = stand_in(10**6)
    got = []
    logic.detect(world.node, "balls", callback=got.append).cancel()
    assert isinstance(got[0].error, Cancelled)


def test_something_that_is_no_volume_is_refused(logic):
    with pytest.raises(InputError, match="expected a scalar volume"):
        logic.detect(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode"), "balls")


def test_the_documented_example_runs_as_it_stands(logic, world, tmp_path):
    from pathlib import Path

    page = (Path(__file__).resolve().parents[2] / "docs" / "console.md").read_text("utf-8")
    example = page.split("```python\n")[1].split("```")[0]
    assert len(example.strip().splitlines()) == 5
    world.node.SetName("CT")
    code = example.replace("demo-chest-ct", "balls").replace("/tmp/", f"{tmp_path}/")
    exec(compile(code, "console.md", "exec"), {"slicer": slicer})
    assert (tmp_path / "findings.seg.nrrd").is_file()

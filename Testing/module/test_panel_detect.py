"""Detect: run, cancel, progress, errors, and everything that can happen in the middle."""

import numpy as np
import pytest
import slicer

from MedDetectLib.core.errors import InputError
from Testing.harness import kit
from Testing.module.panel_world import add_volume, settle, stand_in, volume_of_balls

FOREVER = 10**6


@pytest.fixture
def running(world):
    """A run that only ends when it is ended."""
    world.node = add_volume(volume_of_balls())
    world.logic.client = stand_in(FOREVER)
    kit.click(world.ui.runButton)
    kit.until(lambda: hasattr(world.logic.client, "last"))
    kit.process(60)
    assert world.panel.detect.running
    return world


def assert_ended(world, words):
    assert not world.panel.detect.running
    kit.process(60)
    assert world.logic.client is None or not world.review.isOpen
    assert not world.ui.progressBar.visible
    assert not world.ui.cancelButton.enabled
    assert words in world.ui.detectState.text
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_a_run_puts_its_findings_under_review(reviewed):
    assert reviewed.ui.detectState.text.startswith("✓ 3 findings in ")
    assert reviewed.ui.findingsTable.rowCount == 3
    assert reviewed.panel.parameters.sessionFolder == str(reviewed.review.folder)
    assert reviewed.logic.client.asked == [("balls", "auto", "f32")]


def test_engine_and_precision_go_to_the_worker(world):
    add_volume(volume_of_balls())
    kit.choose(world.ui.backendSelector, "openvino")
    kit.choose(world.ui.precisionSelector, "bf16")
    kit.click(world.ui.runButton)
    settle(world)
    assert world.logic.client.asked == [("balls", "openvino", "bf16")]


def test_progress_tells_stage_percent_and_time_left(running):
    kit.until(lambda: running.ui.progressBar.format)
    assert running.ui.progressBar.format.startswith("detect  0 %  ·  ")
    assert running.ui.progressBar.format.endswith("left")
    assert running.ui.cancelButton.enabled
    assert not running.ui.runButton.enabled


def test_cancel_ends_at_once_and_tells_the_worker(running):
    kit.click(running.ui.cancelButton)
    assert_ended(running, "Stopped")
    assert running.logic.client.last.done
    assert running.ui.runButton.enabled


def test_an_error_takes_one_line_and_its_details_are_the_tooltip(world):
    def fail(_volume):
        raise InputError("odd", "the image is odd", where="here", todo="take another")

    add_volume(volume_of_balls())
    world.logic.client = stand_in(find=fail)
    kit.click(world.ui.runButton)
    settle(world)
    assert world.ui.detectState.text == "✕ The image is odd; take another"
    assert "error[odd]" in world.ui.detectState.toolTip
    assert world.ui.runButton.enabled


def test_an_error_nobody_foresaw_ends_the_run_too(world):
    add_volume(volume_of_balls())
    world.logic.client = stand_in(find=lambda volume: 1 / 0)
    kit.click(world.ui.runButton)
    settle(world)
    assert world.ui.detectState.text.startswith("✕ ZeroDivisionError")


def test_closing_the_scene_ends_a_run(running):
    slicer.mrmlScene.Clear(0)
    assert_ended(running, "the scene was closed")
    assert running.panel.parameters is not None


def test_deleting_the_image_ends_a_run(running):
    slicer.mrmlScene.RemoveNode(running.node)
    kit.process(60)
    assert_ended(running, "the image was removed from the scene")


def test_changed_voxels_end_a_run(running):
    slicer.util.updateVolumeFromArray(running.node, np.zeros((24, 40, 40), np.int16))
    kit.process(60)
    assert_ended(running, "the image was changed")


def test_a_moved_image_ends_a_run(running):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = slicer.util.vtkMatrixFromArray(np.diag([1.0, 1.0, 1.0, 1.0]))
    matrix.SetElement(0, 3, 7.0)
    transform.SetMatrixTransformToParent(matrix)
    running.node.SetAndObserveTransformNodeID(transform.GetID())
    kit.process(60)
    assert_ended(running, "the image was changed")


def test_a_new_name_does_not_disturb_a_run(running):
    running.node.SetName("another name")
    kit.process(60)
    assert running.panel.detect.running


def test_going_to_another_case_ends_a_run(running):
    add_volume(volume_of_balls(name="second"))
    kit.choose(running.ui.caseSelector, "○ 2/2  second")
    assert_ended(running, "another case was chosen")


def test_loading_another_scene_ends_a_run(running, tmp_path):
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    assert running.panel.detect.running
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert_ended(running, "the scene was closed")


def test_reloading_the_module_ends_a_run_and_brings_a_new_panel(running):
    client, before = running.logic.client, running.panel
    slicer.util.reloadScriptedModule("MedDetect")
    after = slicer.util.getModuleWidget("MedDetect").panel
    assert after is not before
    assert client.closed
    assert client.last.done
    assert before.keys.installed == 0
    assert after.keys.installed > 0
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_leaving_the_panel_does_not_end_a_run(running):
    running.widget.exit()
    kit.process(60)
    assert running.panel.detect.running
    assert running.logic.client.trimmed == 0


def test_memory_kept_for_the_next_run_is_given_back_when_idle_and_when_the_panel_is_left(
    world, monkeypatch
):
    add_volume(volume_of_balls())
    world.panel.detect._idle.interval = 50
    kit.click(world.ui.runButton)
    settle(world)
    kit.until(lambda: world.logic.client.trimmed == 1, 5)
    world.widget.exit()
    assert world.logic.client.trimmed == 2


def test_a_step_during_which_qt_handles_events_is_not_disturbed_by_its_own_timer(world):
    import slicer
    from MedDetectUI.steps import Steps

    def steps():
        for _n in range(3):
            for _m in range(5):
                slicer.app.processEvents()
                kit.process(10)
            yield
        return "all"

    got, work = [], Steps()
    work.start(steps(), got.append, got.append)
    kit.until(lambda: got, 5)
    assert got == ["all"]


def test_a_second_run_takes_the_place_of_the_first_ones_findings(reviewed):
    first = reviewed.review.folder
    kit.click(reviewed.ui.runButton)
    settle(reviewed)
    assert reviewed.review.folder != first
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    assert (first / "journal.jsonl").is_file()


def test_voxels_that_are_no_numbers_are_refused_before_the_worker_is_asked(world):
    from dataclasses import replace

    volume = volume_of_balls()
    array = volume.array.astype(np.float32)
    array[3, 4, 5] = np.nan
    add_volume(replace(volume, array=array))
    kit.click(world.ui.runButton)
    settle(world)
    assert "NaN" in world.ui.detectState.text
    assert world.logic.client.asked == []


def test_a_run_that_has_ended_keeps_no_memory(world):
    import gc
    import weakref

    add_volume(volume_of_balls())
    kit.click(world.ui.runButton)
    run = weakref.ref(world.panel.detect.run)
    settle(world)
    kit.process(100)
    world.logic.client.last = None  # the stand-in keeps it, a WorkerClient does not
    gc.collect()
    assert run() is None


def test_a_stopped_run_says_so_though_its_worker_speaks_on(running):
    from MedDetectLib.core.watch import Progress

    said = running.logic.client.last._onProgress
    kit.click(running.ui.cancelButton)
    text = running.ui.detectState.text
    assert text.startswith("▲ Stopped")
    said(Progress("network", 0.5, 1.0))
    assert running.ui.detectState.text == text

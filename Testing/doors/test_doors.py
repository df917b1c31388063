"""The same input gives the same findings, to the byte, through every door."""

import json
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from MedDetectLib import Geometry, Volume, detect, load_model, read_volume
from MedDetectLib.adapters.mrml.read_back import findings_from_node
from MedDetectLib.adapters.mrml.scene import new_scene
from MedDetectLib.adapters.mrml.scene_file import load_scene
from MedDetectLib.adapters.mrml.segmentation import findings_to_node
from MedDetectLib.adapters.mrml.volume_node import volume_from_node, volume_to_node
from MedDetectLib.cases.findings_files import read_findings
from MedDetectLib.cases.lps import to_sitk

BALLS_RAS_MM = [((12.0, -8.0, 20.0), 7.0), ((-20.0, 15.0, -6.0), 5.0), ((4.0, 22.0, 2.0), 4.0)]


def oblique_grid():
    cos, sin = np.cos(0.35), np.sin(0.35)
    turned = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.diag([-1.0, -1.0, 1.0])
    first = turned @ np.array([-45.0, -45.0, -40.0])
    return Geometry.from_axes((40, 76, 72), (2.0, 1.2, 1.25), first, turned)


def ball_volume():
    """A CT-like volume with bright balls at known RAS places, on an oblique LPS grid."""
    geometry = oblique_grid()
    place = geometry.index_to_ras(np.stack(np.indices(geometry.shape_kji), axis=-1))
    rng = np.random.default_rng(5)
    array = rng.normal(-500, 20, geometry.shape_kji)
    for centre, radius in BALLS_RAS_MM:
        array[np.linalg.norm(place - centre, axis=-1) < radius] = 60
    return Volume(array.round().astype(np.int16), geometry, "CT", "balls")


@pytest.fixture
def case(tmp_path, bright_model):
    image = tmp_path / "balls.nii.gz"
    sitk.WriteImage(to_sitk(ball_volume()), str(image))
    model = bright_model(-200.0, input={"orientation": "RAS", "spacing_kji_mm": [1.5, 1.5, 1.5]})
    return image, model


def run_command(*arguments):
    command = [sys.executable, "-m", "MedDetectLib", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def same(one, other):
    assert [(f.box, f.score, f.label) for f in one] == [(f.box, f.score, f.label) for f in other]
    assert one.label_map.tobytes() == other.label_map.tobytes()


def test_command_line_library_and_volume_node_give_the_same_bytes(case, tmp_path):
    image, model_folder = case
    done = run_command("detect", image, "--model", model_folder, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    by_command = read_findings(tmp_path / "out")

    volume = read_volume(image)
    with load_model(model_folder) as model:
        by_library = detect(volume, model)
        node = volume_to_node(new_scene(), volume)
        by_node = detect(volume_from_node(node), model)

    assert len(by_library) == len(BALLS_RAS_MM)
    same(by_command, by_library)
    same(by_node, by_library)
    assert by_node.provenance.input_sha256 == by_library.provenance.input_sha256


def test_findings_lie_where_the_balls_were_put(case):
    image, model_folder = case
    with load_model(model_folder) as model:
        findings = detect(read_volume(image), model)
    centres = findings.geometry.box_centre_ras_mm([f.box for f in findings])
    for centre, _radius in BALLS_RAS_MM:
        assert np.linalg.norm(centres - centre, axis=1).min() < 1.5


def test_scene_file_and_segmentation_node_hold_the_findings_to_the_byte(case, tmp_path):
    image, model_folder = case
    done = run_command("detect", image, "--model", model_folder, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    findings = read_findings(tmp_path / "out")
    scene = new_scene()
    volume_node = volume_to_node(scene, read_volume(image))
    same(findings_from_node(findings_to_node(scene, findings, volume_node)), findings)

    scene = load_scene(tmp_path / "out" / "scene.mrb")
    loaded = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    same(findings_from_node(loaded), findings)
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 1


def test_every_promised_file_is_written_and_json_names_it(case, tmp_path):
    image, model_folder = case
    done = run_command(
        "detect", image, "--model", model_folder, "--out", tmp_path / "out", "--json"
    )
    told = json.loads(done.stdout)
    promised = {
        "findings.json",
        "segmentation.seg.nrrd",
        "boxes.json",
        "boxes.mrk.json",
        "scene.mrb",
        "montage.png",
        "report.html",
    }
    assert set(told["files"]) == promised == {p.name for p in (tmp_path / "out").iterdir()}
    assert len(told["findings"]) == len(BALLS_RAS_MM)


def test_a_refused_input_leaves_nothing_behind(case, tmp_path):
    image, model_folder = case
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(image.read_bytes()[:-100])
    out = tmp_path / "sub" / "out"
    done = run_command("detect", broken, "--model", model_folder, "--out", out)
    assert done.returncode == 65
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("error[")
    assert str(broken) in done.stderr
    assert not out.parent.exists()


def test_earlier_results_are_not_replaced_unless_asked(case, tmp_path):
    image, model_folder = case
    arguments = ["detect", image, "--model", model_folder, "--out", tmp_path / "out", "--no-scene"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    refused = run_command(*arguments)
    assert refused.returncode == 73
    assert "--overwrite" in refused.stderr
    (tmp_path / "out" / "scene.mrb").write_text("of an earlier run")
    assert run_command(*arguments, "--overwrite").returncode == 0
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "out" / "findings.json").exists()
    assert not (tmp_path / "out" / "scene.mrb").exists(), "it would show other findings"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--model", "no-such-model"], 78, "error[no-model]"),
        (["--model", "MODEL", "--backend", "abacus"], 69, "error[no-backend]"),
        (["--model", "MODEL", "--accept", "everything"], 65, "error[unknown-accept]"),
        (["--model", "MODEL", "--series", "1.2.3"], 65, "error[no-series]"),
        (["--model", "MODEL", "--max-memory", "lots"], 65, "error[bad-memory]"),
        (["--model", "MODEL", "--max-memory", "20MB"], 65, "error[not-enough-memory]"),
    ],
)
def test_a_wrong_choice_is_told_in_one_line(case, tmp_path, arguments, code, says):
    image, model_folder = case
    given = [model_folder if a == "MODEL" else a for a in arguments]
    done = run_command("detect", image, *given, "--out", tmp_path / "out")
    assert done.returncode == code
    assert done.stderr.startswith(says)
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_progress_events_are_json_lines(case, tmp_path):
    image, model_folder = case
    done = run_command(
        "detect", image, "--model", model_folder, "--out", tmp_path / "out", "--events"
    )
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {event["stage"] for event in events} >= {"read", "prepare", "detect", "write"}
    assert events[-1]["fraction"] == 1.0


def test_models_are_listed_and_shown(case):
    _, model_folder = case
    listed = json.loads(run_command("models", "list", "--json").stdout)
    assert {"demo-chest-ct", "demo-brain-mr"} <= {row.get("name") for row in listed}
    shown = json.loads(run_command("models", "show", model_folder, "--json").stdout)
    assert shown["card"]["name"] == "bright"


def test_the_doctor_finds_this_installation_healthy():
    done = run_command("doctor", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0, [check for check in told["checks"] if not check["ok"]]
    works = {check["name"]: check["ok"] for check in told["checks"]}
    assert works["backend onnxruntime"]
    assert works["memory demo-chest-ct"]
    assert " of " in told["machine"]["free memory"]


def test_a_ceiling_that_suffices_changes_nothing(case, tmp_path):
    image, model_folder = case
    plain = ["detect", image, "--model", model_folder, "--no-scene", "--json", "--out"]
    free = json.loads(run_command(*plain, tmp_path / "free").stdout)
    options = ("--max-memory", "1.5GB", "--skip-empty")  # noise everywhere: nothing is empty
    tight = json.loads(run_command(*plain, tmp_path / "tight", *options).stdout)
    assert tight["findings"] == free["findings"]
    assert tight["notes"] == free["notes"]
    assert "measure" in tight["provenance"]["seconds"]


def test_an_engine_that_is_built_for_minutes_is_heard_and_can_be_stopped(case, tmp_path, capsys):
    from MedDetectLib.adapters.cli.main import main
    from MedDetectLib.core.errors import Cancelled
    from MedDetectLib.inference.backends import choose

    image, model_folder = case

    def slow_to_open(card, folder, backend, precision, watch):
        watch.report("build engine", 0.5)
        raise Cancelled

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(choose, "open_backend", slow_to_open)
        arguments = ["--model", str(model_folder), "--out", str(tmp_path / "out")]
        assert main(["detect", str(tmp_path / "absent.nii"), *arguments]) == 65  # told at once
        assert main(["detect", str(image), *arguments, "--events"]) == 130
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line[:1] == "{"]
    assert ("build engine", 0.5) in [(event["stage"], event["fraction"]) for event in events]


def test_channels_of_one_file_are_told_apart(tmp_path, capsys):
    from MedDetectLib.adapters.cli import detect_command
    from MedDetectLib.adapters.cli.main import build_parser
    from MedDetectLib.core.errors import InputError
    from MedDetectLib.core.watch import Watch

    volumes = [np.full((4, 5, 6), value, np.int16) for value in (1, 2, 3)]
    path = str(tmp_path / "channels.nii.gz")
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(array) for array in volumes]), path)

    def read(*more):
        arguments = ["detect", path, path, "--model", "any", "--out", "any", *more]
        options = build_parser().parse_args(arguments)
        return [(v.array.max(), v.modality) for v in detect_command._read(options, Watch())]

    assert read("--series", "#3", "--series", "#1", "--modality", "MR") == [(3, "MR"), (1, "MR")]
    assert read("--series", "#2", "--modality", "CT", "--modality", "PT") == [(2, "CT"), (2, "PT")]
    with pytest.raises(InputError, match="--series was given 3 times for 2 inputs"):
        read(*["--series", "#1"] * 3)


def test_the_doctor_looks_at_everything_though_an_engine_breaks(monkeypatch, capsys):
    from MedDetectLib.adapters.cli.main import main
    from MedDetectLib.inference import model as model_module

    real = model_module.open_backend

    def breaks(card, folder, backend, precision, watch):
        if backend == "torch":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return real(card, folder, backend, precision, watch)

    monkeypatch.setattr(model_module, "open_backend", breaks)
    main(["doctor", "--json"])
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert "illegal memory access" in checks["backend torch"]["detail"]
    assert checks["backend onnxruntime"]["ok"]


def test_a_benchmark_that_could_not_be_written_down_is_not_begun(tmp_path, capsys):
    from MedDetectLib.adapters.cli.main import main

    assert main(["bench", "--json", str(tmp_path / "nowhere" / "rows.json")]) == 73
    assert "the folder for the rows is not there" in capsys.readouterr().err

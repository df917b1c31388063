"""The comparisons themselves, on tiny inputs: both sides run and answer the same."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

pytest.importorskip("jsonschema")

from MedDetectLib.adapters.cli.main import main
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.evaluation.bench import resampling
from MedDetectLib.evaluation.bench.comparison import Setting, rows_of
from MedDetectLib.evaluation.bench.whole_path import dice


def plain_scan(shape_kji, spacing_kji_mm):
    rng = np.random.default_rng(1)
    array = rng.integers(-1000, 400, shape_kji).astype(np.int16)
    geometry = Geometry.from_axes(shape_kji, spacing_kji_mm or (2.0, 0.7, 0.8), (0.0, 0.0, 0.0))
    return Volume(array, geometry, modality="CT")


@pytest.mark.parametrize(
    ("comparison", "package"),
    list(zip(resampling.COMPARISONS, ("scipy", "SimpleITK", "monai"), strict=True)),
)
def test_resampling_gives_what_the_peer_gives(comparison, package):
    pytest.importorskip(package)
    (row,) = rows_of(comparison, Setting(plain_scan, quick=True))
    assert row.equal_output is True
    assert row.ratio > 0


def test_a_resampling_that_differs_is_seen(monkeypatch):
    shifted = resampling.prepare

    def prepare(volume, card):
        prepared = shifted(volume, card)
        prepared.array[0, 0, 0, 0] += 0.01
        return prepared

    monkeypatch.setattr(resampling, "prepare", prepare)
    (row,) = rows_of(resampling.COMPARISONS[0], Setting(plain_scan, quick=True))
    assert row.equal_output is False


def test_dice_of_two_masks_by_hand():
    one, other = np.zeros(8, bool), np.zeros(8, bool)
    assert dice(one, other) == 1.0
    one[:4], other[2:4] = True, True
    assert dice(one, other) == pytest.approx(2 * 2 / 6)


def test_a_network_read_back_into_torch_answers_as_on_its_engine(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    from MedDetectLib.evaluation.bench.onnx_in_torch import torch_network
    from MedDetectLib.learning.networks import ResidualUNet, export_onnx

    torch.manual_seed(0)
    export_onnx(ResidualUNet(widths=(4, 8, 8), depths=(1, 1, 1)), tmp_path / "model.onnx")
    image = np.random.default_rng(0).standard_normal((1, 1, 16, 24, 32)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    (expected,) = session.run(None, {"image": image})
    answer = torch_network(tmp_path / "model.onnx")(torch.from_numpy(image))
    np.testing.assert_allclose(np.asarray(answer), expected, atol=1e-4)


def test_segments_imported_both_ways_hold_the_same_voxels():
    pytest.importorskip("slicer")
    from MedDetectLib.adapters.mrml import bench_segments

    measured = bench_segments.measure_import(3, "row", Setting(plain_scan, quick=True))
    assert measured["row"].equal_output


def test_a_segment_with_one_voxel_off_is_seen():
    pytest.importorskip("slicer")
    from MedDetectLib.adapters.mrml import bench_segments
    from MedDetectLib.adapters.mrml.scene import new_scene
    from MedDetectLib.adapters.mrml.segmentation import findings_to_node

    findings = bench_segments.made_findings(3, (6, 40, 40))
    node = findings_to_node(new_scene(), findings)
    assert bench_segments.holds(node, findings)
    k, j, i = np.argwhere(findings.label_map == 2)[0]
    findings.label_map[k, j, i] = 0
    assert not bench_segments.holds(node, findings)


def test_a_side_in_its_own_process_runs_saves_and_tells_its_peak(tmp_path, monkeypatch):
    from MedDetectLib.core.errors import MedDetectError
    from MedDetectLib.evaluation.bench.side import Side

    (tmp_path / "made_side.py").write_text(
        "import numpy as np\n"
        "from MedDetectLib.evaluation.bench.side import serve\n"
        "def set_up():\n"
        "    print('chatter')\n"
        "    return lambda: np.arange(3)\n"
        "serve(set_up)\n",
        "utf-8",
    )
    (tmp_path / "dying_side.py").write_text("raise SystemExit('out of luck')\n", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":" if sys.platform != "win32" else ";")
    with Side("made_side", []) as side:
        assert side.run() >= 0
        assert side.save(tmp_path / "answer.npy").tolist() == [0, 1, 2]
        assert side.peak_bytes() > 1 << 20
    with Side("dying_side", []) as side, pytest.raises(MedDetectError, match="out of luck"):
        side.run()


def test_one_row_from_the_command_line_to_the_file(tmp_path, capsys):
    path = tmp_path / "rows.json"
    assert main(["bench", "resample/scipy", "--quick", "--json", str(path)]) == 0
    (row,) = json.loads(path.read_text("utf-8"))
    assert row["name"] == "resample/scipy"
    assert row["equal_output"] is True
    assert row["target"] == 8.0
    assert "| resample/scipy |" in capsys.readouterr().out

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("scipy")

from MedDetectLib.core.errors import Cancelled, InputError, ModelError
from MedDetectLib.core.findings import Findings
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.notes import Note
from MedDetectLib.core.volume import Volume
from MedDetectLib.core.watch import SILENT, Watch
from MedDetectLib.inference.detect import detect

CENTRE = np.array([12.0, -30.0, 55.0])
BALLS = [  # (RAS centre, radius mm); the radii tell which is which
    (np.array([3.0, -36.0, 59.0]), 7.0),
    (np.array([22.0, -22.0, 48.0]), 5.0),
    (np.array([20.0, -41.0, 64.0]), 4.0),
]
SPEC = {"orientation": "RAS", "spacing_kji_mm": [1.0, 1.0, 1.0], "window": (24, 24, 24),
        "overlap": 0.25}  # fmt: skip


def centres_of(findings, geometry):
    return np.array([geometry.box_centre_ras_mm(f.box) for f in findings.items])


@pytest.fixture(scope="session")
def balls_on_grids(grid, ball_volume, oblique, directions_48):
    geometries = {
        "RAS, 1 mm": grid(CENTRE, 44, (1.0, 1.0, 1.0), np.eye(3)),
        "anisotropic": grid(CENTRE, 44, (2.0, 0.8, 0.9), np.eye(3)),
        "oblique": grid(CENTRE, 48, (1.0, 1.1, 0.9), oblique),
        "oblique, thick slices": grid(CENTRE, 48, (2.5, 0.9, 0.9), oblique @ directions_48[29]),
    }
    for n in (5, 13, 22, 31, 47):
        geometries[f"turned {n}"] = grid(CENTRE, 44, (1.5, 0.9, 1.1), directions_48[n])
    return {name: ball_volume(g, BALLS) for name, g in geometries.items()}


GRID_NAMES = ["RAS, 1 mm", "anisotropic", "oblique", "oblique, thick slices", "turned 5",
              "turned 13", "turned 22", "turned 31", "turned 47"]  # fmt: skip


@pytest.mark.parametrize("anchor", ["edges", "first_centre"])
@pytest.mark.parametrize("name", GRID_NAMES)
def test_the_same_anatomy_is_found_at_the_same_patient_place_on_any_grid(
    model_of, balls_on_grids, name, anchor
):
    volume = balls_on_grids[name]
    findings = detect(volume, model_of(anchor=anchor, **SPEC))
    assert len(findings) == len(BALLS)
    assert findings.geometry is volume.geometry
    voxel_mm = max(volume.geometry.spacing_kji_mm)
    for centre, radius in BALLS:
        distance = np.linalg.norm(centres_of(findings, volume.geometry) - centre, axis=-1)
        finding = findings.items[int(distance.argmin())]
        assert distance.min() < voxel_mm
        assert finding.diameter_mm == pytest.approx(2 * radius, abs=1.5 * voxel_mm)
        mask = findings.mask_of(finding)
        where = volume.geometry.index_to_ras(np.argwhere(mask)).mean(axis=0)
        assert np.linalg.norm(where - centre) < 0.5 * voxel_mm


def test_a_model_on_the_volumes_own_grid_finds_exactly_its_voxels(model_of, balls_on_grids):
    for name in GRID_NAMES:
        volume = balls_on_grids[name]
        for orientation in ("RAS", "LPS", "IAR"):
            model = model_of(orientation=orientation, window=(16, 16, 16))
            findings = detect(volume, model)
            np.testing.assert_array_equal(findings.label_map > 0, volume.array > 0.5)


def test_one_image_gives_byte_identical_findings_whatever_holds_its_voxels(
    model_of, balls_on_grids
):
    plain = balls_on_grids["turned 13"]
    numbers = (plain.array * 100 - 7).astype(np.int16)
    steps = [{"step": "window", "low": -7, "high": 93}]
    model = model_of(intensity=steps, **SPEC)
    wide = np.zeros([2 * n for n in numbers.shape], np.float64)
    wide[1::2, ::2, 1::2] = numbers
    forms = {
        "int16": numbers,
        "float32": numbers.astype(np.float32),
        "float64": numbers.astype(np.float64),
        "every other voxel of a larger array": wide[1::2, ::2, 1::2],
        "big-endian": numbers.astype(">i2"),
        "big-endian float": numbers.astype(">f4"),
        "Fortran order": np.asfortranarray(numbers),
        "backwards": numbers[::-1, :, ::-1].copy()[::-1, :, ::-1],
        "read-only": numbers.copy(),
    }
    forms["read-only"].setflags(write=False)
    results = {
        name: detect(Volume(array, plain.geometry, "CT", "x"), model)
        for name, array in forms.items()
    }
    first = results["int16"]
    assert len(first) == 3
    for result in results.values():
        assert result.label_map.tobytes() == first.label_map.tobytes()
        assert result.items == first.items
        assert result.provenance.input_sha256 == first.provenance.input_sha256


def test_the_same_run_twice_is_the_same_to_the_byte(model_of, balls_on_grids):
    volume = balls_on_grids["oblique"]
    model = model_of(**SPEC)
    texts = []
    for _ in range(2):
        findings = detect(volume, model)
        data = findings.to_json()
        del data["provenance"]["seconds"]
        texts.append((json.dumps(data, allow_nan=False), findings.label_map.tobytes()))
    assert texts[0] == texts[1]


def test_findings_of_a_run_come_back_from_json(model_of, balls_on_grids):
    findings = detect(balls_on_grids["oblique"], model_of(**SPEC))
    text = json.dumps(findings.to_json(), allow_nan=False)
    back = Findings.from_json(json.loads(text), findings.label_map)
    assert back.items == findings.items
    assert back.provenance == findings.provenance


def test_findings_say_where_they_came_from(model_of, balls_on_grids):
    volume = balls_on_grids["RAS, 1 mm"]
    model = model_of(**SPEC)
    provenance = detect(volume, model).provenance
    assert provenance.model == "made-up"
    assert provenance.model_version == "1.0.0"
    assert provenance.model_sha256 == "0" * 64
    assert provenance.backend == "function (given by the caller)"
    assert (provenance.device, provenance.precision) == ("cpu", "f32")
    assert provenance.input_name == "balls"
    assert provenance.input_sha256 == volume.sha256
    assert {"prepare", "network", "blend", "findings"} <= set(provenance.seconds)


def test_notes_of_the_volume_and_of_the_run_are_kept(model_of, balls_on_grids):
    plain = balls_on_grids["RAS, 1 mm"]
    volume = Volume(plain.array, plain.geometry, "", "x", (Note("slice-gap", "accepted"),))
    model = model_of(operating_point={"max_findings": 1}, **SPEC)
    codes = [note.code for note in detect(volume, model).notes]
    assert codes == ["slice-gap", "modality-unknown", "too-many-findings"]


def test_progress_is_reported_from_beginning_to_end(model_of, balls_on_grids):
    heard = []
    model = model_of(**SPEC)
    detect(balls_on_grids["RAS, 1 mm"], model, Watch(heard.append))
    stages = list(dict.fromkeys(p.stage for p in heard))
    assert stages == ["prepare", "detect", "findings"]
    for stage in stages:
        fractions = [p.fraction for p in heard if p.stage == stage]
        assert fractions == sorted(fractions)
        assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    during = [p for p in heard if p.stage == "detect"]
    assert len(during) == model.backend.calls + 1 > 8
    assert all(p.seconds_left >= 0 for p in during[1:])


def test_the_silent_watch_does_not_collect_seconds(model_of, balls_on_grids):
    detect(balls_on_grids["RAS, 1 mm"], model_of(**SPEC))
    assert SILENT.seconds == {}


def test_a_stop_request_in_the_middle_ends_the_run_there(model_of, balls_on_grids):
    model = model_of(**SPEC)
    watch = Watch(should_stop=lambda: model.backend.calls >= 3)
    with pytest.raises(Cancelled):
        detect(balls_on_grids["RAS, 1 mm"], model, watch)
    assert model.backend.calls == 3


def test_a_stop_request_at_the_start_runs_no_network(model_of, balls_on_grids):
    model = model_of(**SPEC)
    with pytest.raises(Cancelled):
        detect(balls_on_grids["RAS, 1 mm"], model, Watch(should_stop=lambda: True))
    assert model.backend.calls == 0


def test_several_channels_reach_the_network_in_the_cards_order(model_of):
    geometry = Geometry.from_axes((6, 6, 6), (1.0, 1.0, 1.0))
    arrays = [np.full((6, 6, 6), n, np.int16) for n in (3, 5)]
    volumes = [Volume(a, geometry, "MR", f"v{n}") for n, a in enumerate(arrays)]
    seen = []

    def network(batch):
        seen.append(batch.copy())
        return {"scores": np.zeros((1, 2, 8, 8, 8), np.float32)}

    model = model_of(network, channels=("MR", "MR"), pad_value=-1.0)
    findings = detect(volumes, model)
    assert seen[0].shape == (1, 2, 8, 8, 8)
    assert [set(np.unique(channel)) for channel in seen[0][0]] == [{-1, 3}, {-1, 5}]
    assert findings.provenance.input_name == "v0, v1"
    assert findings.provenance.input_sha256 == " ".join(v.sha256 for v in volumes)
    with pytest.raises(InputError, match="wrong-channels"):
        detect(volumes[0], model)
    moved = Volume(arrays[0], geometry.cropped((0, 0, 1), (6, 6, 7)), "MR")
    with pytest.raises(InputError, match="grids-differ"):
        detect([volumes[0], moved], model)


def test_the_wrong_modality_never_reaches_the_network(model_of, balls_on_grids):
    plain = balls_on_grids["RAS, 1 mm"]
    model = model_of(**SPEC)
    with pytest.raises(InputError, match="wrong-modality"):
        detect(Volume(plain.array, plain.geometry, "MR"), model)
    assert model.backend.calls == 0


@pytest.mark.parametrize(
    "network",
    [
        lambda batch: {},
        lambda batch: {"other": batch},
        lambda batch: {"scores": batch},
        lambda batch: {"scores": np.full((1, 2, *batch.shape[2:]), np.nan, np.float32)},
    ],
)
def test_a_network_that_answers_nonsense_is_a_model_error(model_of, balls_on_grids, network):
    with pytest.raises(ModelError):
        detect(balls_on_grids["RAS, 1 mm"], model_of(network, **SPEC))


def test_a_model_that_judges_the_case_gives_scores_and_no_findings(model_of):
    output = {"head": "case_score", "activation": "sigmoid"}
    volume = Volume(np.zeros((8, 8, 12)), Geometry.from_axes((8, 8, 12), (1, 1, 1)), "CT")
    answers = iter([[[0.0, 9.0]], [[2.0, 9.0]]])
    model = model_of(lambda _: {"scores": np.array(next(answers))}, labels=2, output=output)
    findings = detect(volume, model)
    assert len(findings) == 0
    assert findings.label_map is None
    one, two = findings.case_scores
    assert one.score == pytest.approx((0.5 + 1 / (1 + np.exp(-2))) / 2)
    assert two.score == pytest.approx(1 / (1 + np.exp(-9)))


def test_a_flat_network_is_fed_slice_by_slice(model_of, grid, ball_volume):
    volume = ball_volume(grid((0, 0, 0), 20, (2.0, 1.0, 1.0), np.eye(3)), [((1, 2, 0), 6.0)])
    shapes = []

    def network(batch):
        shapes.append(batch.shape)
        flat = batch[:, :, 0]  # what a 2-D network sees, and answers
        return {"scores": np.concatenate([0.5 - flat, flat - 0.5], axis=1)}

    findings = detect(volume, model_of(network, rank=4, window=(1, 16, 16), overlap=0.0))
    assert set(shapes) == {(1, 1, 1, 16, 16)}
    np.testing.assert_array_equal(findings.label_map > 0, volume.array > 0.5)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 40), (40, 1, 1), (1, 33, 2)])
def test_volumes_of_one_voxel_or_one_line_pass_through(model_of, shape):
    volume = Volume(np.ones(shape), Geometry.from_axes(shape, (1.3, 0.7, 2.0)), "CT")
    findings = detect(volume, model_of(**SPEC))
    assert len(findings) == 1
    assert findings.label_map.all()

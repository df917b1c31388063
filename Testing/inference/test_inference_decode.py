from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from MedDetectLib.core.boxes import Boxes
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.measure import measure_mask
from MedDetectLib.inference import decode as decode_module
from MedDetectLib.inference.case_scores import CaseGather
from MedDetectLib.inference.decode import findings_from_boxes, findings_from_voxels

SHAPE = (6, 8, 10)


@pytest.fixture
def geometry():
    return Geometry.from_axes(SHAPE, (2.0, 1.0, 1.0))


def maps(*blobs):
    """Class and score maps from (class, score, list of voxels or slices)."""
    classes, scores = np.zeros(SHAPE, np.uint16), np.zeros(SHAPE, np.float32)
    for value, score, places in blobs:
        for place in places if isinstance(places, list) else [places]:
            classes[place], scores[place] = value, score
    return classes, scores


def naive_components(classes):
    """Flood fill over 26 neighbours; a set of voxels per component, with its class."""
    left = {tuple(v) for v in np.argwhere(classes)}
    found = []
    while left:
        seed = left.pop()
        value, members, edge = classes[seed], {seed}, [seed]
        while edge:
            k, j, i = edge.pop()
            near = {(k + a, j + b, i + c) for a in (-1, 0, 1) for b in (-1, 0, 1)
                    for c in (-1, 0, 1)}  # fmt: skip
            for voxel in near & left:
                if classes[voxel] == value:
                    left.discard(voxel)
                    members.add(voxel)
                    edge.append(voxel)
        found.append((int(value), frozenset(members)))
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_findings_are_the_components_of_each_class(card_of, geometry, seed, reduce):
    rng = np.random.default_rng(seed)
    classes = rng.choice([0, 1, 2, 3], SHAPE, p=[0.88, 0.05, 0.04, 0.03]).astype(np.uint16)
    scores = rng.uniform(0.1, 1, SHAPE).astype(np.float32) * (classes > 0)
    card = card_of(labels=3, output={"finding_score": reduce})
    decoded = findings_from_voxels(classes, scores, card, geometry)
    expected = naive_components(classes)
    assert len(decoded.items) == len(expected) > 5
    found = set()
    for item in decoded.items:
        mask = decoded.label_map == item.mask_value
        voxels = frozenset(tuple(v) for v in np.argwhere(mask).tolist())
        found.add((item.label, voxels))
        where = np.argwhere(mask)
        assert item.box == (*where.min(axis=0), *(where.max(axis=0) + 1))
        values = scores[mask].astype(float)
        wanted = values.max() if reduce == "max" else values.mean()
        assert item.score == pytest.approx(wanted, abs=1e-6)
        diameter, volume = measure_mask(mask, geometry)
        assert (item.diameter_mm, item.volume_ml) == pytest.approx((diameter, volume))
    assert found == set(expected)
    assert (decoded.label_map > 0).sum() == (classes > 0).sum()


def test_findings_come_best_first_and_are_numbered_so(card_of, geometry):
    classes, scores = maps(
        (1, 0.6, (0, 0, 0)), (2, 0.9, (0, 4, 4)), (1, 0.6, (5, 0, 0)), (1, 0.7, (3, 7, 9))
    )
    decoded = findings_from_voxels(classes, scores, card_of(labels=2), geometry)
    assert [(f.id, f.label, round(f.score, 3), f.mask_value) for f in decoded.items] == [
        ("F1", 2, 0.9, 1),
        ("F2", 1, 0.7, 2),
        ("F3", 1, 0.6, 3),  # a tie: the first slice first
        ("F4", 1, 0.6, 4),
    ]
    assert decoded.items[2].box[0] == 0
    assert decoded.items[3].box[0] == 5
    assert decoded.label_map[0, 4, 4] == 1
    assert decoded.label_map.dtype == np.uint16


def test_voxels_that_touch_only_at_a_corner_are_one_finding_but_not_across_classes(
    card_of, geometry
):
    classes, scores = maps((1, 0.9, [(0, 0, 0), (1, 1, 1)]), (2, 0.8, (2, 2, 2)))
    decoded = findings_from_voxels(classes, scores, card_of(labels=2), geometry)
    assert [f.label for f in decoded.items] == [1, 2]
    assert (decoded.label_map == 1).sum() == 2


def test_low_scores_and_small_findings_leave_no_voxels_behind(card_of, geometry):
    classes, scores = maps(
        (1, 0.9, np.s_[0:2, 0:3, 0:3]), (1, 0.4, np.s_[3:5, 0:3, 0:3]), (1, 0.95, (5, 7, 9))
    )
    card = card_of(operating_point={"min_score": 0.5, "min_diameter_mm": 2.5})
    decoded = findings_from_voxels(classes, scores, card, geometry)
    assert [round(f.score, 3) for f in decoded.items] == [0.9]
    assert (decoded.label_map > 0).sum() == 18
    assert decoded.notes == ()


def test_a_score_of_exactly_the_limit_counts(card_of, geometry):
    classes, scores = maps((1, 0.5, (0, 0, 0)))
    card = card_of(operating_point={"min_score": 0.5, "min_diameter_mm": 2.0})
    assert len(findings_from_voxels(classes, scores, card, geometry).items) == 1


@pytest.mark.parametrize(("smallest", "cut"), [(0.0, 3), (2.5, 2)])
def test_too_many_findings_are_cut_with_a_note_that_counts_them(card_of, geometry, smallest, cut):
    blobs = [(1, 0.9 - 0.1 * n, np.s_[0:2, 0:2, 2 * n : 2 * n + 1]) for n in range(4)]
    classes, scores = maps(*blobs, (1, 0.1, (5, 7, 9)))  # the last one is small
    point = {"max_findings": 2, "min_diameter_mm": smallest}
    decoded = findings_from_voxels(classes, scores, card_of(operating_point=point), geometry)
    assert [round(f.score, 3) for f in decoded.items] == [0.9, 0.8]
    assert decoded.label_map.max() == 2
    assert [note.code for note in decoded.notes] == ["too-many-findings"]
    assert decoded.notes[0].text.startswith(f"{cut} more")
    assert "at 2" in decoded.notes[0].text


def test_one_finding_per_class_gathers_all_its_parts(card_of, geometry):
    classes, scores = maps(
        (1, 0.6, (0, 0, 0)), (1, 0.9, (5, 7, 9)), (3, 0.7, (2, 2, 2)), (3, 0.5, (2, 2, 6))
    )
    card = card_of(labels=3, output={"one_finding_per": "class"})
    decoded = findings_from_voxels(classes, scores, card, geometry)
    assert [(f.label, round(f.score, 3)) for f in decoded.items] == [(1, 0.9), (3, 0.7)]
    assert decoded.items[0].box == (0, 0, 0, 6, 8, 10)
    assert decoded.items[1].box == (2, 2, 2, 3, 3, 7)
    assert [(decoded.label_map == n).sum() for n in (1, 2)] == [2, 2]


def test_nothing_found_is_an_empty_label_map(card_of, geometry):
    decoded = findings_from_voxels(*maps(), card_of(), geometry)
    assert decoded.items == ()
    assert decoded.label_map.shape == SHAPE
    assert not decoded.label_map.any()


def test_a_label_inside_the_box_of_another_keeps_its_voxels(card_of, geometry):
    classes, scores = maps((1, 0.9, np.s_[0:5, 0:5, 0:5]), (2, 0.99, (2, 2, 2)))
    decoded = findings_from_voxels(classes, scores, card_of(labels=2), geometry)
    assert [(f.label, (decoded.label_map == f.mask_value).sum()) for f in decoded.items] == [
        (2, 1),
        (1, 124),
    ]


def test_more_findings_than_a_byte_counts_keep_their_numbers(card_of):
    shape = (20, 20, 20)
    classes = np.zeros(shape, np.uint16)
    classes[::2, ::2, ::2] = 1
    scores = np.linspace(0.5, 1, 8000, dtype=np.float32).reshape(shape)
    decoded = findings_from_voxels(
        classes, scores, card_of(operating_point={"max_findings": 900}), Geometry(shape, np.eye(4))
    )
    assert len(decoded.items) == 900
    assert decoded.label_map.max() == 900
    assert decoded.notes[0].text.startswith("100 more")


# --- boxes ----------------------------------------------------------------------------


def test_boxes_become_findings_best_first_within_the_limits(card_of, geometry):
    boxes = Boxes(
        np.array([[0, 0, 0, 1, 1, 1], [1, 1, 1, 3, 3, 3], [2, 2, 2, 5, 5, 5], [0, 0, 0, 6, 8, 10]]),
        np.array([0.9, 0.3, 0.7, 0.8]),
        np.array([1, 1, 2, 1]),
    )
    point = {"min_score": 0.5, "min_diameter_mm": 2.5, "max_findings": 1}
    card = card_of(labels=2, output={"head": "boxes"}, operating_point=point)
    decoded = findings_from_boxes(boxes, card, geometry)
    (item,) = decoded.items
    assert (item.id, item.label, item.score, item.mask_value) == ("F1", 1, 0.8, None)
    assert item.box == (0, 0, 0, 6, 8, 10)
    assert item.diameter_mm == 12.0
    assert item.volume_ml == pytest.approx(0.96)
    assert decoded.label_map is None
    assert decoded.notes[0].text.startswith("1 more")


# --- the case as a whole --------------------------------------------------------------


def case_card(card_of, labels, activation):
    output = {"head": "case_score", "tensor": "scores", "activation": activation}
    return card_of(labels=labels, output=output)


def test_case_scores_are_the_mean_over_windows(card_of):
    gather = CaseGather(case_card(card_of, 2, "sigmoid"))
    gather.add(None, {"scores": np.array([[0.0, 2.0]], np.float32)})
    gather.add(None, {"scores": np.array([[-1e4, 1e4]], np.float32)})
    with np.errstate(all="raise"):
        one, two = gather.result()
    assert (one.label, one.score) == (1, pytest.approx(0.25))
    assert (two.label, two.score) == (2, pytest.approx((1 / (1 + np.exp(-2)) + 1) / 2))


def test_softmax_case_scores_add_up_to_one(card_of):
    gather = CaseGather(case_card(card_of, 3, "softmax"))
    gather.add(None, {"scores": np.array([[1.0, 2.0, 1e4]], np.float32)})
    gather.add(None, {"scores": np.array([[0.0, 0.0, 0.0]], np.float32)})
    scores = [s.score for s in gather.result()]
    assert sum(scores) == pytest.approx(1)
    assert scores == pytest.approx([1 / 6, 1 / 6, 4 / 6])


@pytest.mark.parametrize("scores", [[[1.0]], [[1.0, 2.0, 3.0]], [[1.0, np.nan]], [[np.inf, 1.0]]])
def test_case_scores_that_make_no_sense_are_a_model_error(card_of, scores):
    from MedDetectLib.core.errors import ModelError

    gather = CaseGather(case_card(card_of, 2, "sigmoid"))
    with pytest.raises(ModelError, match="bad-output"):
        gather.add(None, {"scores": np.array(scores, np.float32)})
    with pytest.raises(ModelError, match="wrong-tensor"):
        gather.add(None, {"other": np.zeros((1, 2), np.float32)})


def test_specks_that_cannot_be_large_enough_are_not_measured(card_of, monkeypatch):
    """Thousands of them would take minutes; what is found is the same."""
    rng = np.random.default_rng(0)
    classes = (rng.random((12, 40, 40)) < 0.04).astype(np.uint16)
    scores = rng.random(classes.shape).astype(np.float32)
    geometry = Geometry.from_axes(classes.shape, (1.5, 0.9, 1.1))
    card = card_of(channels=("",), operating_point={"min_diameter_mm": 4.0})
    measured = []

    def counting(mask, geometry):
        measured.append(mask.shape)
        return measure_mask(mask, geometry)

    monkeypatch.setattr(decode_module, "measure_mask", counting)
    some = findings_from_voxels(classes, scores, card, geometry)
    few = len(measured)
    monkeypatch.setattr(decode_module, "_may_measure", lambda *_: True)
    everything = findings_from_voxels(classes, scores, card, geometry)
    assert some.items == everything.items
    assert 0 < len(some.items) <= few < (len(measured) - few) / 3

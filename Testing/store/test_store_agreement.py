"""Agreement of readers and difference of versions, against tables computed by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import store_samples as samples

from MedDetectLib.cases.store.agreement import agreement_of, cohen_kappa, dice_of
from MedDetectLib.cases.store.differences import difference_of
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.core.geometry import Geometry

LINE = Geometry.from_axes((1, 1, 20), (1, 1, 1))


def on_a_line(*spans, boxes=()):
    """Findings F1, F2, ... as (first, stop, class[, state]) along one row of 20 voxels."""
    label_map = np.zeros((1, 1, 20), np.uint16)
    items = []
    for n, (first, stop, label, *state) in enumerate(spans, 1):
        label_map[0, 0, first:stop] = n
        box = (0, 0, first, 1, 1, stop)
        items.append(Finding(f"F{n}", label, 0.5, box, n, 1.0, 0.1, *state))
    for n, (first, stop, label) in enumerate(boxes, len(items) + 1):
        items.append(Finding(f"F{n}", label, 0.5, (0, 0, first, 1, 1, stop), None, 1.0, 0.1))
    return Findings(LINE, (samples.NODULE, samples.CYST), tuple(items), label_map, samples.RAN)


@pytest.mark.parametrize(
    ("table", "kappa"),
    [
        # Cohen 1960 style: 20 + 15 agree of 50; po 0.7, pe 0.5
        ([[20, 5], [10, 15]], 0.4),
        # https://en.wikipedia.org/wiki/Cohen's_kappa: same po, other margins
        ([[45, 15], [25, 15]], 0.1304347826),
        ([[25, 35], [5, 35]], 0.2592592593),
        ([[0, 10], [10, 0]], -1.0),
        ([[7, 0], [0, 3]], 1.0),
        ([[10, 0], [0, 0]], 1.0),
        ([[0, 0], [0, 0]], 1.0),
        # three classes: po 23/30, pe (10*11 + 10*10 + 10*9)/900 = 1/3
        (
            [[8, 1, 1], [2, 7, 1], [1, 1, 8]],
            (23 / 30 - (10 * 11 + 10 * 9 + 10 * 10) / 900) / (1 - 1 / 3),
        ),
    ],
)
def test_kappa_of_tables_worked_out_by_hand(table, kappa):
    assert cohen_kappa(np.array(table)) == pytest.approx(kappa)


def test_dice_of_masks_counted_by_hand():
    one, two = np.zeros(10, bool), np.zeros(10, bool)
    one[:4], two[1:7] = True, True
    assert dice_of(one, two) == pytest.approx(2 * 3 / 10)
    assert dice_of(one, ~one) == 0.0
    assert dice_of(one[:0], two[:0]) == 1.0


def test_two_readers_on_a_line():
    # voxel     01234567890123456789
    # first     .1111....22.....33..   3 nodules
    # second    ..1111...22..44......  nodule, cyst, nodule
    first = on_a_line((1, 5, 1), (9, 11, 1), (16, 18, 1))
    second = on_a_line((2, 6, 1), (9, 11, 2), (13, 15, 1))
    found = agreement_of(first, second)
    assert [(m.first, m.second) for m in found.matches] == [("F1", "F1"), ("F2", "F2")]
    assert [m.iou for m in found.matches] == pytest.approx([3 / 5, 1.0])
    assert [m.dice for m in found.matches] == pytest.approx([6 / 8, 1.0])
    assert [m.same_label for m in found.matches] == [True, False]
    assert (found.only_first, found.only_second) == (("F3",), ("F3",))
    assert found.dice == pytest.approx(2 * 5 / 16)
    assert found.f1 == pytest.approx(2 * 2 / 6)
    # voxels: both background 9, both nodule 3, nodule/background 3, background/nodule 3,
    # nodule/cyst 2; margins first 12, 8, 0; second 12, 6, 2
    chance = (12 * 12 + 8 * 6) / 400
    assert found.kappa_voxels == pytest.approx((12 / 20 - chance) / (1 - chance))
    # matched labels: nodule/nodule, nodule/cyst: po 0.5, pe 0.5
    assert found.kappa_labels == pytest.approx(0.0)


def test_findings_are_matched_so_that_the_overlaps_add_up_to_the_most():
    # F1-F1 overlap most (5/10), but 3/8 + 2/8 of the crossed pairs are more together.
    first = on_a_line((0, 8, 1), (8, 11, 1))
    second = on_a_line((3, 10, 1), (0, 3, 1))
    found = agreement_of(first, second)
    assert {(m.first, m.second) for m in found.matches} == {("F1", "F2"), ("F2", "F1")}
    assert sorted(m.iou for m in found.matches) == pytest.approx([2 / 8, 3 / 8])


def test_overlap_below_a_tenth_is_no_match():
    first, second = on_a_line((0, 10, 1)), on_a_line((9, 19, 1))
    assert agreement_of(first, second).matches == ()  # 1 of 19
    assert len(agreement_of(first, second, match_iou=0.05).matches) == 1


def test_boxes_are_matched_by_their_boxes_and_count_as_their_voxels():
    first = on_a_line(boxes=[(2, 8, 1)])
    second = on_a_line((4, 8, 1))
    found = agreement_of(first, second)
    assert [m.iou for m in found.matches] == pytest.approx([4 / 6])
    assert found.dice == pytest.approx(2 * 4 / 10)


def test_rejected_findings_do_not_count():
    first = on_a_line((0, 4, 1), (8, 12, 1, "rejected"))
    found = agreement_of(first, on_a_line((0, 4, 1)))
    assert (found.f1, found.dice, found.only_first) == (1.0, 1.0, ())


def test_two_readers_who_both_found_nothing_agree():
    found = agreement_of(on_a_line(), on_a_line())
    assert (found.dice, found.kappa_voxels, found.f1, found.kappa_labels) == (1, 1, 1, None)
    one_sided = agreement_of(on_a_line((0, 4, 1)), on_a_line())
    assert (one_sided.dice, one_sided.f1) == (0, 0)
    assert one_sided.kappa_voxels == pytest.approx(0.0)


def test_agreement_is_symmetric_but_for_the_order():
    first = on_a_line((1, 5, 1), (9, 11, 1), boxes=[(14, 17, 2)])
    second = on_a_line((2, 6, 1), (9, 11, 2))
    there, back = agreement_of(first, second), agreement_of(second, first)
    assert (there.dice, there.f1) == (back.dice, back.f1)
    assert there.kappa_voxels == pytest.approx(back.kappa_voxels)
    assert [(m.first, m.second) for m in there.matches] == [
        (m.second, m.first) for m in back.matches
    ]


def test_readings_of_other_images_are_refused():
    with pytest.raises(InputError, match="other-grid"):
        agreement_of(on_a_line(), samples.findings())
    with pytest.raises(InputError, match="other-grid"):
        difference_of(on_a_line(), samples.findings())


def test_a_difference_names_what_was_added_removed_and_changed():
    before = on_a_line((1, 5, 1), (9, 11, 1), (15, 17, 1))
    after = on_a_line((2, 7, 1), (9, 11, 1), (15, 17, 2))
    kept = replace(after.items[2], state="edited")
    extra = Finding("F9", 1, 0.1, (0, 0, 18, 1, 1, 20), None, 1, 1)
    after = replace(after, items=(after.items[0], kept, extra))
    found = difference_of(before, after)
    assert (found.added, found.removed) == (("F9",), ("F2",))
    moved, relabelled = found.changed
    assert (moved.id, moved.voxels_added, moved.voxels_removed) == ("F1", 2, 1)
    assert moved.dice == pytest.approx(2 * 3 / 9)
    assert moved.fields == {"box": ((0, 0, 1, 1, 1, 5), (0, 0, 2, 1, 1, 7))}
    assert relabelled.fields == {"label": ("nodule", "cyst"), "state": ("new", "edited")}
    assert (relabelled.voxels_added, relabelled.dice) == (0, 1.0)
    assert difference_of(after, after).is_empty


def test_readers_who_began_from_models_that_number_classes_otherwise_are_compared_by_name():
    first = on_a_line((1, 5, 1), (9, 11, 2))
    other = (replace(samples.NODULE, value=2), replace(samples.CYST, value=1))
    items = tuple(replace(item, label=3 - item.label) for item in first)
    found = agreement_of(first, replace(first, labels=other, items=items))
    assert [match.same_label for match in found.matches] == [True, True]
    assert (found.kappa_voxels, found.kappa_labels) == (1.0, 1.0)
    mixed = agreement_of(first, replace(first, labels=other))  # same numbers, other names
    assert [match.same_label for match in mixed.matches] == [False, False]
    assert mixed.kappa_labels == -1.0


def test_a_difference_counts_voxels_as_masks_of_each_finding_do():
    rng = np.random.default_rng(3)
    before, after = (samples.findings() for _ in range(2))
    maps = [rng.choice(np.array([0, 0, 1, 9, 700], np.uint16), samples.SHAPE) for _ in range(2)]
    before, after = (
        replace(each, label_map=voxels) for each, voxels in zip((before, after), maps, strict=True)
    )
    for change, value in zip(difference_of(before, after).changed, (1, 9), strict=True):
        one, two = (voxels == value for voxels in maps)
        assert change.voxels_added == np.count_nonzero(two & ~one)
        assert change.voxels_removed == np.count_nonzero(one & ~two)
        assert change.dice == dice_of(one, two)
    boxes = replace(after, items=tuple(replace(i, mask_value=None) for i in after), label_map=None)
    lost = difference_of(before, boxes).changed
    assert [(c.voxels_added, c.dice) for c in lost] == [(0, None), (0, None)]
    assert [c.voxels_removed for c in lost] == [np.count_nonzero(maps[0] == v) for v in (1, 9)]

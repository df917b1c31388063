"""Whole findings redrawn at once, as the scene does it when it is read back."""

from dataclasses import replace

import numpy as np
import pytest
from review_samples import GRID, SHAPE, made_findings

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.measure import measure_box
from MedDetectLib.review.acts import EditBox, EditMask
from MedDetectLib.review.edits import apply_mask_edit, apply_roi_edit


def test_an_added_finding_stays_added_when_drawn_again():
    findings = with_added_f3()
    mask = np.zeros(SHAPE, bool)
    mask[8] = True
    assert apply_mask_edit(findings, "F3", mask).items[2].state == "added"
    assert apply_mask_edit(findings, "F1", mask).items[0].state == "edited"


def test_a_roi_moved_off_its_mask_leaves_a_box_without_mask(findings):
    edited = apply_roi_edit(findings, "F3", (0.0, 0.0, 0.0, 2.0, 2.0, 2.0))
    item = edited.items[2]
    assert (item.mask_value, item.state) == (None, "edited")
    assert not (edited.label_map == 300).any()
    assert item.volume_ml == measure_box(item.box, GRID)[1]


def test_a_roi_reaching_off_the_image_is_cut_to_it(findings):
    edited = apply_roi_edit(findings, "F1", (-5.0, 2.0, 2.0, 4.0, 50.0, 6.0))
    assert edited.items[0].box == (0.0, 2.0, 2.0, 4.0, 10.0, 6.0)
    with pytest.raises(InputError, match="outside the volume"):
        apply_roi_edit(findings, "F1", (-5.0, 2.0, 2.0, -4.0, 50.0, 6.0))


def test_unknown_findings_and_foreign_masks_are_refused(findings):
    with pytest.raises(InputError, match="no finding 'X'"):
        apply_roi_edit(findings, "X", (0.0, 0.0, 0.0, 1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="the mask is"):
        apply_mask_edit(findings, "F1", np.ones((2, 2, 2), bool))


def test_an_empty_mask_removes_the_finding(findings):
    after = apply_mask_edit(findings, "F1", np.zeros(findings.geometry.shape_kji, bool))
    assert [f.id for f in after] == ["F2", "F3", "F4", "F5"]
    assert not (after.label_map == 7).any()


def test_voxels_no_finding_claims_survive_an_edit():
    findings = made_findings()
    label_map = findings.label_map.copy()
    label_map[0, 0, :3] = 55
    findings = replace(findings, label_map=label_map)
    mask = np.zeros(SHAPE, bool)
    mask[0, 0, 2:4] = True
    after = apply_mask_edit(findings, "F1", mask).label_map
    assert after[0, 0, :5].tolist() == [55, 55, 7, 7, 0]


@pytest.mark.parametrize("seed", range(25))
def test_a_session_edits_as_the_scene_does(session, findings, seed):
    rng = np.random.default_rng(seed)
    key = f"F{rng.integers(1, 6)}"
    low = rng.integers(0, np.array(SHAPE) - 1)
    high = low + rng.integers(1, 6, 3)
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    session.do(EditMask.drawn(key, mask))
    assert_same_but_for_free_values(session.findings, apply_mask_edit(findings, key, mask))
    before = session.findings
    box = (*(low - 0.4).tolist(), *(high + 0.7).tolist())
    session.do(EditBox(session.findings.items[0].id, box))
    wanted = apply_roi_edit(before, before.items[0].id, box)
    assert_same_but_for_free_values(session.findings, wanted)


def assert_same_but_for_free_values(found, wanted):
    """A new mask gets any free value; all else is the same to the bit."""
    assert [replace(f, mask_value=None) for f in found] == [
        replace(f, mask_value=None) for f in wanted
    ]
    for one, other in zip(found, wanted, strict=True):
        masks = found.mask_of(one), wanted.mask_of(other)
        assert (masks[0] is None) == (masks[1] is None)
        assert masks[0] is None or np.array_equal(*masks)


def with_added_f3():
    start = made_findings()
    items = [replace(f, state="added") if f.id == "F3" else f for f in start]
    return replace(start, items=tuple(items))

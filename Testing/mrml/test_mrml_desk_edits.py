"""What the user changes in the scene becomes an act of the review, once."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
import slicer
from desk_samples import (
    acts,
    add,
    agree,
    all_segments,
    erase,
    mask_of,
    paint,
    put_on_desk,
)
from mrml_samples import GRIDS, assert_same

from MedDetectLib.core.errors import StoreError
from MedDetectLib.core.measure import tight_box
from MedDetectLib.review.acts import Accept, AddBox, Reject, Reopen

SURFACE = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()


@pytest.fixture
def desk(scene, tmp_path):
    with put_on_desk(scene, GRIDS["anisotropic"], tmp_path / "review") as made:
        yield made


def test_on_any_grid_a_painted_mask_is_one_act_and_moves_its_box(scene, geometry, tmp_path):
    with put_on_desk(scene, geometry, tmp_path / "review") as desk:
        mask = mask_of(desk, "F1")
        mask[0, 1:4, 1] = True
        paint(desk, "F1", mask)
        assert desk.is_dirty
        assert desk.take_edits() == ("F1",)
        item = desk.session.item("F1")
        assert item.state == "edited"
        assert item.box == tight_box(mask)
        assert np.array_equal(mask_of(desk, "F1"), mask)
        assert acts(desk) == [("edit-mask", "F1")]
        assert [c.kind for c in desk.told] == ["act"]
        agree(desk)
        desk.undo()
        agree(desk)


def test_nothing_is_taken_while_nothing_changed(desk):
    assert not desk.is_dirty
    assert desk.take_edits() == ()
    desk.segmentation_node.GetDisplayNode().SetOpacity(0.3)
    desk.segmentation_node.SetName("other name")
    desk.segmentation_node.CreateClosedSurfaceRepresentation()
    assert desk.take_edits() == ()
    assert desk.session.history == ()
    agree(desk)


def test_a_stroke_over_neighbours_is_one_act_and_undone_as_one(desk):
    before = desk.findings
    stroke = np.zeros((9, 10, 11), bool)
    stroke[1:4, 4:6, 2:6] = True
    add(desk, "F1", stroke, over=all_segments(desk))
    desk.take_edits()
    assert acts(desk) == [("edit-mask", "F1")]
    assert not (mask_of(desk, "F2") & stroke).any()
    assert (mask_of(desk, "F1") & stroke).sum() == stroke.sum()
    agree(desk)
    desk.undo()
    agree(desk)
    assert_same(desk.findings, before)


def test_a_stroke_that_lets_others_be_takes_their_voxels_all_the_same(desk):
    """Findings never share a voxel: what was drawn last covers what was there."""
    stroke = np.zeros((9, 10, 11), bool)
    stroke[1:4, 4:6, 2:6] = True
    add(desk, "F2", stroke)
    assert set(desk.take_edits()) == {"F1", "F2"}
    assert not (mask_of(desk, "F1") & stroke).any()
    agree(desk)


def test_of_two_strokes_that_overlap_the_later_one_covers(desk):
    one = np.zeros((9, 10, 11), bool)
    one[7:9, 0:4, 0:4] = True
    two = np.zeros((9, 10, 11), bool)
    two[7:9, 2:6, 2:6] = True
    add(desk, "F2", one)
    add(desk, "F1", two)
    desk.take_edits()
    assert (mask_of(desk, "F1") & two).sum() == two.sum()
    assert (mask_of(desk, "F2") & one).sum() == (one & ~two).sum()
    assert acts(desk) == [("edit-mask", "F2"), ("edit-mask", "F1")]
    agree(desk)


def test_a_box_that_somebody_was_drawn_over_stays_a_box(desk):
    box = desk.session.item("F4").box
    stroke = np.zeros((9, 10, 11), bool)
    stroke[1:6, 4:7, 3:8] = True
    add(desk, "F1", stroke, over=all_segments(desk))
    desk.take_edits()
    item = desk.session.item("F4")
    assert (item.mask_value, item.box, item.state) == (None, box, "new")
    agree(desk)


def test_painting_a_box_gives_it_a_mask_and_erasing_in_it_too(desk):
    mask = np.zeros((9, 10, 11), bool)
    mask[4, 4, 4:7] = True
    paint(desk, "F4", mask)
    assert desk.take_edits() == ("F4",)
    assert desk.session.item("F4").box == tight_box(mask)
    agree(desk)
    voxels = desk._joint.mirror.patches["F5"]
    less = np.zeros((9, 10, 11), bool)
    less[voxels.slices] = voxels.mask
    gone = np.zeros_like(less)
    gone[voxels.start_kji] = True
    erase(desk, "F5", gone)
    assert desk.take_edits() == ("F5",)
    left = less & ~gone & ~mask_of(desk, "F3")  # F3 lies in the box, and was not drawn over
    assert np.array_equal(mask_of(desk, "F5"), left)
    agree(desk)


@pytest.mark.parametrize("how", ["delete", "clear", "erase"])
def test_a_deleted_or_emptied_segment_is_a_rejected_finding_and_comes_back(desk, how):
    segmentation = desk.segmentation_node.GetSegmentation()
    before = {item.id: item for item in desk.session.items}
    for key in ("F2", "F4"):
        if how == "delete":
            segmentation.RemoveSegment(key)
        elif how == "clear":
            segmentation.ClearSegment(key)
        else:
            erase(desk, key, np.ones((9, 10, 11), bool))
    assert set(desk.take_edits()) == {"F2", "F4"}
    reasons = [e.act["reason"] for e in desk.session.history]
    assert reasons == ["deleted in the scene" if how == "delete" else "erased in the scene"] * 2
    for key in ("F2", "F4"):
        item = desk.session.item(key)
        assert item.state == "rejected"
        assert item.box == before[key].box
    assert set(all_segments(desk)) == {"F1", "F2", "F3", "F4", "F5"}
    agree(desk)
    desk.undo()
    desk.undo()
    assert {i.id: i for i in desk.session.items} == before
    agree(desk)


def test_a_rejected_segment_deleted_again_is_only_put_back(desk):
    desk.do(Reject("F3", "vessel"))
    desk.segmentation_node.GetSegmentation().RemoveSegment("F3")
    assert desk.take_edits() == ()
    assert acts(desk) == [("reject", "F3")]
    agree(desk)


def test_a_new_name_is_another_class_where_it_says_one_else_a_remark(desk):
    segmentation = desk.segmentation_node.GetSegmentation()
    segmentation.GetSegment("F1").SetName("Cyst; simple|thin")
    segmentation.GetSegment("F2").SetName("ask Dr B")
    assert desk.take_edits() == ("F1",)
    assert desk.session.item("F1").label == 4
    assert [c.act["text"] for c in desk.session.comments] == ["renamed in the scene: ask Dr B"]
    assert segmentation.GetSegment("F1").GetName() == "F1 cyst; simple|thin 0.97"
    assert segmentation.GetSegment("F2").GetName() == "F2 cyst; simple|thin 0.33"
    agree(desk)


def test_a_dragged_handle_moves_the_box_and_crops_the_mask(scene, geometry, tmp_path):
    with put_on_desk(scene, geometry, tmp_path / "review") as desk:
        desk.show_handle(True)
        desk.select("F1")
        assert not desk.is_dirty
        roi = desk.roi_node
        x, y, z = roi.GetSize()
        roi.SetSize(x - 2 * geometry.spacing_kji_mm[2], y, z)
        assert desk.is_dirty
        assert desk.take_edits() == ("F1",)
        assert np.allclose(desk.session.item("F1").box, (1, 2, 3, 4, 5, 5), atol=1e-4)
        assert not mask_of(desk, "F1")[:, :, [2, 5]].any()
        agree(desk)
        desk.undo()
        assert np.allclose(roi.GetSize(), (x, y, z))
        agree(desk)


def test_a_handle_dragged_off_the_image_jumps_back_and_says_why(desk):
    desk.show_handle(True)
    desk.select("F1")
    place = np.array(desk.roi_node.GetCenterWorld())
    desk.roi_node.SetCenterWorld(*(place + 500))
    assert desk.take_edits() == ()
    assert np.allclose(desk.roi_node.GetCenterWorld(), place, atol=1e-4)
    assert desk.told[-1].kind == "trouble"
    assert "box-outside" in desk.told[-1].text
    agree(desk)


def test_mask_and_handle_changed_at_once_both_count(desk):
    desk.show_handle(True)
    desk.select("F1")
    mask = mask_of(desk, "F1")
    mask[0] = mask[1]
    paint(desk, "F1", mask)
    x, y, z = desk.roi_node.GetSize()
    desk.roi_node.SetSize(x, y, z - 2 * 3.5)
    desk.take_edits()
    assert acts(desk) == [("edit-mask", "F1"), ("edit-box", "F1")]
    assert np.allclose(desk.session.item("F1").box, (2, 2, 2, 3, 5, 6), atol=1e-4)
    agree(desk)


@pytest.mark.parametrize("what", ["do", "select", "undo", "sign", "close"])
def test_whatever_is_done_next_pending_edits_are_taken_first(desk, what):
    mask = mask_of(desk, "F1")
    mask[0, 1:4, 1] = True
    paint(desk, "F1", mask)
    before = desk.session
    {
        "do": lambda: desk.do(Accept("F2")),
        "select": lambda: desk.select("F2"),
        "undo": desk.undo,
        "sign": lambda: desk.sign("Dr A"),
        "close": desk.close,
    }[what]()
    kinds = [e.kind for e in before.history]
    assert kinds[0] == "edit-mask"
    assert kinds[1:] == {
        "do": ["accept"], "select": ["focus"], "undo": ["undo"], "sign": ["sign"], "close": [],
    }[what]  # fmt: skip


def test_a_change_nobody_told_of_is_found_before_signing(desk):
    array = slicer.util.arrayFromSegmentInternalBinaryLabelmap(desk.segmentation_node, "F1")
    value = desk.segmentation_node.GetSegmentation().GetSegment("F1").GetLabelValue()
    array[tuple(np.argwhere(array == value)[0])] = 0  # no event
    assert not desk.is_dirty
    desk.sign("Dr A")
    assert acts(desk) == [("edit-mask", "F1"), ("sign", None)]


def test_a_voxel_far_from_its_finding_that_nobody_told_of_is_found_before_signing(desk):
    array = slicer.util.arrayFromSegmentInternalBinaryLabelmap(desk.segmentation_node, "F1")
    value = desk.segmentation_node.GetSegmentation().GetSegment("F1").GetLabelValue()
    before = desk.session.item("F1").box
    free = np.argwhere(array == 0)
    far = free[np.abs(free - np.argwhere(array == value)[0]).sum(axis=1).argmax()]
    array[tuple(far)] = value  # no event
    assert not desk.is_dirty
    desk.sign("Dr A")
    assert acts(desk) == [("edit-mask", "F1"), ("sign", None)]
    assert desk.session.item("F1").box != before


def test_edits_of_a_signed_review_are_put_back(desk):
    desk.show_handle(True)
    desk.select("F1")
    desk.sign("Dr A")
    before = desk.findings
    paint(desk, "F1", np.ones((9, 10, 11), bool))
    desk.segmentation_node.GetSegmentation().RemoveSegment("F3")
    desk.roi_node.SetSize(1.0, 1.0, 1.0)
    assert desk.take_edits() == ()
    assert_same(desk.findings, before)
    assert desk.told[-1].kind == "trouble"
    assert "signed" in desk.told[-1].text
    agree(desk)
    desk.do(Reopen("Dr A", "more"))
    agree(desk)


def test_an_edit_the_disk_refuses_stays_in_the_scene_and_is_taken_later(desk, monkeypatch):
    masks = {key: mask_of(desk, key) for key in ("F1", "F2")}
    for mask in masks.values():
        mask[0, 1:4, 1] = True
    masks["F2"][0, 1:4, 1] = False
    masks["F2"][8, 0, 0] = True
    calls = []

    def write(handle, data, real=os.write):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, data)

    for key, mask in masks.items():
        paint(desk, key, mask)
    with monkeypatch.context() as broken:
        broken.setattr(os, "write", write)
        with pytest.raises(StoreError, match="disk-full"):
            desk.take_edits()
    assert acts(desk) == [("edit-mask", "F1")]
    assert desk.is_dirty
    assert desk.take_edits() == ("F2",)
    for key, mask in masks.items():
        assert np.array_equal(mask_of(desk, key), mask)
    agree(desk)


def test_with_closed_surfaces_shown_they_follow_acts_and_undo(desk):
    node = desk.segmentation_node
    node.CreateClosedSurfaceRepresentation()
    segment = node.GetSegmentation().GetSegment("F1")
    size = segment.GetRepresentation(SURFACE).GetNumberOfPoints()
    mask = mask_of(desk, "F1")
    mask[4:8] = mask[1]
    paint(desk, "F1", mask)
    desk.take_edits()
    grown = segment.GetRepresentation(SURFACE).GetNumberOfPoints()
    assert grown > size
    desk.undo()
    assert segment.GetRepresentation(SURFACE).GetNumberOfPoints() == size
    new = desk.add_box_at(desk.jump_ras_mm("F3"), 1, 6.0)
    added = node.GetSegmentation().GetSegment(new).GetRepresentation(SURFACE)
    assert added is not None
    assert added.GetNumberOfPoints() > 0
    agree(desk)


def test_a_segmentation_the_user_regridded_is_read_and_goes_on(desk):
    """Somebody set another source geometry for one segment: twice the density, same place."""
    from MedDetectLib.adapters.mrml.images import oriented_image

    fine = desk.session.about.geometry.ijk_to_ras @ np.diag([0.5, 0.5, 0.5, 1.0])
    fine[:3, 3] += desk.session.about.geometry.ijk_to_ras[:3, :3] @ [-0.25, -0.25, -0.25]
    mask = np.zeros((18, 20, 22), np.uint8)
    mask[12:16, 0:4, 0:8] = 1
    segmentation = desk.segmentation_node.GetSegmentation()
    segmentation.SeparateSegmentLabelmap("F3")
    segmentation.GetSegment("F3").AddRepresentation("Binary labelmap", oriented_image(mask, fine))
    assert desk.take_edits() == ("F3",)
    assert desk.session.item("F3").box == (6.0, 0.0, 0.0, 8.0, 2.0, 4.0)
    agree(desk)
    desk.undo()
    agree(desk)


def test_a_hundred_random_strokes_acts_and_undos_leave_both_sides_the_same(scene, tmp_path):
    rng = np.random.default_rng(5)
    with put_on_desk(scene, GRIDS["left-handed"], tmp_path / "review") as desk:
        desk.show_handle(True)
        for _ in range(100):
            ids = [item.id for item in desk.session.items]
            key = str(rng.choice(ids))
            low = rng.integers(0, 8, 3)
            high = low + rng.integers(1, 4, 3)
            stroke = np.zeros((9, 10, 11), bool)
            stroke[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
            what = int(rng.integers(0, 8))
            if what < 3:
                add(desk, key, stroke, over=all_segments(desk) if what else ())
                desk.take_edits()
            elif what == 3 and desk.can_undo:
                desk.undo()
            elif what == 4 and desk.can_redo:
                desk.redo()
            elif what == 5:
                desk.do(AddBox(tuple(float(n) for n in (*low, *high)), 1))
            elif what == 6:
                desk.select(key)
                size = desk.roi_node.GetSize()
                desk.roi_node.SetSize(*(max(1.0, s * rng.uniform(0.6, 1.4)) for s in size))
                desk.take_edits()
            elif len(ids) > 3:
                desk.segmentation_node.GetSegmentation().RemoveSegment(key)
                desk.take_edits()
            agree(desk)
        kinds = {entry.kind for entry in desk.session.history}
        assert {"edit-mask", "edit-box", "add-box", "reject", "undo", "redo"} <= kinds

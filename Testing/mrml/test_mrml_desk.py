from __future__ import annotations

import numpy as np
import pytest
from desk_samples import acts, agree, all_segments, mask_of, put_on_desk
from mrml_samples import GRIDS, assert_same

from MedDetectLib.adapters.mrml.desk.changes import place_text
from MedDetectLib.adapters.mrml.desk.review_desk import ReviewDesk
from MedDetectLib.adapters.mrml.desk.steps import finished
from MedDetectLib.adapters.mrml.segment_voxels import tag_of
from MedDetectLib.core.errors import InputError, StoreError
from MedDetectLib.review.acts import (
    Accept,
    AddBox,
    Comment,
    EditBox,
    EditMask,
    Plane,
    Reject,
    Relabel,
    Reopen,
    Sign,
)
from MedDetectLib.review.fingerprint import findings_sha256
from MedDetectLib.review.session import ReviewSession


@pytest.fixture
def desk(scene, tmp_path):
    with put_on_desk(scene, GRIDS["oblique"], tmp_path / "review") as made:
        yield made


def test_on_any_grid_the_scene_holds_the_sessions_findings_after_every_act(
    scene, geometry, tmp_path
):
    with put_on_desk(scene, geometry, tmp_path / "review") as desk:
        agree(desk)
        mask = mask_of(desk, "F1")
        mask[1:4, 5, 2:6] = True
        for act in (
            Accept("F1"), Reject("F2", "vessel"), Relabel("F3", 4),
            EditMask.drawn("F1", mask), EditBox("F1", (1.0, 3.0, 2.0, 3.0, 6.0, 5.0)),
            EditBox("F4", (0.0, 0.5, 0.5, 4.0, 9.0, 9.0)), AddBox((5, 5, 5, 8, 8, 8), 4),
            EditMask.drawn("F4", np.roll(mask, 4, axis=0)), Comment("odd", "F3"),
        ):  # fmt: skip
            desk.do(act)
            agree(desk)
        desk.merge(["F1", "F3"], 1)
        agree(desk)
        while desk.can_undo:
            desk.undo()
            agree(desk)
        while desk.can_redo:
            desk.redo()
        agree(desk)


def test_a_table_gets_rows_with_place_and_class_highest_score_first(desk):
    rows = desk.items
    assert [row.id for row in rows] == ["F1", "F2", "F3", "F4", "F5"]
    first = rows[0]
    assert (first.label_name, first.colour_rgb, first.has_mask) == ("nodule", (200, 30, 60), True)
    centre = GRIDS["oblique"].box_centre_ras_mm((1, 2, 2, 4, 5, 6))
    assert np.allclose(first.centre_ras_mm, centre)
    assert first.place == place_text(centre)
    assert first.slice_k == 2
    assert not rows[3].has_mask
    desk.do(Relabel("F1", 4))
    assert desk.item("F1").label_name == "cyst; simple|thin"
    assert desk.item("F2") is rows[1]  # what did not change is not made again


def test_a_place_is_said_by_sides():
    assert place_text((34.4, -12.0, -0.6)) == "R 34 P 12 I 1"
    assert place_text((-3.0, 8.6, 0.0)) == "L 3 A 9 S 0"


def test_selecting_counts_time_and_moves_the_one_handle(desk, scene):
    desk.select("F1")
    assert desk.roi_node is None  # nobody wanted one
    desk.show_handle(True)
    roi = desk.roi_node
    assert np.allclose(roi.GetCenterWorld(), desk.jump_ras_mm("F1"), atol=1e-4)
    desk.select("F5")
    assert desk.roi_node is roi
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 1
    assert np.allclose(roi.GetCenterWorld(), desk.jump_ras_mm("F5"), atol=1e-4)
    assert roi.GetDisplayNode().GetVisibility()
    assert desk.current == desk.session.focus == "F5"
    desk.show_handle(False)
    assert not roi.GetDisplayNode().GetVisibility()
    desk.select(None)
    assert desk.current is None
    assert [e.act["finding_id"] for e in desk.session.history] == ["F1", "F5", None]
    assert [c.ids for c in desk.told if c.kind == "focus"] == [("F1",), ("F1", "F5"), ("F5",)]
    agree(desk)


def test_the_finding_in_hand_stands_out_and_a_rejected_one_is_an_outline(desk):
    display = desk.segmentation_node.GetDisplayNode()
    desk.select("F1")
    assert display.GetSegmentOpacity2DFill("F1") > display.GetSegmentOpacity2DFill("F2") > 0
    desk.do(Reject("F2", "vessel"))
    assert display.GetSegmentOpacity2DFill("F2") == 0
    assert not display.GetSegmentVisibility3D("F2")
    assert display.GetSegmentVisibility2DOutline("F2")
    desk.undo()
    assert display.GetSegmentOpacity2DFill("F2") > 0
    assert display.GetSegmentVisibility3D("F2")


def test_only_some_are_shown_and_the_users_own_segments_are_left_alone(desk):
    node = desk.segmentation_node
    node.GetSegmentation().AddEmptySegment("mine", "mine")
    display, events = node.GetDisplayNode(), []
    display.AddObserver("ModifiedEvent", lambda *_: events.append(1))
    desk.show_only(["F2", "F3"])
    shown = [i for i in all_segments(desk) if display.GetSegmentVisibility(i)]
    assert shown == ["F2", "F3", "mine"]
    assert len(events) == 1
    new = desk.add_box_at(desk.jump_ras_mm("F1"), 1)
    assert not display.GetSegmentVisibility(new)  # it does not pass the filter either
    desk.show_only(None)
    assert all(display.GetSegmentVisibility(i) for i in all_segments(desk))


def test_names_and_tags_follow_each_act(desk):
    desk.do(Relabel("F3", 4))
    desk.do(Accept("F3"))
    segment = desk.segmentation_node.GetSegmentation().GetSegment("F3")
    assert segment.GetName() == "F3 cyst; simple|thin 0.20"
    assert np.allclose(np.array(segment.GetColor()) * 255, (10, 255, 0))
    assert tag_of(segment, "MedDetect.State") == "edited"
    assert tag_of(segment, "MedDetect.Label") == "4"


def test_a_box_is_put_where_the_user_points(desk):
    place = desk.session.about.geometry.index_to_ras((4, 5, 6))
    new = desk.add_box_at(place, 4, (5.0, 2.8, 2.7))  # 2, 4 and 3 voxels
    item = desk.session.item(new)
    assert item.box == (4.0, 4.0, 5.0, 6.0, 8.0, 8.0)
    assert (item.state, item.label, item.score) == ("added", 4, 1.0)
    assert new in all_segments(desk)
    agree(desk)
    tiny = desk.add_box_at(place, 4, 0.001)
    assert desk.session.item(tiny).box == (4.0, 5.0, 6.0, 5.0, 6.0, 7.0)
    with pytest.raises(InputError, match="box-outside"):
        desk.add_box_at(desk.session.about.geometry.index_to_ras((40, 5, 6)), 4)
    with pytest.raises(InputError, match="bad-size"):
        desk.add_box_at(place, 4, 0)


def test_a_segment_the_user_drew_becomes_a_finding_only_when_asked(desk):
    node = desk.segmentation_node
    node.GetSegmentation().AddEmptySegment("mine", "a lesion")
    mask = np.zeros((9, 10, 11), bool)
    mask[5:7, 0:2, 0:3] = True
    from desk_samples import paint

    paint(desk, "mine", mask, over=all_segments(desk))
    assert desk.take_edits() == ()
    new = desk.add_mask_from_segment("mine", 4)
    assert np.array_equal(mask_of(desk, new), mask)
    assert "mine" not in all_segments(desk)
    agree(desk)
    with pytest.raises(InputError, match="unknown-segment"):
        desk.add_mask_from_segment("F1", 4)
    node.GetSegmentation().AddEmptySegment("empty", "nothing")
    with pytest.raises(InputError, match="empty-mask"):
        desk.add_mask_from_segment("empty", 4)


def test_a_users_segment_may_be_kept_beside_its_finding(desk):
    from desk_samples import paint

    desk.segmentation_node.GetSegmentation().AddEmptySegment("mine", "a lesion")
    mask = np.zeros((9, 10, 11), bool)
    mask[6, 0, 0:3] = True
    paint(desk, "mine", mask, over=all_segments(desk))
    new = desk.add_mask_from_segment("mine", 1, keep=True)
    assert np.array_equal(mask_of(desk, new), mask)
    patch = desk._joint.mirror.read("mine")
    assert patch is not None
    assert patch.box == (6.0, 0.0, 0.0, 7.0, 1.0, 3.0)
    agree(desk)


def test_a_finding_is_cut_by_a_plane_in_the_patient(desk):
    geometry = desk.session.about.geometry
    plane = Plane(tuple(geometry.index_to_ras((2, 3, 3.5))), tuple(geometry.ijk_to_ras[:3, 0]))
    first, second = desk.split("F1", plane)
    assert first == "F1"
    assert desk.session.item("F1").volume_ml + desk.session.item(second).volume_ml > 0
    assert {desk.session.item(i).box[2] for i in (first, second)} == {2.0, 4.0}
    agree(desk)
    with pytest.raises(InputError, match="nothing-to-split"):
        desk.split("F3")


def test_acts_done_through_the_session_are_shown_too(desk):
    desk.session.do(Accept("F1"))
    desk.session.do(AddBox((5, 5, 5, 8, 8, 8), 1))
    assert all_segments(desk)[-1] == "F6"
    assert [c.kind for c in desk.told] == ["act", "act"]
    assert desk.told[1].added == ("F6",)
    agree(desk)


def test_listeners_hear_after_session_and_scene_agree(desk):
    seen = []

    def listen(changed):
        tag = tag_of(desk.segmentation_node.GetSegmentation().GetSegment("F1"), "MedDetect.State")
        seen.append((changed.kind, changed.ids, tag, desk.item("F1").state))

    stop = desk.subscribe(listen)
    desk.do(Accept("F1"))
    desk.undo()
    stop()
    desk.redo()
    assert seen == [("act", ("F1",), "accepted", "accepted"), ("undo", ("F1",), "new", "new")]


def test_a_refused_act_changes_neither_side(desk):
    before = desk.findings
    with pytest.raises(InputError, match="unknown-label"):
        desk.do(Relabel("F1", 9))
    with pytest.raises(InputError, match="unknown-finding"):
        desk.select("F77")
    assert_same(desk.findings, before)
    assert desk.told == []
    agree(desk)


def test_signing_freezes_and_reopening_thaws(desk):
    desk.select("F1")
    signature = desk.sign("Dr A", "fine")
    assert desk.signature == signature
    assert (signature.reviewer, signature.comment) == ("Dr A", "fine")
    assert desk.can_undo == desk.can_redo == ""
    with pytest.raises(StoreError, match="signed"):
        desk.do(Accept("F1"))
    desk.select("F2")  # to look at is no act
    assert desk.current == "F2"
    desk.do(Reopen("Dr A", "missed one"))
    desk.do(Accept("F1"))
    assert [c.kind for c in desk.told if c.kind != "focus"] == ["signed", "reopened", "act"]
    with pytest.raises(InputError, match="no-reviewer"):
        desk.do(Sign(" "))


def test_what_is_done_while_a_signature_is_prepared_is_signed_too(desk):
    steps = desk.sign_in_steps("Dr A")
    next(steps)
    desk.do(Accept("F1"))
    signature = finished(steps)
    assert [entry.kind for entry in desk.session.history] == ["accept", "sign"]
    assert signature.findings_sha256 == findings_sha256(desk.findings)


def test_a_desk_closed_while_a_signature_is_prepared_is_not_signed(desk):
    steps = desk.sign_in_steps("Dr A")
    next(steps)
    desk.close()
    with pytest.raises(StoreError, match="closed"):
        finished(steps)
    with ReviewSession.open(desk.session.folder, read_only=True) as session:
        assert session.signature is None


def test_a_closed_desk_refuses_and_says_where_the_work_is(desk, scene, tmp_path):
    desk.show_handle(True)
    desk.select("F1")
    desk.close()
    assert desk.is_closed
    assert desk.segmentation_node is None
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    with pytest.raises(StoreError, match="closed") as refused:
        desk.do(Accept("F1"))
    assert str(tmp_path / "review") in str(refused.value)
    assert desk.told[-1].kind == "closed"
    ReviewSession.open(tmp_path / "review").close()  # the lock is free
    desk.close()
    assert [c.kind for c in desk.told].count("closed") == 1


def test_a_start_that_is_refused_leaves_no_node_and_no_session(scene, tmp_path):
    from desk_samples import volume_and_findings

    from MedDetectLib.adapters.mrml.volume_node import volume_to_node

    volume, _ = volume_and_findings(GRIDS["identity"])
    _, elsewhere = volume_and_findings(GRIDS["oblique"])
    node = volume_to_node(scene, volume)
    with pytest.raises(InputError, match="other-grid"):
        ReviewDesk.begin(scene, node, elsewhere, tmp_path / "review")
    assert not (tmp_path / "review").exists()
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_a_begin_in_steps_may_be_given_up(scene, tmp_path):
    from desk_samples import volume_and_findings

    from MedDetectLib.adapters.mrml.volume_node import volume_to_node

    volume, findings = volume_and_findings(GRIDS["identity"])
    node = volume_to_node(scene, volume)
    steps = ReviewDesk.begin_in_steps(scene, node, findings, tmp_path / "review")
    done = [next(steps)]
    while done[-1] < 0.9:
        done.append(next(steps))
    assert done == sorted(done)
    steps.close()
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    with ReviewDesk.resume(scene, tmp_path / "review", node) as desk:
        agree(desk)


def test_what_the_journal_says_is_what_was_done(desk):
    desk.do(Accept("F1"))
    desk.undo()
    assert acts(desk) == [("accept", "F1"), ("undo", None)]

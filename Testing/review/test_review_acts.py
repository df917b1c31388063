"""What each act does to box, mask, label, score and state."""

import numpy as np
import pytest
from review_samples import GRID, SHAPE, block, item, made_findings, mask, same

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.measure import measure_box, measure_mask, tight_box
from MedDetectLib.review.acts import (
    Accept,
    Act,
    AddBox,
    AddMask,
    Comment,
    EditBox,
    EditMask,
    Focus,
    Merge,
    Plane,
    Redo,
    Reject,
    Relabel,
    Reopen,
    Sign,
    Split,
    Undo,
)
from MedDetectLib.review.edits import apply_mask_edit
from MedDetectLib.review.patches import Patch, patch_from_mask
from MedDetectLib.review.session import ReviewSession


def test_accepting_and_rejecting_change_the_state_and_nothing_else(session, findings):
    session.do(Accept("F1"))
    session.do(Reject("F3", "vessel"))
    assert [each.state for each in session.findings] == [
        "accepted", "new", "rejected", "new", "new",
    ]  # fmt: skip
    assert np.array_equal(session.findings.label_map, findings.label_map)
    assert session.history[1].act["reason"] == "vessel"


def test_a_drawn_mask_moves_the_box_and_is_measured_anew(session):
    patch = block((0, 4), (1, 5), (2, 6))
    session.do(EditMask("F1", patch))
    after = item(session, "F1")
    assert after.box == (0.0, 1.0, 2.0, 4.0, 5.0, 6.0)
    assert (after.diameter_mm, after.volume_ml) == measure_mask(mask(session, "F1"), GRID)
    assert (after.state, after.mask_value, after.score) == ("edited", 7, 0.97)
    assert session.patch_of("F1").is_same(patch)


def test_a_mask_takes_voxels_of_a_neighbour_whose_box_becomes_tight_to_the_rest(session):
    session.do(EditMask("F1", block((1, 4), (2, 6), (2, 6))))
    rest = mask(session, "F2")
    assert item(session, "F2").box == tight_box(rest) == (1.0, 6.0, 2.0, 4.0, 7.0, 6.0)
    assert item(session, "F2").state == "edited"
    assert not (rest & mask(session, "F1")).any()


def test_a_mask_that_lets_neighbours_keep_theirs_is_painted_around_them(session, findings):
    session.do(EditMask("F1", block((1, 4), (2, 6), (2, 7)), overlap="keep"))
    assert np.array_equal(mask(session, "F2"), findings.mask_of(findings.items[1]))
    assert item(session, "F2") == findings.items[1]
    assert mask(session, "F1")[1, 5].nonzero()[0].tolist() == [6]
    with pytest.raises(InputError, match="other findings hold every voxel"):
        session.do(EditMask("F1", block((1, 4), (5, 6), (2, 6)), overlap="keep"))


def test_a_mask_that_may_not_overlap_is_refused_and_nothing_changes(session, findings):
    with pytest.raises(InputError, match="covers voxels of F2"):
        session.do(AddMask(block((1, 2), (5, 9), (2, 3)), 1, overlap="refuse"))
    assert same(session.findings, findings)
    assert session.history == ()
    session.do(AddMask(block((0, 1), (0, 1), (0, 6)), 1, overlap="refuse"))  # 55 is nobody's


def test_a_finding_that_is_drawn_over_completely_goes_and_undo_brings_it_back(session, findings):
    entry = session.do(EditMask("F1", block((1, 4), (2, 7), (2, 6))))
    assert [each.id for each in session.findings] == ["F1", "F3", "F4", "F5"]
    assert entry.text == "edit-mask F1 gone: F2"
    session.do(Undo())
    assert same(session.findings, findings)


def test_drawing_a_box_only_finding_gives_it_a_mask(session):
    session.do(EditMask("F4", block((4, 5), (4, 5), (4, 7))))
    after = item(session, "F4")
    assert (after.mask_value, after.box) == (301, (4.0, 4.0, 4.0, 5.0, 5.0, 7.0))


def test_the_same_mask_again_is_no_edit(session, findings):
    entry = session.do(EditMask.drawn("F1", findings.mask_of(findings.items[0])))
    assert not entry.effect
    assert session.undoable is None
    assert item(session, "F1").state == "new"


def test_a_shrunk_box_crops_the_mask_and_a_grown_one_leaves_it(session, findings):
    session.do(EditBox("F1", (1.0, 2.0, 3.0, 4.0, 5.0, 5.0)))
    expected = findings.mask_of(findings.items[0])
    expected[:, :, [2, 5]] = False
    assert np.array_equal(mask(session, "F1"), expected)
    assert item(session, "F1").volume_ml == measure_mask(expected, GRID)[1]
    session.do(EditBox("F1", (0.0, 0.0, 0.0, 9.0, 10.0, 11.0)))
    assert np.array_equal(mask(session, "F1"), expected)


def test_a_box_moved_off_its_mask_leaves_a_box_without_mask(session):
    session.do(EditBox("F3", (0.0, 0.0, 0.0, 2.0, 2.0, 2.0)))
    after = item(session, "F3")
    assert (after.mask_value, after.volume_ml) == (None, measure_box(after.box, GRID)[1])
    assert not (session.findings.label_map == 300).any()


def test_a_box_reaching_outside_is_cut_and_one_outside_is_refused(session):
    session.do(EditBox("F4", (-5.0, 2.0, 2.0, 4.0, 50.0, 6.0)))
    assert item(session, "F4").box == (0.0, 2.0, 2.0, 4.0, 10.0, 6.0)
    for box in ((-5.0, 2, 2, -4, 5, 6), (3.0, 3, 3, 3, 4, 4), (float("nan"), 0, 0, 1, 1, 1)):
        with pytest.raises(InputError):
            session.do(EditBox("F4", box))


def test_a_box_only_result_has_no_label_map_until_somebody_draws(tmp_path):
    start = made_findings(masks=False)
    with ReviewSession.start(tmp_path / "r", start, volume_sha256="") as session:
        session.do(EditBox("F4", (1.0, 1.0, 1.0, 3.0, 3.0, 3.0)))
        assert session.findings.label_map is None
        session.do(AddMask(block((1, 3), (1, 3), (1, 3)), 1))
        assert session.findings.label_map.sum() == 8
        session.do(Undo())
        assert session.findings.label_map is None


def test_added_findings_get_new_ids_and_stay_added_when_drawn_again(session):
    session.do(AddBox((0.0, 0.0, 0.0, 2.0, 2.0, 2.5), 4))
    session.do(AddMask(block((8, 9), (0, 2), (0, 2)), 1, score=0.5))
    session.do(EditMask("F7", block((8, 9), (0, 3), (0, 2))))
    added = [item(session, key) for key in ("F6", "F7")]
    assert [(a.label, a.score, a.state) for a in added] == [(4, 1.0, "added"), (1, 0.5, "added")]
    assert added[1].mask_value == 301


def test_an_id_is_never_used_again_not_even_after_undo(session):
    session.do(AddBox((0.0, 0.0, 0.0, 2.0, 2.0, 2.0), 1))
    session.do(Undo())
    session.do(AddBox((0.0, 0.0, 0.0, 3.0, 3.0, 3.0), 1))
    assert [each.id for each in session.findings][-1] == "F7"
    session.close()
    with ReviewSession.open(session.folder) as again:
        again.do(Undo())
        again.do(AddBox((0.0, 0.0, 0.0, 3.0, 3.0, 3.0), 1))
        assert [each.id for each in again.findings][-1] == "F8"


def test_a_merge_keeps_the_higher_score_and_says_what_was_merged(session, findings):
    entry = session.do(Merge(("F2", "F1")))
    whole = item(session, "F1")
    union = findings.mask_of(findings.items[0]) | findings.mask_of(findings.items[1])
    assert np.array_equal(mask(session, "F1"), union)
    assert (whole.score, whole.box, whole.state) == (0.97, tight_box(union), "edited")
    assert [each.id for each in session.findings] == ["F1", "F3", "F4", "F5"]
    assert entry.text == "merge F2, F1 gone: F2"
    assert entry.effect.counts == {"F2": (0, 24), "F1": (24, 0)}


def test_a_merge_changes_only_the_voxels_of_those_that_go(session, findings):
    entry = session.do(Merge(("F1", "F3"), label=1))
    gone = patch_from_mask(findings.mask_of(findings.items[2]))
    start, shape, _ = entry.effect.voxels["where"]
    assert (tuple(start), tuple(shape)) == (gone.start_kji, gone.mask.shape)
    assert entry.effect.counts == {"F1": (3, 0), "F3": (0, 3)}


def test_boxes_merge_to_the_box_around_them_and_a_box_widens_a_mask(session, findings):
    session.do(Merge(("F4", "F5")))
    box = item(session, "F4").box
    assert box == (2.25, 2.5, 3.125, 8.2, 9.3, 9.9)
    session.do(Merge(("F1", "F4")))
    both = item(session, "F1")
    assert both.box == (1.0, 2.0, 2.0, 8.2, 9.3, 9.9)
    assert both.volume_ml == findings.items[0].volume_ml
    assert np.array_equal(mask(session, "F1"), findings.mask_of(findings.items[0]))


def test_a_better_scored_box_takes_over_the_mask_it_is_merged_with(session, findings):
    session.do(AddBox((0.0, 0.0, 0.0, 1.0, 1.0, 1.0), 1))
    session.do(Merge(("F1", "F2", "F6")))
    session.do(AddBox((0.0, 0.0, 0.0, 1.0, 1.0, 1.0), 1))
    session.do(EditBox("F6", (0.0, 0.0, 0.0, 4.0, 7.0, 6.0)))
    union = findings.mask_of(findings.items[0]) | findings.mask_of(findings.items[1])
    assert np.array_equal(mask(session, "F6"), union)
    assert session.patch_of("F6").is_same(patch_from_mask(union))
    session.do(Merge(("F6", "F7")))
    assert session.patch_of("F6").is_same(patch_from_mask(union))


def test_findings_of_two_classes_merge_only_when_the_class_is_said(session):
    with pytest.raises(InputError, match="F1 is class 1, F3 is class 4"):
        session.do(Merge(("F1", "F3")))
    session.do(Merge(("F1", "F3"), label=4))
    assert (item(session, "F1").label, mask(session, "F1").sum()) == (4, 39)


def test_a_finding_is_split_into_the_pieces_that_touch_nowhere(session, findings):
    session.do(Split("F3"))
    assert [each.id for each in session.findings] == ["F1", "F2", "F3", "F4", "F5", "F6"]
    assert (mask(session, "F3").sum(), mask(session, "F6").sum()) == (2, 1)
    assert item(session, "F6").score == item(session, "F3").score == 0.2
    with pytest.raises(InputError, match="one piece"):
        session.do(Split("F3"))
    session.do(Undo())
    assert same(session.findings, findings)


def test_a_plane_in_world_space_cuts_a_finding_between_voxel_centres(session):
    point = tuple(GRID.index_to_ras([0, 0, 4.4]).tolist())
    normal = tuple((GRID.ijk_to_ras[:3, 0]).tolist())
    session.do(Split("F1", by=Plane(point, normal)))
    assert sorted(np.flatnonzero(mask(session, "F1").any(axis=(0, 1))).tolist()) == [2, 3, 4]
    assert sorted(np.flatnonzero(mask(session, "F6").any(axis=(0, 1))).tolist()) == [5]


def test_given_parts_split_a_finding_and_the_rest_stays_with_the_largest(session, findings):
    first, second = block((1, 2), (2, 5), (2, 6)), block((3, 9), (2, 4), (2, 9))
    session.do(Split("F1", by=(first, second)))
    whole = findings.mask_of(findings.items[0])
    assert np.array_equal(mask(session, "F1") | mask(session, "F6"), whole)
    assert np.flatnonzero(mask(session, "F6").any(axis=(1, 2))).tolist() == [3]
    assert mask(session, "F6").sum() == 8


def test_relabelling_needs_a_class_the_model_knows(session):
    session.do(Relabel("F1", 4))
    assert (item(session, "F1").label, item(session, "F1").state) == (4, "edited")
    with pytest.raises(InputError, match="choose from 1 nodule, 4 cyst"):
        session.do(Relabel("F1", 2))


@pytest.mark.parametrize(
    "act",
    [
        Accept("F9"),
        Reject("F1", "  "),
        EditMask("F9", block((0, 1), (0, 1), (0, 1))),
        EditMask("F1", Patch((8, 9, 10), np.ones((1, 1, 2), bool))),
        EditMask("F1", Patch((-1, 0, 0), np.ones((2, 1, 1), bool))),
        EditMask("F1", Patch((0, 0, 0), np.zeros((2, 1, 1), bool))),
        EditBox("F9", (0.0, 0.0, 0.0, 1.0, 1.0, 1.0)),
        AddBox((0.0, 0.0, 0.0, 1.0, 1.0, 1.0), 9),
        AddBox((0.0, 0.0, 0.0, 1.0, 1.0, 1.0), 1, score=float("nan")),
        Merge(("F1", "F1")),
        Merge(("F1", "F9")),
        Split("F4"),
        Split("F1", by=Plane((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))),
        Split("F1", by=(block((8, 9), (0, 1), (0, 1)),)),
        Comment(" "),
        Comment("hm", "F9"),
        Focus("F9"),
        Sign(""),
        Undo(),
        Redo(),
        Act(),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_no_trace(session, findings, act):
    with pytest.raises(InputError) as caught:
        session.do(act)
    assert "\n" not in str(caught.value)
    assert session.history == ()
    assert same(session.findings, findings)
    assert len((session.folder / "journal.jsonl").read_text("ascii").splitlines()) == 1


def test_a_mask_without_voxels_or_on_another_grid_is_refused():
    with pytest.raises(InputError, match="no voxel"):
        AddMask.drawn(np.zeros(SHAPE, bool), 1)


def test_the_label_map_runs_out_of_values_only_when_all_are_taken(tmp_path):
    start = made_findings()
    start.label_map[8, 9, 10] = 65535
    with ReviewSession.start(tmp_path / "r", start, volume_sha256="") as session:
        session.do(AddMask(block((8, 9), (0, 1), (0, 1)), 1))
        assert item(session, "F6").mask_value == 1
        session.do(AddMask(block((8, 9), (2, 3), (0, 1)), 1))
        assert item(session, "F7").mask_value == 3


def test_reopening_asks_for_a_name_and_a_reason(session):
    session.do(Sign("Dr. One"))
    for act in (Reopen("", "why"), Reopen("Dr. Two", "")):
        with pytest.raises(InputError):
            session.do(act)


def test_accepting_what_a_person_drew_does_not_make_it_the_models(session):
    first, second = (item.id for item in session.items[:2])
    label = session.items[0].label
    other = next(each.value for each in session.about.labels if each.value != label)
    session.do(Relabel(first, other))
    session.do(Accept(first))
    session.do(Accept(second))
    states = {item.id: item.state for item in session.items}
    assert (states[first], states[second]) == ("edited", "accepted")
    session.do(Undo())
    states = {item.id: item.state for item in session.items}
    assert (states[first], states[second]) == ("edited", "new")


def test_a_rejected_neighbour_that_is_drawn_over_stays_rejected(session):
    session.do(Reject("F2", "vessel"))
    session.do(EditMask("F1", block((1, 4), (2, 6), (2, 6))))
    assert item(session, "F2").state == "rejected"
    assert item(session, "F2").box == tight_box(mask(session, "F2"))
    over = mask(session, "F1").copy()
    over[1, 6, 2:6] = True
    redrawn = apply_mask_edit(session.findings, "F1", over)
    assert [(each.state, each.box[0]) for each in redrawn if each.id == "F2"] == [("rejected", 2)]


def test_what_a_person_drew_is_still_theirs_after_a_rejection(session, tmp_path):
    session.do(EditMask("F1", block((1, 4), (2, 4), (2, 6))))
    session.do(AddBox((0, 0, 0, 2, 2, 2), 1))
    for key in ("F1", "F6", "F3"):
        session.do(Reject(key, "not sure"))
    session.do(EditBox("F5", (5.0, 6.0, 7.0, 8.0, 9.0, 9.0)))
    session.do(Undo())
    session.do(Reject("F5", "not sure"))
    session.close()
    with ReviewSession.open(tmp_path / "review") as session:
        for key in ("F1", "F6", "F3", "F5"):
            session.do(Accept(key))
        states = {each.id: each.state for each in session.findings}
        assert (states["F1"], states["F6"]) == ("edited", "added")
        assert (states["F3"], states["F5"]) == ("accepted", "accepted")  # no edit of F5 stands
        session.do(Reject("F6", "not sure"))
        session.do(EditBox("F6", (0, 0, 0, 3, 3, 3)))
        assert item(session, "F6").state == "added"

"""Versions: compared, shown beside the review, two readers' agreement, a third who decides."""

import slicer

from Testing.harness import kit
from Testing.module.panel_world import settle
from Testing.module.test_panel_save import judge, sign, store_of


def read_again(world, reader="Dr B"):
    """Sign a second reading, in which the first finding is rejected."""
    world.ui.reviewerEdit.text = reader
    kit.click(world.ui.readingButton)
    settle(world)
    kit.click_cell(world.ui.findingsTable, 0, 0)
    kit.press(world.ui.findingsTable, "R")
    kit.click(world.ui.signButton)
    settle(world)


def read_twice(world):
    judge(world)
    sign(world)
    read_again(world)


def shown_versions():
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node.GetName() for node in nodes if node.GetName().startswith("version ")]


def test_once_signed_the_next_reader_may_type_their_name_and_only_the_first_reopens(reviewed):
    judge(reviewed)
    sign(reviewed)
    assert not reviewed.ui.reviewerEdit.readOnly
    assert reviewed.ui.reopenButton.enabled
    reviewed.ui.reviewerEdit.text = "Dr B"
    assert not reviewed.ui.reopenButton.enabled
    assert reviewed.ui.readingButton.enabled


def test_two_readers_versions_are_compared_with_what_changed_and_how_far_they_agree(reviewed):
    read_twice(reviewed)
    ui = reviewed.ui
    assert ui.versionSelector.currentText.startswith("3  review  Dr B")
    assert ui.compareSelector.currentText.startswith("2  review  Dr A")
    assert not ui.compareNote.visible
    kit.click(ui.compareButton)
    settle(reviewed)
    assert ui.compareNote.text.startswith("✓ 2 to 3: 0 added, 0 removed, 1 changed.  1 of 2 fin")
    assert "state accepted → rejected" in ui.compareNote.toolTip
    assert "kappa of voxels" in ui.compareNote.toolTip


def test_the_models_version_and_a_readers_differ_but_are_no_two_readings(reviewed):
    judge(reviewed)
    sign(reviewed)
    kit.click(reviewed.ui.compareButton)
    settle(reviewed)
    assert reviewed.ui.compareNote.text == "✓ 1 to 2: 0 added, 0 removed, 3 changed."
    assert not reviewed.ui.settleButton.enabled
    assert reviewed.ui.settleButton.toolTip == "Choose the readings of two readers."


def test_a_version_is_shown_beside_the_review_and_taken_away_again(reviewed):
    read_twice(reviewed)
    kit.click(reviewed.ui.showVersionButton)
    assert shown_versions() == ["version 3: Dr B"]
    kit.choose(reviewed.ui.versionSelector, reviewed.ui.versionSelector.itemText(1))
    assert shown_versions() == ["version 2: Dr A"]
    kit.click(reviewed.ui.showVersionButton)
    assert shown_versions() == []
    assert reviewed.review.isOpen


def test_what_is_shown_beside_goes_with_the_scene_and_with_the_case(reviewed):
    read_twice(reviewed)
    kit.click(reviewed.ui.showVersionButton)
    kit.click(reviewed.ui.openVersionButton)
    settle(reviewed)
    assert shown_versions() == []
    assert not reviewed.ui.showVersionButton.checked
    kit.click(reviewed.ui.showVersionButton)
    slicer.mrmlScene.Clear(0)
    assert not reviewed.ui.showVersionButton.checked
    assert shown_versions() == []


def test_a_third_person_settles_two_readings_with_both_before_their_eyes(reviewed):
    read_twice(reviewed)
    assert reviewed.ui.settleButton.toolTip == (
        "A third person decides; Dr B is one of the readers."
    )
    kit.type_text(reviewed.ui.reviewerEdit, "Dr C")
    reviewed.ui.reviewerEdit.text = "Dr C"
    kit.click(reviewed.ui.settleButton)
    settle(reviewed)
    assert shown_versions() == ["version 2: Dr A"]
    assert reviewed.ui.showVersionButton.checked
    states = [item.state for item in reviewed.review.items]
    assert states == ["rejected", "rejected", "accepted"]
    kit.click(reviewed.ui.signButton)
    settle(reviewed)
    last = store_of(reviewed).versions(reviewed.panel.parameters.caseId)[-1]
    assert (last.kind, last.author, last.of) == ("adjudicated", "Dr C", (3, 2))


def test_a_blinded_reader_can_neither_see_nor_compare_others_work(reviewed):
    judge(reviewed)
    sign(reviewed)
    reviewed.ui.reviewerEdit.text = "Dr B"
    kit.click(reviewed.ui.blindedCheck)
    assert reviewed.ui.compareSelector.count == 1
    assert not reviewed.ui.compareButton.enabled
    assert not reviewed.ui.settleButton.enabled
    kit.click(reviewed.ui.showVersionButton)
    assert [name.split(":")[0] for name in shown_versions()] == ["version 1"]

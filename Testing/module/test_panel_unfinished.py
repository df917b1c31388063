"""After a crash: readings are offered too, and a locked or damaged review can be looked at."""

import json

import pytest
import slicer

from MedDetectLib.review.session import ReviewSession
from Testing.harness import kit
from Testing.module.panel_world import add_volume, settle
from Testing.module.test_panel_save import judge, sign


@pytest.fixture
def left(reviewed):
    """A judged review that was left; its image is loaded again."""
    judge(reviewed)
    reviewed.folder = reviewed.review.folder
    slicer.mrmlScene.Clear(0)
    add_volume(reviewed.volume)
    assert reviewed.ui.resumeButton.visible
    return reviewed


def look(world):
    kit.click(world.ui.lookButton)
    settle(world)
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node.GetName() for node in nodes]


def damage(folder, line):
    """Change one byte in a line of the journal, counted from 1."""
    path = folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) > line
    lines[line - 1] = lines[line - 1].replace(b'"kind"', b'"kinD"', 1)
    path.write_bytes(b"".join(lines))
    return path.read_bytes()


def test_the_offer_names_who_began_the_review(reviewed):
    reviewed.ui.reviewerEdit.text = "Dr A"
    kit.click(reviewed.ui.runButton)
    settle(reviewed)
    judge(reviewed)
    slicer.mrmlScene.Clear(0)
    add_volume(reviewed.volume)
    assert " by Dr A: " in reviewed.ui.unfinishedNote.text


def test_a_review_that_is_open_elsewhere_can_be_looked_at(left):
    with ReviewSession.open(left.folder):
        kit.click(left.ui.resumeButton)
        settle(left)
        assert "has this review open; close it there" in left.ui.unfinishedNote.text
        assert str(left.folder) in left.ui.unfinishedNote.toolTip
        assert not left.ui.salvageButton.visible
        assert look(left) == [f"only to look at: {left.folder.name}"]
        assert left.ui.saveState.text.startswith("✓ 3 findings after ")
        assert not left.review.isOpen
        assert not left.ui.acceptButton.enabled
    left.panel.unfinished.offer()
    kit.click(left.ui.resumeButton)
    settle(left)
    assert left.review.isOpen
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_a_damaged_review_says_what_is_kept_and_goes_on_in_a_new_one(left):
    bytes_before = damage(left.folder, 5)
    kit.click(left.ui.resumeButton)
    settle(left)
    assert left.ui.unfinishedNote.text.startswith("✕ Line 5 is damaged")
    assert str(left.folder) in left.ui.unfinishedNote.toolTip
    assert look(left) == [f"only to look at: {left.folder.name}"]
    kit.click(left.ui.salvageButton)
    settle(left)
    assert left.review.isOpen
    assert left.review.folder != left.folder
    states = [item.state for item in left.review.items]
    assert "new" in states
    assert states != ["new"] * 3
    assert (left.folder / "journal.jsonl").read_bytes() == bytes_before
    header = json.loads((left.review.folder / "journal.jsonl").read_text().splitlines()[0])
    assert header["about"]["salvaged"] == str(left.folder)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_a_scene_whose_review_is_open_elsewhere_says_so_and_offers_to_look(reviewed, tmp_path):
    judge(reviewed)
    folder = reviewed.review.folder
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    with ReviewSession.open(folder):
        slicer.util.loadScene(str(tmp_path / "scene.mrb"))
        settle(reviewed)
        assert not reviewed.review.isOpen
        assert reviewed.ui.saveState.text == "✕ The review could not be opened."
        assert reviewed.ui.lookButton.visible


def test_an_unfinished_second_reading_is_offered_when_its_image_comes_back(reviewed):
    judge(reviewed)
    sign(reviewed)
    reviewed.ui.reviewerEdit.text = "Dr B"
    kit.click(reviewed.ui.readingButton)
    settle(reviewed)
    kit.click_cell(reviewed.ui.findingsTable, 0, 0)
    kit.press(reviewed.ui.findingsTable, "R")
    folder = reviewed.review.folder
    slicer.mrmlScene.Clear(0)
    add_volume(reviewed.volume)
    assert " by Dr B: " in reviewed.ui.unfinishedNote.text
    kit.click(reviewed.ui.resumeButton)
    settle(reviewed)
    assert reviewed.review.folder == folder
    assert reviewed.review.caseDesk.note.reader == "Dr B"


def test_a_blinded_reader_is_not_offered_anothers_unfinished_review(left):
    left.ui.reviewerEdit.text = "Dr B"
    kit.click(left.ui.blindedCheck)
    assert not left.ui.unfinishedNote.visible


def test_a_damaged_review_can_be_left_for_good(left):
    damage(left.folder, 5)
    kit.click(left.ui.resumeButton)
    settle(left)
    kit.click(left.ui.discardButton)
    assert not left.ui.unfinishedNote.visible

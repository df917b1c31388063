"""Correct: the Segment Editor, the box handle, undo, merge, split and remarks."""

import numpy as np
import slicer

from Testing.harness import hands, kit
from Testing.module.panel_world import table


def choose(world, row):
    kit.click_cell(world.ui.findingsTable, row, 0)
    return world.review.item


def set_mask(world, change):
    """Change the voxels of the finding in hand, as an effect of the editor does."""
    desk = world.review.desk
    node, volume = desk.segmentation_node, desk.volume_node
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, desk.current, volume).copy()
    change(mask)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, desk.current, volume)


def halve(mask):
    rows = np.flatnonzero(mask.any(axis=(0, 2)))
    mask[:, : int(rows[len(rows) // 2])] = 0


def test_e_opens_the_segment_editor_on_the_finding_in_hand(reviewed):
    item = choose(reviewed, 0)
    kit.press(reviewed.ui.findingsTable, "E")
    editor = reviewed.panel.correct.editor
    assert reviewed.ui.editorFrame.visible
    assert editor.segmentationNode() is reviewed.review.desk.segmentation_node
    assert editor.sourceVolumeNode() is reviewed.node
    assert editor.currentSegmentID() == item.id
    assert editor.mrmlSegmentEditorNode().GetSingletonTag() == "MedDetect"
    choose(reviewed, 1)
    assert editor.currentSegmentID() == "F2"
    kit.press(reviewed.ui.findingsTable, "E")
    assert not reviewed.ui.editorFrame.visible


def test_leaving_the_panel_stops_effects(reviewed):
    choose(reviewed, 0)
    kit.click(reviewed.ui.editButton)
    editor = reviewed.panel.correct.editor
    editor.setActiveEffectByName("Paint")
    reviewed.widget.exit()
    assert editor.activeEffect() is None
    reviewed.widget.enter()
    assert editor.currentSegmentID() == "F1"


def test_a_drawn_change_becomes_an_act_by_itself_and_the_box_follows(reviewed):
    before = choose(reviewed, 0)
    set_mask(reviewed, halve)
    kit.until(lambda: reviewed.review.item.state == "edited", 5)
    after = reviewed.review.item
    assert after.volume_ml < before.volume_ml
    assert table(reviewed)[0][0] == "✎ edited"
    session_item = next(i for i in reviewed.review.desk.session.items if i.id == "F1")
    mask = reviewed.review.desk.findings.mask_of(session_item)
    from MedDetectLib.core.measure import tight_box

    assert session_item.box == tight_box(mask)


def test_a_dragged_box_becomes_one_act_and_the_mask_is_cropped(reviewed):
    before = choose(reviewed, 0)
    kit.click(reviewed.ui.boxButton)
    acts = len(reviewed.review.desk.session.history)
    hands.drag_box(reviewed.review.desk.roi_node, 0, 1, -4.0)
    kit.until(lambda: reviewed.review.item.state == "edited", 5)
    assert reviewed.review.item.volume_ml < before.volume_ml
    kit.process(400)
    assert len(reviewed.review.desk.session.history) == acts + 1


def test_there_is_one_handle_and_it_follows_the_finding_in_hand(reviewed):
    choose(reviewed, 0)
    assert reviewed.review.desk.roi_node is None
    kit.click(reviewed.ui.boxButton)
    first = reviewed.review.desk.roi_node
    choose(reviewed, 1)
    assert reviewed.review.desk.roi_node is first
    assert first.GetAttribute("MedDetect.FindingId") == "F2"
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 1
    kit.click(reviewed.ui.boxButton)
    assert not first.GetDisplayNode().GetVisibility()


def test_undo_and_redo_cover_masks_and_boxes_and_say_what_they_do(reviewed):
    before = list(reviewed.review.items)
    choose(reviewed, 0)
    set_mask(reviewed, halve)
    reviewed.panel.takeEdits()
    kit.click(reviewed.ui.boxButton)
    hands.drag_box(reviewed.review.desk.roi_node, 1, 1, -3.0)
    reviewed.panel.takeEdits()
    assert "edit-box" in reviewed.ui.undoButton.toolTip
    kit.click(reviewed.ui.undoButton)
    kit.click(reviewed.ui.undoButton)
    assert reviewed.review.items == before
    assert not reviewed.ui.undoButton.enabled
    assert "edit-mask" in reviewed.ui.redoButton.toolTip
    kit.click(reviewed.ui.redoButton)
    assert reviewed.review.item.state == "edited"


def test_undo_takes_in_what_was_just_drawn_and_takes_it_back(reviewed):
    before = choose(reviewed, 0)
    set_mask(reviewed, halve)
    reviewed.panel.correct.undo()
    assert reviewed.review.item == before


def test_selected_findings_are_merged_and_parted_again(reviewed):
    choose(reviewed, 0)
    assert not reviewed.ui.mergeButton.enabled
    reviewed.ui.findingsTable.selectAll()
    kit.process(10)
    kit.click(reviewed.ui.mergeButton)
    assert len(reviewed.review.items) == 1
    choose(reviewed, 0)
    kit.click(reviewed.ui.splitButton)
    assert len(reviewed.review.items) == 3


def test_a_split_that_makes_no_sense_is_refused_in_one_line(reviewed):
    choose(reviewed, 0)
    kit.click(reviewed.ui.splitButton)
    assert reviewed.ui.saveState.text.startswith("✕ ")
    assert len(reviewed.review.items) == 3


def test_a_remark_is_kept_with_the_finding(reviewed):
    choose(reviewed, 1)
    kit.type_text(reviewed.ui.remarkEdit, "calcified")
    kit.press(reviewed.ui.remarkEdit, "Return")
    entry = reviewed.review.desk.session.comments[-1]
    assert (entry.act["text"], entry.act["finding_id"]) == ("calcified", "F2")
    assert reviewed.ui.remarkEdit.text == ""


def test_the_current_finding_is_named_with_state_and_kind(reviewed):
    choose(reviewed, 0)
    assert reviewed.ui.currentFinding.text == "F1  ball   ○ open   (mask and box)"


def test_a_deleted_segmentation_ends_the_review_and_says_so(reviewed):
    choose(reviewed, 0)
    folder = reviewed.review.folder
    slicer.mrmlScene.RemoveNode(reviewed.review.desk.segmentation_node)
    kit.process(20)
    assert not reviewed.review.isOpen
    assert "its segmentation was deleted" in reviewed.ui.saveState.text
    assert reviewed.ui.findingsTable.rowCount == 0
    assert not reviewed.ui.editButton.enabled
    assert (folder / "journal.jsonl").is_file()


def test_what_the_user_made_in_the_scene_is_left_alone(reviewed):
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "mine")
    choose(reviewed, 0)
    kit.click(reviewed.ui.boxButton)
    kit.click(reviewed.ui.runButton)
    from Testing.module.panel_world import settle

    settle(reviewed)
    assert slicer.mrmlScene.IsNodePresent(own)

"""Save: signing into the store, going on after a crash, versions, second readings."""

import pytest
import slicer

from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.core.errors import StoreError
from Testing.harness import kit
from Testing.module.panel_world import add_volume, settle, volume_of_balls


def judge(world):
    for row, key in enumerate("ARA"):
        kit.click_cell(world.ui.findingsTable, row, 0)
        kit.press(world.ui.findingsTable, key)


def sign(world, reviewer="Dr A", patient="P1"):
    world.ui.reviewerEdit.text = reviewer
    world.ui.patientEdit.text = patient
    kit.click(world.ui.signButton)
    settle(world)


def store_of(world):
    return CaseStore(world.panel.save.storeFolder())


def test_signing_needs_a_review_a_name_and_a_patient_and_says_which_is_missing(world):
    tip = lambda: world.ui.signButton.toolTip  # noqa: E731
    assert tip() == "There is no review yet."
    add_volume(volume_of_balls())
    kit.click(world.ui.runButton)
    settle(world)
    assert (tip(), world.ui.signButton.enabled) == ("Type the reviewer's name first.", False)
    kit.type_text(world.ui.reviewerEdit, "Dr A")
    assert (tip(), world.ui.signButton.enabled) == ("Type the patient's pseudonym first.", False)
    kit.type_text(world.ui.patientEdit, "P1")
    assert world.ui.signButton.enabled


def test_a_signed_review_is_a_case_with_the_models_version_and_the_readers(reviewed):
    judge(reviewed)
    reviewed.ui.commentEdit.text = "two real ones"
    sign(reviewed)
    assert reviewed.ui.saveState.text.startswith("✓ Stored as version 2 of case ")
    store, case_id = store_of(reviewed), reviewed.panel.parameters.caseId
    model, reader = store.versions(case_id)
    assert (model.kind, model.author) == ("ai", "stand-in 1.0.0")
    assert (reader.author, reader.comment, reader.count) == ("Dr A", "two real ones", 2)
    assert store.case(case_id).patient == "P1"
    states = [item.state for item in store.findings(case_id, 2)]
    assert sorted(states) == ["accepted", "accepted", "rejected"]
    shown = reviewed.ui.versionSelector
    assert shown.itemText(0).startswith("2  review  Dr A")
    assert shown.itemText(1).startswith("1  ai  stand-in")


def test_a_signed_review_is_frozen_until_it_is_reopened(reviewed):
    judge(reviewed)
    sign(reviewed)
    for name in ("acceptButton", "rejectButton", "undoButton", "editButton", "signButton"):
        assert not getattr(reviewed.ui, name).enabled
    kit.press(reviewed.ui.findingsTable, "R")
    assert reviewed.review.item.state == "accepted"
    kit.click(reviewed.ui.reopenButton)
    kit.press(reviewed.ui.findingsTable, "R")
    assert reviewed.review.item.state == "rejected"
    kit.click(reviewed.ui.signButton)
    settle(reviewed)
    versions = store_of(reviewed).versions(reviewed.panel.parameters.caseId)
    assert [version.number for version in versions] == [1, 2, 3]


def test_a_store_that_refuses_leaves_the_signature_and_can_be_asked_again(reviewed, monkeypatch):
    from MedDetectLib.adapters.mrml.desk import case_desk

    judge(reviewed)
    real = case_desk.CaseStore.sign_reading

    def full(*_arguments, **_options):
        raise StoreError("disk-full", "the disk is full", todo="make room")

    monkeypatch.setattr(case_desk.CaseStore, "sign_reading", full)
    sign(reviewed)
    assert reviewed.ui.saveState.text == "✕ The disk is full; make room"
    assert reviewed.review.signature is not None
    assert (reviewed.ui.signButton.text, reviewed.ui.signButton.enabled) == ("Save again", True)
    monkeypatch.setattr(case_desk.CaseStore, "sign_reading", real)
    kit.click(reviewed.ui.signButton)
    settle(reviewed)
    versions = store_of(reviewed).versions(reviewed.panel.parameters.caseId)
    assert [version.kind for version in versions] == ["ai", "review"]


def test_sign_save_next_opens_the_next_case(reviewed):
    add_volume(volume_of_balls(name="second"))
    kit.choose(reviewed.ui.caseSelector, "○ 1/2  CT chest")
    kit.click(reviewed.ui.runButton)
    settle(reviewed)
    reviewed.ui.reviewerEdit.text, reviewed.ui.patientEdit.text = "Dr A", "P1"
    kit.click(reviewed.ui.signNextButton)
    settle(reviewed)
    assert reviewed.panel.case.volumeNode().GetName() == "second"
    assert not reviewed.review.isOpen
    assert reviewed.panel.parameters.caseId == ""
    assert reviewed.ui.caseSelector.itemText(0).startswith("✓ 1/2")
    assert reviewed.ui.findingsTable.rowCount == 0


def test_an_unfinished_review_of_the_image_is_offered_and_goes_on(reviewed):
    judge(reviewed)
    items, folder = list(reviewed.review.items), reviewed.review.folder
    slicer.mrmlScene.Clear(0)
    assert not reviewed.review.isOpen
    add_volume(reviewed.volume)
    assert reviewed.ui.unfinishedNote.visible
    assert reviewed.ui.unfinishedNote.text.startswith(
        "▲ An unfinished review of this image: 3 acts"
    )
    kit.click(reviewed.ui.resumeButton)
    settle(reviewed)
    assert reviewed.review.items == items
    assert reviewed.review.folder == folder
    assert not reviewed.ui.unfinishedNote.visible
    kit.click_cell(reviewed.ui.findingsTable, 0, 0)
    reviewed.panel.correct.undo()
    assert [i.state for i in reviewed.review.items].count("new") == 1


def test_an_unfinished_review_can_be_left_for_good(reviewed):
    judge(reviewed)
    folder = reviewed.review.folder
    slicer.mrmlScene.Clear(0)
    add_volume(reviewed.volume)
    kit.click(reviewed.ui.discardButton)
    assert not reviewed.ui.unfinishedNote.visible
    assert (folder / "journal.jsonl").is_file()
    slicer.mrmlScene.Clear(0)
    add_volume(reviewed.volume)
    assert not reviewed.ui.unfinishedNote.visible


def test_a_finished_review_and_one_of_another_image_are_not_offered(reviewed):
    judge(reviewed)
    sign(reviewed)
    slicer.mrmlScene.Clear(0)
    add_volume(reviewed.volume)
    assert not reviewed.ui.unfinishedNote.visible
    kit.click(reviewed.ui.runButton)
    settle(reviewed)
    judge(reviewed)
    slicer.mrmlScene.Clear(0)
    add_volume(volume_of_balls((20, 40, 40)))
    assert not reviewed.ui.unfinishedNote.visible


@pytest.mark.parametrize("ending", ["mrb"])
def test_a_saved_scene_goes_on_with_its_review(reviewed, tmp_path, ending):
    judge(reviewed)
    items, folder = list(reviewed.review.items), reviewed.review.folder
    reviewed.ui.scoreSlider.value = 0.5
    assert slicer.util.saveScene(str(tmp_path / f"scene.{ending}"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / f"scene.{ending}"))
    settle(reviewed)
    assert reviewed.review.items == items
    assert reviewed.review.folder == folder
    assert reviewed.review.current == "F3"
    assert reviewed.ui.scoreSlider.value == 0.5
    reviewed.panel.correct.undo()
    assert reviewed.review.item.state == "new"


def test_a_scene_whose_journal_is_elsewhere_says_so(reviewed, tmp_path):
    import shutil

    judge(reviewed)
    folder = reviewed.review.folder
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    shutil.rmtree(folder)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    settle(reviewed)
    assert not reviewed.review.isOpen
    assert "whose journal is not on this computer" in reviewed.ui.saveState.text


def test_a_version_is_opened_as_the_start_of_a_new_review(reviewed):
    judge(reviewed)
    sign(reviewed)
    kit.choose(reviewed.ui.versionSelector, reviewed.ui.versionSelector.itemText(1))
    kit.click(reviewed.ui.openVersionButton)
    settle(reviewed)
    assert [item.state for item in reviewed.review.items] == ["new"] * 3
    assert reviewed.review.caseDesk.note.start == 1
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_a_blinded_second_reader_starts_from_the_model_and_sees_nobody_else(reviewed):
    judge(reviewed)
    sign(reviewed)
    case_id = reviewed.panel.parameters.caseId
    reviewed.ui.reviewerEdit.text = "Dr B"
    kit.click(reviewed.ui.blindedCheck)
    assert reviewed.ui.versionSelector.count == 1
    kit.click(reviewed.ui.readingButton)
    settle(reviewed)
    assert [item.state for item in reviewed.review.items] == ["new"] * 3
    assert reviewed.ui.versionSelector.count == 1
    assert reviewed.ui.reviewerEdit.readOnly
    kit.click_cell(reviewed.ui.findingsTable, 0, 0)
    kit.press(reviewed.ui.findingsTable, "R")
    kit.click(reviewed.ui.signButton)
    settle(reviewed)
    versions = store_of(reviewed).versions(case_id)
    assert [(v.author, v.blinded) for v in versions[1:]] == [("Dr A", False), ("Dr B", True)]
    assert reviewed.ui.versionSelector.count == 3


def test_the_scene_may_be_closed_while_a_case_is_being_saved(reviewed):
    judge(reviewed)
    reviewed.ui.reviewerEdit.text, reviewed.ui.patientEdit.text = "Dr A", "P1"
    kit.click(reviewed.ui.signButton)
    slicer.mrmlScene.Clear(0)
    kit.process(50)
    store = store_of(reviewed)
    (row,) = store.cases()
    assert [version.kind for version in store.versions(row.id)] == ["ai", "review"]

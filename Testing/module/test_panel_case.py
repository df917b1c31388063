"""Case: images matched to channels, the intake badge, and the worklist."""

import csv

import numpy as np
import pytest

from Testing.harness import kit
from Testing.module.panel_world import add_volume, settle, volume_of_balls, write_model


def save(volume, folder, name):
    from MedDetectLib.cases.nrrd_write import write_nrrd

    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.nrrd"
    write_nrrd(path, volume.array[None].astype(np.uint16), volume.geometry, {})
    return path


def test_without_an_image_the_badge_says_what_is_missing_and_nothing_can_run(world):
    assert "CT" in world.ui.intakeBadge.text
    assert not world.ui.runButton.enabled
    assert "CT" in world.ui.runButton.toolTip


def test_an_image_that_fits_is_chosen_by_itself_and_the_badge_tells_its_grid(world):
    node = add_volume(volume_of_balls())
    assert world.ui.inputSelector1.currentNode() is node
    assert world.panel.parameters.inputVolume is node
    assert world.ui.intakeBadge.text == "✓ CT  ·  40 × 40 × 24  ·  1 × 1 × 2 mm"
    assert world.ui.runButton.enabled


def test_an_image_of_another_modality_is_refused_with_the_reason(world):
    node = add_volume(volume_of_balls(modality="MR", name="T1"))
    world.ui.inputSelector1.setCurrentNode(node)
    assert world.ui.intakeBadge.text == "✕ T1 is MR; the model reads CT."
    assert not world.ui.runButton.enabled


def test_an_image_that_does_not_say_its_modality_is_flagged_and_may_be_run(world):
    add_volume(volume_of_balls(modality=""))
    assert world.ui.intakeBadge.text.startswith("▲ CT chest does not say its modality")
    assert "does not say" in world.ui.intakeBadge.toolTip
    assert world.ui.runButton.enabled


def test_each_channel_has_a_selector_matched_by_name(world, home):
    write_model(home / "models", "pair", (("T1", "MR"), ("FLAIR", "MR")))
    world.panel.model.refresh()
    flair = add_volume(volume_of_balls(modality="MR", name="pat 7 FLAIR"))
    t1 = add_volume(volume_of_balls(modality="MR", name="pat 7 T1w"))
    world.panel.model.select("pair")
    kit.process(150)
    ui = world.ui
    assert [s.visible for s in (ui.inputSelector1, ui.inputSelector2, ui.inputSelector3)] == [
        True, True, False,
    ]  # fmt: skip
    assert ui.inputLabel1.text == "Image (T1):"
    assert world.panel.case.inputs() == [t1, flair]
    assert ui.runButton.enabled


def test_channels_on_different_grids_are_refused(world, home):
    write_model(home / "models", "pair", (("T1", "MR"), ("FLAIR", "MR")))
    world.panel.model.refresh()
    add_volume(volume_of_balls(modality="MR", name="FLAIR"))
    add_volume(volume_of_balls((20, 40, 40), modality="MR", name="T1"))
    world.panel.model.select("pair")
    kit.process(150)
    assert "lies on another grid" in world.ui.intakeBadge.text
    assert not world.ui.runButton.enabled


def test_the_model_that_fits_the_image_is_chosen_until_the_user_chooses_one(world, home):
    write_model(home / "models", "amri", (("MR", "MR"),))
    world.panel.model.refresh()
    add_volume(volume_of_balls(modality="MR", name="T2"))
    assert world.panel.model.current.name == "amri"
    kit.choose(world.ui.modelSelector, "Finds balls  1.2.0")
    kit.process(150)
    assert world.panel.model.current.name == "balls"
    assert world.ui.intakeBadge.text.startswith("✕")


def test_a_broken_model_is_listed_and_cannot_be_run(world, home):
    (home / "models" / "bad").mkdir()
    (home / "models" / "bad" / "model.json").write_text("{")
    add_volume(volume_of_balls())
    world.panel.model.refresh()
    world.panel.model.select("bad")
    assert world.ui.modelInfo.text == "✕ This model cannot be used."
    assert not world.ui.runButton.enabled


def test_the_model_section_tells_what_it_finds_and_where_it_works(world):
    assert world.ui.modelInfo.text == "Finds: ball, blob."
    assert world.ui.operatingPoint.text == "score from 0.25, diameter from 3 mm"
    assert world.ui.operatingPoint.toolTip == "by eye"


# --- the worklist -------------------------------------------------------------------------


@pytest.fixture
def folder(home):
    for n, name in enumerate(("a", "b", "c")):
        save(volume_of_balls(balls=n + 1), home / "images", name)
    return home / "images"


def entries(world):
    selector = world.ui.caseSelector
    return [selector.itemText(n) for n in range(selector.count)]


def test_a_folder_is_read_case_by_case_forward_and_back(world, folder):
    world.ui.worklistPath.currentPath = str(folder)
    settle(world)
    assert entries(world) == ["○ 1/3  a", "○ 2/3  b", "○ 3/3  c"]
    names = []
    for button in ("nextCaseButton", "nextCaseButton", "previousCaseButton"):
        kit.click(getattr(world.ui, button))
        settle(world)
        names.append(world.panel.case.volumeNode().GetName())
    assert names == ["a", "b", "a"]
    import slicer

    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1
    shown = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert shown.GetBackgroundVolumeID() == world.panel.case.volumeNode().GetID()


def test_a_signed_case_stays_done_and_known_when_it_is_looked_at_again(world, folder):
    from MedDetectUI.stand_in import StandInClient, brightFindings

    world.logic.client = StandInClient(lambda volume: brightFindings(volume, limit=2))
    world.ui.reviewerEdit.text = "Dr A"
    world.ui.worklistPath.currentPath = str(folder)
    settle(world)
    kit.click(world.ui.nextCaseButton)
    settle(world)
    kit.click(world.ui.runButton)
    settle(world)
    world.ui.patientEdit.text = "P1"
    kit.click(world.ui.signButton)
    settle(world)
    stored = world.panel.parameters.caseId
    assert stored
    assert entries(world)[0].startswith("✓ 1/3")
    kit.click(world.ui.nextCaseButton)
    settle(world)
    assert world.panel.parameters.caseId == ""
    assert world.panel.parameters.patient == ""
    for _look in range(2):
        kit.click(world.ui.previousCaseButton)
        settle(world)
        assert world.panel.parameters.caseId == stored
        assert world.panel.parameters.patient == "P1"
        assert not world.ui.claimButton.checked
        kit.click(world.ui.nextCaseButton)
        settle(world)
        assert entries(world)[0].startswith("✓ 1/3")
        if world.panel.case.volumeNode().GetName() == "c":
            kit.click(world.ui.previousCaseButton)
            settle(world)


def test_a_case_is_claimed_with_the_readers_name_and_let_go_with_the_next(world, folder):
    from MedDetectLib.cases.worklist import Worklist
    from MedDetectLib.cases.worklist_sources import items_of_folder

    world.ui.worklistPath.currentPath = str(folder)
    settle(world)
    kit.type_text(world.ui.reviewerEdit, "Dr A")
    kit.click(world.ui.nextCaseButton)
    settle(world)
    assert world.ui.claimButton.checked
    assert entries(world)[0] == "● 1/3  a  (Dr A)"
    other = Worklist(folder / ".meddetect-worklist")
    for items in items_of_folder(folder):
        other.add(items)
    assert other.standing(other.items[0]).who == "Dr A"
    kit.click(world.ui.nextCaseButton)
    settle(world)
    assert other.standing(other.items[0]).state == "new"
    kit.click(world.ui.claimButton)
    assert not world.ui.claimButton.checked
    assert other.standing(other.items[1]).state == "new"


def test_a_claim_is_kept_alive_and_its_loss_is_said(world, folder):
    from MedDetectUI.worklist_part import BEAT_MS

    from MedDetectLib.cases.worklist import Worklist
    from MedDetectLib.cases.worklist_sources import items_of_folder

    assert BEAT_MS == 60_000
    world.ui.worklistPath.currentPath = str(folder)
    settle(world)
    kit.type_text(world.ui.reviewerEdit, "Dr A")
    kit.click(world.ui.nextCaseButton)
    settle(world)
    beats, real = [], world.panel.worklist.claim.beat
    world.panel.worklist.claim.beat = lambda: (beats.append(1), real())[1]
    world.panel.worklist._beat.interval = 30
    kit.until(lambda: len(beats) > 1, 5)
    assert world.ui.claimButton.checked
    other = Worklist(folder / ".meddetect-worklist")
    for items in items_of_folder(folder):
        other.add(items)
    other.claim(other.items[0], "Dr B", steal=True)
    kit.until(lambda: not world.ui.claimButton.checked, 5)
    assert "Somebody else has taken this case over" in world.ui.saveState.text


def test_a_table_of_cases_gives_patients_and_says_which_file_is_missing(world, folder, home):
    with (home / "list.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["path", "patient"], ["images/b.nrrd", "P7"], ["images/no.nrrd", "P8"]])
    world.ui.worklistPath.currentPath = str(home / "list.csv")
    settle(world)
    kit.click(world.ui.nextCaseButton)
    settle(world)
    assert world.ui.patientEdit.text == "P7"
    kit.choose(world.ui.caseSelector, "✕ 2/2  no")
    assert world.ui.intakeBadge.text == "✕ no: there is no such file."


def test_an_unreadable_table_is_said_in_one_line(world, home):
    (home / "list.csv").write_text("name\nx\n")
    world.ui.worklistPath.currentPath = str(home / "list.csv")
    settle(world)
    assert world.ui.intakeBadge.text.startswith("✕ Its first line has no column 'path'")


def test_the_volumes_of_the_scene_are_the_list_when_no_other_is_given(world):
    first = add_volume(volume_of_balls(name="first"))
    second = add_volume(volume_of_balls(name="second"))
    assert entries(world) == ["○ 1/2  first", "○ 2/2  second"]
    kit.choose(world.ui.caseSelector, "○ 2/2  second")
    assert world.panel.case.volumeNode() is second
    kit.click(world.ui.previousCaseButton)
    assert world.panel.case.volumeNode() is first


def test_a_path_is_opened_when_it_has_been_typed_and_clearing_it_lists_the_scene(world, folder):
    add_volume(volume_of_balls(name="in the scene"))
    opened, real = [], world.panel.worklist.open
    world.panel.worklist.open = lambda path="": (opened.append(path), real(path))
    line = kit._native(world.ui.worklistPath).comboBox().lineEdit()
    kit.type_text(line, str(folder))
    settle(world)
    assert opened == [str(folder)]
    assert len(entries(world)) == 3
    line.clear()
    settle(world)
    assert opened[1:] == [""]
    assert entries(world) == ["○ 1/1  in the scene"]
    assert world.panel.parameters.worklistSource == ""


def test_a_case_store_is_a_worklist_too(world, home):
    from MedDetectLib.cases.store.case_store import CaseStore

    store = CaseStore.open_or_create(home / "store")
    volume = volume_of_balls()
    case = store.import_volume(volume, "P1").case
    world.ui.worklistPath.currentPath = str(home / "store")
    settle(world)
    kit.click(world.ui.nextCaseButton)
    settle(world)
    assert world.panel.parameters.caseId == case.id
    from MedDetectLib.adapters.mrml.volume_node import volume_from_node

    loaded = volume_from_node(world.panel.case.volumeNode())
    assert np.array_equal(loaded.array, volume.array)

"""The wrong click at the wrong moment: no image is signed as another, nothing is lost."""

import numpy as np
import pytest
import slicer
import slicer.util

from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.core.errors import StoreError
from Testing.harness import kit
from Testing.module.panel_world import add_volume, settle, volume_of_balls
from Testing.module.test_panel_save import judge, sign, store_of


def kinds(store):
    """Return what the store has of each case, by the image's name."""
    return {row.name: [version.kind for version in store.versions(row.id)] for row in store.cases()}


def choose(world, node):
    world.ui.inputSelector1.setCurrentNode(node)
    kit.process(50)


# --- another image --------------------------------------------------------------------


def test_an_image_chosen_by_hand_is_a_case_of_its_own(reviewed):
    reviewed.ui.commentEdit.text = "of the first"
    sign(reviewed)
    other = add_volume(volume_of_balls(name="on the same grid", balls=2))
    choose(reviewed, other)
    assert reviewed.ui.versionSelector.count == 0
    assert not reviewed.ui.readingButton.enabled
    kit.click(reviewed.ui.runButton)
    settle(reviewed)
    assert (reviewed.ui.patientEdit.text, reviewed.ui.commentEdit.text) == ("", "")
    assert reviewed.ui.signButton.toolTip == "Type the patient's pseudonym first."
    sign(reviewed, patient="P2")
    store = store_of(reviewed)
    assert kinds(store) == {
        "CT chest": ["ai", "review"],
        "on the same grid": ["ai", "review"],
    }
    choose(reviewed, reviewed.node)
    assert reviewed.ui.versionSelector.count == 0  # it is not asked for, but found again:
    kit.click(reviewed.ui.runButton)
    settle(reviewed)
    sign(reviewed)
    assert kinds(store)["CT chest"] == ["ai", "review", "review"]


def test_what_was_typed_for_the_other_image_stays(reviewed):
    sign(reviewed)
    choose(reviewed, add_volume(volume_of_balls(name="second", balls=2)))
    reviewed.ui.patientEdit.text = "P2"
    kit.click(reviewed.ui.runButton)
    settle(reviewed)
    assert reviewed.ui.patientEdit.text == "P2"


def test_an_image_that_became_another_one_is_not_signed(reviewed):
    array = slicer.util.arrayFromVolume(reviewed.node)
    before = array.copy()
    array[:] = 7
    slicer.util.arrayFromVolumeModified(reviewed.node)
    kit.until(lambda: "voxels were changed" in reviewed.ui.saveState.text, 5)
    sign(reviewed)
    assert reviewed.ui.saveState.text.startswith("✕ The voxels are not those the review is of")
    assert reviewed.review.signature is None
    array[:] = before
    slicer.util.arrayFromVolumeModified(reviewed.node)
    sign(reviewed)
    assert kinds(store_of(reviewed)) == {"CT chest": ["ai", "review"]}


def test_an_image_that_was_moved_is_stored_where_it_was_read(reviewed):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    moved = np.eye(4)
    moved[0, 3] = 9.0
    matrix = slicer.util.vtkMatrixFromArray(moved)
    transform.SetMatrixTransformToParent(matrix)
    reviewed.node.SetAndObserveTransformNodeID(transform.GetID())
    judge(reviewed)
    sign(reviewed)
    store = store_of(reviewed)
    assert kinds(store) == {"CT chest": ["ai", "review"]}
    (row,) = store.cases()
    assert store.volume(row.id).sha256 == reviewed.volume.sha256


# --- too early ------------------------------------------------------------------------


@pytest.fixture
def named(reviewed):
    reviewed.ui.reviewerEdit.text, reviewed.ui.patientEdit.text = "Dr A", "P1"
    reviewed.second = add_volume(volume_of_balls(name="second", balls=2))
    return reviewed


def test_the_next_case_waits_until_this_one_is_saved(named):
    kit.click(named.ui.signButton)
    kit.click(named.ui.nextCaseButton)
    assert named.review.isOpen
    settle(named)
    assert named.panel.case.volumeNode() is named.second
    assert kinds(store_of(named)) == {"CT chest": ["ai", "review"]}


def test_the_next_case_does_not_come_when_this_one_cannot_be_saved(named, monkeypatch):
    def full(*_arguments, **_options):
        raise StoreError("disk-full", "the disk is full", todo="make room")

    monkeypatch.setattr(CaseStore, "sign_reading", full)
    kit.click(named.ui.signButton)
    kit.click(named.ui.nextCaseButton)
    settle(named)
    assert named.panel.case.volumeNode() is named.node
    assert named.ui.saveState.text == "✕ The disk is full; make room"
    assert named.ui.signButton.text == "Save again"


def test_findings_that_come_while_a_case_is_being_saved_wait_for_it(named):
    choose(named, named.second)
    named.logic.client.polls = 1
    kit.click(named.ui.runButton)
    kit.click(named.ui.signButton)
    settle(named)
    assert kinds(store_of(named)) == {"CT chest": ["ai", "review"]}
    assert named.review.desk.volume_node is named.second
    sign(named, patient="P2")
    assert kinds(store_of(named))["second"] == ["ai", "review"]


def test_a_name_changed_while_a_case_is_being_saved_signs_nothing(named):
    kit.click(named.ui.signButton)
    named.ui.reviewerEdit.text = "Dr B"
    settle(named)
    store = store_of(named)
    (row,) = store.cases()
    assert store.versions(row.id)[-1].author == "Dr A"


# --- what was left --------------------------------------------------------------------


def test_a_signature_the_store_refused_is_offered_with_its_image(reviewed, monkeypatch):
    def full(*_arguments, **_options):
        raise StoreError("disk-full", "the disk is full", todo="make room")

    judge(reviewed)
    with monkeypatch.context() as broken:
        broken.setattr(CaseStore, "sign_reading", full)
        sign(reviewed)
    slicer.mrmlScene.Clear(0)
    add_volume(reviewed.volume)
    assert reviewed.ui.unfinishedNote.text.startswith("▲ A signed review of this image is not in")
    kit.click(reviewed.ui.resumeButton)
    settle(reviewed)
    kit.click(reviewed.ui.signButton)
    settle(reviewed)
    assert kinds(store_of(reviewed)) == {"CT chest": ["ai", "review"]}
    slicer.mrmlScene.Clear(0)
    add_volume(reviewed.volume)
    assert not reviewed.ui.unfinishedNote.visible


def test_a_case_of_a_store_is_signed_into_that_store(world, home):
    store = CaseStore.open_or_create(home / "another store")
    store.import_volume(volume_of_balls(), "P1")
    world.ui.worklistPath.currentPath = str(home / "another store")
    settle(world)
    kit.click(world.ui.nextCaseButton)
    settle(world)
    kit.click(world.ui.runButton)
    settle(world)
    world.ui.reviewerEdit.text = "Dr A"
    kit.click(world.ui.signButton)
    settle(world)
    assert kinds(store) == {"CT chest": ["ai", "review"]}, world.ui.saveState.toolTip


def test_a_case_that_cannot_be_read_leaves_no_image_of_the_one_before(world, home):
    from MedDetectLib.cases.nrrd_write import write_nrrd

    volume = volume_of_balls()
    (home / "images").mkdir()
    for name in ("a", "b"):
        write_nrrd(home / "images" / f"{name}.nrrd", volume.array[None], volume.geometry, {})
    world.ui.worklistPath.currentPath = str(home / "images")
    settle(world)
    kit.click(world.ui.nextCaseButton)
    settle(world)
    (home / "images" / "b.nrrd").write_bytes(b"torn")
    kit.click(world.ui.nextCaseButton)
    settle(world)
    assert world.ui.intakeBadge.text.startswith("✕")
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    add_volume(volume_of_balls(name="something else"))
    assert world.panel.case.volumeNode() is None


# --- a full disk ----------------------------------------------------------------------


@pytest.fixture
def full(reviewed, monkeypatch):
    """A review whose journal cannot grow; `make_room` ends that."""
    from MedDetectLib.review.session import ReviewSession

    def refuse(*_arguments):
        raise StoreError("disk-full", "the disk is full", todo="make room")

    kit.click_cell(reviewed.ui.findingsTable, 0, 0)
    add_volume(volume_of_balls(name="second", balls=2))
    with monkeypatch.context() as broken:
        broken.setattr(ReviewSession, "do", refuse)
        reviewed.make_room = broken.undo
        yield reviewed


def test_with_a_full_disk_findings_can_still_be_looked_at(full):
    kit.click_cell(full.ui.findingsTable, 1, 0)
    assert full.ui.saveState.text == "✕ The disk is full; make room"
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceNode").GetSliceToRAS()
    shown = next(item for item in full.review.items if item.id == "F2")
    assert abs(node.GetElement(2, 3) - shown.centre_ras_mm[2]) < 1.0
    kit.press(full.ui.findingsTable, "A")
    assert {item.state for item in full.review.items} == {"new"}


def test_edits_that_cannot_be_kept_are_not_left_behind(full):
    from MedDetectUI.correct_part import AGAIN_MS, LOOK_MS

    from Testing.module.test_panel_correct import halve, set_mask

    before = full.review.item.volume_ml
    set_mask(full, halve)
    kit.click(full.ui.nextCaseButton)
    settle(full)
    assert full.panel.case.volumeNode() is full.node
    assert full.review.isOpen
    assert full.panel.correct._looking.interval == AGAIN_MS
    full.make_room()
    kit.click(full.ui.nextCaseButton)
    settle(full)
    assert full.panel.case.volumeNode().GetName() == "second"
    assert full.panel.correct._looking.interval == LOOK_MS
    choose(full, full.node)
    kit.click(full.ui.resumeButton)
    settle(full)
    (edited,) = [item for item in full.review.items if item.state == "edited"]
    assert edited.volume_ml < before


# --- forty cases ----------------------------------------------------------------------


def test_the_images_of_cases_that_were_read_take_no_memory(world, home):
    import gc

    from MedDetectLib.cases.nrrd_write import write_nrrd

    (home / "images").mkdir()
    for n, name in enumerate("abc", start=1):
        volume = volume_of_balls(balls=n)
        write_nrrd(home / "images" / f"{name}.nrrd", volume.array[None], volume.geometry, {})
    world.ui.worklistPath.currentPath = str(home / "images")
    settle(world)
    world.ui.reviewerEdit.text = "Dr A"
    kit.click(world.ui.nextCaseButton)
    settle(world)
    gone = []
    for n in range(3):
        node = world.panel.case.volumeNode()
        node.GetImageData().AddObserver("DeleteEvent", lambda *_, n=n: gone.append(n))
        kit.click(world.ui.runButton)
        settle(world)
        kit.click_cell(world.ui.findingsTable, 0, 0)
        world.panel.correct.showBox(True)
        kit.press(world.ui.findingsTable, "A")
        world.panel.correct.showBox(False)
        world.ui.patientEdit.text = f"P{n}"
        kit.click(world.ui.signNextButton)
        settle(world)
    kit.process(100)
    gc.collect()
    assert gone == [0, 1]  # the last is still shown
    displays = [f"vtkMRML{kind}DisplayNode" for kind in ("Volume", "Segmentation", "Markups")]
    assert [slicer.mrmlScene.GetNumberOfNodesByClass(kind) for kind in displays] == [1, 1, 1]
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLStorageNode") == 1


def test_the_reader_and_the_store_go_on_in_a_new_scene(reviewed, home):
    reviewed.ui.reviewerEdit.text = "Dr A"
    reviewed.ui.storePath.currentPath = str(home / "ours")
    slicer.mrmlScene.Clear(0)
    assert reviewed.ui.reviewerEdit.text == "Dr A"
    assert reviewed.panel.save.storeFolder() == str(home / "ours")
    assert reviewed.ui.patientEdit.text == ""
    assert reviewed.panel.parameters.storeFolder == str(home / "ours")


def test_a_scene_that_asks_for_an_unknown_engine_gets_the_usual_one(world):
    node = world.panel.parameters.parameterNode
    world.panel.leaveScene()
    node.SetParameter("backend", "steam")
    world.panel.takeScene()
    assert world.panel.parameters.backend == "auto"
    assert world.ui.backendSelector.currentText == "auto"


# --- what was signed is what is seen --------------------------------------------------


def test_a_signed_box_has_no_handles_and_what_is_drawn_is_put_back(reviewed):
    from Testing.module.test_panel_correct import halve, set_mask

    kit.click_cell(reviewed.ui.findingsTable, 0, 0)
    kit.click(reviewed.ui.boxButton)
    display = reviewed.review.desk.roi_node.GetDisplayNode()
    assert display.GetVisibility()
    sign(reviewed)
    assert not display.GetVisibility()
    acts = len(reviewed.review.desk.session.history)
    set_mask(reviewed, halve)
    kit.until(lambda: "the edit was put back" in reviewed.ui.saveState.text, 5)
    assert len(reviewed.review.desk.session.history) == acts
    assert reviewed.review.desk._joint.take_edits(everything=True) == ()
    kit.click(reviewed.ui.reopenButton)
    assert display.GetVisibility()


# --- what lies in the scene besides ---------------------------------------------------


def test_colour_pictures_and_label_maps_are_passed_over(world, home):
    from Testing.module.panel_world import write_model

    write_model(home / "models", "amri", (("MR", "MR"),))
    world.panel.model.refresh()
    label_map = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "MR label")
    slicer.util.updateVolumeFromArray(label_map, np.ones((4, 5, 6), np.uint8))
    colour = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "MR colour")
    slicer.util.updateVolumeFromArray(colour, np.ones((4, 5, 6, 3), np.uint8))
    node = add_volume(volume_of_balls())
    assert world.panel.model.current.name == "balls"
    assert world.panel.case.volumeNode() is node
    assert world.ui.runButton.enabled, world.ui.intakeBadge.text


def test_of_two_images_of_one_name_each_is_itself(reviewed):
    sign(reviewed)
    twin = add_volume(volume_of_balls(balls=2))
    assert twin.GetName() == reviewed.node.GetName()
    choose(reviewed, twin)
    assert reviewed.ui.versionSelector.count == 0
    kit.click(reviewed.ui.runButton)
    settle(reviewed)
    sign(reviewed, patient="P2")
    store = store_of(reviewed)
    assert sorted(len(store.versions(row.id)) for row in store.cases()) == [2, 2]
    assert len({row.patient for row in store.cases()}) == 2


@pytest.mark.parametrize("size", [(0.0, 5.0, 5.0), (-6.0, 5.0, 5.0)])
def test_a_box_without_extent_jumps_back_and_a_flipped_one_is_a_box(reviewed, size):
    kit.click_cell(reviewed.ui.findingsTable, 0, 0)
    kit.click(reviewed.ui.boxButton)
    before = reviewed.review.item
    reviewed.review.desk.roi_node.SetSize(*size)
    reviewed.panel.takeEdits()
    after = reviewed.review.item
    if size[0] == 0.0:
        assert "no extent" in reviewed.ui.saveState.text
        assert after.volume_ml == before.volume_ml
        assert reviewed.review.desk.roi_node.GetSize()[0] > 1.0
    else:
        assert 0 < after.volume_ml < before.volume_ml


def test_a_model_stays_when_the_next_image_tells_nothing(world, home):
    from Testing.module.panel_world import write_model

    add_volume(volume_of_balls())
    assert world.panel.model.current.name == "balls"
    write_model(home / "models", "a first one", (("MR", "MR"),))
    world.panel.model.refresh()
    add_volume(volume_of_balls(name="case_b", modality=""))
    kit.click(world.ui.runButton)
    settle(world)
    kit.choose(world.ui.caseSelector, "○ 2/2  case_b")
    settle(world)
    assert world.panel.model.current.name == "balls"
    assert world.ui.detectState.text == "Ready."


def test_undo_of_an_added_box_takes_the_finding_before_in_hand(reviewed):
    kit.click_cell(reviewed.ui.findingsTable, 1, 0)
    reviewed.panel.findings.addBox()
    assert reviewed.review.current == "F4"
    reviewed.panel.correct.undo()
    assert reviewed.review.current == "F2"


def test_the_console_says_how_to_get_an_engine(world, monkeypatch):
    from types import SimpleNamespace

    from MedDetectLib.core.errors import BackendUnavailable

    node = add_volume(volume_of_balls())
    world.logic.client = None
    world.logic.engine = SimpleNamespace(ready=False, status=lambda: "nothing is installed")
    with pytest.raises(BackendUnavailable, match=r"nothing is installed.*MedDetect panel"):
        world.logic.detect(node, "balls")

"""Whatever happens to the scene, the review ends clearly or goes on, and nothing is lost."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import vtk
from desk_samples import acts, agree, all_segments, mask_of, paint, put_on_desk, volume_and_findings
from mrml_samples import GRIDS, assert_same, bend, rotation

from MedDetectLib.adapters.mrml.desk.review_desk import ReviewDesk
from MedDetectLib.adapters.mrml.desk.steps import finished
from MedDetectLib.adapters.mrml.placement import matrix_from_array
from MedDetectLib.adapters.mrml.read_back import findings_from_node
from MedDetectLib.adapters.mrml.scene import new_scene
from MedDetectLib.adapters.mrml.scene_file import load_scene, save_scene
from MedDetectLib.adapters.mrml.volume_node import volume_to_node
from MedDetectLib.core.errors import InputError, StoreError
from MedDetectLib.review.acts import Accept, Comment, EditMask, Reject
from MedDetectLib.review.session import ReviewSession

GRID = GRIDS["oblique"]


@pytest.fixture
def desk(scene, tmp_path):
    with put_on_desk(scene, GRID, tmp_path / "review") as made:
        yield made


@pytest.fixture
def errors():
    """What VTK printed instead of raising."""
    window, said = vtk.vtkStringOutputWindow(), []
    before = vtk.vtkOutputWindow.GetInstance()
    vtk.vtkOutputWindow.SetInstance(window)
    yield said
    vtk.vtkOutputWindow.SetInstance(before)
    assert "Traceback" not in window.GetOutput()


def observers_left(desk):
    """Observers that were not removed."""
    return {tag for _, tag in desk._joint.listening._observers._added}


def dirty(desk):
    mask = mask_of(desk, "F1")
    mask[0, 1:4, 1] = True
    paint(desk, "F1", mask)
    return mask


# --- what ends it -----------------------------------------------------------------------


@pytest.mark.parametrize("what", ["scene", "volume", "segmentation"])
def test_it_ends_with_a_clear_state_and_the_last_edit_is_kept(desk, scene, tmp_path, errors, what):
    desk.show_handle(True)
    desk.select("F1")
    mask = dirty(desk)
    if what == "scene":
        scene.Clear(False)
    else:
        scene.RemoveNode(desk.volume_node if what == "volume" else desk.segmentation_node)
    assert desk.is_closed
    why = {"scene": "the scene was closed", "volume": "its volume was deleted",
           "segmentation": "its segmentation was deleted"}[what]  # fmt: skip
    assert desk.closed_because == (
        f"{why}; everything done so far is kept in {tmp_path / 'review'}"
    )
    assert [c.kind for c in desk.told].count("closed") == 1
    assert desk.told[-1].text == desk.closed_because
    assert not desk.is_dirty
    assert desk.roi_node is desk.volume_node is desk.segmentation_node is None
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 0
    with pytest.raises(StoreError, match="closed"):
        desk.take_edits()
    with ReviewSession.open(tmp_path / "review") as session:
        kept = session.findings
    assert np.array_equal(kept.mask_of(kept.items[0]), mask)
    assert observers_left(desk) == set()


def test_a_closed_desk_hears_nothing_of_its_nodes(desk, scene):
    node, volume = desk.segmentation_node, desk.volume_node
    desk.close()
    told = len(desk.told)
    node.GetSegmentation().RemoveSegment("F1")
    scene.RemoveNode(node)
    scene.RemoveNode(volume)
    scene.Clear(False)
    assert len(desk.told) == told


def test_a_desk_nobody_holds_any_more_is_not_kept_alive_by_the_scene(scene, tmp_path):
    import gc
    import weakref

    desk = put_on_desk(scene, GRID, tmp_path / "review")
    desk.session.close()
    gone = weakref.ref(desk)
    node = desk.segmentation_node
    del desk
    gc.collect()
    assert gone() is None
    node.GetSegmentation().RemoveSegment("F1")
    scene.Clear(False)


def test_without_its_handle_it_goes_on_and_makes_another(desk, scene):
    desk.show_handle(True)
    desk.select("F1")
    scene.RemoveNode(desk.roi_node)
    assert desk.roi_node is None
    assert not desk.is_closed
    assert desk.take_edits() == ()
    desk.select("F2")
    assert np.allclose(desk.roi_node.GetCenterWorld(), desk.jump_ras_mm("F2"), atol=1e-4)
    agree(desk)


def test_renamed_nodes_are_the_same_nodes(desk):
    for node in (desk.segmentation_node, desk.volume_node):
        node.SetName("something else")
    dirty(desk)
    assert desk.take_edits() == ("F1",)
    agree(desk)


def test_a_bent_volume_ends_it(desk, scene, errors):
    bend(scene, desk.volume_node)
    assert desk.take_edits() == ()
    assert desk.is_closed
    assert "non-linear" in desk.closed_because


def test_a_volume_that_becomes_another_image_ends_it(desk, errors):
    image = vtk.vtkImageData()
    image.SetDimensions(4, 5, 6)
    image.AllocateScalars(vtk.VTK_SHORT, 1)
    desk.volume_node.SetAndObserveImageData(image)
    assert desk.take_edits() == ()
    assert desk.is_closed
    assert "4" in desk.closed_because


def test_a_listener_that_fails_in_an_event_is_no_harm(desk, scene, caplog):
    def fail(changed):
        raise RuntimeError("the panel is broken")

    desk.subscribe(fail)
    scene.RemoveNode(desk.volume_node)
    assert desk.is_closed
    assert "the panel is broken" in caplog.text


def test_the_segmentation_may_be_given_another_segmentation_object(desk):
    """Undo of the whole scene, or a scene view, does that."""
    import slicer

    copy = slicer.vtkSegmentation()
    copy.DeepCopy(desk.segmentation_node.GetSegmentation())
    desk.segmentation_node.SetAndObserveSegmentation(copy)
    assert desk.is_dirty
    assert desk.take_edits() == ()
    dirty(desk)
    assert desk.take_edits() == ("F1",)
    agree(desk)


# --- what moves -------------------------------------------------------------------------


def motion(x=0.0, y=0.0, z=0.0):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(0.2, 0.1, -0.3), (10 + x, -20 + y, 5 + z)
    return matrix


def follows(desk, matrix):
    """Segmentation, handle and places lie where the volume was moved to."""
    assert desk.is_dirty
    assert desk.take_edits() == ()
    world = matrix @ GRID.ijk_to_ras
    assert np.allclose(desk._joint.geometry.ijk_to_ras, world)
    centre = matrix @ [*GRID.box_centre_ras_mm(desk.session.item("F1").box), 1.0]
    assert np.allclose(desk.jump_ras_mm("F1"), centre[:3])
    assert np.allclose(desk.roi_node.GetCenterWorld(), centre[:3], atol=1e-4)
    assert desk._joint.take_edits(everything=True) == ()


def agree_moved(desk):
    """The scene holds the session's findings, on the grid where it was moved to."""
    found = findings_from_node(desk.segmentation_node)
    assert_same(replace(found, geometry=GRID), desk.findings)


def test_a_transform_put_on_the_volume_moves_everything(desk, put_under):
    desk.show_handle(True)
    desk.select("F1")
    transform = put_under(desk.volume_node, motion())
    follows(desk, motion())
    assert desk.told[-1].kind == "moved"
    transform.SetMatrixTransformToParent(matrix_from_array(motion(7)))
    follows(desk, motion(7))
    dirty(desk)
    assert desk.take_edits() == ("F1",)
    desk.undo()
    agree_moved(desk)
    desk.volume_node.SetAndObserveTransformNodeID(None)
    follows(desk, np.eye(4))


@pytest.mark.parametrize("which", ["volume", "both", "segmentation"])
def test_a_hardened_transform_moves_no_voxel_from_its_finding(desk, put_under, which):
    desk.show_handle(True)
    desk.select("F1")
    put_under(desk.volume_node, motion())
    volume, node = desk.volume_node, desk.segmentation_node
    if which != "segmentation":
        volume.HardenTransform()
    if which != "volume":
        node.HardenTransform()
    follows(desk, motion())
    assert desk.session.history[1:] == ()
    dirty(desk)
    assert desk.take_edits() == ("F1",)
    desk.undo()
    agree_moved(desk)


def test_a_transform_on_the_segmentation_alone_is_taken_back(desk, put_under):
    desk.show_handle(True)
    desk.select("F1")
    put_under(desk.segmentation_node, motion())
    follows(desk, np.eye(4))


def test_places_given_in_a_moved_world_mean_what_the_user_sees(desk, put_under):
    put_under(desk.volume_node, motion())
    new = desk.add_box_at(desk.jump_ras_mm("F3"), 1, 3.0)
    low, high = np.array(desk.session.item(new).box).reshape(2, 3)
    voxel = np.array(desk.session.item("F3").box[:3])
    assert (low <= voxel).all()
    assert (high >= voxel + 1).all()


def test_with_the_volume_moved_a_box_is_dragged_to_the_same_voxels(desk, put_under):
    desk.show_handle(True)
    desk.select("F5")
    put_under(desk.volume_node, motion())
    desk.take_edits()
    step = (motion() @ GRID.ijk_to_ras)[:3, 0]
    box = np.array(desk.session.item("F5").box)
    moved = box + np.array([0, 0, 1, 0, 0, 1])
    desk.roi_node.SetCenterWorld(*(np.array(desk.roi_node.GetCenterWorld()) + step))
    assert desk.take_edits() == ("F5",)
    assert np.allclose(desk.session.item("F5").box, moved, atol=1e-4)


# --- what is gone on with ---------------------------------------------------------------


def after_crash(desk, tmp_path, name="after"):
    """A copy of the session's folder, as a process that died would leave it."""
    copy = tmp_path / name
    shutil.copytree(desk.session.folder, copy)
    return copy


def test_after_a_crash_everything_is_there_in_an_empty_scene(desk, tmp_path):
    desk.do(Accept("F1"))
    dirty(desk)
    desk.take_edits()
    desk.add_box_at(desk.jump_ras_mm("F3"), 1)
    folder = after_crash(desk, tmp_path)
    scene = new_scene()
    volume, _ = volume_and_findings(GRID)
    with ReviewDesk.resume(scene, folder, volume_to_node(scene, volume)) as again:
        assert again.findings.to_json() == desk.findings.to_json()
        agree(again)
        again.undo()
        agree(again)
        assert again.offers == ()


def test_another_volume_is_refused(desk, tmp_path):
    folder = after_crash(desk, tmp_path)
    scene = new_scene()
    volume, _ = volume_and_findings(GRID)
    volume.array[0, 0, 0] += 1
    with pytest.raises(InputError, match="other-volume"):
        ReviewDesk.resume(scene, folder, volume_to_node(scene, volume))
    elsewhere, _ = volume_and_findings(GRIDS["identity"])
    with pytest.raises(InputError, match="other-grid"):
        ReviewDesk.resume(scene, folder, volume_to_node(scene, elsewhere))
    ReviewDesk.resume(scene, folder).close()  # it is not left locked; without image too


def test_a_saved_scene_is_gone_on_with(scene, geometry, tmp_path):
    with put_on_desk(scene, geometry, tmp_path / "review") as desk:
        desk.show_handle(True)
        desk.select("F1")
        desk.do(Accept("F1"))
        desk.do(Reject("F2", "vessel"))
        desk.segmentation_node.GetSegmentation().AddEmptySegment("mine", "mine")
        saved = save_scene(scene, tmp_path / "scene.mrb")
        expected = desk.findings
    loaded = load_scene(saved)
    (mark,) = ReviewDesk.reviews_in(loaded)
    assert mark.folder == tmp_path / "review"
    assert ReviewDesk.is_shown(loaded, mark.folder)
    with ReviewDesk.resume(loaded, mark.folder) as again:
        assert again.offers == ()
        assert again.volume_node.GetName() == "chest"
        assert again.findings.to_json() == expected.to_json()
        assert loaded.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
        assert loaded.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 1
        assert "mine" in all_segments(again)
        agree(again)
        again.undo()
        agree(again)


def test_where_scene_and_journal_differ_the_journal_wins(desk, scene, tmp_path):
    saved = save_scene(scene, tmp_path / "scene.mrb")
    desk.do(Accept("F1"))
    desk.do(EditMask.drawn("F2", np.roll(mask_of(desk, "F2"), 1, axis=0)))
    desk.merge(["F1", "F3"])
    desk.add_box_at(desk.jump_ras_mm("F4"), 1)
    desk.close()
    loaded = load_scene(saved)
    with ReviewDesk.resume(loaded, tmp_path / "review") as again:
        assert again.offers == ()
        assert again.findings.to_json() == desk.findings.to_json()
        assert all_segments(again) == ["F1", "F2", "F4", "F5", "F6"]
        agree(again)


def test_an_edit_that_was_saved_before_it_was_an_act_is_offered(desk, scene, tmp_path):
    desk.show_handle(True)
    desk.select("F5")
    desk.do(Comment("before"))
    folder = after_crash(desk, tmp_path)
    mask = dirty(desk)
    desk.segmentation_node.GetSegmentation().RemoveSegment("F2")
    x, y, z = desk.roi_node.GetSize()
    desk.roi_node.SetSize(x * 0.5, y, z)
    saved = save_scene(scene, tmp_path / "scene.mrb")
    with ReviewDesk.resume(load_scene(saved), folder) as again:
        assert [(o.finding_id, o.act.kind) for o in again.offers] == [
            ("F1", "edit-mask"), ("F2", "reject"), ("F5", "edit-box"),
        ]  # fmt: skip
        assert not any(offer.is_older for offer in again.offers)
        agree(again)  # the journal is shown as long as nobody takes them
        assert not (mask_of(again, "F1") & mask).all()
        assert set(again.take_offers()) == {"F1", "F2", "F5"}
        assert np.array_equal(mask_of(again, "F1"), mask)
        assert again.session.item("F2").state == "rejected"
        assert again.session.item("F5").state == "edited"
        assert again.offers == ()
        agree(again)


def test_an_offer_on_something_that_has_changed_since_says_so(desk, scene, tmp_path):
    dirty(desk)
    saved = save_scene(scene, tmp_path / "scene.mrb")
    desk._joint.listening.clean()
    desk.session.do(EditMask.drawn("F1", np.roll(mask_of(desk, "F1"), 3, axis=0)))
    desk.close()
    with ReviewDesk.resume(load_scene(saved), tmp_path / "review") as again:
        (offer,) = again.offers
        assert (offer.finding_id, offer.is_older) == ("F1", True)
        agree(again)


def test_a_review_that_is_open_elsewhere_is_busy(desk, tmp_path):
    with pytest.raises(StoreError, match="busy"):
        ReviewDesk.resume(new_scene(), tmp_path / "review")


def test_a_signed_review_is_signed_when_it_is_gone_on_with(desk, scene, tmp_path):
    desk.do(Accept("F1"))
    desk.sign("Dr A")
    saved = save_scene(scene, tmp_path / "scene.mrb")
    desk.close()
    with ReviewDesk.resume(load_scene(saved), tmp_path / "review") as again:
        assert again.signature == desk.signature
        agree(again)
    assert acts(desk) == [("accept", "F1"), ("sign", None)]


def test_other_voxels_under_the_findings_are_told_and_not_signed(desk):
    import slicer.util

    array = slicer.util.arrayFromVolume(desk.volume_node)
    before = array.copy()
    array[:] = 7
    slicer.util.arrayFromVolumeModified(desk.volume_node)
    assert desk.is_dirty
    desk.take_edits()
    assert [change.kind for change in desk.told] == ["trouble"]
    assert "voxels were changed" in desk.told[0].text
    with pytest.raises(InputError, match="other-volume"):
        desk.sign("Dr A")
    assert desk.signature is None
    array[:] = before
    slicer.util.arrayFromVolumeModified(desk.volume_node)
    assert desk.sign("Dr A").reviewer == "Dr A"


def test_the_image_is_given_where_it_was_when_the_review_was_begun(desk, put_under):
    put_under(desk.volume_node, motion())
    desk.take_edits()
    image = finished(desk.image_in_steps())
    assert np.array_equal(image.geometry.ijk_to_ras, GRID.ijk_to_ras)
    assert image.sha256 == desk.session.header["volume_sha256"]

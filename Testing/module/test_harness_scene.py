"""The stand-in's widgets and application parts follow the real scene."""

import numpy as np
import pytest
import slicer
import vtk

VOLUME = "vtkMRMLScalarVolumeNode"


@pytest.fixture
def combo(slicer_harness):
    made = slicer.qMRMLNodeComboBox()
    made.nodeTypes = [VOLUME]
    made.addEnabled = made.removeEnabled = False
    made.noneEnabled = True
    made.setMRMLScene(slicer.mrmlScene)
    return made


def add(name, kind=VOLUME):
    return slicer.mrmlScene.AddNewNodeByClass(kind, name)


def shown(widget):
    from Testing.harness.kit import _native

    box = _native(widget)._combo
    return [box.itemText(at) for at in range(box.count())]


def test_a_node_combo_lists_the_nodes_of_its_types_only(combo):
    volume = add("CT")
    add("text", "vtkMRMLTextNode")
    hidden = slicer.vtkMRMLScalarVolumeNode()
    hidden.SetHideFromEditors(1)
    slicer.mrmlScene.AddNode(hidden)
    assert combo.nodeCount() == 1
    assert combo.nodeFromIndex(0) is volume
    assert shown(combo) == ["None", "CT"]


def test_a_node_combo_follows_a_new_name(combo):
    volume = add("CT")
    volume.SetName("MR")
    assert shown(combo) == ["None", "MR"]


def test_a_node_combo_tells_of_its_choice_under_every_signature(combo):
    heard = []
    combo.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: heard.append(node))
    combo.connect("currentNodeChanged(bool)", lambda some: heard.append(some))
    combo.connect("currentNodeIDChanged(QString)", lambda id: heard.append(id))
    volume = add("CT")
    assert heard == []  # 'None' is offered, so nothing is chosen unasked
    combo.setCurrentNode(volume)
    assert heard == [volume, True, volume.GetID()]
    assert combo.currentNodeID == volume.GetID()
    combo.setCurrentNode(None)
    assert heard[3:] == [None, False, ""]


def test_without_none_and_menu_entries_the_first_node_is_chosen(slicer_harness):
    combo = slicer.qMRMLNodeComboBox()
    combo.nodeTypes = [VOLUME]
    combo.addEnabled = combo.removeEnabled = False
    combo.setMRMLScene(slicer.mrmlScene)
    assert combo.currentNode() is None
    volume = add("CT")
    assert combo.currentNode() is volume


def test_removing_the_current_node_makes_its_follower_current(combo):
    first, second = add("one"), add("two")
    heard = []
    combo.setCurrentNode(first)
    combo.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    slicer.mrmlScene.RemoveNode(first)
    assert heard == [second]
    slicer.mrmlScene.RemoveNode(second)
    assert heard == [second, None]


def test_closing_the_scene_empties_a_node_combo(combo):
    combo.setCurrentNode(add("CT"))
    slicer.mrmlScene.Clear(0)
    assert combo.currentNode() is None
    assert combo.nodeCount() == 0


def test_a_node_chosen_before_there_is_a_scene_is_kept(slicer_harness):
    volume = add("CT")
    combo = slicer.qMRMLNodeComboBox()
    combo.nodeTypes = [VOLUME]
    combo.noneEnabled = True
    combo.setCurrentNode(volume)
    assert combo.currentNode() is None
    assert not combo.enabled
    combo.setMRMLScene(slicer.mrmlScene)
    assert combo.currentNode() is volume


def test_a_volume_is_loaded_and_shown_in_every_slice_view(slicer_harness):
    from Testing.harness.running import ROOT

    volume = slicer.util.loadVolume(str(ROOT / "Resources/SampleData/demo-brain-mr.nii.gz"))
    assert slicer.util.arrayFromVolume(volume).ndim == 3
    shown_ids = {
        node.GetBackgroundVolumeID()
        for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    }
    assert shown_ids == {volume.GetID()}
    assert slicer.util.getNode(volume.GetName()) is volume


def test_jumping_moves_all_three_slices(slicer_harness):
    slicer.modules.markups.logic().JumpSlicesToLocation(1.0, 2.0, 3.0, True)
    manager = slicer.app.layoutManager()
    for name, row, place in (("Red", 2, 3.0), ("Yellow", 0, 1.0), ("Green", 1, 2.0)):
        node = manager.sliceWidget(name).mrmlSliceNode()
        assert node.GetSliceToRAS().GetElement(row, 3) == pytest.approx(place)


@pytest.mark.parametrize("ending", ["mrb", "mrml"])
def test_a_scene_is_saved_and_loaded_again(slicer_harness, tmp_path, ending):
    add("notes", "vtkMRMLTextNode").SetText("kept")
    path = str(tmp_path / f"scene.{ending}")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    assert slicer.mrmlScene.GetFirstNodeByName("notes") is not None


def test_a_segmentation_is_saved_by_its_own_storage(slicer_harness, tmp_path):
    segmentation, _editor = painted()
    path = str(tmp_path / "it.seg.nrrd")
    assert slicer.util.saveNode(segmentation, path)
    again = slicer.util.loadSegmentation(path)
    assert again.GetSegmentation().GetNumberOfSegments() == 1


def test_settings_belong_to_the_run(slicer_harness):
    import qt

    qt.QSettings().setValue("MedDetect/name", "me")
    assert slicer.util.settingsValue("MedDetect/name", "") == "me"
    assert slicer.app.settings().value("MedDetect/name") == "me"


def test_settings_of_an_earlier_run_are_gone(slicer_harness):
    assert slicer.util.settingsValue("MedDetect/name", "none") == "none"


def painted():
    """Make a segmentation over a 10 x 12 x 14 volume, and an editor holding its one segment."""
    volume = slicer.util.addVolumeFromArray(np.zeros((10, 12, 14), np.int16), name="CT")
    segmentation = add("seg", "vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segmentation.GetSegmentation().AddEmptySegment("F1", "F1", [1, 0, 0])
    editor = slicer.qMRMLSegmentEditorWidget()
    editor.setMRMLScene(slicer.mrmlScene)
    editor.setMRMLSegmentEditorNode(add("editor", "vtkMRMLSegmentEditorNode"))
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(volume)
    editor.setCurrentSegmentID("F1")
    return segmentation, editor


def test_painting_goes_through_slicers_editor_logic_and_its_events(slicer_harness):
    from Testing.harness import hands

    segmentation, editor = painted()
    heard = []
    event = slicer.vtkSegmentation.SourceRepresentationModified
    segmentation.GetSegmentation().AddObserver(event, lambda *_: heard.append(1))
    mask = np.zeros((10, 12, 14), bool)
    mask[2:5, 3:6, 4:8] = True
    hands.draw(editor, mask)
    volume = slicer.mrmlScene.GetFirstNodeByName("CT")
    now = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "F1", volume)
    assert np.array_equal(now > 0, mask)
    assert heard
    gone = np.zeros_like(mask)
    gone[2] = True
    hands.erase(editor, gone)
    now = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "F1", volume)
    assert np.array_equal(now > 0, mask & ~gone)
    editor.undo()
    now = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "F1", volume)
    assert np.array_equal(now > 0, mask)


def test_an_editor_without_a_segment_cannot_be_drawn_into(slicer_harness):
    from Testing.harness import hands

    _segmentation, editor = painted()
    editor.setCurrentSegmentID("")
    with pytest.raises(AssertionError, match="no segment"):
        hands.draw(editor, np.ones((10, 12, 14), bool))


def test_dragging_one_face_of_an_oblique_box_leaves_the_opposite_face(slicer_harness):
    from Testing.harness import hands

    roi = add("box", "vtkMRMLMarkupsROINode")
    roi.CreateDefaultDisplayNodes()
    roi.SetSize(10, 20, 30)
    roi.GetDisplayNode().SetScaleHandleVisibility(True)
    matrix = vtk.vtkMatrix4x4()
    cos, sin = np.cos(0.4), np.sin(0.4)
    for row, values in enumerate(((cos, -sin, 0), (sin, cos, 0), (0, 0, 1))):
        for column, value in enumerate(values):
            matrix.SetElement(row, column, value)
    roi.SetAndObserveObjectToNodeMatrix(matrix)
    heard = []
    roi.AddObserver(
        slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent, lambda *_: heard.append("end")
    )
    before = face(roi, 0, -1)
    hands.drag_box(roi, axis=0, side=1, mm=4.0)
    assert roi.GetSize()[0] == pytest.approx(14.0)
    assert face(roi, 0, -1) == pytest.approx(before)
    assert heard == ["end"]


def face(roi, axis, side):
    """Return the middle of one face of a box, in RAS millimetres."""
    matrix = roi.GetObjectToNodeMatrix()
    direction = np.array([matrix.GetElement(row, axis) for row in range(3)])
    return np.array(roi.GetCenter()) + direction * side * roi.GetSize()[axis] / 2


def test_the_mouse_button_is_down_while_a_box_is_dragged(slicer_harness):
    import qt

    from Testing.harness import hands

    roi = add("box", "vtkMRMLMarkupsROINode")
    roi.CreateDefaultDisplayNodes()
    roi.SetSize(10, 10, 10)
    roi.GetDisplayNode().SetTranslationHandleVisibility(True)
    heard = []
    roi.AddObserver(
        vtk.vtkCommand.ModifiedEvent, lambda *_: heard.append(qt.QApplication.mouseButtons())
    )
    hands.move_box(roi, (1.0, 0.0, 0.0))
    assert heard
    assert set(heard) == {qt.Qt.LeftButton}
    assert qt.QApplication.mouseButtons() == qt.Qt.NoButton


def test_a_hidden_box_cannot_be_dragged(slicer_harness):
    from Testing.harness import hands

    roi = add("box", "vtkMRMLMarkupsROINode")
    roi.CreateDefaultDisplayNodes()
    roi.GetDisplayNode().SetVisibility(False)
    with pytest.raises(AssertionError, match="not shown"):
        hands.drag_box(roi, 0, 1, 1.0)


def test_slice_views_are_drawn_with_segments_and_boxes(slicer_harness):
    from Testing.harness.slices import SlicePicture

    volume = slicer.util.addVolumeFromArray(np.zeros((20, 20, 20), np.int16), name="CT")
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    logic = slicer.app.layoutManager().sliceWidget("Red").sliceLogic()
    view = SlicePicture(logic, slicer_harness.logic, (120, 120))
    try:
        empty = view.pixels(fit=True)
        roi = add("box", "vtkMRMLMarkupsROINode")
        roi.CreateDefaultDisplayNodes()
        roi.GetDisplayNode().SetSelectedColor(1, 0, 0)
        centre = np.array(volume.GetImageData().GetDimensions()) / 2
        roi.SetCenter(list(centre))
        roi.SetSize(8, 8, 8)
        logic.SetSliceOffset(centre[2])
        drawn = view.pixels()
    finally:
        view.close()
    assert reddish(empty) == 0
    assert reddish(drawn) > 50


def reddish(pixels):
    """Count the pixels that are more red than blue."""
    return int((pixels[..., 0].astype(int) - pixels[..., 2] > 40).sum())

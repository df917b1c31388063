from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import slicer
from mrml_samples import GRIDS, bend, make_volume, rotation

from MedDetectLib.adapters.mrml.volume_node import volume_from_node, volume_to_node
from MedDetectLib.core.errors import InputError


def test_a_volume_comes_back_from_its_node_voxel_for_voxel(scene, geometry):
    volume = make_volume(geometry)
    back = volume_from_node(volume_to_node(scene, volume))
    assert back.array.dtype == volume.array.dtype
    assert back.array.tobytes() == volume.array.tobytes()
    assert back.geometry.is_close(geometry, 1e-9)
    assert (back.sha256, back.modality, back.name) == (volume.sha256, "CT", "chest")


@pytest.mark.parametrize("dtype", ["?", "u1", "<i2", ">i2", "u2", "i4", "i8", "f2", "f4", "f8"])
def test_every_number_type_keeps_its_values(scene, dtype):
    volume = make_volume(GRIDS["identity"])
    volume = replace(volume, array=(volume.array % 100).astype(dtype))
    back = volume_from_node(volume_to_node(scene, volume))
    assert np.array_equal(back.array, volume.array)


def test_the_copy_does_not_change_when_the_scene_does(scene):
    node = volume_to_node(scene, make_volume(GRIDS["identity"]))
    back = volume_from_node(node)
    before = back.sha256
    slicer.util.arrayFromVolume(node)[:] = 5
    assert back.sha256 == before


def test_linear_parent_transforms_are_part_of_the_place(scene, geometry, put_under):
    node = volume_to_node(scene, make_volume(geometry))
    inner, outer = np.eye(4), np.eye(4)
    inner[:3, :3], inner[:3, 3] = rotation(0.2, 0.1, -0.4), (10, 20, 30)
    outer[:3, :3], outer[:3, 3] = 1.5 * rotation(-0.7, 0, 0.2), (-5, 0, 99)
    transform = put_under(node, inner)
    put_under(transform, outer)
    world = outer @ inner @ geometry.ijk_to_ras
    assert np.allclose(volume_from_node(node).geometry.ijk_to_ras, world, atol=1e-9)


def test_a_non_linear_transform_is_refused_with_a_way_out(scene):
    node = volume_to_node(scene, make_volume(GRIDS["identity"]))
    bend(scene, node)
    with pytest.raises(InputError, match=r"bent.*harden the transform or remove it") as caught:
        volume_from_node(node)
    assert caught.value.code == "nonlinear-transform"


def test_a_transform_that_shears_is_refused(scene, put_under):
    node = volume_to_node(scene, make_volume(GRIDS["identity"]))
    shear = np.eye(4)
    shear[0, 1] = 0.2
    put_under(node, shear)
    with pytest.raises(InputError) as caught:
        volume_from_node(node)
    assert caught.value.code == "sheared-direction"


def test_other_nodes_than_scalar_images_are_refused(scene):
    colour = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    slicer.util.updateVolumeFromArray(colour, np.zeros((2, 3, 4, 3), np.uint8))
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.util.updateVolumeFromArray(labels, np.zeros((2, 3, 4), np.uint8))
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mask")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "beats")
    for node, code in (
        (colour, "many-components"),
        (labels, "not-an-image"),
        (empty, "empty-volume"),
        (segmentation, "not-an-image"),
        (sequence, "not-an-image"),
        (None, "not-an-image"),
    ):
        with pytest.raises(InputError) as caught:
            volume_from_node(node)
        assert caught.value.code == code


def test_voxels_that_are_no_numbers_are_refused_unless_accepted(scene):
    volume = make_volume(GRIDS["identity"])
    array = volume.array.astype(np.float32)
    array[1, 2, 3] = np.nan
    node = volume_to_node(scene, replace(volume, array=array))
    with pytest.raises(InputError, match="not-finite"):
        volume_from_node(node)
    back = volume_from_node(node, accept=["not-finite"])
    assert np.isfinite(back.array).all()
    assert [note.code for note in back.notes] == ["not-finite"]


def test_the_modality_comes_from_attributes_or_from_hounsfield_units(scene):
    node = volume_to_node(scene, replace(make_volume(GRIDS["identity"]), modality=""))
    assert volume_from_node(node).modality == ""
    units = slicer.vtkCodedEntry()
    units.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    node.SetVoxelValueUnits(units)
    assert volume_from_node(node).modality == "CT"
    node.SetAttribute("Modality", "mr")
    assert volume_from_node(node).modality == "MR"
    node.SetAttribute("DICOM.Modality", "PT")
    assert volume_from_node(node).modality == "PT"


def test_window_and_level_are_set_when_asked_for(scene):
    node = volume_to_node(scene, make_volume(GRIDS["identity"]), window_level=(1500, -600))
    display = node.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (1500, -600)
    assert not display.GetAutoWindowLevel()
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeGrey"


@pytest.mark.parametrize(("modality", "low", "high"), [("CT", -160.0, 240.0), ("MR", 9.99, 989.0)])
def test_without_a_window_it_is_shown_as_in_the_report(scene, modality, low, high):
    values = np.linspace(0, 999, 990).reshape(9, 10, 11).astype(np.int16)
    volume = replace(make_volume(GRIDS["oblique"]), array=values, modality=modality)
    display = volume_to_node(scene, volume).GetDisplayNode()
    assert not display.GetAutoWindowLevel()
    assert display.GetWindow() == pytest.approx(high - low, rel=0.01)
    assert display.GetLevel() == pytest.approx((low + high) / 2, rel=0.01)


@pytest.mark.parametrize("modality", ["MR", "PT"])
def test_the_modality_is_what_slicers_dicom_import_says_of_the_series(scene, modality):
    node = volume_to_node(scene, replace(make_volume(GRIDS["identity"]), modality=""))
    assert volume_from_node(node).modality == ""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    attribute = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    assert volume_from_node(node).modality == ""
    hierarchy.SetItemAttribute(item, attribute, modality)
    assert volume_from_node(node).modality == modality

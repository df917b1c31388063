from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import slicer
import vtk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mrml_samples import (
    GEOMETRIES,
    GRIDS,
    LABELS,
    PROVENANCE,
    assert_same,
    make_findings,
    make_volume,
    random_findings,
    rotation,
    with_state,
)

from MedDetectLib.adapters.mrml.read_back import findings_from_node, read_back
from MedDetectLib.adapters.mrml.scene import new_scene
from MedDetectLib.adapters.mrml.segment_voxels import LABELMAP, tag_of
from MedDetectLib.adapters.mrml.segmentation import findings_to_node, update_node
from MedDetectLib.adapters.mrml.volume_node import volume_from_node, volume_to_node
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.labels import Label


@pytest.mark.parametrize("box_only", [False, True])
@pytest.mark.parametrize("with_volume", [False, True])
def test_findings_come_back_from_their_node_bit_by_bit(scene, geometry, with_volume, box_only):
    findings = make_findings(geometry, box_only)
    volume_node = volume_to_node(scene, make_volume(geometry)) if with_volume else None
    node = findings_to_node(scene, findings, volume_node)
    assert_same(findings_from_node(node), findings)
    assert read_back(findings, node).findings is findings


@given(geometry=GEOMETRIES, seed=st.integers(0, 2**32 - 1), highest=st.sampled_from([2, 255, 900]))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_label_map_on_any_grid_makes_the_round_trip(geometry, seed, highest):
    findings = random_findings(geometry, np.random.default_rng(seed), highest)
    scene = new_scene()
    volume_node = volume_to_node(scene, make_volume(geometry))
    findings = replace(findings, geometry=volume_from_node(volume_node).geometry)
    node = findings_to_node(scene, findings, volume_node)
    assert_same(findings_from_node(node), findings)
    crop_every_labelmap(node)
    assert_same(findings_from_node(node), findings)
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    assert_same(findings_from_node(node), findings)


def crop_every_labelmap(node):
    """Shrink each stored image to its effective extent, as Slicer does now and then."""
    segmentation = node.GetSegmentation()
    images = {
        segmentation.GetSegment(i).GetRepresentation(LABELMAP) for i in segmentation.GetSegmentIDs()
    }
    for image in images:
        extent = [0, -1, 0, -1, 0, -1]
        slicer.vtkOrientedImageDataResample.CalculateEffectiveExtent(image, extent)
        if extent[0] <= extent[1]:
            crop = vtk.vtkImageConstantPad()
            crop.SetInputData(image)
            crop.SetOutputWholeExtent(extent)
            crop.Update()
            matrix = vtk.vtkMatrix4x4()
            image.GetImageToWorldMatrix(matrix)
            image.DeepCopy(crop.GetOutput())
            image.SetImageToWorldMatrix(matrix)


def test_a_box_corner_lies_where_the_roi_and_the_segments_voxels_are(scene, geometry):
    """Geometry, the stored label image and the reference volume agree on RAS places."""
    findings = make_findings(geometry)
    node = findings_to_node(scene, findings, volume_to_node(scene, make_volume(geometry)))
    image = node.GetSegmentation().GetSegment("F3").GetRepresentation(LABELMAP)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    k0, j0, i0, k1, j1, i1 = findings.items[2].box
    index = [i0, j0, k0, 1.0]
    assert image.GetScalarComponentAsDouble(int(i0), int(j0), int(k0), 0) == 300
    voxel_ras = np.array(matrix.MultiplyPoint(index))[:3]
    middle = geometry.box_centre_ras_mm((k0, j0, i0, k1, j1, i1))
    assert np.abs(voxel_ras - middle).max() < 1e-4


def test_a_segment_says_what_a_person_and_a_program_want_to_know(scene):
    findings = make_findings(GRIDS["oblique"])
    node = findings_to_node(scene, findings, name="mine")
    assert node.GetName() == "mine"
    assert node.GetDisplayNode() is not None
    assert list(node.GetSegmentation().GetSegmentIDs()) == ["F1", "F2", "F3", "F4", "F5"]
    segment = node.GetSegmentation().GetSegment("F2")
    assert segment.GetName() == "F2 cyst; simple|thin 0.33"
    assert np.allclose(np.array(segment.GetColor()) * 255, (10, 255, 0))
    assert tag_of(segment, "MedDetect.FindingId") == "F2"
    assert tag_of(segment, "MedDetect.Label") == "4"
    assert float(tag_of(segment, "MedDetect.Score")) == 1 / 3
    assert tag_of(segment, "MedDetect.State") == "new"
    assert tag_of(segment, "MedDetect.Model") == "toy model 1.2"
    assert tag_of(segment, "MedDetect.HasMask") == "1"
    first = node.GetSegmentation().GetSegment("F1")
    assert "SCT^27925004^Nodule" in tag_of(first, first.GetTerminologyEntryTagName())
    assert tag_of(node.GetSegmentation().GetSegment("F4"), "MedDetect.HasMask") == "0"


def test_findings_share_one_label_image_until_they_overlap(scene):
    geometry = GRIDS["identity"]
    findings = make_findings(geometry)
    layers = findings_to_node(scene, findings).GetSegmentation().GetNumberOfLayers()
    assert layers == 3  # the masks; a box over a mask; a box over that box
    apart = replace(findings, items=findings.items[:3])
    assert findings_to_node(scene, apart).GetSegmentation().GetNumberOfLayers() == 1


def test_a_hundred_findings_are_read_and_written_without_an_image_each(scene):
    shape = (40, 40, 40)
    label_map = np.zeros(shape, np.uint16)
    items = []
    for value in range(1, 118):
        k, j, i = 4 * (value % 10), 4 * (value // 10 % 10), 4 * (value // 100)
        label_map[k : k + 3, j : j + 3, i : i + 3] = value
        box = tuple(map(float, (k, j, i, k + 3, j + 3, i + 3)))
        items.append(Finding(f"F{value}", 1, 0.5, box, value, 1.0, 1.0))
    findings = Findings(Geometry(shape, np.eye(4)), LABELS, tuple(items), label_map, PROVENANCE)
    node = findings_to_node(scene, findings)
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    assert_same(findings_from_node(node), findings)


def test_the_segmentation_moves_with_its_volume(scene, put_under):
    volume_node = volume_to_node(scene, make_volume(GRIDS["oblique"]))
    first = np.eye(4)
    first[:3, :3], first[:3, 3] = rotation(0.2, 0.1, -0.4), (10, 20, 30)
    transform = put_under(volume_node, first)
    findings = make_findings(volume_from_node(volume_node).geometry)
    node = findings_to_node(scene, findings, volume_node)
    assert node.GetTransformNodeID() == transform.GetID()
    assert_same(findings_from_node(node), findings)
    second = vtk.vtkMatrix4x4()
    second.SetElement(2, 3, 77.0)
    transform.SetMatrixTransformToParent(second)
    moved = findings_from_node(node)
    assert moved.geometry.is_close(volume_from_node(volume_node).geometry, 1e-9)
    assert [f.box for f in moved] == [f.box for f in findings]
    assert read_back(findings, node).findings.geometry.is_close(moved.geometry, 1e-9)


def test_findings_of_another_grid_are_refused(scene):
    volume_node = volume_to_node(scene, make_volume(GRIDS["identity"]))
    for other in (GRIDS["oblique"], Geometry((9, 10, 12), np.eye(4))):
        with pytest.raises(InputError) as caught:
            findings_to_node(scene, make_findings(other), volume_node)
        assert caught.value.code == "other-grid"


def test_a_segmentation_that_is_not_ours_is_refused(scene):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "theirs")
    for bad in (node, None):
        with pytest.raises(InputError, match="no findings of MedDetect"):
            findings_from_node(bad)
    for text in ("nonsense", '{"format":"meddetect.mrml/99"}', '{"format":"meddetect.mrml/1"}'):
        node.SetAttribute("MedDetect.Findings", text)
        with pytest.raises(InputError, match="cannot be read"):
            findings_from_node(node)


def test_updating_rewrites_what_changed_and_spares_what_the_user_made(scene, geometry):
    findings = make_findings(geometry)
    node = findings_to_node(scene, findings)
    segmentation = node.GetSegmentation()
    theirs = add_user_segment(node, findings, "my own")
    before = segmentation.GetSegment("F1").GetRepresentation(LABELMAP)
    label_map = findings.label_map.copy()
    label_map[label_map == 2] = 0
    label_map[8, 0:2, 0:2] = 2
    items = [f for f in with_state(findings, "F1", "accepted") if f.id != "F4"]
    items[1] = replace(items[1], box=(8.0, 0.0, 0.0, 9.0, 2.0, 2.0))
    items.append(Finding("F9", 4, 1.0, (0.0, 0.0, 0.0, 1.0, 3.0, 3.0), None, 3.0, 0.009, "added"))
    after = replace(findings, items=tuple(items), label_map=label_map)
    update_node(node, after)
    assert_same(findings_from_node(node), after)
    assert read_back(after, node).findings is after
    assert segmentation.GetSegment("F1").GetRepresentation(LABELMAP) is before
    assert segmentation.GetSegment("F4") is None
    assert tag_of(segmentation.GetSegment("F1"), "MedDetect.State") == "accepted"
    assert segmentation.GetSegment(theirs).GetName() == "my own"
    assert count_voxels(node, theirs) == 8


def test_updating_with_the_same_findings_changes_no_voxel(scene):
    findings = make_findings(GRIDS["left-handed"])
    node = findings_to_node(scene, findings)
    stamps = image_times(node)
    update_node(node, with_state(findings, "F5", "rejected"))
    assert image_times(node) == stamps
    assert findings_from_node(node).items[4].state == "rejected"


def test_user_segments_become_findings_only_when_asked(scene):
    findings = make_findings(GRIDS["oblique"])
    node = findings_to_node(scene, findings)
    own = add_user_segment(node, findings, "Nodule 2")
    add_user_segment(node, findings, "liver")
    assert_same(findings_from_node(node), findings)
    adopted = findings_from_node(node, adopt_user_segments=True)
    added = adopted.items[-1]
    assert len(adopted) == len(findings) + 1
    assert (added.id, added.state, added.label, added.score) == (own, "added", 1, 1.0)
    assert added.box == (0.0, 0.0, 0.0, 2.0, 2.0, 2.0)
    assert int(adopted.mask_of(added).sum()) == 8
    assert adopted.notes[-1].code == "unknown-class"
    assert adopted.items[:-1] == findings.items


def test_a_copy_the_user_made_of_a_finding_is_the_users(scene):
    findings = make_findings(GRIDS["identity"])
    node = findings_to_node(scene, findings)
    copy = slicer.vtkSegment()
    copy.DeepCopy(node.GetSegmentation().GetSegment("F1"))
    node.GetSegmentation().AddSegment(copy, "F1_copy")
    assert_same(findings_from_node(node), findings)


def test_findings_without_items_or_labels_used_make_an_empty_segmentation(scene):
    empty = Findings(GRIDS["identity"], (Label(1, "x", (1, 2, 3)),), (), None, PROVENANCE)
    node = findings_to_node(scene, empty)
    assert node.GetSegmentation().GetNumberOfSegments() == 0
    assert_same(findings_from_node(node), empty)


def add_user_segment(node, findings, name):
    from MedDetectLib.adapters.mrml.images import oriented_image

    segment = slicer.vtkSegment()
    segment.SetName(name)
    image = oriented_image(np.ones((2, 2, 2), np.uint8), findings.geometry.ijk_to_ras)
    segment.AddRepresentation(LABELMAP, image)
    segment_id = node.GetSegmentation().GenerateUniqueSegmentID("Segment")
    node.GetSegmentation().AddSegment(segment, segment_id)
    return segment_id


def count_voxels(node, segment_id):
    segment = node.GetSegmentation().GetSegment(segment_id)
    scalars = segment.GetRepresentation(LABELMAP).GetPointData().GetScalars()
    return int((vtk.util.numpy_support.vtk_to_numpy(scalars) == segment.GetLabelValue()).sum())


def image_times(node):
    segmentation = node.GetSegmentation()
    return [
        segmentation.GetSegment(i)
        .GetRepresentation(LABELMAP)
        .GetPointData()
        .GetScalars()
        .GetMTime()
        for i in segmentation.GetSegmentIDs()
    ]

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import slicer
from mrml_samples import (
    GRIDS,
    LABELS,
    assert_same,
    bend,
    make_findings,
    make_volume,
    rotation,
)

from MedDetectLib.adapters.mrml.images import oriented_image
from MedDetectLib.adapters.mrml.read_back import findings_from_node, read_back
from MedDetectLib.adapters.mrml.roi import box_from_roi, roi_for_finding, update_roi
from MedDetectLib.adapters.mrml.segmentation import findings_to_node, update_node
from MedDetectLib.adapters.mrml.volume_node import volume_to_node
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.measure import measure_box, measure_mask, tight_box
from MedDetectLib.core.rasterise import box_slices

Logic = slicer.vtkSlicerSegmentationsModuleLogic


@pytest.fixture
def findings(geometry):
    return make_findings(geometry)


def draw(node, segment_id, mask, ijk_to_node, overwrite=False):
    """Replace a segment's voxels through the call Slicer's Segment Editor makes."""
    others = [i for i in node.GetSegmentation().GetSegmentIDs() if i != segment_id]
    image = oriented_image(mask.astype(np.uint8), ijk_to_node)
    assert Logic.SetBinaryLabelmapToSegment(
        image, node, segment_id, Logic.MODE_REPLACE, None, False, others if overwrite else []
    )


def test_a_painted_mask_moves_its_box_and_is_measured_anew(scene, findings, geometry):
    node = findings_to_node(scene, findings, volume_to_node(scene, make_volume(geometry)))
    mask = findings.mask_of(findings.items[0])
    mask[0, 1:4, 1] = True
    draw(node, "F1", mask, geometry.ijk_to_ras)
    result = read_back(findings, node)
    item = result.findings.items[0]
    assert result.edited == ("F1",)
    assert result.removed == ()
    assert item.box == tight_box(mask) == (0.0, 1.0, 1.0, 4.0, 5.0, 6.0)
    assert np.allclose((item.diameter_mm, item.volume_ml), measure_mask(mask, geometry))
    assert (item.state, item.score, item.mask_value) == ("edited", 0.97, 7)
    assert np.array_equal(result.findings.mask_of(item), mask)
    assert result.findings.items[1:] == findings.items[1:]
    assert_same(findings_from_node(node), result.findings)


def test_after_an_update_the_edit_is_no_longer_news(scene):
    findings = make_findings(GRIDS["oblique"])
    node = findings_to_node(scene, findings)
    mask = findings.mask_of(findings.items[2])
    mask[8, 9, 10] = True
    draw(node, "F3", mask, findings.geometry.ijk_to_ras)
    edited = read_back(findings, node).findings
    update_node(node, edited)
    again = read_back(edited, node)
    assert again.findings is edited
    assert again.edited == ()
    assert_same(findings_from_node(node), edited)


def test_an_array_edit_in_place_is_seen(scene):
    findings = make_findings(GRIDS["identity"])
    node = findings_to_node(scene, findings)
    array = slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, "F1")
    value = node.GetSegmentation().GetSegment("F1").GetLabelValue()
    first = np.argwhere(array == value)[0]
    array[tuple(first)] = 0
    assert read_back(findings, node).edited == ("F1",)


def test_painting_over_a_neighbour_edits_both(scene):
    findings = make_findings(GRIDS["identity"])
    node = findings_to_node(scene, findings)
    mask = findings.mask_of(findings.items[0])
    mask[1:4, 5, 2:6] = True
    draw(node, "F1", mask, np.eye(4), overwrite=True)
    result = read_back(findings, node)
    assert set(result.edited) >= {"F1", "F2"}
    assert np.array_equal(result.findings.mask_of(result.findings.items[0]), mask)
    left = result.findings.mask_of(result.findings.items[1])
    assert not (left & mask).any()
    assert result.findings.items[1].box == tight_box(left)


def test_where_edited_masks_overlap_the_edited_one_keeps_the_voxels_and_a_note_says_so(scene):
    findings = make_findings(GRIDS["identity"])
    node = findings_to_node(scene, findings)
    mask = findings.mask_of(findings.items[1])
    mask[1:4, 4, 2:6] = True
    draw(node, "F2", mask, np.eye(4))
    result = read_back(findings, node)
    assert result.edited == ("F1", "F2")
    assert np.array_equal(result.findings.mask_of(result.findings.items[1]), mask)
    assert result.findings.notes[-1].code == "masks-overlap"
    assert result.findings.items[0].box == tight_box(
        result.findings.mask_of(result.findings.items[0])
    )


@pytest.mark.parametrize("how", ["delete", "clear"])
def test_a_deleted_or_emptied_segment_removes_its_finding(scene, findings, how):
    node = findings_to_node(scene, findings)
    segmentation = node.GetSegmentation()
    for segment_id in ("F2", "F4"):
        if how == "delete":
            segmentation.RemoveSegment(segment_id)
        else:
            segmentation.ClearSegment(segment_id)
    result = read_back(findings, node)
    assert result.removed == (findings.items[1], findings.items[3])
    assert result.findings.items == tuple(findings.items[n] for n in (0, 2, 4))
    assert not (result.findings.label_map == 2).any()
    assert_same(findings_from_node(node), result.findings)


def test_painting_a_box_only_finding_gives_it_a_mask(scene, geometry):
    findings = make_findings(geometry, box_only=True)
    node = findings_to_node(scene, findings)
    mask = np.zeros(geometry.shape_kji, bool)
    mask[4, 4, 4:7] = True
    draw(node, "F4", mask, geometry.ijk_to_ras)
    result = read_back(findings, node)
    item = result.findings.items[0]
    assert (item.state, item.mask_value, item.box) == ("edited", 1, tight_box(mask))
    assert np.array_equal(result.findings.label_map, mask.astype(np.uint16))
    assert result.findings.items[1] == findings.items[1]


def test_a_shrunk_roi_crops_the_mask_and_a_grown_one_leaves_it(scene, findings, geometry):
    node = findings_to_node(scene, findings)
    roi = roi_for_finding(scene, geometry, findings.items[0], LABELS[0])
    x, y, z = roi.GetSize()
    step = 1.0 * geometry.spacing_kji_mm[2]
    roi.SetSize(x - 2 * step, y, z)
    result = read_back(findings, node, roi)
    item = result.findings.items[0]
    assert result.edited == ("F1",)
    assert np.allclose(item.box, (1, 2, 3, 4, 5, 5), atol=1e-4)
    expected = findings.mask_of(findings.items[0])
    expected[:, :, [2, 5]] = False
    assert np.array_equal(result.findings.mask_of(item), expected)
    assert item.volume_ml == measure_mask(expected, geometry)[1]
    roi.SetSize(x + 2 * step, y, z)
    grown = read_back(findings, node, roi).findings
    assert np.array_equal(grown.label_map, findings.label_map)
    assert np.allclose(grown.items[0].box, (1, 2, 1, 4, 5, 7), atol=1e-4)
    assert grown.items[0].volume_ml == findings.items[0].volume_ml
    assert grown.items[0].state == "edited"


def test_a_moved_roi_moves_a_box_only_finding_and_its_segment(scene, geometry):
    findings = make_findings(geometry, box_only=True)
    node = findings_to_node(scene, findings)
    roi = roi_for_finding(scene, geometry, findings.items[1], LABELS[0])
    roi.SetCenterWorld(*(np.array(roi.GetCenterWorld()) - 2 * geometry.ijk_to_ras[:3, 2]))
    edited = read_back(findings, node, roi).findings
    box = edited.items[1].box
    assert np.allclose(box, np.array(findings.items[1].box) - [2, 0, 0, 2, 0, 0], atol=1e-4)
    assert edited.items[1].volume_ml == measure_box(box, geometry)[1]
    assert edited.label_map is None
    update_node(node, edited)
    assert_same(findings_from_node(node), edited)
    update_roi(roi, geometry, edited.items[1], LABELS[0])
    assert read_back(edited, node, roi).findings is edited
    assert box_from_roi(roi, geometry) == box


def test_a_mask_edit_and_a_roi_edit_at_once_both_count(scene):
    findings = make_findings(GRIDS["identity"])
    node = findings_to_node(scene, findings)
    roi = roi_for_finding(scene, findings.geometry, findings.items[0], LABELS[0])
    mask = findings.mask_of(findings.items[0])
    mask[0] = mask[1]
    draw(node, "F1", mask, np.eye(4))
    x, y, z = roi.GetSize()
    roi.SetSize(x, y, z - 2.0)
    item = read_back(findings, node, roi).findings.items[0]
    assert np.allclose(item.box, (2, 2, 2, 3, 5, 6), atol=1e-4)


def test_a_roi_is_read_under_the_transforms_of_its_volume(scene, geometry, put_under):
    volume_node = volume_to_node(scene, make_volume(geometry))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(0.4, -0.2, 0.9), (10, -20, 30)
    put_under(volume_node, matrix)
    world = replace(geometry, ijk_to_ras=matrix @ geometry.ijk_to_ras)
    findings = make_findings(world)
    node = findings_to_node(scene, findings, volume_node)
    roi = roi_for_finding(scene, world, findings.items[3], LABELS[0], volume_node)
    assert read_back(findings, node, roi).findings is findings
    roi.SetCenterWorld(*(np.array(roi.GetCenterWorld()) + world.ijk_to_ras[:3, 0]))
    box = read_back(findings, node, roi).findings.items[3].box
    step = np.array([0, 0, 1, 0, 0, 1])
    assert np.allclose(box, findings.items[3].box + step, atol=1e-4)


def test_a_segmentation_the_user_regridded_is_read_by_nearest_voxel(scene):
    """Somebody set another source geometry: twice the density, same place."""
    findings = make_findings(GRIDS["identity"])
    node = findings_to_node(scene, findings)
    fine = np.diag([0.5, 0.5, 0.5, 1.0])
    fine[:3, 3] = -0.25
    mask = np.zeros((18, 20, 22), np.uint8)
    mask[12:16, 0:4, 0:8] = 1
    image = oriented_image(mask, fine)
    segment = node.GetSegmentation().GetSegment("F3")
    node.GetSegmentation().SeparateSegmentLabelmap("F3")
    segment.AddRepresentation("Binary labelmap", image)
    result = read_back(findings, node)
    assert result.edited == ("F3",)
    assert result.findings.items[2].box == (6.0, 0.0, 0.0, 8.0, 2.0, 4.0)


def test_a_filled_box_is_the_voxels_whose_centre_lies_inside(scene):
    findings = make_findings(GRIDS["identity"], box_only=True)
    node = findings_to_node(scene, findings)
    array = np.zeros((9, 10, 11), bool)
    array[box_slices(findings.items[0].box, (9, 10, 11))] = True
    stored = slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, "F4")
    value = node.GetSegmentation().GetSegment("F4").GetLabelValue()
    assert int((stored == value).sum()) == int(array.sum())


def test_a_segmentation_or_roi_under_a_bent_transform_is_refused(scene):
    findings = make_findings(GRIDS["identity"])
    node = findings_to_node(scene, findings)
    roi = roi_for_finding(scene, findings.geometry, findings.items[0], LABELS[0])
    bend(scene, roi)
    with pytest.raises(InputError, match="nonlinear-transform"):
        read_back(findings, node, roi)
    bend(scene, node)
    with pytest.raises(InputError, match="nonlinear-transform"):
        read_back(findings, node)


def test_a_box_off_the_image_makes_an_empty_segment_and_comes_back(scene):
    findings = make_findings(GRIDS["identity"], box_only=True)
    off = replace(findings.items[0], box=(-9.0, 0.0, 0.0, -8.0, 1.0, 1.0))
    findings = replace(findings, items=(off, findings.items[1]))
    node = findings_to_node(scene, findings)
    assert_same(findings_from_node(node), findings)
    assert read_back(findings, node).findings is findings
    node.GetSegmentation().RemoveSegment("F4")
    assert read_back(findings, node).removed == (off,)

from __future__ import annotations

import numpy as np
import pytest
import vtk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mrml_samples import GRIDS, LABELS, make_findings, make_volume, rotation

from MedDetectLib.adapters.mrml.roi import (
    box_from_roi,
    finding_id_of_roi,
    moved_box,
    roi_corners_ras_mm,
    roi_for_finding,
    update_roi,
)
from MedDetectLib.adapters.mrml.scene import new_scene
from MedDetectLib.adapters.mrml.volume_node import volume_from_node, volume_to_node
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding
from MedDetectLib.core.geometry import Geometry


def finding(box):
    return Finding("F1", 1, 0.9, tuple(float(e) for e in box), None, 1.0, 1.0)


def distance_mm(first, second):
    """Largest distance from a corner of one set to the nearest of the other."""
    return np.linalg.norm(first[:, None] - second[None], axis=-1).min(axis=1).max()


def test_the_rois_corners_are_the_boxs_corners(scene, geometry):
    for item in make_findings(geometry):
        roi = roi_for_finding(scene, geometry, item, LABELS[0])
        expected = geometry.box_corners_ras_mm(item.box)
        assert distance_mm(roi_corners_ras_mm(roi), expected) < 1e-4
        assert distance_mm(expected, roi_corners_ras_mm(roi)) < 1e-4
        assert box_from_roi(roi, geometry) == item.box
        assert moved_box(roi, geometry, item.box) is None


def test_slicers_own_idea_of_the_roi_agrees(scene, geometry):
    """What the handles and slice views show: the node's object-to-world matrix and size."""
    item = make_findings(geometry).items[0]
    roi = roi_for_finding(scene, geometry, item, LABELS[0])
    world = vtk.vtkMatrix4x4()
    world.DeepCopy(roi.GetObjectToWorldMatrix())
    half = np.array(roi.GetSize()) / 2
    corners = np.array(
        [
            world.MultiplyPoint([x * half[0], y * half[1], z * half[2], 1.0])[:3]
            for x in (-1, 1)
            for y in (-1, 1)
            for z in (-1, 1)
        ]
    )
    assert distance_mm(corners, geometry.box_corners_ras_mm(item.box)) < 1e-4
    axes = np.array([[world.GetElement(r, c) for c in range(3)] for r in range(3)])
    assert np.linalg.det(axes) == pytest.approx(1.0)


def test_the_roi_wears_name_and_colour_of_its_finding(scene):
    roi = roi_for_finding(scene, GRIDS["oblique"], finding((1, 1, 1, 2, 2, 2)), LABELS[0])
    assert (roi.GetName(), finding_id_of_roi(roi)) == ("F1 nodule", "F1")
    colour = np.array(roi.GetDisplayNode().GetSelectedColor()) * 255
    assert np.allclose(colour, LABELS[0].colour_rgb)


def test_nothing_of_the_roi_lies_over_the_lesion(scene):
    geometry = GRIDS["oblique"]
    roi = roi_for_finding(scene, geometry, make_findings(geometry).items[0], LABELS[0])
    display = roi.GetDisplayNode()
    assert not display.GetFillVisibility()
    assert not display.GetPropertiesLabelVisibility()
    assert display.GetOutlineVisibility()


ANGLES = st.tuples(*[st.floats(-3.0, 3.0)] * 3)


@given(
    origin=st.tuples(*[st.floats(-900.0, 900.0)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5.0)] * 3),
    angles=ANGLES,
    mirrored=st.booleans(),
    low=st.tuples(*[st.floats(0.0, 8.0)] * 3),
    size=st.tuples(*[st.floats(1e-3, 9.0)] * 3),
    shift=st.floats(-2.0, 2.0),
)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_box_to_roi_to_box_is_exact_and_follows_a_move(
    origin, spacing, angles, mirrored, low, size, shift
):
    axes = rotation(*angles) @ np.diag([1, 1, -1 if mirrored else 1])
    geometry = Geometry.from_axes((20, 20, 20), spacing, origin, axes)
    box = np.concatenate([low, np.array(low) + size])
    roi = roi_for_finding(new_scene(), geometry, finding(box), LABELS[0])
    assert np.abs(np.array(box_from_roi(roi, geometry)) - box).max() == 0
    step = shift * geometry.ijk_to_ras[:3, 1]
    roi.SetCenterWorld(*(np.array(roi.GetCenterWorld()) + step))
    moved = box + shift * np.array([0, 1, 0, 0, 1, 0])
    expected = np.clip(moved, 0, 20)
    if (expected[3:] - expected[:3]).min() > 1e-3:
        error_mm = np.abs(np.array(box_from_roi(roi, geometry)) - expected) * [*spacing, *spacing]
        assert error_mm.max() < 2e-4


def test_a_resized_roi_gives_the_resized_box(scene, geometry):
    item = finding((2, 3, 4, 5, 6, 7))
    roi = roi_for_finding(scene, geometry, item, LABELS[0])
    x, y, z = roi.GetSize()
    roi.SetSize(x, y * 2, z)
    wanted = (2, 1.5, 4, 5, 7.5, 7)
    assert np.allclose(box_from_roi(roi, geometry), wanted, atol=1e-4)
    assert np.allclose(moved_box(roi, geometry, item.box), wanted, atol=1e-4)


def test_a_turned_roi_gives_the_box_that_encloses_it(scene):
    geometry = GRIDS["identity"]
    roi = roi_for_finding(scene, geometry, finding((3, 3, 3, 5, 5, 5)), LABELS[0])
    pose = roi.GetObjectToNodeMatrix()
    turn = rotation(0, 0, np.pi / 4)
    for row in range(3):
        for column in range(3):
            pose.SetElement(row, column, turn[row, column])
    half = np.sqrt(2)
    wanted = (3, 4 - half, 4 - half, 5, 4 + half, 4 + half)
    assert np.allclose(box_from_roi(roi, geometry), wanted, atol=1e-4)


def test_the_roi_shares_the_volumes_transforms_and_moves_with_them(scene, geometry, put_under):
    volume_node = volume_to_node(scene, make_volume(geometry))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = 1.3 * rotation(0.4, -0.2, 0.9), (10, -20, 30)
    transform = put_under(volume_node, matrix)
    world = volume_from_node(volume_node).geometry
    item = finding((1.25, 2.5, 3.75, 4, 6, 8))
    roi = roi_for_finding(scene, world, item, LABELS[0], volume_node)
    assert roi.GetTransformNodeID() == transform.GetID()
    assert distance_mm(roi_corners_ras_mm(roi), world.box_corners_ras_mm(item.box)) < 1e-4
    assert box_from_roi(roi, world) == item.box
    mirror = vtk.vtkMatrix4x4()
    mirror.SetElement(0, 0, -1.0)
    transform.SetMatrixTransformToParent(mirror)
    moved = volume_from_node(volume_node).geometry
    assert box_from_roi(roi, moved) == item.box
    assert moved_box(roi, moved, item.box) is None


def test_hardening_the_transform_leaves_the_box_where_it_was(scene, put_under):
    geometry = GRIDS["oblique"]
    item = finding((1, 2, 3, 4, 6, 8))
    roi = roi_for_finding(scene, geometry, item, LABELS[0])
    shift = np.eye(4)
    shift[:3, :3], shift[:3, 3] = rotation(0.002, 0.001, 0.003), (1, 0.2, 0.3)
    put_under(roi, shift)
    seen = box_from_roi(roi, geometry)
    roi.HardenTransform()
    assert np.allclose(box_from_roi(roi, geometry), seen, atol=1e-4)


def test_updating_moves_the_roi_to_the_new_finding_in_hand(scene):
    geometry = GRIDS["left-handed"]
    roi = roi_for_finding(scene, geometry, finding((1, 2, 3, 4, 6, 8)), LABELS[0])
    other = Finding("F7", 4, 0.5, (0.5, 0.5, 0.5, 2.5, 2.5, 2.5), None, 1.0, 1.0)
    update_roi(roi, geometry, other, LABELS[1])
    assert finding_id_of_roi(roi) == "F7"
    assert box_from_roi(roi, geometry) == other.box


def test_a_roi_off_the_image_or_without_extent_is_refused(scene):
    geometry = GRIDS["identity"]
    roi = roi_for_finding(scene, geometry, finding((1, 2, 3, 4, 6, 8)), LABELS[0])
    roi.SetCenterWorld(500.0, 0.0, 0.0)
    with pytest.raises(InputError, match="move it back onto the image"):
        box_from_roi(roi, geometry)
    roi.SetCenterWorld(5.0, 5.0, 5.0)
    roi.SetSize(0.0, 1.0, 1.0)
    with pytest.raises(InputError, match="no extent"):
        box_from_roi(roi, geometry)


def test_a_roi_the_user_drew_has_no_finding_and_gives_its_box(scene):
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "mine")
    roi.SetSize(2.0, 3.0, 4.0)
    roi.SetCenter(4.0, 4.0, 4.0)
    assert finding_id_of_roi(roi) == ""
    assert np.allclose(box_from_roi(roi, GRIDS["identity"]), (2.5, 3, 3.5, 6.5, 6, 5.5))

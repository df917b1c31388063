"""One finding's box as an ROI with handles, on any grid.

The ROI's x, y and z run along the grid's i, j and k. A grid whose axes form a left-handed
set gets its k turned round, since an ROI must be a rotation; the box is symmetric about
its centre, so all eight corners stay where they are.

Slicer keeps an ROI's centre in single precision. An ROI nobody touched therefore returns
the exact box it was made from, which it carries with it; a touched one is good to
0.00002 mm.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import vtk

from MedDetectLib.adapters.mrml.placement import (
    array_from_matrix,
    matrix_from_array,
    to_world_matrix,
)
from MedDetectLib.adapters.mrml.record import plain_json
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Box, Finding
from MedDetectLib.core.geometry import FloatArray, Geometry
from MedDetectLib.core.labels import Label
from MedDetectLib.core.measure import as_box
from MedDetectLib.review.linked import clipped_box

__all__ = [
    "box_from_roi",
    "finding_id_of_roi",
    "moved_box",
    "roi_corners_ras_mm",
    "roi_for_finding",
    "update_roi",
]

FINDING_ATTRIBUTE = "MedDetect.FindingId"
BOX_ATTRIBUTE = "MedDetect.Box"
UNTOUCHED_VOXELS = 1e-6
"""Largest change of an edge, in voxels, for an ROI to count as untouched."""
LEAST_VOXELS = 1e-4
"""A thinner box has no extent: on an oblique grid a flat ROI is some 1e-15 voxels thick."""


def roi_for_finding(
    scene: Any, geometry: Geometry, item: Finding, label: Label, moves_with: Any = None
) -> Any:
    """Add an ROI around one finding.

    Make it for the finding in hand only: hundreds of ROIs bring the views to a halt.

    Args:
        scene: the vtkMRMLScene to add it to.
        geometry: the findings' grid, in world RAS.
        item: whose box it shows.
        label: its class, for name and colour.
        moves_with: a node (volume, segmentation) whose parent transform the ROI shares.

    Returns:
        The new vtkMRMLMarkupsROINode.

    Raises:
        InputError: ``nonlinear-transform``.
    """
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    if moves_with is not None:
        roi.SetAndObserveTransformNodeID(moves_with.GetTransformNodeID())
    roi.CreateDefaultDisplayNodes()
    if (display := roi.GetDisplayNode()) is not None:
        # only its edges: Slicer would fill it, and write the name over the lesion
        display.SetFillVisibility(False)
        display.SetPropertiesLabelVisibility(False)
    update_roi(roi, geometry, item, label)
    return roi


def update_roi(roi: Any, geometry: Geometry, item: Finding, label: Label) -> None:
    """Put an ROI around a finding's box, for a new finding in hand or after an edit.

    Args:
        roi: vtkMRMLMarkupsROINode; it stays under its parent transform.
        geometry: the findings' grid, in world RAS.
        item: whose box it is to show.
        label: its class.

    Raises:
        InputError: ``nonlinear-transform``.
    """
    to_node = np.linalg.inv(to_world_matrix(roi))
    axes = to_node[:3, :3] @ geometry.ijk_to_ras[:3, :3]
    spacing_ijk_mm = np.linalg.norm(axes, axis=0)
    pose = np.eye(4)
    pose[:3, :3] = axes / spacing_ijk_mm
    if np.linalg.det(pose[:3, :3]) < 0:
        pose[:3, 2] *= -1
    pose[:3, 3] = (to_node @ [*geometry.box_centre_ras_mm(item.box), 1.0])[:3]
    edges = np.array(item.box)
    were_modifying = roi.StartModify()
    roi.SetName(f"{item.id} {label.name}")
    roi.SetSize(*(float(s) for s in (edges[3:] - edges[:3])[::-1] * spacing_ijk_mm))
    roi.GetObjectToNodeMatrix().DeepCopy(matrix_from_array(pose))
    roi.SetAttribute(FINDING_ATTRIBUTE, item.id)
    roi.EndModify(were_modifying)
    shown = _edges(roi, geometry).tolist()
    roi.SetAttribute(BOX_ATTRIBUTE, plain_json({"box": list(item.box), "shown": shown}))
    if (display := roi.GetDisplayNode()) is not None:
        colour = [channel / 255.0 for channel in label.colour_rgb]
        display.SetSelectedColor(*colour)
        display.SetColor(*colour)


def box_from_roi(roi: Any, geometry: Geometry) -> Box:
    """Return the box, in voxel edges of the grid, that an ROI stands for.

    The smallest box along the grid's axes that encloses the ROI: one that was turned gives
    a larger box. It is cut to the grid.

    Args:
        roi: vtkMRMLMarkupsROINode, under any linear transforms.
        geometry: the findings' grid, in world RAS.

    Raises:
        InputError: ``box-outside``, ``empty-box``, ``nonlinear-transform``.
    """
    recorded = _recorded(roi)
    edges = _edges(roi, geometry)
    if recorded is not None and np.abs(edges - recorded[1]).max() <= UNTOUCHED_VOXELS:
        return clipped_box(as_box(recorded[0]), geometry.shape_kji)
    if (edges[3:] - edges[:3] < LEAST_VOXELS).any():
        raise InputError(
            "empty-box", f"'{roi.GetName()}' has no extent", todo="draw the box larger"
        )
    return clipped_box(as_box(edges), geometry.shape_kji)


def moved_box(roi: Any, geometry: Geometry, box: Box) -> Box | None:
    """Return an ROI's box if somebody moved or resized it, else None.

    Args:
        roi: vtkMRMLMarkupsROINode.
        geometry: the findings' grid, in world RAS.
        box: what the ROI should show when it carries no record of its own.

    Raises:
        InputError: as `box_from_roi`.
    """
    recorded = _recorded(roi)
    shown = np.array(box) if recorded is None else recorded[1]
    tolerance = 1e-4 if recorded is None else UNTOUCHED_VOXELS
    if np.abs(_edges(roi, geometry) - shown).max() <= tolerance:
        return None
    return box_from_roi(roi, geometry)


def finding_id_of_roi(roi: Any) -> str:
    """Return the id of the finding an ROI was made for, empty for the user's own ROIs."""
    return str(roi.GetAttribute(FINDING_ATTRIBUTE) or "")


def roi_corners_ras_mm(roi: Any) -> FloatArray:
    """Return the (8, 3) corners of an ROI in world RAS mm.

    Raises:
        InputError: ``nonlinear-transform``.
    """
    half = np.array(roi.GetSize(), dtype=np.float64) / 2
    corners = np.array(list(itertools.product(*((-h, h) for h in half))))
    own = vtk.vtkMatrix4x4()
    own.DeepCopy(roi.GetObjectToNodeMatrix())
    to_world = to_world_matrix(roi) @ array_from_matrix(own)
    return np.asarray(corners @ to_world[:3, :3].T + to_world[:3, 3], dtype=np.float64)


def _edges(roi: Any, geometry: Geometry) -> FloatArray:
    """(6,): the enclosing box in voxel edges, not cut to the grid."""
    edges = geometry.ras_to_edge(roi_corners_ras_mm(roi))
    return np.concatenate([edges.min(axis=0), edges.max(axis=0)])


def _recorded(roi: Any) -> tuple[FloatArray, FloatArray] | None:
    """Return the box an ROI was made from and the edges it then showed."""
    try:
        data = json.loads(roi.GetAttribute(BOX_ATTRIBUTE) or "")
        return np.array(data["box"], dtype=np.float64), np.array(data["shown"], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        return None

"""How a finding's box and mask stay linked.

- A drawn mask moves the box: it becomes the mask's tight box.
- A moved box crops the mask: voxels whose centre is outside are dropped, the rest stays.
  A mask that is left without a voxel is given up; the finding is its box from then on.
- A neighbour that loses voxels to a drawn mask gets a tight box too; nobody looked at it, so
  one that was rejected stays rejected.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from MedDetectLib.core.boxes import Boxes
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Box, Finding, State
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.measure import as_box, measure_box
from MedDetectLib.core.rasterise import box_slices
from MedDetectLib.review.patches import Patch

__all__ = ["clipped_box", "edited_state", "with_box", "with_mask", "with_rest"]


def with_mask(item: Finding, patch: Patch, value: int, geometry: Geometry) -> Finding:
    """Return a finding whose mask is `patch`: box tight to it, measured anew, edited.

    Args:
        item: before.
        patch: its voxels on the grid.
        value: what they are in the label map.
        geometry: the findings' grid.
    """
    diameter_mm, volume_ml = patch.measure(geometry)
    return replace(
        item,
        box=patch.box,
        mask_value=value,
        diameter_mm=diameter_mm,
        volume_ml=volume_ml,
        state=edited_state(item),
    )


def with_rest(item: Finding, patch: Patch, value: int, geometry: Geometry) -> Finding:
    """Return a finding that lost voxels to another one; see `with_mask` for the arguments."""
    left = with_mask(item, patch, value, geometry)
    return replace(left, state="rejected") if item.state == "rejected" else left


def with_box(
    item: Finding, box: Box, patch: Patch | None, geometry: Geometry
) -> tuple[Finding, Patch | None]:
    """Return a finding with another box, and what that leaves of its mask.

    Args:
        item: before.
        box: voxel edges inside the grid, see `clipped_box`.
        patch: its voxels before, None when it has none.
        geometry: the findings' grid.
    """
    kept = None if patch is None else patch.cropped(box_slices(box, geometry.shape_kji))
    size = measure_box(box, geometry) if kept is None else kept.measure(geometry)
    moved = replace(
        item,
        box=box,
        mask_value=item.mask_value if kept is not None else None,
        diameter_mm=size[0],
        volume_ml=size[1],
        state=edited_state(item),
    )
    return moved, kept


def clipped_box(box: Box, shape_kji: tuple[int, int, int]) -> Box:
    """Return the part of a box inside the grid.

    Raises:
        InputError: ``box-outside`` when there is none, ``bad-boxes`` when it has no extent.
    """
    inside = Boxes(np.array([box]), np.ones(1), np.ones(1, np.int64)).clipped(shape_kji)
    if not len(inside):
        raise InputError(
            "box-outside", "the box lies outside the volume", todo="move it back onto the image"
        )
    return as_box(inside.edges[0])


def edited_state(item: Finding) -> State:
    """Return the state after an edit: what a person added stays theirs."""
    return "added" if item.state == "added" else "edited"

"""Reading the voxels of segments back onto the grid of their findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import slicer
import vtk

from MedDetectLib.adapters.mrml.images import array_on_grid
from MedDetectLib.adapters.mrml.record import Record
from MedDetectLib.core.errors import InputError
from MedDetectLib.review.patches import Patch, patches_by_value

__all__ = ["FINDING_ID_TAG", "LABELMAP", "SegmentVoxels", "own_segments", "read_segments", "tag_of"]

FINDING_ID_TAG = "MedDetect.FindingId"
LABELMAP: str = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()


@dataclass(frozen=True)
class SegmentVoxels:
    """All voxels of a segmentation on the findings' grid.

    Args:
        patches: each finding's voxels by its id; an empty segment has none.
        user_patches: the voxels of segments the user made, by segment id.
        segment_ids: findings whose segment exists, empty or not.
    """

    patches: dict[str, Patch] = field(default_factory=dict)
    user_patches: dict[str, Patch] = field(default_factory=dict)
    segment_ids: set[str] = field(default_factory=set)


def tag_of(segment: Any, tag: str) -> str:
    """Return a segment's tag, empty when it has none."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(tag, value) else ""


def own_segments(node: Any) -> list[str]:
    """Return the ids of the segments that are findings.

    A copy the user made of one carries the same tags under another segment id, and is the
    user's.
    """
    segmentation = node.GetSegmentation()
    return [
        segment_id
        for segment_id in segmentation.GetSegmentIDs()
        if tag_of(segmentation.GetSegment(segment_id), FINDING_ID_TAG) == segment_id
    ]


def read_segments(node: Any, record: Record) -> SegmentVoxels:
    """Return the voxels of every segment, each label image being read once.

    Args:
        node: vtkMRMLSegmentationNode.
        record: where the grid lies in the node.

    Raises:
        InputError: ``no-voxels`` when a segment has no label map and none can be made.
    """
    segmentation = node.GetSegmentation()
    all_ids = list(segmentation.GetSegmentIDs())
    own = set(own_segments(node))
    voxels = SegmentVoxels(segment_ids=own)
    if all_ids and not segmentation.ContainsRepresentation(LABELMAP):
        node.CreateBinaryLabelmapRepresentation()
    by_image: dict[Any, dict[str, int]] = {}
    for segment_id in all_ids:
        segment = segmentation.GetSegment(segment_id)
        image = segment.GetRepresentation(LABELMAP)
        if image is None:
            raise InputError(
                "no-voxels",
                f"segment '{segment.GetName()}' has no label map",
                where=str(node.GetName()),
                todo="convert the segmentation to binary label maps in Slicer's Segmentations",
            )
        by_image.setdefault(image, {})[segment_id] = segment.GetLabelValue()
    for image, values in by_image.items():
        found = patches_by_value(array_on_grid(image, record.ijk_to_node, record.shape_kji))
        for segment_id, value in values.items():
            if value in found:
                target = voxels.patches if segment_id in own else voxels.user_patches
                target[segment_id] = found[value]
    return voxels

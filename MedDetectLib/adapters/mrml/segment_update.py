"""Bringing single segments in line with their findings, whatever the size of the image.

Voxels are written in place into the label image a segment shares with others, as far as its
new voxels lie inside that image and are nobody else's; otherwise the segment moves into
another image that has room, or gets one of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import slicer
import vtk

from MedDetectLib.adapters.mrml.images import GridView, grid_view, oriented_image
from MedDetectLib.adapters.mrml.segment_dress import dress
from MedDetectLib.adapters.mrml.segment_voxels import LABELMAP
from MedDetectLib.core.errors import MedDetectError
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.core.geometry import FloatArray
from MedDetectLib.review.patches import Patch

__all__ = ["remove_findings", "update_findings"]

SURFACE: str = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()


def update_findings(
    node: Any,
    about: Findings,
    items: Iterable[tuple[Finding, Patch | None]],
    present: Mapping[str, Patch],
    ijk_to_node: FloatArray,
) -> None:
    """Write some findings into their segments: voxels, names, colours, tags.

    Segments that are missing are made; all others are left alone.

    Args:
        node: vtkMRMLSegmentationNode made by `findings_to_node`.
        about: knows the findings' classes and provenance.
        items: each finding, and the voxels its segment is to hold (of a finding without a
            mask, its box filled); None for none.
        present: the voxels that segments hold now, by id.
        ijk_to_node: (4, 4), the grid's voxel centres to node mm.
    """
    items = list(items)
    segmentation = node.GetSegmentation()
    writer = _Writer(node, ijk_to_node)
    drawn = []
    were_modifying = node.StartModify()
    for item, patch in items:
        before = present.get(item.id)
        if segmentation.GetSegment(item.id) is None:
            segment = slicer.vtkSegment()
            segment.AddRepresentation(LABELMAP, _empty_image(ijk_to_node))
            dress(segment, item, about)
            segmentation.AddSegment(segment, item.id)
            drawn.append((item.id, patch))
            continue
        dress(segmentation.GetSegment(item.id), item, about)
        if (patch is None) != (before is None) or (patch and not patch.is_same(before)):
            writer.erase(item.id, before)
            drawn.append((item.id, patch))
    for segment_id, patch in drawn:
        if patch is not None:
            writer.paint(segment_id, patch)
    writer.tell(drawn)
    node.EndModify(were_modifying)


def remove_findings(
    node: Any, ids: Iterable[str], present: Mapping[str, Patch], ijk_to_node: FloatArray
) -> None:
    """Remove the segments of some findings.

    Args:
        node: vtkMRMLSegmentationNode.
        ids: which; those without a segment are passed over.
        present: the voxels that segments hold now, by id.
        ijk_to_node: (4, 4), the grid's voxel centres to node mm.
    """
    segmentation = node.GetSegmentation()
    writer = _Writer(node, ijk_to_node)
    were_modifying = node.StartModify()
    for segment_id in ids:
        segment = segmentation.GetSegment(segment_id)
        if segment is not None:
            writer.erase(segment_id, present.get(segment_id))
            # Slicer separates a segment from the image it shares before it removes it, which
            # takes two walks over the whole image
            segment.AddRepresentation(LABELMAP, _empty_image(ijk_to_node))
            segmentation.RemoveSegment(segment_id)
    writer.tell([])
    node.EndModify(were_modifying)


class _Writer:
    """Writes voxels into the images of one segmentation, and tells of it once at the end."""

    def __init__(self, node: Any, ijk_to_node: FloatArray) -> None:
        self._node, self._segmentation = node, node.GetSegmentation()
        self._ijk_to_node = ijk_to_node
        self._views: dict[Any, GridView | None] = {}
        self._changed: dict[Any, None] = {}

    def erase(self, segment_id: str, patch: Patch | None) -> None:
        """Take a segment's voxels out of its image."""
        segment = self._segmentation.GetSegment(segment_id)
        image = segment.GetRepresentation(LABELMAP)
        view = None if image is None else self._view(image)
        part = None if view is None or patch is None else view.window(patch.slices)
        if image is None or (view is None and patch is None):
            return
        if part is not None:
            part[part == segment.GetLabelValue()] = 0
            self._changed[image] = None
        elif view is not None:
            view.array[view.array == segment.GetLabelValue()] = 0
            self._changed[image] = None
        else:  # not on the grid's voxels: leave that image to others
            segment.AddRepresentation(LABELMAP, _empty_image(self._ijk_to_node))
            segment.SetLabelValue(1)

    def paint(self, segment_id: str, patch: Patch) -> None:
        """Put voxels where there is room for them; the segment has none."""
        segment = self._segmentation.GetSegment(segment_id)
        own = segment.GetRepresentation(LABELMAP)
        if own is not None and self._paint_into(own, patch, segment.GetLabelValue()):
            return
        for image, value in self._other_images(own):
            if self._paint_into(image, patch, value):
                segment.SetLabelValue(value)
                segment.AddRepresentation(LABELMAP, image)
                return
        image = oriented_image(patch.mask.astype(np.uint8), self._ijk_to_node, patch.start_kji)
        segment.SetLabelValue(1)
        segment.AddRepresentation(LABELMAP, image)

    def tell(self, drawn: Iterable[tuple[str, Patch | None]]) -> None:
        """Tell everybody who shows the segmentation, with surfaces made anew."""
        if self._segmentation.ContainsRepresentation(SURFACE):
            for segment_id, patch in drawn:
                self._tell_with_surface(segment_id, patch)
            return
        for image in self._changed:
            image.GetPointData().GetScalars().Modified()
            image.Modified()
        for segment_id, _ in drawn:
            self._segmentation.InvokeEvent(slicer.vtkSegmentation.RepresentationModified,
                                           segment_id)  # fmt: skip

    def _tell_with_surface(self, segment_id: str, patch: Patch | None) -> None:
        """Have Slicer's own logic announce voxels, which makes the surface anew."""
        if patch is None:
            segment = self._segmentation.GetSegment(segment_id)
            segment.AddRepresentation(SURFACE, vtk.vtkPolyData())
            return
        image = oriented_image(patch.mask.astype(np.uint8), self._ijk_to_node, patch.start_kji)
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        everybody = list(self._segmentation.GetSegmentIDs())
        if not logic.SetBinaryLabelmapToSegment(
            image, self._node, segment_id, logic.MODE_MERGE_MASK, None, False, everybody
        ):
            raise MedDetectError("segment-not-drawn", f"segment {segment_id} could not be redrawn")

    def _paint_into(self, image: Any, patch: Patch, value: int) -> bool:
        """Paint if all of it lies in the image, on voxels of nobody."""
        view = self._view(image)
        part = None if view is None else view.window(patch.slices)
        if part is None or value > np.iinfo(part.dtype).max or part[patch.mask].any():
            return False
        part[patch.mask] = value
        self._changed[image] = None
        return True

    def _other_images(self, own: Any) -> list[tuple[Any, int]]:
        """Return the images of all segments but one image, with a value that is free there."""
        highest: dict[Any, int] = {}
        for segment_id in self._segmentation.GetSegmentIDs():
            segment = self._segmentation.GetSegment(segment_id)
            image = segment.GetRepresentation(LABELMAP)
            if image is not None and image is not own:
                highest[image] = max(highest.get(image, 0), segment.GetLabelValue())
        return [(image, value + 1) for image, value in highest.items()]

    def _view(self, image: Any) -> GridView | None:
        if image not in self._views:
            view = grid_view(image, self._ijk_to_node)
            whole = view is not None and view.array.dtype.kind in "iu"
            self._views[image] = view if whole else None
        return self._views[image]


def _empty_image(ijk_to_node: FloatArray) -> Any:
    return oriented_image(np.zeros((1, 1, 1), np.uint8), ijk_to_node)

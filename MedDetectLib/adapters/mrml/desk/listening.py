"""What a desk hears from the scene: what may have changed, and what ends the review."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import slicer
import vtk

from MedDetectLib.adapters.mrml.desk.observers import Observers

__all__ = ["Listening"]


class Listening:
    """Observes a review's nodes.

    Nothing is looked at when an event comes: it is only remembered that something may have
    changed. What the desk itself writes (inside `quiet`) is not heard.

    Args:
        scene: the vtkMRMLScene.
        segmentation_node: of the findings.
        volume_node: under review, or None.
        ending: told before the scene is closed or one of the two nodes goes, with the reason.
        roi_gone: told when the ROI was removed.
        trouble: told of an exception in one of these.
    """

    def __init__(
        self,
        scene: Any,
        segmentation_node: Any,
        volume_node: Any,
        *,
        ending: Callable[[str], None],
        roi_gone: Callable[[], None],
        trouble: Callable[[Exception], None],
    ) -> None:
        self.named: dict[str, None] = {}
        self.unknown = self.roi_moved = self.place_changed = False
        self._source_changed = False
        self._quiet = 0
        self._scene, self._node, self._volume = scene, segmentation_node, volume_node
        self._roi: Any = None
        self._segmentation: Any = None
        self._ending, self._roi_gone = ending, roi_gone
        self._observers = Observers(trouble)
        add, events = self._observers.add, slicer.vtkMRMLScene
        add(scene, events.StartCloseEvent, self._on_close)
        add(scene, events.NodeAboutToBeRemovedEvent, self._on_node_goes, vtk.VTK_OBJECT)
        add(scene, events.NodeRemovedEvent, self._on_node_gone, vtk.VTK_OBJECT)
        for node in (segmentation_node, volume_node):
            if node is not None:
                add(node, slicer.vtkMRMLTransformableNode.TransformModifiedEvent, self._on_moved)
        if volume_node is not None:
            add(volume_node, vtk.vtkCommand.ModifiedEvent, self._on_moved)
            add(volume_node, slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, self._on_moved)
        add(
            segmentation_node,
            slicer.vtkMRMLSegmentationNode.SegmentationChangedEvent,
            self._on_other_segmentation,
        )
        self._observe_segmentation()

    @property
    def is_dirty(self) -> bool:
        """Whether something may have changed."""
        return self.place_changed or self.edits_waiting

    @property
    def edits_waiting(self) -> bool:
        """Whether voxels, names or the handle may have changed."""
        return bool(self.named or self.unknown or self.roi_moved or self._source_changed)

    @property
    def is_unknown(self) -> bool:
        """Whether voxels may have changed without a word of whose they are."""
        return self.unknown or self._source_changed

    def watch_roi(self, roi: Any) -> None:
        """Listen to the handle, and no longer to the one before."""
        if roi is self._roi:
            return
        if self._roi is not None:
            self._observers.remove(self._roi)
        self._roi = roi
        if roi is not None:
            markups, moved = slicer.vtkMRMLMarkupsNode, self._on_roi
            self._observers.add(roi, markups.PointModifiedEvent, moved)
            self._observers.add(roi, vtk.vtkCommand.ModifiedEvent, moved)

    def clean(self) -> None:
        """Forget what was heard."""
        self.named = {}
        self.unknown = self.roi_moved = self._source_changed = False

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Hear nothing of what is done inside."""
        self._quiet += 1
        try:
            yield
        finally:
            self._quiet -= 1

    def close(self) -> None:
        """Stop listening."""
        self._observers.close()

    def _observe_segmentation(self) -> None:
        if self._segmentation is not None:
            self._observers.remove(self._segmentation)
        self._segmentation = self._node.GetSegmentation()
        if self._segmentation is None:
            return
        events, add = slicer.vtkSegmentation, self._observers.add
        # this one's data is an id, an image, a segmentation or nothing: not to be read
        add(self._segmentation, events.SourceRepresentationModified, self._on_source)
        add(self._segmentation, events.RepresentationModified, self._on_segment, "string0")
        for event in (events.SegmentModified, events.SegmentAdded, events.SegmentRemoved):
            add(self._segmentation, event, self._on_named, "string0")

    def _on_source(self) -> None:
        if not self._quiet:
            self.unknown = self.unknown or self._source_changed
            self._source_changed = True

    def _on_segment(self, segment_id: str | None) -> None:
        if not self._quiet:
            self._source_changed = False
            self._on_named(segment_id)

    def _on_named(self, segment_id: str | None) -> None:
        if self._quiet:
            return
        if not segment_id:
            self.unknown = True
        else:
            self.named.pop(str(segment_id), None)  # the latest last
            self.named[str(segment_id)] = None

    def _on_roi(self) -> None:
        if not self._quiet:
            self.roi_moved = True

    def _on_other_segmentation(self) -> None:
        if self._node.GetSegmentation() is not self._segmentation:
            self._observe_segmentation()
            self.unknown = True

    def _on_moved(self) -> None:
        # Not followed here: the node may be in the middle of changing its transform.
        if not self._quiet:
            self.place_changed = True

    def _on_close(self) -> None:
        self._ending("the scene was closed")

    def _on_node_goes(self, node: Any) -> None:
        if node is self._node:
            self._ending("its segmentation was deleted")
        elif node is self._volume:
            self._ending("its volume was deleted")

    def _on_node_gone(self, node: Any) -> None:
        if node is self._roi and node is not None:
            self.watch_roi(None)
            self.roi_moved = False
            self._roi_gone()

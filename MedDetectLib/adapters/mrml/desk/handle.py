"""The one ROI of a review: a handle on the box of the finding in hand, made when wanted."""

from __future__ import annotations

from typing import Any

import numpy as np

from MedDetectLib.adapters.mrml.placement import to_world_matrix
from MedDetectLib.adapters.mrml.roi import (
    finding_id_of_roi,
    moved_box,
    roi_for_finding,
    update_roi,
)
from MedDetectLib.adapters.mrml.scene import remove_node
from MedDetectLib.core.findings import Box, Finding
from MedDetectLib.core.geometry import FloatArray, Geometry
from MedDetectLib.core.labels import Label

__all__ = ["HANDLE_ROLE", "Handle"]

HANDLE_ROLE = "MedDetect.Handle"
"""Node reference from the segmentation to its ROI; it is saved with the scene."""


class Handle:
    """At most one ROI node.

    Args:
        scene: the vtkMRMLScene.
        node: the segmentation; the ROI shares its parent transform.
    """

    def __init__(self, scene: Any, node: Any) -> None:
        self._scene, self._segmentation = scene, node
        found = node.GetNodeReference(HANDLE_ROLE)
        self.node = found if found is not None and finding_id_of_roi(found) else None
        self._frame: FloatArray | None = None

    def put_around(self, item: Finding | None, label: Label | None, geometry: Geometry) -> None:
        """Put the handle around a finding; hide it for None.

        Args:
            item: the finding.
            label: its class.
            geometry: the grid where it lies in the world now.

        Raises:
            InputError: ``nonlinear-transform``.
        """
        if item is None or label is None:
            if self.node is not None and (display := self.node.GetDisplayNode()) is not None:
                display.SetVisibility(False)
            return
        if self.node is None:
            roi = roi_for_finding(self._scene, geometry, item, label, self._segmentation)
            self.node = roi
            self._segmentation.SetNodeReferenceID(HANDLE_ROLE, roi.GetID())
        else:
            if self.node.GetTransformNodeID() != self._segmentation.GetTransformNodeID():
                self.node.SetAndObserveTransformNodeID(self._segmentation.GetTransformNodeID())
            update_roi(self.node, geometry, item, label)
        self._frame = np.linalg.inv(to_world_matrix(self.node)) @ geometry.ijk_to_ras
        if (display := self.node.GetDisplayNode()) is not None:
            display.SetVisibility(True)

    def dragged_to(self, item: Finding, shape_kji: tuple[int, int, int]) -> Box | None:
        """Return the box the user gave a finding, None when the handle was not moved.

        Raises:
            InputError: ``box-outside``, ``empty-box``, ``nonlinear-transform``.
        """
        if self.node is None or self._frame is None or finding_id_of_roi(self.node) != item.id:
            return None
        # where the grid was when the handle was put there, moved by what has moved it since
        geometry = Geometry(shape_kji, to_world_matrix(self.node) @ self._frame)
        return moved_box(self.node, geometry, item.box)

    def forget(self) -> None:
        """Take it that the node is gone from the scene."""
        self.node = None
        self._segmentation.SetNodeReferenceID(HANDLE_ROLE, None)

    def remove(self) -> None:
        """Take the node out of the scene."""
        if self.node is not None:
            node, self.node = self.node, None
            self._segmentation.SetNodeReferenceID(HANDLE_ROLE, None)
            remove_node(node)

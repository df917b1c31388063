"""What a review writes into its segmentation node, so that a saved scene is whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk

from MedDetectLib.adapters.mrml.desk.mirror import Mirror
from MedDetectLib.adapters.mrml.desk.placing import write_mark
from MedDetectLib.adapters.mrml.placement import array_from_matrix, to_world_matrix
from MedDetectLib.adapters.mrml.record import (
    SAME_PLACE_MM,
    Record,
    plain_json,
    plain_pair,
    write_parts,
)
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding
from MedDetectLib.core.geometry import FloatArray, Geometry
from MedDetectLib.review.patches import Patch, patch_from_mask
from MedDetectLib.review.session import ReviewSession

__all__ = ["Keeper"]


class Keeper:
    """Keeps a node's record in line with the session.

    Args:
        mirror: of the node's segments.
        session: whose findings they are.
    """

    def __init__(self, mirror: Mirror, session: ReviewSession) -> None:
        self._mirror, self._session, self._node = mirror, session, mirror.node
        self._about = session.about.to_json()
        del self._about["findings"]
        self._to_world = to_world_matrix(self._node)
        self._prints: dict[str, tuple[Patch, str]] = {}
        self._items: dict[str, tuple[Finding, str]] = {}

    def write(self) -> None:
        """Write the findings as they stand, and the act they come from."""
        prints = []
        for key, patch in self._mirror.patches.items():
            known = self._prints.get(key)
            if known is None or known[0] is not patch:
                known = self._prints[key] = (patch, plain_pair(key, patch.fingerprint))
            prints.append(known[1])
        record = Record(
            findings={},
            ijk_to_node=self._mirror.ijk_to_node,
            fingerprints={},
            has_label_map=self._session.has_label_map,
            unclaimed=self._unclaimed_now(),
        )
        items = [self._plain(item) for item in self._session.items]
        write_parts(self._node, record, self._about, items, prints)
        self.write_mark()

    def write_mark(self) -> None:
        """Write down the last act alone: the findings are the same."""
        write_mark(self._node, self._session)

    def world_geometry(self) -> Geometry:
        """Return the grid where the node's transforms put it now.

        Raises:
            InputError: ``nonlinear-transform``, or what `Geometry` refuses.
        """
        then = self._session.about.geometry
        matrix = to_world_matrix(self._node) @ self._mirror.ijk_to_node
        now = Geometry(then.shape_kji, matrix)
        return then if then.is_close(now, SAME_PLACE_MM) else now

    def realigned(self, volume_node: Any) -> Geometry:
        """Bring the segmentation back onto its volume after something moved.

        A transform that was put on the volume, taken off or hardened is followed; one that was
        put on the segmentation alone, or hardened into it, is taken back.

        Returns:
            The grid where it lies in the world now.

        Raises:
            InputError: ``nonlinear-transform``; ``other-volume`` when the volume has another
                number of voxels now; what `Geometry` refuses.
        """
        if volume_node is None:
            return self.world_geometry()
        own = _own_matrix(volume_node, self._session.about.geometry.shape_kji)
        if self._node.GetTransformNodeID() != volume_node.GetTransformNodeID():
            self._node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
        hardened, self._to_world = self._to_world, to_world_matrix(self._node)
        if self._mirror.moved_to(own, hardened):
            self._node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
            self.write()
        return self.world_geometry()

    def _plain(self, item: Finding) -> str:
        known = self._items.get(item.id)
        if known is None or known[0] is not item:
            known = (item, plain_json(item.to_json()))
            self._items[item.id] = known
        return known[1]

    def _unclaimed_now(self) -> dict[str, list[Any]]:
        """Return the label map's voxels of no finding, as far as acts have left them."""
        left = {}
        for value, patch in self._session.unclaimed.items():
            still = patch.mask & (np.asarray(self._session.voxels(patch.slices)) == value)
            now = patch_from_mask(still, patch.start_kji)
            if now is not None:
                left[str(value)] = now.to_json()
        return left


def _own_matrix(volume_node: Any, shape_kji: tuple[int, int, int]) -> FloatArray:
    """Return a volume's voxel centres to its own mm, (4, 4).

    Raises:
        InputError: ``other-volume``.
    """
    image = volume_node.GetImageData()
    i, j, k = (0, 0, 0) if image is None else image.GetDimensions()
    if (k, j, i) != shape_kji:
        raise InputError(
            "other-volume",
            f"the volume has {(k, j, i)} voxels now, the review was begun on {shape_kji}",
            where=str(volume_node.GetName()),
            todo="load the image again, and resume the review with it",
        )
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return array_from_matrix(matrix)

"""Two grids with the same voxels, whatever the order of their axes and however cropped.

Slicer and others may hold a series with its slices or axes the other way round; masks are then
moved voxel by voxel, never interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Box, LabelMap
from MedDetectLib.core.geometry import AxisMap, Geometry
from MedDetectLib.core.measure import as_box

__all__ = ["VoxelMatch", "match_voxels"]

TOLERANCE_VOX = 0.02
"""How far voxel centres may be apart: above what float32 headers round, below what shows."""


@dataclass(frozen=True, eq=False)
class VoxelMatch:
    """Where the voxels of one grid (own) lie on another (source).

    Args:
        own: the grid the findings are on.
        source: the grid of the series.
        axes: brings own's axes into source's order and direction.
        start_kji: where the turned own grid begins on source.
    """

    own: Geometry
    source: Geometry
    axes: AxisMap
    start_kji: tuple[int, int, int]

    def to_source(self, label_map: LabelMap) -> LabelMap:
        """Return a label map of the own grid on the source grid.

        Raises:
            InputError: ``other-grid`` when labelled voxels lie beyond the source grid.
        """
        turned = self.axes.apply(label_map)
        here, there = self._overlap(turned.shape)
        whole = np.zeros(self.source.shape_kji, np.uint16)
        whole[there] = turned[here]
        if np.count_nonzero(whole) != np.count_nonzero(label_map):
            raise InputError(
                "other-grid", "findings reach beyond the series",
                todo="give the series they were found in",
            )  # fmt: skip
        return whole

    def from_source(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return an array of the source grid on the own grid.

        Raises:
            InputError: ``other-grid`` when the own grid reaches beyond the source.
        """
        turned_shape = tuple(self.own.shape_kji[axis] for axis in self.axes.order)
        _, there = self._overlap(turned_shape)
        cut = array[there]
        if cut.shape != turned_shape:
            raise InputError(
                "other-grid", "the findings' grid reaches beyond the series",
                todo="give the series they were found in",
            )  # fmt: skip
        return self.axes.inverse.apply(cut)

    def box_to_source(self, box: Box) -> Box:
        """Return a box of the own grid in edges of the source grid."""
        turned = self.axes.apply_boxes([box], self.own.shape_kji)[0]
        return as_box(turned + np.array([*self.start_kji, *self.start_kji]))

    def _overlap(
        self, turned_shape: tuple[int, ...]
    ) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Return what both grids hold, as slices of the turned own grid and of the source."""
        here, there = [], []
        for start, length, whole in zip(
            self.start_kji, turned_shape, self.source.shape_kji, strict=True
        ):
            low, high = max(start, 0), min(start + length, whole)
            high = max(high, low)
            here.append(slice(low - start, high - start))
            there.append(slice(low, high))
        return tuple(here), tuple(there)


def match_voxels(own: Geometry, source: Geometry) -> VoxelMatch:
    """Find how one grid's voxels coincide with another's.

    Raises:
        InputError: ``other-grid`` when they do not, or the grids share no voxel.
    """
    cosines = source.directions_ras.T @ own.directions_ras  # [source axis, own axis], ijk
    order_ijk = np.abs(cosines).argmax(axis=1)
    if sorted(order_ijk.tolist()) != [0, 1, 2]:
        raise _other("are turned against the series'")
    flips_ijk = [cosines[n, axis] < 0 for n, axis in enumerate(order_ijk)]
    k, j, i = (2 - int(order_ijk[n]) for n in (2, 1, 0))
    fk, fj, fi = (bool(flips_ijk[n]) for n in (2, 1, 0))
    axes = AxisMap((k, j, i), (fk, fj, fi))
    turned = own.reoriented(axes)
    corners = turned.corners_edge() - 0.5
    at = source.ras_to_index(turned.index_to_ras(corners))
    start = np.rint(at - corners).mean(axis=0)
    off = np.abs(at - corners - start).max()
    if off > TOLERANCE_VOX:
        raise _other(f"lie up to {off:.2f} voxels beside the series'")
    stop = start + turned.shape_kji
    if (stop <= 0).any() or (start >= source.shape_kji).any():
        raise _other("lie outside the series'")
    ks, js, is_ = (int(n) for n in np.rint(start))
    return VoxelMatch(own, source, axes, (ks, js, is_))


def _other(what: str) -> InputError:
    return InputError(
        "other-grid", f"the findings' voxels {what} voxels",
        todo="give the series the findings were found in",
    )  # fmt: skip

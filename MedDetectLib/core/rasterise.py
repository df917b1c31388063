"""Which voxels a box covers."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["box_slices"]


def box_slices(box: Sequence[float], shape_kji: Sequence[int]) -> tuple[slice, slice, slice]:
    """Return the voxels whose centres lie inside a box, as slices [k, j, i].

    A box too thin to hold any centre along an axis covers the voxel its middle lies in. What
    reaches beyond the grid is cut off; a box that misses it covers nothing: its slices are
    empty.

    Args:
        box: ``[k0, j0, i0, k1, j1, i1)`` in voxel edges of the grid.
        shape_kji: the grid.
    """
    spans = []
    for axis, length in enumerate(shape_kji):
        low, high = float(box[axis]), float(box[axis + 3])
        if high <= 0 or low >= length:
            return slice(0, 0), slice(0, 0), slice(0, 0)
        low, high = max(low, 0.0), min(high, float(length))
        start, stop = math.ceil(low - 0.5), math.ceil(high - 0.5)
        if stop <= start:
            start = math.floor((low + high) / 2)
            stop = start + 1
        spans.append(slice(min(start, length - 1), min(stop, length)))
    return spans[0], spans[1], spans[2]

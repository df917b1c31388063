"""Which voxels of a slice lie inside a polygon."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.geometry import FloatArray

__all__ = ["inside_polygon"]


def inside_polygon(corners: FloatArray, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the pixels whose centres lie inside a closed polygon, by the even-odd rule.

    A polygon that runs back along itself (a keyhole) has its hole. Of two polygons that share
    an edge, each pixel centre on it belongs to exactly one.

    Args:
        corners: (n, 2) row and column, in pixel-centre indices.
        shape: rows and columns.
    """
    toggles = np.zeros((shape[0], shape[1] + 1), bool)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        (y0, x0), (y1, x1) = (start, end) if start[0] <= end[0] else (end, start)
        rows = np.arange(max(int(np.ceil(y0)), 0), min(int(np.ceil(y1)), shape[0]))
        if not len(rows):
            continue
        crossing = x0 + (rows - y0) * ((x1 - x0) / (y1 - y0))
        columns = np.clip(np.ceil(crossing), 0, shape[1]).astype(np.int64)
        toggles[rows, columns] ^= True
    return np.asarray(np.logical_xor.accumulate(toggles, axis=1)[:, :-1])

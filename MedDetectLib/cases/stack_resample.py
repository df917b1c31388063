"""Bringing a tilted or uneven stack of slices onto a right-angled, even grid; numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.geometry import FloatArray

__all__ = ["even_slices", "straightened", "straightened_size"]


def straightened_size(
    shape_kji: tuple[int, int, int], shift_ji_vox: FloatArray
) -> tuple[tuple[int, int, int], FloatArray]:
    """Return the size of the smallest right-angled grid around moved slices.

    Args:
        shape_kji: of the stack.
        shift_ji_vox: (k, 2) how far each slice lies from the first, in rows and columns.

    Returns:
        The new shape, and (2,) the whole-voxel place [j, i] of its first voxel.
    """
    first = np.floor(shift_ji_vox.min(axis=0) + 1e-6)
    last = np.ceil(shift_ji_vox.max(axis=0) - 1e-6)
    k, j, i = shape_kji
    return (k, j + int(last[0] - first[0]), i + int(last[1] - first[1])), first


def straightened(array: npt.NDArray[Any], shift_ji_vox: FloatArray) -> npt.NDArray[Any]:
    """Move each slice to where it lies, with linear interpolation.

    What no slice covers gets the lowest value of the stack.

    Args:
        array: [k, j, i].
        shift_ji_vox: (k, 2), see `straightened_size`.

    Returns:
        [k, j, i] of the number type of `array`, on the grid of `straightened_size`.
    """
    shape, first = straightened_size((array.shape[0], array.shape[1], array.shape[2]), shift_ji_vox)
    out = np.full(shape, array.min(), dtype=array.dtype)
    for k, plane in enumerate(array):
        moved: FloatArray = plane.astype(np.float64)
        places = []
        for axis in (0, 1):
            at = shift_ji_vox[k, axis] - first[axis]
            whole = int(np.floor(at + 1e-6))
            rest = float(at - whole)
            if rest > 1e-6:
                # Voxel n of the new grid lies between the old n - 1 and n; the outermost
                # old voxel stands for what is beyond it by less than one voxel.
                edge = ((1, 1), (0, 0)) if axis == 0 else ((0, 0), (1, 1))
                padded = np.pad(moved, edge, mode="edge")
                low = padded[:-1] if axis == 0 else padded[:, :-1]
                high = padded[1:] if axis == 0 else padded[:, 1:]
                moved = rest * low + (1 - rest) * high
            places.append(whole)
        j, i = places
        out[k, j : j + moved.shape[0], i : i + moved.shape[1]] = _as(moved, array.dtype)
    return out


def even_slices(
    array: npt.NDArray[Any], distance_mm: FloatArray, step_mm: float
) -> npt.NDArray[Any]:
    """Interpolate slices linearly onto an even grid from the first to the last.

    Args:
        array: [k, j, i].
        distance_mm: (k,) rising.
        step_mm: of the new grid.

    Returns:
        [k, j, i] of the number type of `array`.
    """
    count = round(float(distance_mm[-1] - distance_mm[0]) / step_mm) + 1
    wanted = distance_mm[0] + step_mm * np.arange(count)
    out = np.empty((count, *array.shape[1:]), dtype=array.dtype)
    for k, place in enumerate(wanted):
        low = int(np.clip(np.searchsorted(distance_mm, place) - 1, 0, len(array) - 2))
        span = distance_mm[low + 1] - distance_mm[low]
        share = float(np.clip((place - distance_mm[low]) / span, 0.0, 1.0))
        mixed = array[low] * (1 - share) + array[low + 1] * share
        out[k] = _as(mixed, array.dtype)
    return out


def _as(values: FloatArray, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Round to the number type of the image."""
    return np.asarray(np.rint(values) if kind.kind in "iu" else values, dtype=kind)

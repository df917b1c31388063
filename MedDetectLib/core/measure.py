"""Sizes of findings, from their masks or boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Box
from MedDetectLib.core.geometry import FloatArray, Geometry

__all__ = ["as_box", "measure_box", "measure_mask", "tight_box"]

_HALF_SPHERE_DIRECTIONS = 400
_BLOCK = 16
"""Directions at a time: all at once would take gigabytes on a large surface."""


def as_box(edges: Sequence[float] | npt.NDArray[Any]) -> Box:
    """Return six numbers as the plain tuple `Finding.box` holds."""
    k0, j0, i0, k1, j1, i1 = (float(edge) for edge in edges)
    return k0, j0, i0, k1, j1, i1


def tight_box(mask_kji: npt.NDArray[np.bool_]) -> Box:
    """Return the smallest box, in voxel edges, that holds every true voxel.

    Raises:
        InputError: ``empty-mask`` when no voxel is true.
    """
    low, high = [], []
    for axis in range(3):
        others = tuple(n for n in range(3) if n != axis)
        hit = np.flatnonzero(mask_kji.any(axis=others))
        if not len(hit):
            raise InputError("empty-mask", "a mask without voxels has no box")
        low.append(float(hit[0]))
        high.append(float(hit[-1]) + 1.0)
    return as_box(low + high)


def measure_mask(mask_kji: npt.NDArray[np.bool_], geometry: Geometry) -> tuple[float, float]:
    """Return (diameter_mm, volume_ml) of a [k, j, i] mask.

    The diameter is the longest distance between two voxel faces' centres on the mask's
    surface (maximum 3-D Feret diameter), found to within 0.5 %: a single voxel measures
    its longest side, a digital ball its diameter.
    """
    voxels = int(np.count_nonzero(mask_kji))
    if not voxels:
        return 0.0, 0.0
    box = tight_box(mask_kji)
    start, stop = [int(e) for e in box[:3]], [int(e) for e in box[3:]]
    window = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    faces_mm = _outermost_face_centres(mask_kji[window]) * np.array(geometry.spacing_kji_mm)
    return _longest_distance(faces_mm), voxels * geometry.voxel_volume_ml


def measure_box(box: Box, geometry: Geometry) -> tuple[float, float]:
    """Return (longest side in mm, volume_ml) of a box in voxel edges."""
    sides_mm = geometry.box_size_kji_mm(np.array(box))
    return float(sides_mm.max()), float(sides_mm.prod()) / 1000.0


def _outermost_face_centres(mask: npt.NDArray[np.bool_]) -> FloatArray:
    """(N, 3) centres, in edges [k, j, i], of the first and last face of every voxel line.

    The faces between them cannot be the ends of a longest distance.
    """
    centres = []
    for axis in range(3):
        lines = np.argwhere(mask.any(axis=axis)).astype(np.float64) + 0.5
        first = mask.argmax(axis=axis)
        last = mask.shape[axis] - np.flip(mask, axis).argmax(axis=axis)
        for ends in (first, last):
            centres.append(np.insert(lines, axis, ends[mask.any(axis=axis)], axis=1))
    return np.concatenate(centres)


def _longest_distance(points_mm: FloatArray) -> float:
    """Largest distance between (N, 3) points, over their extremes in many directions.

    A few directions give a distance already; a point that even the point farthest from the
    middle cannot be that far from is left out of the many.
    """
    n = np.arange(_HALF_SPHERE_DIRECTIONS) + 0.5
    height = n / _HALF_SPHERE_DIRECTIONS
    turn = np.pi * (1.0 + 5.0**0.5) * n
    around = np.sqrt(1.0 - height**2)
    directions = np.stack([around * np.cos(turn), around * np.sin(turn), height], axis=1)
    directions = np.concatenate([np.eye(3), directions])
    longest = _longest_among_extremes(points_mm, directions[::_BLOCK])
    middle = (points_mm.min(axis=0) + points_mm.max(axis=0)) / 2
    away_mm = np.linalg.norm(points_mm - middle, axis=1)
    could_be_ends = away_mm >= (longest - away_mm.max()) * (1 - 1e-9)
    return max(longest, _longest_among_extremes(points_mm[could_be_ends], directions))


def _longest_among_extremes(points_mm: FloatArray, directions: FloatArray) -> float:
    """Largest distance between the (N, 3) points that lie outermost in (M, 3) directions."""
    extremes: set[int] = set()
    columns = np.ascontiguousarray(points_mm.T)
    for first in range(0, len(directions), _BLOCK):
        along = directions[first : first + _BLOCK] @ columns
        extremes.update(along.argmax(axis=1).tolist(), along.argmin(axis=1).tolist())
    ends = points_mm[sorted(extremes)]
    return float(np.linalg.norm(ends[:, None] - ends[None], axis=-1).max())

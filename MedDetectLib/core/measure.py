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
    spacing_mm = np.array(geometry.spacing_kji_mm)
    ends_mm = _ends_of_rows(mask_kji) * spacing_mm
    return _longest_distance(ends_mm, spacing_mm), voxels * geometry.voxel_volume_ml


def measure_box(box: Box, geometry: Geometry) -> tuple[float, float]:
    """Return (longest side in mm, volume_ml) of a box in voxel edges."""
    sides_mm = geometry.box_size_kji_mm(np.array(box))
    return float(sides_mm.max()), float(sides_mm.prod()) / 1000.0


def _ends_of_rows(mask: npt.NDArray[np.bool_]) -> FloatArray:
    """(N, 3) indices [k, j, i] of the first and the last true voxel of every row.

    What lies between them cannot be an end of a longest distance.
    """
    mask = np.ascontiguousarray(mask)  # rows are looked through as a whole
    first = mask.argmax(axis=2)
    hit = np.take_along_axis(mask, first[..., None], axis=2)[..., 0]
    k, j = np.nonzero(hit)
    last = mask.shape[2] - 1 - mask[k, j, ::-1].argmax(axis=1)
    both = (first[hit], last)
    return np.concatenate([np.stack([k, j, i], axis=1) for i in both]).astype(np.float64)


def _longest_distance(centres_mm: FloatArray, spacing_kji_mm: FloatArray) -> float:
    """Longest distance between faces of voxels, over their extremes in many directions.

    A few directions give a distance already; a voxel that even the one farthest from the
    middle cannot be that far from is left out of the many.

    Args:
        centres_mm: (N, 3) centres of the voxels.
        spacing_kji_mm: their size.
    """
    n = np.arange(_HALF_SPHERE_DIRECTIONS) + 0.5
    height = n / _HALF_SPHERE_DIRECTIONS
    turn = np.pi * (1.0 + 5.0**0.5) * n
    around = np.sqrt(1.0 - height**2)
    directions = np.stack([around * np.cos(turn), around * np.sin(turn), height], axis=1)
    directions = np.concatenate([np.eye(3), directions])
    longest = _longest_among_extremes(centres_mm, spacing_kji_mm, directions[::_BLOCK])
    middle = (centres_mm.min(axis=0) + centres_mm.max(axis=0)) / 2
    away_mm = np.linalg.norm(centres_mm - middle, axis=1) + spacing_kji_mm.max() / 2
    could_be_ends = away_mm >= (longest - away_mm.max()) * (1 - 1e-9)
    ends_mm = centres_mm[could_be_ends]
    return max(longest, _longest_among_extremes(ends_mm, spacing_kji_mm, directions))


def _longest_among_extremes(
    centres_mm: FloatArray, spacing_kji_mm: FloatArray, directions: FloatArray
) -> float:
    """Longest distance between the faces of (N, 3) voxels outermost in (M, 3) directions.

    The outermost face belongs to the outermost voxel, and lies on its side that looks most
    into the direction: the same side for all voxels.
    """
    columns = np.ascontiguousarray(centres_mm.T)
    ends: set[tuple[float, ...]] = set()
    for first in range(0, len(directions), _BLOCK):
        some = directions[first : first + _BLOCK]
        along = some @ columns
        side = np.abs(some * spacing_kji_mm).argmax(axis=1)
        half = np.zeros_like(some)
        rows = np.arange(len(some))
        half[rows, side] = np.copysign(spacing_kji_mm[side] / 2, some[rows, side])
        ends.update(map(tuple, (centres_mm[along.argmax(axis=1)] + half).tolist()))
        ends.update(map(tuple, (centres_mm[along.argmin(axis=1)] - half).tolist()))
    points = np.array(sorted(ends))
    return float(np.linalg.norm(points[:, None] - points[None], axis=-1).max())

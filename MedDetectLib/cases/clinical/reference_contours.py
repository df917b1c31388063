"""The regions of an RTSTRUCT as voxels of a volume (PS3.3 C.8.8.6)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from MedDetectLib.cases.clinical.polygons import inside_polygon
from MedDetectLib.cases.clinical.reference import Part
from MedDetectLib.cases.lps import points_flipped
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import FloatArray, Geometry
from MedDetectLib.core.notes import Note

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["contour_parts"]

TOLERANCE_VOX = 0.15
FLAT_VOX = 1e-3
"""What coordinates of one plane may differ by when they are computed."""
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


def contour_parts(data: Dataset, geometry: Geometry, path: Path) -> tuple[list[Part], list[Note]]:
    """Return one part per region of interest.

    A voxel belongs to a region when its centre lies inside an odd number of the region's
    contours in its slice, so a contour inside another cuts a hole. Slices between contoured
    ones stay empty.

    Args:
        data: the whole object.
        geometry: of the volume.
        path: for errors.

    Raises:
        InputError: ``bad-header``, ``other-grid``.
    """
    names = {
        int(item.ROINumber): str(item.get("ROIName") or "")
        for item in data.get("StructureSetROISequence") or ()
    }
    parts: list[Part] = []
    notes: list[Note] = []
    for item in data.get("ROIContourSequence") or ():
        number = int(item.ReferencedROINumber)
        name = names.get(number) or f"ROI {number}"
        flat, ignored, skipped, crossing = _filled(item, geometry, path, name)
        if ignored:
            notes.append(Note("open-contour", f"{name}: {ignored} points and open lines ignored"))
        if crossing:
            notes.append(Note("crossing-contours", f"{name}: {crossing} contours overlap others in"
                              " part; what two of them share counts as outside"))  # fmt: skip
        if skipped:
            notes.append(Note("skipped-slices", f"{name}: {skipped} slices between are empty"))
        colour = item.get("ROIDisplayColor")
        rgb = None
        if colour is not None and len(colour) == 3:
            rgb = (int(colour[0]), int(colour[1]), int(colour[2]))
        parts.append(Part(f"F{number}", name, flat, None, rgb))
    if len({part.id for part in parts}) < len(parts):
        raise InputError("bad-header", "two regions have one number", where=path,
                         todo="export it again")  # fmt: skip
    return parts, notes


def _filled(
    item: Dataset, geometry: Geometry, path: Path, name: str
) -> tuple[npt.NDArray[np.int64], int, int, int]:
    """Return a region's voxels, and how many contours are open, slices empty, contours crossing.

    A contour crosses when it lies neither inside what was drawn before, nor around, nor beside it.
    """
    slices: dict[tuple[int, int], npt.NDArray[np.bool_]] = defaultdict(lambda: np.zeros(0, bool))
    ignored = crossing = 0
    for contour in item.get("ContourSequence") or ():
        if str(contour.get("ContourGeometricType") or "") not in CLOSED:
            ignored += 1
            continue
        points = _points(contour, path, name)
        axis, level, corners = _in_slice(geometry.ras_to_index(points_flipped(points)), geometry,
                                         path, name)  # fmt: skip
        shape = tuple(n for a, n in enumerate(geometry.shape_kji) if a != axis)
        inside = inside_polygon(corners, (shape[0], shape[1]))
        before = slices[axis, level]
        slices[axis, level] = inside ^ before if before.size else inside
        if before.size and (shared := inside & before).any():
            crossing += bool((inside & ~before).any() and (before & ~shared).any())
    flats: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for (axis, level), inside in slices.items():
        at = np.insert(np.argwhere(inside), axis, level, axis=1)
        flats.append(
            np.asarray(np.ravel_multi_index(tuple(at.T), geometry.shape_kji), dtype=np.int64)
        )
    levels = sorted(level for _, level in slices)
    skipped = levels[-1] - levels[0] + 1 - len(levels) if levels else 0
    return np.unique(np.concatenate(flats)), ignored, max(skipped, 0), crossing


def _points(contour: Dataset, path: Path, name: str) -> FloatArray:
    try:
        points = np.array(contour.ContourData, dtype=np.float64).reshape(-1, 3)
    except (AttributeError, ValueError, TypeError) as error:
        raise InputError(
            "bad-header", f"{name}: a contour cannot be read ({error})", where=path,
            todo="export it again",
        ) from error  # fmt: skip
    if not np.isfinite(points).all():
        raise InputError("bad-header", f"{name}: a contour is not finite", where=path)
    return points


def _in_slice(
    index: FloatArray, geometry: Geometry, path: Path, name: str
) -> tuple[int, int, FloatArray]:
    """Return the axis a contour is at right angles to, its slice, and its corners in it.

    Raises:
        InputError: ``other-grid``.
    """
    spread = np.ptp(index, axis=0)
    # A contour that runs along a line is flat two ways; it is meant to lie in a slice.
    flat = np.flatnonzero(spread < FLAT_VOX)
    axis = int(flat[0] if flat.size else spread.argmin())
    level = float(index[:, axis].mean())
    beside = np.abs(index[:, axis] - np.rint(level)).max()
    if beside > TOLERANCE_VOX:
        raise InputError(
            "other-grid", f"{name}: a contour lies {beside:.2f} voxels beside a slice", where=path,
            todo="give the series it was drawn on, read as it is",
        )  # fmt: skip
    corners = np.delete(index, axis, axis=1)
    shape = np.delete(np.array(geometry.shape_kji), axis)
    outside = (corners < -1).any() or (corners > shape).any()
    if outside or not 0 <= round(level) < geometry.shape_kji[axis]:
        raise InputError(
            "other-grid", f"{name}: a contour reaches beyond the volume", where=path,
            todo="give the series it was drawn on",
        )  # fmt: skip
    return axis, round(level), corners

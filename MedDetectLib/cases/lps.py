"""The one place that flips between files' LPS and the program's RAS.

DICOM, ITK, NRRD and MetaImage state places with x towards the patient's Left and y towards
Posterior (LPS); everything outside `MedDetectLib.cases` is in RAS. The two differ by the
signs of x and y, and the flip is its own inverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.geometry import FloatArray, Geometry
from MedDetectLib.core.volume import Volume

if TYPE_CHECKING:
    import SimpleITK

__all__ = [
    "from_sitk",
    "geometry_from_lps",
    "lps_parts",
    "points_flipped",
    "ras_from_lps",
    "to_sitk",
]

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def ras_from_lps(matrix_lps: npt.ArrayLike) -> FloatArray:
    """Return the (4, 4) voxel-to-RAS matrix of a (4, 4) voxel-to-LPS one, or the reverse."""
    return np.asarray(FLIP @ np.asarray(matrix_lps, dtype=np.float64) + 0.0, dtype=np.float64)


def points_flipped(points: npt.ArrayLike) -> FloatArray:
    """Return (..., 3) points or directions with x and y negated: LPS to RAS or the reverse."""
    flipped = np.asarray(points, dtype=np.float64) * [-1.0, -1.0, 1.0]
    return np.asarray(flipped + 0.0, dtype=np.float64)


def geometry_from_lps(
    shape_kji: Sequence[int],
    origin_lps_mm: npt.ArrayLike,
    spacing_ijk_mm: npt.ArrayLike,
    direction_lps: npt.ArrayLike,
) -> Geometry:
    """Build the RAS geometry of a grid stated the way DICOM and ITK state it.

    Args:
        shape_kji: slices, rows, columns.
        origin_lps_mm: (3,) centre of the first voxel.
        spacing_ijk_mm: (3,) distance between voxel centres along i, j, k.
        direction_lps: (3, 3) or 9 numbers by rows; unit vectors of i, j, k as columns.

    Raises:
        InputError: see `Geometry`.
    """
    matrix_lps = np.eye(4)
    direction = np.asarray(direction_lps, dtype=np.float64).reshape(3, 3)
    matrix_lps[:3, :3] = direction * np.asarray(spacing_ijk_mm, dtype=np.float64)
    matrix_lps[:3, 3] = origin_lps_mm
    k, j, i = (int(n) for n in shape_kji)
    return Geometry((k, j, i), ras_from_lps(matrix_lps))


def lps_parts(geometry: Geometry) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return ``(origin_lps_mm (3,), spacing_ijk_mm (3,), direction_lps (3, 3))`` of a grid."""
    matrix_lps = ras_from_lps(geometry.ijk_to_ras)
    spacing_ijk_mm = np.array(geometry.spacing_kji_mm[::-1])
    return matrix_lps[:3, 3], spacing_ijk_mm, matrix_lps[:3, :3] / spacing_ijk_mm


def to_sitk(image: Volume | npt.NDArray[Any], geometry: Geometry | None = None) -> SimpleITK.Image:
    """Return a SimpleITK image (LPS) of a volume, or of a [k, j, i] array and its geometry."""
    import SimpleITK

    if isinstance(image, Volume):
        array, geometry = image.array, image.geometry
    else:
        array = image
    if geometry is None:
        raise TypeError("an array needs its geometry")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    made = SimpleITK.GetImageFromArray(np.ascontiguousarray(array))
    origin_lps_mm, spacing_ijk_mm, direction_lps = lps_parts(geometry)
    made.SetOrigin(origin_lps_mm.tolist())
    made.SetSpacing(spacing_ijk_mm.tolist())
    made.SetDirection(direction_lps.ravel().tolist())
    return made


def from_sitk(image: SimpleITK.Image) -> tuple[npt.NDArray[Any], Geometry]:
    """Return the [k, j, i] array (a copy) and the RAS geometry of a 3-D scalar SimpleITK image.

    Raises:
        InputError: see `Geometry`.
    """
    import SimpleITK

    array: npt.NDArray[Any] = SimpleITK.GetArrayFromImage(image)
    return array, geometry_from_lps(
        array.shape[:3], image.GetOrigin(), image.GetSpacing(), image.GetDirection()
    )

"""Places in the patient, as the boxes and planes that acts are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Box
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.measure import as_box
from MedDetectLib.review.acts import Plane

__all__ = ["box_around", "plane_on_grid"]

HARDLY = 1e-6
"""In voxels: the same place gives the same box whatever rounding the way from RAS took."""


def box_around(
    geometry: Geometry, centre_ras_mm: npt.ArrayLike, size_kji_mm: float | Sequence[float]
) -> Box:
    """Return the box of whole voxels around a place.

    Args:
        geometry: the grid where it lies in the world now.
        centre_ras_mm: (3,) world RAS.
        size_kji_mm: its sides along the grid's axes, or one number for all; each side is at
            least one voxel long.

    Raises:
        InputError: ``box-outside`` when the place is not in the image, ``bad-size``.
    """
    size = np.broadcast_to(np.asarray(size_kji_mm, dtype=np.float64), 3)
    if not (np.isfinite(size).all() and (size > 0).all()):
        raise InputError("bad-size", f"a box of {size.tolist()} mm has no extent")
    centre = geometry.ras_to_edge(centre_ras_mm)
    if (centre < 0).any() or (centre > np.array(geometry.shape_kji)).any():
        raise InputError(
            "box-outside", "the place lies outside the volume", todo="choose one in the image"
        )
    voxels = np.maximum(np.rint(size / np.array(geometry.spacing_kji_mm)), 1)
    low = np.rint(centre - voxels / 2 + HARDLY)  # an even number reaches further ahead
    low = np.clip(low, 1 - voxels, np.array(geometry.shape_kji) - 1)
    return as_box([*low, *(low + voxels)])


def plane_on_grid(plane: Plane, now: Geometry, then: Geometry) -> Plane:
    """Return a plane where it cut the grid before transforms moved it.

    Args:
        plane: in the world as it is now.
        now: the grid in the world as it is now.
        then: the grid where the findings were made.
    """
    back = then.ijk_to_ras @ np.linalg.inv(now.ijk_to_ras)
    point = back @ [*plane.point_ras_mm, 1.0]
    normal = np.linalg.inv(back[:3, :3]).T @ np.array(plane.normal_ras)
    return Plane((float(point[0]), float(point[1]), float(point[2])),
                 (float(normal[0]), float(normal[1]), float(normal[2])))  # fmt: skip

"""What a phantom is: an image, the exact map of its lesions, and a list of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects
from scipy.spatial.transform import Rotation

from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.learning.phantoms.lesions import Planted

__all__ = ["Lesion", "Phantom", "describe_lesions", "patient_geometry"]

MAX_VOXELS = 6_000_000
"""Above this a random grid gets thicker slices, so that a phantom takes seconds."""

Box = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Lesion:
    """One planted lesion.

    Args:
        value: its value in `Phantom.truth`.
        centre_ras_mm: centroid of its formula in RAS mm; the same whatever the grid.
        diameter_mm: longest extent of its formula; the same whatever the grid.
        label: the class a model should give it (1).
        box: ``[k0, j0, i0, k1, j1, i1)`` voxel edges of the phantom's own grid.
    """

    value: int
    centre_ras_mm: tuple[float, float, float]
    diameter_mm: float
    label: int
    box: Box


@dataclass(frozen=True, eq=False)
class Phantom:
    """A volume with its truth.

    Args:
        volume: int16 image; CT in HU, MR in arbitrary units.
        truth: uint16 [k, j, i] on the volume's grid: 0, or `Lesion.value`. A voxel belongs
            to a lesion when its centre does.
        lesions: those with at least one voxel in the truth, by value.
    """

    volume: Volume
    truth: npt.NDArray[np.uint16]
    lesions: tuple[Lesion, ...]


def describe_lesions(
    planted: Sequence[Planted], truth: npt.NDArray[np.uint16]
) -> tuple[Lesion, ...]:
    """Return what of the planted lesions lies on the grid of `truth` [k, j, i]."""
    found = find_objects(truth.astype(np.int32))
    lesions = []
    for value, lesion in enumerate(planted, start=1):
        place = found[value - 1] if value <= len(found) else None
        if place is None:
            continue
        k, j, i = place
        box = tuple(float(s) for s in (k.start, j.start, i.start, k.stop, j.stop, i.stop))
        right, anterior, superior = (float(c) for c in lesion.centroid_ras_mm)
        lesions.append(
            Lesion(
                value,
                (right, anterior, superior),
                lesion.diameter_mm,
                1,
                (box[0], box[1], box[2], box[3], box[4], box[5]),
            )
        )
    return tuple(lesions)


def patient_geometry(
    rng: np.random.Generator,
    field_mm: Sequence[float],
    centre_ras_mm: Sequence[float],
    shape_kji: Sequence[int] | None,
    spacing_kji_mm: Sequence[float] | None,
    random_spacing_kji_mm: Sequence[float],
    oblique: bool,
) -> Geometry:
    """Lay a scanner's grid (i to Left, j to Posterior, k to Superior) over a body part.

    Args:
        rng: decides the angle of an oblique grid.
        field_mm: what must be covered along Right-Left, Anterior-Posterior, and
            Superior-Inferior.
        centre_ras_mm: the middle of it.
        shape_kji: number of voxels; follows from field and spacing if None.
        spacing_kji_mm: follows from field and shape if None.
        random_spacing_kji_mm: the spacing when neither is given.
        oblique: whether to turn the axes by 8 to 25 degrees about a random direction.
    """
    field_kji = np.asarray(field_mm, float)[::-1]
    if spacing_kji_mm is not None:
        spacing = np.asarray(spacing_kji_mm, float)
    elif shape_kji is not None:
        spacing = field_kji / np.asarray(shape_kji)
    else:
        spacing = np.asarray(random_spacing_kji_mm, float)
        voxels = float(np.prod(field_kji / spacing))
        spacing[0] *= max(1.0, voxels / MAX_VOXELS)
    shape = np.ceil(field_kji / spacing) if shape_kji is None else np.asarray(shape_kji)
    directions = np.diag([-1.0, -1.0, 1.0])
    axis = rng.normal(size=3)
    degrees = rng.uniform(8.0, 25.0)
    if oblique:
        turn = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis))
        directions = turn.as_matrix() @ directions
    half_ijk = (shape[::-1] - 1) / 2 * spacing[::-1]
    origin = np.asarray(centre_ras_mm, float) - directions @ half_ijk
    return Geometry.from_axes(
        [int(n) for n in shape], [float(s) for s in spacing], origin, directions
    )

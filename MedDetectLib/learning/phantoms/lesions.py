"""Lesions: slightly irregular blobs with an exact inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from MedDetectLib.learning.phantoms.shapes import Canvas, Floats

__all__ = ["Blob", "Inside", "Planted", "draw_diameter", "mark", "planted"]

LARGEST_MM, SMALLEST_MM = 30.0, 4.0
Inside = Callable[[Floats, Floats, Floats], Floats]
"""Signed distance (mm, negative inside) to the organ a lesion is cut off by."""


@dataclass(frozen=True, eq=False)
class Blob:
    """An ellipsoid with lobes: the distance to its edge depends on the direction.

    Args:
        centre_ras_mm: (3,).
        radius_mm: half the longest extent.
        turn: (3, 3) from RAS to the blob's own axes.
        stretch: (3,) relative half axes, the largest 1.
        waves: (n, 3) directions times frequency of the lobes.
        phases: (n,).
        lobes: relative height of the lobes.
    """

    centre_ras_mm: npt.NDArray[np.float64]
    radius_mm: float
    turn: npt.NDArray[np.float64]
    stretch: npt.NDArray[np.float64]
    waves: npt.NDArray[np.float64]
    phases: npt.NDArray[np.float64]
    lobes: float

    @classmethod
    def random(
        cls, rng: np.random.Generator, centre_ras_mm: npt.ArrayLike, diameter_mm: float
    ) -> Blob:
        """Return a blob whose longest extent is `diameter_mm`."""
        stretch = np.array([1.0, rng.uniform(0.78, 1.0), rng.uniform(0.72, 1.0)])
        turn = Rotation.random(random_state=rng).as_matrix()
        waves = rng.normal(size=(5, 3)) * rng.uniform(1.5, 3.0)
        phases = rng.uniform(0, 2 * np.pi, 5)
        centre = np.asarray(centre_ras_mm, float)
        shape = cls(centre, 1.0, turn, stretch, waves, phases, rng.uniform(0.01, 0.045))
        # The true longest extent of the unit shape, from a dense set of directions.
        n = np.arange(1500) + 0.5
        polar, around = np.arccos(1 - 2 * n / 1500), np.pi * (1 + 5**0.5) * n
        unit = np.stack(
            [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], 1
        )
        edge = unit * shape._reach(unit)[:, None]
        longest = float(np.max((edge @ unit.T).max(axis=0) + (edge @ -unit.T).max(axis=0)))
        return cls(centre, diameter_mm / longest, turn, stretch, waves, phases, shape.lobes)

    def _reach(self, unit: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Distance from the centre to the edge along (n, 3) unit directions, radius 1."""
        own = unit @ self.turn.T
        ellipse = 1 / np.sqrt(((own / self.stretch) ** 2).sum(axis=1))
        lobes = np.sin(own @ self.waves.T + self.phases).sum(axis=1)
        return np.asarray(ellipse * (1 + self.lobes * lobes))

    def sdf(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the signed distance along the ray from the centre, mm, negative inside."""
        offset = np.stack([c.ravel() for c in (x, y, z)], 1).astype(np.float64)
        offset -= self.centre_ras_mm
        length = np.maximum(np.linalg.norm(offset, axis=1), 1e-6)
        reach = self._reach(offset / length[:, None]) * self.radius_mm
        return np.asarray((length - reach).reshape(x.shape), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Planted:
    """A blob in its organ, with measures that no grid has touched.

    Args:
        blob: the shape.
        centroid_ras_mm: (3,) of the part inside the organ.
        diameter_mm: longest extent of that part.
        kind: how to draw it.
    """

    blob: Blob
    centroid_ras_mm: npt.NDArray[np.float64]
    diameter_mm: float
    kind: str


def planted(blob: Blob, inside: Inside, kind: str) -> Planted | None:
    """Measure a blob cut off by its organ; None when what is left is under 4 mm."""
    reach = blob.radius_mm * 1.15
    line = np.linspace(-reach, reach, 41)
    x, y, z = (
        (g + c).astype(np.float32)
        for g, c in zip(
            np.meshgrid(line, line, line, indexing="ij"), blob.centre_ras_mm, strict=True
        )
    )
    within = (blob.sdf(x, y, z) <= 0) & (inside(x, y, z) <= 0)
    if within.sum() < 100:
        return None
    points = np.stack([x[within], y[within], z[within]], 1).astype(np.float64)
    directions = np.random.default_rng(0).normal(size=(300, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    along = points @ directions.T
    longest = float((along.max(axis=0) - along.min(axis=0)).max())
    longest = min(longest, 2 * blob.radius_mm * 1.2, LARGEST_MM)
    return Planted(blob, points.mean(axis=0), longest, kind) if longest >= SMALLEST_MM else None


def draw_diameter(rng: np.random.Generator, shrink: float = 1.0) -> float:
    """Return a longest extent in mm: small ones are more common, as in patients."""
    return float(np.exp(rng.uniform(np.log(4.6), np.log(LARGEST_MM * shrink))))


def mark(canvas: Canvas, lesions: Sequence[Planted], inside: Inside) -> npt.NDArray[np.uint16]:
    """Return the truth [k, j, i]: each voxel whose centre a lesion contains."""
    truth = np.zeros(canvas.geometry.shape_kji, np.uint16)
    for value, lesion in enumerate(lesions, start=1):
        region = canvas.region_around(lesion.blob.centre_ras_mm, lesion.blob.radius_mm * 1.3)
        if region is None:
            continue
        x, y, z = canvas.at(region)
        within = (lesion.blob.sdf(x, y, z) <= 0) & (inside(x, y, z) <= 0)
        part = truth[region]
        part[within & (part == 0)] = value
    return truth

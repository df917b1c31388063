"""Formulas for shapes, and a canvas that draws them on any grid.

A shape is a signed distance in mm (negative inside), computed at voxel centres in RAS. The
canvas turns it into the fraction of each voxel it covers, so edges show partial volume.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import affine_transform, gaussian_filter

from MedDetectLib.core.geometry import Geometry

__all__ = [
    "AnyFloats",
    "Canvas",
    "Floats",
    "Points",
    "Region",
    "Texture",
    "Tube",
    "chain",
    "ellipsoid",
    "smooth_max",
    "tube_sdf",
]

Floats = npt.NDArray[np.float32]
AnyFloats = npt.NDArray[np.floating[Any]]
Points = npt.NDArray[np.float64]
Region = tuple[slice, slice, slice]
Point = npt.NDArray[np.float64]
Tube = tuple[Point, Point, float, float]
"""Two RAS end points and the radius in mm at each."""


def ellipsoid(
    x: Floats, y: Floats, z: Floats, centre: Iterable[float], radii: Iterable[float]
) -> Floats:
    """Return the signed distance (approximate away from the surface) to an ellipsoid.

    Args:
        x: RAS coordinates in mm towards Right, any shape.
        y: towards Anterior.
        z: towards Superior.
        centre: RAS mm.
        radii: mm along R, A, S.
    """
    (cx, cy, cz), (rx, ry, rz) = centre, radii
    rho = np.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2)
    return np.asarray((rho - 1) * min(rx, ry, rz), dtype=np.float32)


def smooth_max(first: Floats, second: Floats, blend_mm: float) -> Floats:
    """Return the intersection of two shapes with its edge rounded over `blend_mm`."""
    mix = np.maximum(blend_mm - np.abs(first - second), 0) / blend_mm
    return np.asarray(np.maximum(first, second) + mix * mix * blend_mm / 4, dtype=np.float32)


def tube_sdf(x: Floats, y: Floats, z: Floats, tube: Tube) -> Floats:
    """Return the signed distance to a tapering tube with round ends."""
    start, stop, r0, r1 = tube
    d = (stop - start).astype(np.float32)
    a = start.astype(np.float32)
    length2 = max(float(d @ d), 1e-6)
    px, py, pz = x - a[0], y - a[1], z - a[2]
    t = np.clip((px * d[0] + py * d[1] + pz * d[2]) * np.float32(1 / length2), 0, 1)
    px -= t * d[0]
    py -= t * d[1]
    pz -= t * d[2]
    distance = np.sqrt(px * px + py * py + pz * pz)
    return np.asarray(distance - np.float32(r0) - np.float32(r1 - r0) * t, dtype=np.float32)


def chain(points: Sequence[tuple[float, float, float]], radius_mm: float) -> list[Tube]:
    """Join points by tubes of one radius, cut into pieces of at most 20 mm."""
    tubes: list[Tube] = []
    for first, second in itertools.pairwise(points):
        a, b = np.array(first, float), np.array(second, float)
        pieces = max(1, int(np.linalg.norm(b - a) // 20))
        for n in range(pieces):
            start, stop = a + (b - a) * n / pieces, a + (b - a) * (n + 1) / pieces
            tubes.append((start, stop, radius_mm, radius_mm))
    return tubes


class Texture:
    """Smooth random values (mean 0, sd 1) fixed to the patient, not to the grid.

    Args:
        rng: source of the values.
        cell_mm: size of the blobs.
    """

    def __init__(self, rng: np.random.Generator, cell_mm: float) -> None:
        self.step_mm = cell_mm / 2
        lattice = gaussian_filter(rng.normal(size=(40, 40, 40)), 1.0, mode="wrap")
        self.lattice = (lattice / lattice.std()).astype(np.float32)

    def on(self, geometry: Geometry, region: Region | None = None) -> Floats:
        """Return the values at the voxel centres of a grid, or of a part of it."""
        if region is not None:
            geometry = geometry.cropped([s.start for s in region], [s.stop for s in region])
        matrix = geometry.ijk_to_ras[:3, :3][:, ::-1] / self.step_mm
        offset = geometry.ijk_to_ras[:3, 3] / self.step_mm
        values = affine_transform(
            self.lattice, matrix, offset, geometry.shape_kji, order=1, mode="grid-wrap"
        )
        return np.asarray(values, dtype=np.float32)


class Canvas:
    """A grid to draw on.

    Args:
        geometry: the grid.
        background: value of the empty image.
    """

    def __init__(self, geometry: Geometry, background: float) -> None:
        self.geometry = geometry
        self.image = np.full(geometry.shape_kji, background, np.float32)
        self.x, self.y, self.z = _coordinates(geometry)
        self.width_mm = float(np.mean(geometry.spacing_kji_mm))

    @property
    def everywhere(self) -> Region:
        """The whole grid as a region."""
        k, j, i = self.geometry.shape_kji
        return slice(0, k), slice(0, j), slice(0, i)

    def at(self, region: Region) -> tuple[Floats, Floats, Floats]:
        """Return the RAS coordinates of the voxel centres of a region."""
        return self.x[region], self.y[region], self.z[region]

    def region_around(self, points_ras_mm: npt.ArrayLike, margin_mm: float) -> Region | None:
        """Return the voxels within `margin_mm` of the box of some points; None if none."""
        index = self.geometry.ras_to_index(points_ras_mm).reshape(-1, 3)
        reach = (margin_mm + self.width_mm) / np.array(self.geometry.spacing_kji_mm)
        low = np.maximum(np.ceil(index.min(axis=0) - reach), 0).astype(int)
        high = np.minimum(
            np.floor(index.max(axis=0) + reach) + 1, np.array(self.geometry.shape_kji)
        ).astype(int)
        if (high <= low).any():
            return None
        k, j, i = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        return k, j, i

    def cover(self, sdf: AnyFloats) -> Floats:
        """Return the fraction (0 to 1) of each voxel inside a shape."""
        return np.asarray(np.clip(0.5 - sdf / self.width_mm, 0, 1), dtype=np.float32)

    def paint(self, region: Region, cover: AnyFloats, value: float | AnyFloats) -> None:
        """Lay a material over the image as far as it covers each voxel."""
        part = self.image[region]
        part += cover * (value - part)

    def paint_ellipsoid(
        self, centre: Iterable[float], radii: Iterable[float], value: float | AnyFloats
    ) -> None:
        """Draw one ellipsoid, looking only at the voxels around it."""
        centre, radii = tuple(centre), tuple(radii)
        region = self.region_around([np.subtract(centre, radii), np.add(centre, radii)], 0.0)
        if region is not None:
            self.paint(region, self.cover(ellipsoid(*self.at(region), centre, radii)), value)

    def tubes(self, tubes: Iterable[Tube]) -> Floats:
        """Return the fraction of each voxel covered by any of the tubes, [k, j, i].

        A tube thinner than a voxel covers as much of it as its cross-section has area.
        """
        covered = np.zeros(self.geometry.shape_kji, np.float32)
        width = self.width_mm
        for tube in tubes:
            region = self.region_around([tube[0], tube[1]], max(tube[2], tube[3]))
            if region is None:
                continue
            radius = (tube[2] + tube[3]) / 2
            drawn = (radius + width / 2) ** 2 * (0.5 + radius / width) / 3
            share = min(1.0, radius**2 / drawn) if radius < width / 2 else 1.0
            cover = self.cover(tube_sdf(*self.at(region), tube)) * np.float32(share)
            part = covered[region]
            np.maximum(part, cover, out=part)
        return covered


def _coordinates(geometry: Geometry) -> tuple[Floats, Floats, Floats]:
    """Return RAS x, y, z of every voxel centre, each [k, j, i] float32."""
    k, j, i = (np.arange(n, dtype=np.float32) for n in geometry.shape_kji)
    m = geometry.ijk_to_ras.astype(np.float32)
    x, y, z = (
        m[n, 2] * k[:, None, None] + m[n, 1] * j[None, :, None] + m[n, 0] * i + m[n, 3]
        for n in range(3)
    )
    return x, y, z

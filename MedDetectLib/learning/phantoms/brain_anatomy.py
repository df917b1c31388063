"""The head as formulas in RAS mm: outline, skull, brain, ventricles, vessels.

The origin lies in the middle of the brain; +x is the patient's right, +y the face, +z the top.
Sizes vary from one patient to the next; nothing here knows a grid.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from MedDetectLib.learning.phantoms.shapes import Floats, Points, Tube, chain, ellipsoid
from MedDetectLib.learning.phantoms.vessels import Tree, grow_tree

__all__ = ["BrainAnatomy"]

SIDES = (1, -1)


class BrainAnatomy:
    """One patient's head.

    Args:
        rng: decides every size.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        vary = rng.uniform
        self.half_width_mm = vary(64, 71)
        self.half_length_mm = vary(80, 88)
        self.height_mm = vary(64, 72)
        self.fluid_mm = vary(2.5, 4.5)
        self.bone_mm = vary(5.5, 8.0)
        self.scalp_mm = vary(4.5, 8.0)
        self.ventricle = vary(0.75, 1.35)
        self.arteries = self._grow(rng)

    def cerebrum(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the signed distance to the hemispheres."""
        taper = self.half_width_mm * (1 - 0.0007 * (y + 15) - 0.000006 * (y + 15) ** 2)
        taper = np.maximum(taper, 20)
        below = np.where(z > 0, self.height_mm, 40).astype(np.float32)
        rho = (np.abs(x / taper) ** 2.2 + np.abs(y / self.half_length_mm) ** 2.2) + np.abs(
            z / below
        ) ** 2.2
        main = (rho ** np.float32(1 / 2.2) - 1) * taper
        shape: Floats = main.astype(np.float32)
        for side in SIDES:
            temporal = ellipsoid(x, y, z, (side * 42, 10, -26), (23, 38, 22))
            np.minimum(shape, temporal, out=shape)
        return shape

    def cerebellum(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the signed distance to the cerebellum."""
        return ellipsoid(x, y, z, (0, -48, -46), (47, 30, 24))

    def stem(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the signed distance to brain stem and cord."""
        middle = -14 + 0.20 * np.clip(z, -110, 0)
        radius = 8 + 5.5 * np.exp(-(((z + 38) / 14) ** 2))
        shape = np.hypot(x, y - middle) - radius
        return np.asarray(np.maximum(shape, z + 8), dtype=np.float32)

    def brain(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the signed distance to cerebrum and cerebellum: where lesions are."""
        return np.minimum(self.cerebrum(x, y, z), self.cerebellum(x, y, z))

    def face(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the signed distance to the soft parts below the skull."""
        front = ellipsoid(x, y, z, (0, 44, -70), (58, 52, 66))
        nose = ellipsoid(x, y, z, (0, 94, -62), (13, 18, 22))
        neck = (np.hypot(x / 1.1, (y + 22) / 1.15) - 54).astype(np.float32)
        neck = np.maximum(neck, z + 45)
        return np.asarray(np.minimum(np.minimum(front, neck), nose), dtype=np.float32)

    def ventricles(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the signed distance to the third and fourth ventricle."""
        third = ellipsoid(x, y, z, (0, -2, 0), (2.4 * self.ventricle, 15, 10))
        fourth = ellipsoid(x, y, z, (0, -32, -38), (7, 4.5, 9))
        return np.minimum(third, fourth)

    @cached_property
    def lateral_ventricles(self) -> list[Tube]:
        """Frontal horn, body, atrium and temporal horn of both sides."""
        tubes: list[Tube] = []
        for side in SIDES:
            path = [(7, 34, 8), (8, 16, 17), (11, -8, 21), (18, -30, 16), (26, -40, 6)]
            path += [(31, -24, -12), (31, -4, -20)]
            radii = [5.5, 6.0, 5.0, 6.0, 6.5, 3.0, 2.5]
            for n in range(len(path) - 1):
                a, b = (np.array(p, float) * (side, 1, 1) for p in (path[n], path[n + 1]))
                tubes.append((a, b, radii[n] * self.ventricle, radii[n + 1] * self.ventricle))
        return tubes

    @cached_property
    def plexus(self) -> list[Tube]:
        """Choroid plexus in the atria."""
        return [
            (np.array([s * 19.0, -31, 15]), np.array([s * 25.0, -38, 7]), 1.6, 2.6) for s in SIDES
        ]

    @cached_property
    def sinuses(self) -> list[Tube]:
        """Sagittal and transverse sinuses, along the inside of the skull."""
        top, back = self.height_mm, self.half_length_mm
        angles = np.linspace(0.6, np.pi + 0.25, 24)
        arc = [(0.0, back * np.cos(a), top * np.sin(a)) for a in angles]
        tubes = chain(arc, 3.2)
        for side in SIDES:
            end = arc[-1]
            tubes += chain(
                [end, (side * 34, -72, -22), (side * 54, -44, -26), (side * 46, -26, -52)], 3.6
            )
        return tubes

    def random_points(self, rng: np.random.Generator, n: int, depth_mm: float) -> Points:
        """Return n points at least `depth_mm` inside the brain."""
        low = [-self.half_width_mm, -self.half_length_mm, -70]
        high = [self.half_width_mm, self.half_length_mm, self.height_mm]
        points = rng.uniform(low, high, (n * 14 + 100, 3))
        x, y, z = (points[:, a].astype(np.float32) for a in range(3))
        return np.asarray(points[self.brain(x, y, z) < -depth_mm][:n], dtype=np.float64)

    def _grow(self, rng: np.random.Generator) -> list[Tree]:
        trees = []
        for side in SIDES:
            targets = self.random_points(rng, 150, 1.0)
            mine = targets[targets[:, 0] * side > 4]
            trees.append(grow_tree(rng, (side * 9.0, 8.0, -24.0), mine, 0.42))
        return trees

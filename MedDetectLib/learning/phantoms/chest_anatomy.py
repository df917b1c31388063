"""The chest as formulas in RAS mm: outline, lungs, mediastinum, bones, vessels.

The origin lies in the middle of the thorax; +x is the patient's right, +y the front, +z the
head. Sizes vary from one patient to the next; nothing here knows a grid.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from MedDetectLib.learning.phantoms.shapes import Floats, Points, Tube, chain, ellipsoid, smooth_max
from MedDetectLib.learning.phantoms.vessels import Tree, grow_tree

__all__ = ["ChestAnatomy"]

SIDES = (1, -1)
"""Right and left, as the sign of x."""


class ChestAnatomy:
    """One patient's chest.

    Args:
        rng: decides every size.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        vary = rng.uniform
        self.rng = rng
        self.lung_half_mm = vary(56, 64)
        self.lung_depth_mm = vary(76, 88)
        self.lung_centre_mm = self.lung_half_mm + vary(6, 9)
        self.apex_mm = vary(112, 124)
        self.base_mm = vary(-126, -112)
        self.dome_mm = vary(38, 50)
        self.right_higher_mm = vary(5, 14)
        self.fat_mm = vary(7, 20)
        self.wall_mm = vary(16, 22)
        self.heart_centre = np.array([vary(-28, -20), vary(18, 26), vary(-60, -50)])
        self.heart_radii = np.array([vary(60, 68), vary(42, 48), vary(46, 52)])
        self.contrast = bool(rng.random() < 0.5)
        self.arch_mm = vary(38, 48)
        self.carina_mm = vary(24, 34)
        self.trees = [self._grow(side) for side in SIDES]

    # --- outline --------------------------------------------------------------------

    def _narrowing(self, z: Floats) -> tuple[Floats, Floats]:
        """Relative size (0 to 1) of the lungs at a height, and how far up the dome it is."""
        t = np.clip(z / self.apex_mm, 0, 1.05)
        size = np.sqrt(np.clip(1 - t**2.6, 0.0025, 1)) * (1 - 0.04 * np.clip(-z / 100, 0, 1))
        return np.asarray(size, np.float32), np.asarray(t, np.float32)

    def pleura(self, x: Floats, y: Floats, z: Floats, side: int, grown_mm: float = 0) -> Floats:
        """Return the signed distance to the inside of one half of the rib cage."""
        size, t = self._narrowing(z)
        half = np.maximum(self.lung_half_mm * size, 3) + grown_mm
        depth = np.maximum(self.lung_depth_mm * size, 3) + grown_mm
        middle = side * (self.lung_centre_mm - 20 * t * t - 0.10 * (y + 10))
        u, v = np.abs(x - middle) / half, np.abs(y + 4 + 10 * t) / depth
        rho = (u**2.4 + v**2.4) ** np.float32(1 / 2.4)
        # Close to the edge, rho - 1 times the distance to the middle is the distance.
        return np.asarray((rho - 1) * np.minimum(half, depth), dtype=np.float32)

    def body(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the signed distance to the skin."""
        half = self.lung_centre_mm + self.lung_half_mm + self.wall_mm + self.fat_mm
        depth = self.lung_depth_mm + self.wall_mm + self.fat_mm
        shoulder = np.clip((z - 60) / 80, 0, 1)
        half_z = half * (1 + 0.05 * shoulder)
        depth_z = depth * (1 - 0.22 * shoulder)
        u, v = np.abs(x) / half_z, np.abs(y + 6) / depth_z
        rho = (u**2.6 + v**2.6) ** np.float32(1 / 2.6)
        return np.asarray((rho - 1) * depth_z, dtype=np.float32)

    def diaphragm_height(self, x: Floats, y: Floats, side: int) -> Floats:
        """Return the z of the dome under one lung."""
        top = self.base_mm + (self.right_higher_mm if side > 0 else 0)
        u, v = (x - side * 62) / 88, (y - 8) / 84
        return np.asarray(top + self.dome_mm * (1 - u * u - v * v), dtype=np.float32)

    # --- middle ---------------------------------------------------------------------

    def heart(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the signed distance to the heart, whose tip points left, front and down."""
        dx, dy, dz = x - self.heart_centre[0], y - self.heart_centre[1], z - self.heart_centre[2]
        along = (-0.72 * dx + 0.42 * dy - 0.55 * dz).astype(np.float32)
        across = (0.50 * dx + 0.86 * dy + 0.0 * dz).astype(np.float32)
        up = (-0.47 * dx + 0.28 * dy + 0.84 * dz).astype(np.float32)
        return ellipsoid(along, across, up, (0, 0, 0), self.heart_radii)

    @cached_property
    def great_vessels(self) -> list[Tube]:
        """Aorta, pulmonary trunk and arteries, caval vein."""
        h = self.heart_centre
        arch = [
            (h[0] + 18, h[1] + 2, h[2] + 40),
            (h[0] + 30, h[1] + 8, 10),
            (8, 22, self.arch_mm - 8),
            (-4, 6, self.arch_mm + 4),
            (-16, -14, self.arch_mm),
            (-22, -34, self.arch_mm - 16),
            (-22, -40, 0),
            (-18, -40, -70),
            (-10, -38, -150),
        ]
        trunk = [(-12, 40, -15), (-14, 28, 4), (-12, 14, 12)]
        tubes = chain(arch, 12.5) + chain(trunk, 12.0)
        tubes += chain([(-12, 14, 12), (8, 6, 8), (34, 2, 2)], 9.0)
        tubes += chain([(-12, 14, 12), (-30, -4, 10), (-38, -8, 6)], 9.0)
        tubes += chain([(20, 14, 90), (22, 16, 30), (18, 14, -15)], 8.0)
        return tubes

    def mediastinum(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the signed distance to what lies between the lungs."""
        width = (26 - 9 * np.clip((y - 20) / 50, 0, 1) + 5 * np.clip(z / 90, 0, 1)).astype(
            np.float32
        )
        slab = (np.abs(x + 1) - width).astype(np.float32)
        slab = np.maximum(slab, np.abs(y - 2).astype(np.float32) - 92)
        aorta = (np.hypot(x + 22, y + 38) - 15).astype(np.float32)
        aorta = np.maximum(aorta, (z - self.arch_mm).astype(np.float32))
        heart = self.heart(x, y, z) - 3
        return np.asarray(np.minimum(np.minimum(slab, aorta), heart), dtype=np.float32)

    def lung(self, x: Floats, y: Floats, z: Floats, side: int) -> Floats:
        """Return the signed distance to one lung."""
        inside = smooth_max(self.pleura(x, y, z, side), -self.mediastinum(x, y, z), 8.0)
        floor = (self.diaphragm_height(x, y, side) - z) * np.float32(0.8)
        roof = (z - self.apex_mm) * np.float32(0.7)
        return np.asarray(np.maximum(smooth_max(inside, floor, 5.0), roof), dtype=np.float32)

    def lungs(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the signed distance to both lungs."""
        return np.minimum(self.lung(x, y, z, 1), self.lung(x, y, z, -1))

    # --- trees ----------------------------------------------------------------------

    def random_points(self, rng: np.random.Generator, side: int, n: int, depth_mm: float) -> Points:
        """Return n points at least `depth_mm` inside one lung."""
        low = np.array([min(0, side * 150), -95.0, self.base_mm])
        high = np.array([max(0, side * 150), 95.0, self.apex_mm])
        points = rng.uniform(low, high, (n * 14 + 100, 3))
        x, y, z = (points[:, a].astype(np.float32) for a in range(3))
        return np.asarray(points[self.lung(x, y, z, side) < -depth_mm][:n], dtype=np.float64)

    def _grow(self, side: int) -> dict[str, Tree]:
        hilum = np.array([side * 34.0 - (2 if side < 0 else 0), -2.0, 4.0])
        rng = self.rng
        artery = grow_tree(rng, hilum, self.random_points(rng, side, 360, 3.0), 0.66)
        vein = grow_tree(
            rng, hilum + np.array([0, 6, -16]), self.random_points(rng, side, 280, 3.0), 0.66
        )
        return {"artery": artery, "vein": vein}

    @cached_property
    def airways(self) -> list[Tube]:
        """Trachea, main bronchi, and bronchi that run beside the arteries."""
        carina = np.array([2.0, -12.0, self.carina_mm])
        tubes = chain([(1, -4, 150), (1, -8, 70), tuple(carina)], 8.5)
        for trees in self.trees:
            artery = trees["artery"]
            shift = np.array([0, -1.0, 0.6]) / np.hypot(1, 0.6)
            root = artery.points[0] + shift * 11
            tubes += chain([tuple(carina), tuple(root)], 6.0)
            for start, stop, r0, r1 in artery.tubes(thicker_than_mm=1.5):
                a, b = 0.72 * min(r0, 5.0), 0.72 * min(r1, 5.0)
                tubes.append((start + shift * 1.9 * r0, stop + shift * 1.9 * r1, a, b))
        return tubes

    # --- bones ----------------------------------------------------------------------

    @cached_property
    def ribs(self) -> list[Tube]:
        """Ten pairs of ribs, sloping down from the spine to the front, and clavicles."""
        tubes: list[Tube] = []
        angles = np.linspace(-1.42, 1.12, 22)
        for n in range(11):
            back = 124 - 23 * n
            for side in SIDES:
                points = []
                for angle in angles:
                    along = (angle + 1.42) / 2.54
                    z = back - 46 * along**1.2 + (6 if n < 2 else 0) * (1 - along)
                    points.append((*self._on_cage(side, angle, z), z))
                tubes += chain(points, 4.4)
        for side in SIDES:
            z = self.apex_mm - 8
            tubes += chain([(side * 16, 52, z - 14), (side * 70, 44, z), (side * 140, 0, z + 8)], 6)
        return tubes

    def _on_cage(self, side: int, angle: float, z: float) -> tuple[float, float]:
        """Return x, y of the rib cage at a height; angle -pi/2 is back, 0 is outside."""
        size, t = (float(v) for v in self._narrowing(np.float32(min(z, 0.93 * self.apex_mm))))  # type: ignore[arg-type]
        half, depth = self.lung_half_mm * size + 6, self.lung_depth_mm * size + 6
        c, s = np.cos(angle), np.sin(angle)
        rho = (abs(c) ** 2.4 + abs(s) ** 2.4) ** (-1 / 2.4)
        y = -4 - 10 * t + depth * rho * s
        middle = self.lung_centre_mm - 20 * t * t - 0.10 * (y + 10)
        return side * (middle + half * rho * c), y

"""Chest CT phantoms: lungs with vessels, airways and fissures, and nodules in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.learning.phantoms.chest_anatomy import SIDES, ChestAnatomy
from MedDetectLib.learning.phantoms.lesions import (
    Blob,
    Planted,
    draw_diameter,
    mark,
    planted,
)
from MedDetectLib.learning.phantoms.phantom import Phantom, describe_lesions, patient_geometry
from MedDetectLib.learning.phantoms.shapes import Canvas, Floats, Texture, ellipsoid

__all__ = ["chest_phantom"]

FIELD_MM = (372.0, 282.0, 276.0)
CENTRE_RAS_MM = (0.0, -10.0, -2.0)


def chest_phantom(
    seed: int,
    *,
    shape_kji: Sequence[int] | None = None,
    spacing_kji_mm: Sequence[float] | None = None,
    oblique: bool = False,
    geometry: Geometry | None = None,
    lesion_count: tuple[int, int] = (1, 6),
) -> Phantom:
    """Return a chest CT (HU, int16) with nodules of 4 to 30 mm.

    The same seed gives the same patient on any grid, and the same bytes on the same grid.

    Args:
        seed: which patient.
        shape_kji: voxels of an upright grid (i to Left, j to Posterior, k to Superior).
        spacing_kji_mm: its spacing; random per seed when neither is given.
        oblique: turn that grid against the patient.
        geometry: the grid itself, whatever its axes; overrides the three above.
        lesion_count: fewest and most nodules.
    """
    anatomy_rng, grid_rng, lesion_rng, scan_rng = (
        np.random.default_rng([seed, stream]) for stream in (1, 2, 3, 4)
    )
    spacing = (grid_rng.uniform(1.25, 2.5), *[grid_rng.uniform(1.4, 1.8)] * 2)
    geometry = geometry or patient_geometry(
        grid_rng, FIELD_MM, CENTRE_RAS_MM, shape_kji, spacing_kji_mm, spacing, oblique
    )
    anatomy = ChestAnatomy(anatomy_rng)
    nodules = _plant(anatomy, lesion_rng, lesion_count)
    canvas = Canvas(geometry, -1000.0)
    scan = _Drawing(canvas, anatomy, anatomy_rng)
    scan.draw_body()
    scan.draw_middle()
    scan.draw_bones()
    scan.draw_lungs()
    for nodule in nodules:
        scan.draw_nodule(nodule, lesion_rng)
    image = canvas.image
    image += _noise(scan_rng, geometry)
    array = np.clip(np.rint(image), -1024, 3071).astype(np.int16)
    truth = mark(canvas, nodules, anatomy.lungs)
    volume = Volume(
        array,
        geometry,
        modality="CT",
        name=f"chest-phantom-{seed}",
        source={"phantom": "chest", "seed": seed},
    )
    return Phantom(volume, truth, describe_lesions(nodules, truth))


class _Drawing:
    """Draws one chest on a canvas, outside in."""

    def __init__(self, canvas: Canvas, anatomy: ChestAnatomy, rng: np.random.Generator) -> None:
        self.canvas, self.anatomy = canvas, anatomy
        self.coarse = Texture(rng, 14.0).on(canvas.geometry)
        self.fine = Texture(rng, 4.0).on(canvas.geometry)
        self.blood_hu = rng.uniform(140, 220) if anatomy.contrast else rng.uniform(38, 50)
        self.lung_hu = rng.uniform(-875, -825)
        self.x, self.y, self.z = canvas.x, canvas.y, canvas.z
        cage = np.full_like(self.x, 1e3)
        for side in SIDES:
            np.minimum(cage, anatomy.pleura(self.x, self.y, self.z, side), out=cage)
        slab = np.maximum(np.abs(self.x) - 45, np.abs(self.y + 6) - anatomy.lung_depth_mm * 0.8)
        self.cage = np.minimum(cage, slab.astype(np.float32))

    def draw_body(self) -> None:
        """Couch, skin, fat, muscle, and what lies below the diaphragm."""
        canvas, anatomy, everywhere = self.canvas, self.anatomy, self.canvas.everywhere
        back = -6 - anatomy.lung_depth_mm - anatomy.wall_mm - anatomy.fat_mm
        couch = np.abs(self.y - (back - 9) - (self.x / 42) ** 2) - 6
        couch = np.maximum(couch, np.abs(self.x) - 165).astype(np.float32)
        canvas.paint(everywhere, canvas.cover(couch), -420.0)
        canvas.paint(everywhere, canvas.cover(couch + 2.5), -920.0)
        skin = anatomy.body(self.x, self.y, self.z)
        canvas.paint(everywhere, canvas.cover(skin), 10.0)
        canvas.paint(everywhere, canvas.cover(skin + 2.5), -105 + 6 * self.coarse)
        muscle = np.maximum(skin + anatomy.fat_mm + 2 * self.coarse, -(self.cage - 1))
        streaks = np.clip((self.coarse + 0.4 * self.fine - 1.1) * 2, 0, 1)
        canvas.paint(everywhere, canvas.cover(muscle), 58 - 130 * streaks + 4 * self.fine)
        fat = -85 + 40 * np.clip(self.fine - 0.8, 0, 2)
        canvas.paint(everywhere, canvas.cover(self.cage - 2.0), fat)
        below = np.full_like(self.x, 1e3)
        for side in SIDES:
            floor = self.z - anatomy.diaphragm_height(self.x, self.y, side)
            half = np.maximum(floor, -side * self.x)
            np.minimum(below, half, out=below)
        below = np.maximum(below, self.cage + 3)
        self._draw_belly(below)

    def _draw_belly(self, below: Floats) -> None:
        canvas, everywhere = self.canvas, self.canvas.everywhere
        extra = 50 if self.anatomy.contrast else 0
        canvas.paint(everywhere, canvas.cover(np.maximum(below, -40 - self.x)), 58 + extra)
        low = self.anatomy.base_mm + self.anatomy.dome_mm - 34
        for centre, radii, value in (
            ((-84, -38, low - 2), (34, 30, 36), 50.0 + extra),
            ((-58, 24, low - 4), (42, 34, 30), 25.0),
            ((-58, 36, low + 8), (32, 22, 14), -960.0),
        ):
            inside = np.maximum(below + 3, ellipsoid(self.x, self.y, self.z, centre, radii))
            canvas.paint(everywhere, canvas.cover(inside), value)

    def draw_middle(self) -> None:
        """Heart, great vessels, oesophagus."""
        canvas, anatomy = self.canvas, self.anatomy
        heart = anatomy.heart(self.x, self.y, self.z)
        canvas.paint(canvas.everywhere, canvas.cover(heart - 3), -90.0)
        wall = 95.0 if anatomy.contrast else 45.0
        canvas.paint(canvas.everywhere, canvas.cover(heart), wall + 3 * self.fine)
        h = anatomy.heart_centre
        for offset, radii in (
            ((-18, 4, -8), (20, 17, 20)),
            ((10, 22, -4), (21, 15, 22)),
            ((26, 4, 12), (18, 18, 18)),
            ((2, -20, 16), (24, 14, 17)),
        ):
            canvas.paint_ellipsoid(h + offset, radii, self.blood_hu)
        vessels = canvas.tubes(anatomy.great_vessels)
        canvas.paint(canvas.everywhere, vessels, self.blood_hu)
        canvas.paint(
            canvas.everywhere,
            canvas.tubes([(np.array([-4.0, -30, 150]), np.array([-6.0, -30, -150]), 6.5, 7.5)]),
            35.0,
        )

    def draw_bones(self) -> None:
        """Ribs, clavicles, spine, breast bone, shoulder blades."""
        canvas, anatomy, everywhere = self.canvas, self.anatomy, self.canvas.everywhere
        ribs = anatomy.ribs
        canvas.paint(everywhere, canvas.tubes(ribs), 560 + 40 * self.fine)
        marrow = [(a, b, r0 - 2.0, r1 - 2.0) for a, b, r0, r1 in ribs]
        canvas.paint(everywhere, canvas.tubes(marrow), 160.0)
        level = np.abs((self.z + 4) % 24 - 12)
        waist = 1.6 * np.clip(1 - level / 8, 0, 1)
        centre_y = -52 - 6 * (self.z / 130) ** 2
        body = np.hypot(self.x / 1.12, self.y - centre_y) - 16 + waist
        disc = (level - 9.6).astype(np.float32)
        canvas.paint(everywhere, canvas.cover(np.maximum(body, -20).astype(np.float32)), 85.0)
        bone = np.maximum(body, disc).astype(np.float32)
        canvas.paint(everywhere, canvas.cover(bone), 480.0)
        canvas.paint(everywhere, canvas.cover(bone + 2.2), 190 + 35 * self.fine)
        arch = np.abs(np.hypot(self.x, self.y - centre_y + 23) - 11) - 2.6
        arch = np.maximum(arch, self.y - centre_y + 16)
        spine = np.maximum(np.abs(self.x) - 3.0, np.abs(self.y - centre_y + 44) - 13)
        sides = np.maximum(np.abs(np.abs(self.x) - 24) - 12, np.abs(self.y - centre_y + 25) - 4)
        posts = np.minimum(np.minimum(spine, sides), arch)
        posts = np.maximum(posts, np.abs(level - 3) - 5.5).astype(np.float32)
        canvas.paint(everywhere, canvas.cover(posts), 430 + 60 * self.fine)
        cord = (np.hypot(self.x, self.y - centre_y + 23) - 7.5).astype(np.float32)
        canvas.paint(everywhere, canvas.cover(cord), 25.0)
        front = anatomy.lung_depth_mm - 2 - 0.14 * np.clip(self.z - 20, 0, 200)
        sternum = np.maximum(np.abs(self.x) - 15, np.abs(self.y - front) - 5.5)
        sternum = np.maximum(sternum, np.abs(self.z - 25) - 75).astype(np.float32)
        canvas.paint(everywhere, canvas.cover(sternum), 400.0)
        canvas.paint(everywhere, canvas.cover(sternum + 2.0), 130 + 30 * self.fine)
        for side in SIDES:
            tilt = (self.y + 74) + 0.55 * (side * self.x - 92)
            blade = np.maximum(np.abs(tilt) - 3.2, np.abs(side * self.x - 92) - 36)
            blade = np.maximum(blade, np.abs(self.z - 62) - 58).astype(np.float32)
            blade = np.maximum(blade, -(self.cage - 10))
            canvas.paint(everywhere, canvas.cover(blade), 380 + 60 * self.fine)

    def draw_lungs(self) -> None:
        """Air, fissures, vessels and bronchi."""
        canvas, anatomy = self.canvas, self.anatomy
        for side, trees in zip(SIDES, anatomy.trees, strict=True):
            region = canvas.region_around(
                [(side * 4, -110, anatomy.base_mm - 5), (side * 150, 110, anatomy.apex_mm + 5)], 3
            )
            if region is None:
                continue
            x, y, z = canvas.at(region)
            lung = canvas.cover(anatomy.lung(x, y, z, side))
            air = self.lung_hu - 0.28 * y + 14 * self.coarse[region] + 16 * self.fine[region]
            oblique = (0.62 * y + 0.70 * z + 26 + 6 * np.sin(x / 25)).astype(np.float32)
            fissure = np.clip(1.2 - np.abs(oblique) / canvas.width_mm, 0, 1)
            if side > 0:
                flat = np.clip(1.2 - np.abs(z - 8 - 0.1 * y) / canvas.width_mm, 0, 1)
                fissure = np.maximum(fissure, flat * (oblique > 0))
            canvas.paint(region, lung, air + 110 * fissure / max(canvas.width_mm, 1))
            tubes = trees["artery"].tubes() + trees["vein"].tubes()
            canvas.paint(canvas.everywhere, canvas.tubes(tubes), self.blood_hu)
        walls = [(a, b, 1.18 * r0 + 0.7, 1.18 * r1 + 0.7) for a, b, r0, r1 in anatomy.airways]
        canvas.paint(canvas.everywhere, canvas.tubes(walls), -20.0)
        canvas.paint(canvas.everywhere, canvas.tubes(anatomy.airways), -985.0)

    def draw_nodule(self, nodule: Planted, rng: np.random.Generator) -> None:
        """One nodule, cut off by the pleura."""
        canvas, blob = self.canvas, nodule.blob
        value = rng.uniform(20, 70) + (rng.uniform(10, 60) if self.anatomy.contrast else 0)
        core = rng.uniform(-20, 60)
        region = canvas.region_around(blob.centre_ras_mm, blob.radius_mm * 1.3)
        if region is None:
            return
        x, y, z = canvas.at(region)
        edge = blob.sdf(x, y, z)
        cover = canvas.cover(edge) * canvas.cover(self.anatomy.lungs(x, y, z))
        if nodule.kind == "part-solid":
            canvas.paint(region, cover, np.maximum(canvas.image[region], -560 + 25 * core / 60))
            canvas.paint(region, canvas.cover(edge + 0.45 * blob.radius_mm) * cover, core)
        elif nodule.kind == "calcified":
            canvas.paint(region, cover, value)
            canvas.paint(region, canvas.cover(edge + 0.5 * blob.radius_mm) * cover, 420.0)
        else:
            canvas.paint(region, cover, value + 12 * self.fine[region])


def _plant(
    anatomy: ChestAnatomy, rng: np.random.Generator, count: tuple[int, int]
) -> list[Planted]:
    """Choose where the nodules are: free in the lung, at the pleura, on a vessel."""
    wanted = int(rng.integers(count[0], count[1] + 1))
    nodules: list[Planted] = []
    for _ in range(60 * wanted):
        if len(nodules) == wanted:
            break
        side = int(rng.choice(SIDES))
        diameter = draw_diameter(rng)
        place = rng.choice(["free", "free", "pleura", "vessel"])
        centre = anatomy.random_points(rng, side, 1, 1.0)[0]
        if place == "vessel":
            tree = anatomy.trees[SIDES.index(side)]["artery"]
            thin = np.flatnonzero(tree.radii_mm < 2.5)
            centre = tree.points[rng.choice(thin)] + rng.normal(size=3) * diameter * 0.25
        x, y, z = (np.full((1, 1, 1), c, np.float32) for c in centre)
        depth = -float(anatomy.lungs(x, y, z)[0, 0, 0])
        at_pleura = 0.35 * diameter < depth < 0.55 * diameter
        if (place == "pleura") != at_pleura or depth < 0.35 * diameter:
            continue
        if any(
            np.linalg.norm(n.blob.centre_ras_mm - centre) < n.blob.radius_mm + diameter / 2 + 6
            for n in nodules
        ):
            continue
        kind = "solid"
        if diameter > 9 and rng.random() < 0.15:
            kind = "part-solid"
        elif rng.random() < 0.08:
            kind = "calcified"
        nodule = planted(Blob.random(rng, centre, diameter), anatomy.lungs, kind)
        if nodule is not None:
            nodules.append(nodule)
    return nodules


def _noise(rng: np.random.Generator, geometry: Geometry) -> Floats:
    """Return correlated noise [k, j, i] in HU, as a smooth kernel leaves it."""
    noise = rng.standard_normal(geometry.shape_kji, dtype=np.float32)
    noise = gaussian_filter(noise, (0.35, 0.6, 0.6))
    return np.asarray(noise * (rng.uniform(15, 25) / noise.std()), dtype=np.float32)

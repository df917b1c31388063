"""Brain MR phantoms, T1 after contrast or FLAIR in looks, with bright lesions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.learning.phantoms.brain_anatomy import SIDES, BrainAnatomy
from MedDetectLib.learning.phantoms.lesions import (
    Blob,
    Planted,
    draw_diameter,
    mark,
    planted,
)
from MedDetectLib.learning.phantoms.phantom import Phantom, describe_lesions, patient_geometry
from MedDetectLib.learning.phantoms.shapes import AnyFloats, Canvas, Texture, ellipsoid

__all__ = ["brain_phantom"]

FIELD_MM = (196.0, 244.0, 226.0)
CENTRE_RAS_MM = (0.0, 4.0, -22.0)


@dataclass(frozen=True)
class _Contrast:
    """Grey values of the tissues, white matter of a T1 being about 0.7."""

    fat: float
    muscle: float
    bone: float
    marrow: float
    fluid: float
    grey: float
    white: float
    vessel: float
    eye: float


_T1_GD = _Contrast(0.92, 0.42, 0.07, 0.5, 0.17, 0.47, 0.70, 1.0, 0.2)
_FLAIR = _Contrast(0.62, 0.34, 0.05, 0.3, 0.07, 0.60, 0.47, 0.12, 0.1)


def brain_phantom(
    seed: int,
    *,
    shape_kji: Sequence[int] | None = None,
    spacing_kji_mm: Sequence[float] | None = None,
    oblique: bool = False,
    geometry: Geometry | None = None,
    lesion_count: tuple[int, int] = (1, 6),
) -> Phantom:
    """Return a head MR (arbitrary units, int16) with bright lesions of 4 to 30 mm.

    The same seed gives the same patient on any grid, and the same bytes on the same grid.

    Args:
        seed: which patient; every other one is T1-like, the rest FLAIR-like.
        shape_kji: voxels of an upright grid (i to Left, j to Posterior, k to Superior).
        spacing_kji_mm: its spacing; random per seed when neither is given.
        oblique: turn that grid against the patient.
        geometry: the grid itself, whatever its axes; overrides the three above.
        lesion_count: fewest and most lesions.
    """
    anatomy_rng, grid_rng, lesion_rng, scan_rng = (
        np.random.default_rng([seed, stream]) for stream in (11, 12, 13, 14)
    )
    spacing = (grid_rng.uniform(1.2, 2.6), *[grid_rng.uniform(1.0, 1.4)] * 2)
    geometry = geometry or patient_geometry(
        grid_rng, FIELD_MM, CENTRE_RAS_MM, shape_kji, spacing_kji_mm, spacing, oblique
    )
    anatomy = BrainAnatomy(anatomy_rng)
    lesions = _plant(anatomy, lesion_rng, lesion_count)
    canvas = Canvas(geometry, 0.01)
    scan = _Drawing(canvas, anatomy, anatomy_rng, _T1_GD if seed % 2 == 0 else _FLAIR)
    scan.draw_head()
    scan.draw_brain()
    scan.draw_fluid()
    scan.draw_vessels()
    for lesion in lesions:
        scan.draw_lesion(lesion, lesion_rng)
    image = _scanned(canvas, scan_rng)
    truth = mark(canvas, lesions, anatomy.brain)
    volume = Volume(
        image,
        geometry,
        modality="MR",
        name=f"brain-phantom-{seed}",
        source={"phantom": "brain", "seed": seed},
    )
    return Phantom(volume, truth, describe_lesions(lesions, truth))


class _Drawing:
    """Draws one head on a canvas, outside in."""

    def __init__(
        self, canvas: Canvas, anatomy: BrainAnatomy, rng: np.random.Generator, contrast: _Contrast
    ) -> None:
        self.canvas, self.anatomy, self.contrast = canvas, anatomy, contrast
        self.folds = Texture(rng, 10.5).on(canvas.geometry)
        self.fine = Texture(rng, 4.0).on(canvas.geometry)
        self.x, self.y, self.z = canvas.x, canvas.y, canvas.z
        self.cerebrum = anatomy.cerebrum(self.x, self.y, self.z)
        self.cerebellum = anatomy.cerebellum(self.x, self.y, self.z)
        self.brain = np.minimum(self.cerebrum, self.cerebellum)

    def _paint(self, sdf: AnyFloats, value: float | AnyFloats) -> None:
        self.canvas.paint(self.canvas.everywhere, self.canvas.cover(sdf), value)

    def draw_head(self) -> None:
        """Scalp, face and neck, eyes, air spaces, skull, fluid under it."""
        anatomy, c = self.anatomy, self.contrast
        x, y, z = self.x, self.y, self.z
        cavity = self.brain - anatomy.fluid_mm
        skull = cavity - anatomy.bone_mm
        scalp = skull - anatomy.scalp_mm
        face = anatomy.face(x, y, z)
        skin = np.minimum(scalp, face)
        self._paint(skin, 0.55 * c.fat + 0.2)
        self._paint(skin + 1.8, c.fat * (1 + 0.06 * self.fine))
        flesh = face + 7 + 2 * self.folds
        self._paint(flesh, c.muscle * (1 + 0.10 * self.fine + 0.15 * self.folds))
        spine = (np.hypot(x, y + 36) - 15).astype(np.float32)
        spine = np.maximum(spine, z + 72)
        self._paint(spine, c.marrow)
        for centre, radii in (
            ((0, 62, -46), (13, 28, 16)),
            ((0, 40, -78), (12, 22, 8)),
            ((36, 56, -62), (13, 15, 15)),
            ((-36, 56, -62), (13, 15, 15)),
            ((0, 34, -100), (9, 9, 40)),
        ):
            self._paint(ellipsoid(x, y, z, centre, radii), 0.02)
        for side in SIDES:
            socket = ellipsoid(x, y, z, (side * 32, 66, -34), (18, 26, 17))
            self._paint(np.maximum(socket, skin + 3), c.fat * 0.95)
            self._paint(ellipsoid(x, y, z, (side * 32, 76, -34), (12, 12, 12)), c.eye)
            self._paint(ellipsoid(x, y, z, (side * 32, 85, -34), (5, 2.5, 5)), c.grey)
        self._paint(skull, c.bone)
        marrow = np.maximum(skull + 2.0, -(cavity - 1.8))
        self._paint(np.maximum(marrow, -28 - z), c.marrow * (1 + 0.15 * self.fine))
        self._paint(cavity, c.fluid)

    def draw_brain(self) -> None:
        """White matter with a folded grey ribbon, deep grey, cerebellum, stem."""
        anatomy, c = self.anatomy, self.contrast
        x, y, z = self.x, self.y, self.z
        stem = anatomy.stem(x, y, z)
        self._paint(stem - 2.5, c.fluid)
        self._paint(stem, 0.3 * c.grey + 0.7 * c.white)
        depth = -self.cerebrum
        # A sulcus is where the folding texture crosses zero; it is at most 15 mm deep.
        sulcus = np.abs(self.folds) * 5.5 + np.maximum(depth - 14, 0)
        callosum = ellipsoid(x, y, z, (0, -2, 8), (30, 40, 24))
        cleft = np.abs(x) + 0.3 + np.maximum(-callosum, 0) * 4
        reach = np.minimum(np.minimum(depth, sulcus), cleft).astype(np.float32)
        texture = 1 + 0.025 * self.fine
        self._paint(-reach + 0.7, c.grey * texture)
        self._paint(-reach + 3.6, c.white * texture)
        for side in SIDES:
            for centre, radii in (
                ((12, -8, 6), (9, 14, 9)),
                ((26, 4, 3), (7, 17, 10)),
                ((14, 18, 14), (5, 13, 8)),
            ):
                place = (side * centre[0], centre[1], centre[2])
                self.canvas.paint_ellipsoid(place, radii, c.grey)
        leaves = np.sin(np.hypot(y + 34, (z + 40) * 1.1) * 1.25 + 1.5 * self.folds)
        mixed = c.grey + (0.35 * (c.fluid - c.grey)) * np.clip(leaves - 0.3, 0, 1)
        self._paint(self.cerebellum + 0.5, mixed.astype(np.float32))
        core = ellipsoid(x, y, z, (0, -44, -44), (30, 15, 11)) + 4 * np.abs(leaves)
        self._paint(core.astype(np.float32), c.white)

    def draw_fluid(self) -> None:
        """Ventricles."""
        canvas, anatomy = self.canvas, self.anatomy
        self._paint(anatomy.ventricles(self.x, self.y, self.z), self.contrast.fluid)
        horns = canvas.tubes(anatomy.lateral_ventricles)
        canvas.paint(canvas.everywhere, horns, self.contrast.fluid)

    def draw_vessels(self) -> None:
        """Arteries, venous sinuses, choroid plexus: as bright as lesions after contrast."""
        canvas, anatomy, c = self.canvas, self.anatomy, self.contrast
        tubes = list(anatomy.sinuses)
        for tree in anatomy.arteries:
            tubes += tree.tubes()
        canvas.paint(canvas.everywhere, canvas.tubes(tubes), c.vessel)
        plexus = max(c.vessel, c.grey) * 0.85
        canvas.paint(canvas.everywhere, canvas.tubes(anatomy.plexus), plexus)

    def draw_lesion(self, lesion: Planted, rng: np.random.Generator) -> None:
        """One lesion; a large one may have a dark core and darkened surroundings."""
        canvas, blob, c = self.canvas, lesion.blob, self.contrast
        bright = rng.uniform(0.95, 1.25) * (1.0 if c is _T1_GD else 0.85)
        core = rng.uniform(0.25, 0.4)
        region = canvas.region_around(blob.centre_ras_mm, blob.radius_mm * 2.0)
        if region is None:
            return
        x, y, z = canvas.at(region)
        edge = blob.sdf(x, y, z)
        inside = canvas.cover(self.anatomy.brain(x, y, z))
        if c is _T1_GD and blob.radius_mm > 5:
            halo = np.clip(1 - np.maximum(edge, 0) / (0.6 * blob.radius_mm), 0, 1)
            darker = np.minimum(canvas.image[region], 0.48)
            canvas.paint(region, (halo * inside).astype(np.float32), darker)
        cover = canvas.cover(edge) * inside
        canvas.paint(region, cover, (bright + 0.04 * self.fine[region]).astype(np.float32))
        if lesion.kind == "ring":
            canvas.paint(region, canvas.cover(edge + 0.5 * blob.radius_mm) * cover, core)


def _plant(
    anatomy: BrainAnatomy, rng: np.random.Generator, count: tuple[int, int]
) -> list[Planted]:
    """Choose where the lesions are: anywhere in the brain, well apart."""
    wanted = int(rng.integers(count[0], count[1] + 1))
    lesions: list[Planted] = []
    for _ in range(40 * wanted):
        if len(lesions) == wanted:
            break
        diameter = draw_diameter(rng)
        centre = anatomy.random_points(rng, 1, 1.0 + 0.4 * diameter)
        if not len(centre):
            continue
        apart = [float(np.linalg.norm(n.blob.centre_ras_mm - centre[0])) for n in lesions]
        radii = [n.blob.radius_mm + diameter / 2 + 6 for n in lesions]
        if any(a < r for a, r in zip(apart, radii, strict=True)):
            continue
        kind = "ring" if diameter > 13 and rng.random() < 0.4 else "solid"
        lesion = planted(Blob.random(rng, centre[0], diameter), anatomy.brain, kind)
        if lesion is not None:
            lesions.append(lesion)
    return lesions


def _scanned(canvas: Canvas, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Apply coil shading, receiver gain and Rician noise; return int16 [k, j, i]."""
    slope, bend = rng.uniform(-0.12, 0.12, 3), rng.uniform(-0.10, 0.06, 3)
    shading = np.ones_like(canvas.image)
    for place, s, b in zip((canvas.x, canvas.y, canvas.z), slope, bend, strict=True):
        u = place / 100
        shading += (s * u + b * (u * u - 0.4)).astype(np.float32)
    signal = canvas.image * np.clip(shading, 0.4, 1.8)
    spread = np.float32(rng.uniform(0.018, 0.035))
    real = rng.standard_normal(signal.shape, dtype=np.float32) * spread + signal
    imaginary = rng.standard_normal(signal.shape, dtype=np.float32) * spread
    gain = rng.uniform(250, 1500)
    return np.asarray(np.rint(np.hypot(real, imaginary) * gain), dtype=np.int16)

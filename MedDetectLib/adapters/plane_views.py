"""Flat views of a volume, hung as a radiologist hangs them; numpy only.

A view is a plane of the volume's own voxels, never resampled, so that boxes and masks lie
exactly where they are. Its coordinates are **picture millimetres**: x to the viewer's
right and y down, from the outer top left corner of the plane's first pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.adapters.finding_text import place_text
from MedDetectLib.core.findings import Box, Finding, Findings
from MedDetectLib.core.geometry import AxisMap, FloatArray, Geometry
from MedDetectLib.core.volume import Volume

__all__ = [
    "HANGING",
    "Display",
    "PlaneView",
    "choose_display",
    "plane_views",
    "point_in_finding",
    "view_limits",
    "whole_limits",
    "zoom_mm",
]

HANGING = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIL"}
"""The patient sides that the viewer's right, the viewer's down and the depth run towards:
Right on the viewer's left in axial and coronal planes, Anterior on the viewer's left in
sagittal ones, Superior up."""

LUNG_HU = (-1350.0, 150.0)
SOFT_TISSUE_HU = (-160.0, 240.0)
LUNG_TISSUE_HU = (-960.0, -400.0)
NEARBY_MM = 20.0
NEARBY_LUNG = 0.25
"""Share of lung tissue near a finding from which on it is shown as lung. The median would
hide the lung around a nodule that lies against the chest wall."""
WHOLE_LUNG = 0.15
LEAST_ZOOM_MM = 56.0
TWO_LETTERS_FROM = 0.34
"""Share of a direction (sine of 20 degrees) from which on its side letter is shown too."""

_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))


@dataclass(frozen=True)
class Display:
    """How values become grey: black at `low` and below, white at `high`, and its name."""

    low: float
    high: float
    name: str = ""

    @property
    def text(self) -> str:
        """What a person reads."""
        span = f"{self.low:g} to {self.high:g}".replace("-", "\N{MINUS SIGN}")
        return f"{self.name} {span}".strip()


@dataclass(frozen=True, eq=False)
class PlaneView:
    """One plane of a volume, as seen by the viewer.

    Args:
        name: a key of `HANGING`; on an oblique grid the nearest of them.
        pixels: (rows, columns), row 0 at the top, column 0 at the viewer's left.
        spacing_mm: (row, column) distance between pixel centres.
        sides: patient sides at the viewer's left, right, top and bottom; two letters each
            (the main one first) where the grid is turned by more than 20 degrees.
        depth: which plane, counted along the view's third axis.
        place: where the middle of the plane lies along its normal, such as ``"S 12.0 mm"``.
        axes: from the own grid to (depth, row, column).
        shape_kji: of the own grid.
    """

    name: str
    pixels: npt.NDArray[Any]
    spacing_mm: tuple[float, float]
    sides: tuple[str, str, str, str]
    depth: int
    place: str
    axes: AxisMap
    shape_kji: tuple[int, int, int]

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height of the plane."""
        rows, columns = self.pixels.shape
        return columns * self.spacing_mm[1], rows * self.spacing_mm[0]

    @property
    def extent_mm(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top border in picture mm: matplotlib's ``extent``."""
        width, height = self.size_mm
        return 0.0, width, height, 0.0

    def cut(self, array_kji: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return this plane (rows, columns) of another [k, j, i] array on the own grid."""
        return np.asarray(self.axes.apply(array_kji)[self.depth])

    def rectangle_mm(self, box: Box) -> tuple[float, float, float, float]:
        """Return left, top, width and height of a box (own voxel edges) in picture mm."""
        _, top, left, _, bottom, right = self._edges(box)
        high, wide = self.spacing_mm
        return left * wide, top * high, (right - left) * wide, (bottom - top) * high

    def crosses(self, box: Box) -> bool:
        """Whether a box (own voxel edges) holds some of this plane's voxels."""
        edges = self._edges(box)
        return bool(edges[0] < self.depth + 1 and edges[3] > self.depth)

    def _edges(self, box: Box) -> FloatArray:
        return np.asarray(self.axes.apply_boxes(box, self.shape_kji)[0])


def plane_views(volume: Volume, edge_kji: npt.ArrayLike | None = None) -> tuple[PlaneView, ...]:
    """Return the axial, coronal and sagittal plane through one point.

    Planes that are a single line of voxels are left out: of a flat image only the image
    itself remains.

    Args:
        volume: any orientation.
        edge_kji: (3,) the point in voxel edges of the volume's grid; its middle if None.
    """
    own = volume.geometry
    middle = np.array(own.shape_kji) / 2
    point = middle if edge_kji is None else np.asarray(edge_kji, dtype=np.float64)
    voxel = np.clip(np.floor(point), 0, np.array(own.shape_kji) - 1)
    views = [_view(volume, name, voxel) for name in HANGING]
    broad = [view for view in views if min(view.pixels.shape) > 1]
    return tuple(broad or [max(views, key=lambda view: view.pixels.size)])


def _view(volume: Volume, name: str, voxel_kji: FloatArray) -> PlaneView:
    """Return the plane called `name` through one voxel of the own grid."""
    own = volume.geometry
    axes = own.axis_map_to(HANGING[name])
    hung = own.reoriented(axes)
    depth = int(axes.apply_boxes([*voxel_kji, *(voxel_kji + 1)], own.shape_kji)[0, 0])
    rows, columns = hung.shape_kji[1:]
    middle_ras = hung.index_to_ras((depth, (rows - 1) / 2, (columns - 1) / 2))
    right, bottom = (_side_letters(hung.directions_ras[:, n]) for n in (0, 1))
    normal = "RLAPSI".index(HANGING[name][2]) // 2
    return PlaneView(
        name=name,
        pixels=axes.apply(volume.array)[depth],
        spacing_mm=(hung.spacing_kji_mm[1], hung.spacing_kji_mm[2]),
        sides=(_opposite(right), right, _opposite(bottom), bottom),
        depth=depth,
        place=place_text(middle_ras).split("  ")[normal] + " mm",
        axes=axes,
        shape_kji=own.shape_kji,
    )


def point_in_finding(findings: Findings, item: Finding) -> FloatArray:
    """Return the point (voxel edges [k, j, i]) whose three planes show a finding.

    It is the middle of the box, or of the mask's voxel nearest to the mask's middle: all
    three planes then cut the mask, however it is shaped.
    """
    low, high = np.array(item.box[:3]), np.array(item.box[3:])
    middle = np.asarray((low + high) / 2, dtype=np.float64)
    if findings.label_map is None or item.mask_value is None:
        return middle
    start = np.clip(np.floor(low), 0, None).astype(int)
    window = tuple(slice(int(a), int(np.ceil(b))) for a, b in zip(start, high, strict=True))
    inside = np.argwhere(findings.label_map[window] == item.mask_value) + start + 0.5
    if not len(inside):
        return middle
    distance = (inside - inside.mean(axis=0)) * np.array(findings.geometry.spacing_kji_mm)
    return np.asarray(inside[int(np.linalg.norm(distance, axis=1).argmin())])


def zoom_mm(views: tuple[PlaneView, ...], item: Finding, geometry: Geometry) -> float:
    """Return the side of the square field that shows a finding and what lies around it."""
    longest = float(geometry.box_size_kji_mm(np.array(item.box)).max())
    wanted = max(LEAST_ZOOM_MM, 3.0 * item.diameter_mm, 1.2 * longest)
    return min(wanted, max(max(view.size_mm) for view in views))


def view_limits(view: PlaneView, box: Box, side_mm: float) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top in picture mm of a square field around a box.

    The field is moved inside the plane where the plane is large enough, else centred on it.
    """
    left, top, width, height = view.rectangle_mm(box)
    spans = []
    for start, length, size in zip((left, top), (width, height), view.size_mm, strict=True):
        first = start + (length - side_mm) / 2
        free = size - side_mm
        first = free / 2 if free < 0 else min(max(first, 0.0), free)
        spans.append((first, first + side_mm))
    (x0, x1), (y0, y1) = spans
    return x0, x1, y1, y0


def whole_limits(view: PlaneView, least_mm: float) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top in picture mm of a whole plane.

    A plane narrower than `least_mm` (a slab of few slices) gets empty borders.
    """
    (width, height) = view.size_mm
    across, down = (max(0.0, least_mm - length) / 2 for length in (width, height))
    return -across, width + across, height + down, -down


def choose_display(volume: Volume, box: Box | None = None) -> Display:
    """Return grey levels that show what matters around a box, or in the whole volume.

    CT: the lung window where at least a quarter of what lies within 20 mm of the box has
    the density of lung, else soft tissue; without a box, where lung is a seventh of the
    body. Others: the 1st to 99th percentile of the volume.
    """
    if volume.modality.upper() == "CT":
        values = _sample(_nearby(volume, box))
        body = values[values >= LUNG_TISSUE_HU[0]]
        share = float(np.mean(body <= LUNG_TISSUE_HU[1])) if len(body) else 0.0
        is_lung = share >= (WHOLE_LUNG if box is None else NEARBY_LUNG)
        return Display(*LUNG_HU, "lung") if is_lung else Display(*SOFT_TISSUE_HU, "soft tissue")
    values = _sample(volume.array)
    low, high = (float(v) for v in np.percentile(values, [1, 99]))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    if high <= low:
        low, high = low - 1.0, low + 1.0
    return Display(float(f"{low:.4g}"), float(f"{high:.4g}"))


def _nearby(volume: Volume, box: Box | None) -> npt.NDArray[Any]:
    """Return the voxels of the box and of 20 mm around it, all of them without a box."""
    if box is None:
        return volume.array
    margin = NEARBY_MM / np.array(volume.geometry.spacing_kji_mm)
    limit = np.array(volume.geometry.shape_kji)
    start = np.clip(np.floor(np.array(box[:3]) - margin), 0, limit - 1).astype(int)
    stop = np.clip(np.ceil(np.array(box[3:]) + margin), start + 1, limit).astype(int)
    return volume.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]


def _sample(array: npt.NDArray[Any], most: float = 1e6) -> FloatArray:
    """Return about `most` finite values, evenly picked; a zero if there is none."""
    step = max(1, int(np.ceil((array.size / most) ** (1 / 3))))
    values = array[::step, ::step, ::step].astype(np.float64).ravel()
    values = values[np.isfinite(values)]
    return values if len(values) else np.zeros(1)


def _side_letters(direction_ras: FloatArray) -> str:
    """Return the patient side a unit vector runs towards, the main one first."""
    order = np.argsort(-np.abs(direction_ras), kind="stable")
    strong = [n for n in order if abs(direction_ras[n]) >= TWO_LETTERS_FROM]
    return "".join(("RL", "AP", "SI")[n][int(direction_ras[n] < 0)] for n in strong)


def _opposite(letters: str) -> str:
    return "".join(_OPPOSITE[letter] for letter in letters)

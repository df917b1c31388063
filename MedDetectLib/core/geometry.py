"""Where the voxels of a grid lie in the patient.

This is the only file that converts frames. Three coordinate systems appear:

- **RAS**: patient millimetres, +x Right, +y Anterior, +z Superior. The world.
- **index** ``[k, j, i]``: voxel centres of a grid; ``ijk_to_ras`` maps ``(i, j, k, 1)``.
- **edge** ``[k, j, i]``: voxel borders; voxel n spans edges n to n + 1, so edge e lies at
  index e - 0.5. Boxes are given in edges, half-open: ``[k0, j0, i0, k1, j1, i1)``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError

__all__ = ["AxisMap", "FloatArray", "Geometry", "GridAnchor", "is_orientation"]

FloatArray = npt.NDArray[np.float64]
GridAnchor = Literal["edges", "first_centre"]
"""What stays in place when a grid is resampled: its outer edges (nnU-Net, scikit-image)
or the centre of its first voxel (MONAI ``Spacing``, ITK)."""

MAX_SHEAR_COSINE = 1e-3
"""Largest cosine between two axes that still counts as a right angle (0.06 degrees):
above the rounding of DICOM direction strings, below any real gantry tilt."""

_OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "I": "S", "S": "I"}
_WORLD_AXIS = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}


@dataclass(frozen=True, eq=False)
class Geometry:
    """A regular, right-angled voxel grid in patient space.

    Args:
        shape_kji: number of slices, rows, columns; each at least 1.
        ijk_to_ras: (4, 4), homogeneous; maps voxel-centre ``(i, j, k, 1)`` to RAS mm.

    Raises:
        InputError: ``bad-shape``, ``bad-matrix`` (not finite, not affine),
            ``bad-spacing`` (zero spacing), ``singular-direction`` or ``sheared-direction``.
    """

    shape_kji: tuple[int, int, int]
    ijk_to_ras: FloatArray

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape_kji)
        if len(shape) != 3 or min(shape) < 1:
            raise InputError("bad-shape", f"a grid needs three sizes of at least 1, got {shape}")
        matrix = np.array(self.ijk_to_ras, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise InputError("bad-matrix", "the voxel-to-patient matrix must be 4x4 and finite")
        if not np.array_equal(matrix[3], [0, 0, 0, 1]):
            raise InputError("bad-matrix", f"the last matrix row must be 0 0 0 1, got {matrix[3]}")
        _check_axes(matrix[:3, :3])
        matrix.setflags(write=False)
        object.__setattr__(self, "shape_kji", shape)
        object.__setattr__(self, "ijk_to_ras", matrix)

    @classmethod
    def from_axes(
        cls,
        shape_kji: Sequence[int],
        spacing_kji_mm: Sequence[float],
        origin_ras_mm: npt.ArrayLike = (0.0, 0.0, 0.0),
        directions_ras: npt.ArrayLike | None = None,
    ) -> Geometry:
        """Build a grid from its parts.

        Args:
            shape_kji: voxels along k, j, i.
            spacing_kji_mm: distance between voxel centres along k, j, i.
            origin_ras_mm: centre of the first voxel.
            directions_ras: (3, 3), the unit vectors of i, j, k as columns; identity if None.
        """
        directions = np.eye(3) if directions_ras is None else np.asarray(directions_ras, float)
        matrix = np.eye(4)
        matrix[:3, :3] = directions * np.asarray(spacing_kji_mm, float)[::-1]
        matrix[:3, 3] = origin_ras_mm
        k, j, i = shape_kji
        return cls((k, j, i), matrix)

    # --- what the grid is -----------------------------------------------------------

    @cached_property
    def spacing_kji_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along k, j, i, in mm."""
        i, j, k = np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)
        return float(k), float(j), float(i)

    @cached_property
    def directions_ras(self) -> FloatArray:
        """(3, 3): unit vectors of the i, j, k axes as columns, in RAS."""
        columns = self.ijk_to_ras[:3, :3]
        return np.asarray(columns / np.linalg.norm(columns, axis=0), dtype=np.float64)

    @property
    def origin_ras_mm(self) -> FloatArray:
        """(3,): the centre of voxel [0, 0, 0]."""
        return self.ijk_to_ras[:3, 3]

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.ijk_to_ras[:3, :3]))) / 1000.0

    @cached_property
    def orientation(self) -> str:
        """Three letters: the patient side that i, j and k run towards, e.g. ``"LPS"``.

        An oblique grid gets the letters of the nearest right-angled one.
        """
        best = max(
            itertools.permutations(range(3)),
            key=lambda axes: sum(abs(self.directions_ras[axes[n], n]) for n in range(3)),
        )
        letters = ("RL", "AP", "SI")
        return "".join(letters[best[n]][int(self.directions_ras[best[n], n] < 0)] for n in range(3))

    @property
    def is_oblique(self) -> bool:
        """Whether an axis leaves its nearest patient axis by more than 0.06 degrees."""
        largest = np.abs(self.directions_ras).max(axis=0)
        return bool((largest < np.cos(MAX_SHEAR_COSINE)).any())

    def is_close(self, other: Geometry, tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids put every voxel within `tolerance_mm` of the same place."""
        if self.shape_kji != other.shape_kji:
            return False
        corners = self.corners_edge()
        distance = self.edge_to_ras(corners) - other.edge_to_ras(corners)
        return bool(np.linalg.norm(distance, axis=-1).max() <= tolerance_mm)

    def corners_edge(self) -> FloatArray:
        """(8, 3): the grid's outer corners in edge coordinates [k, j, i]."""
        spans = [(0, n) for n in self.shape_kji]
        return np.array(list(itertools.product(*spans)), dtype=np.float64)

    # --- frames ---------------------------------------------------------------------

    def index_to_ras(self, index_kji: npt.ArrayLike) -> FloatArray:
        """Map (..., 3) voxel-centre indices [k, j, i] to (..., 3) RAS mm."""
        index = np.asarray(index_kji, dtype=np.float64)
        place = index[..., ::-1] @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3]
        return np.asarray(place, dtype=np.float64)

    def ras_to_index(self, place_ras_mm: npt.ArrayLike) -> FloatArray:
        """Map (..., 3) RAS mm to (..., 3) fractional voxel-centre indices [k, j, i]."""
        offset = np.asarray(place_ras_mm, dtype=np.float64) - self.ijk_to_ras[:3, 3]
        index = offset @ np.linalg.inv(self.ijk_to_ras[:3, :3]).T
        return np.asarray(index[..., ::-1], dtype=np.float64)

    def edge_to_ras(self, edge_kji: npt.ArrayLike) -> FloatArray:
        """Map (..., 3) voxel edges [k, j, i] to (..., 3) RAS mm."""
        return self.index_to_ras(np.asarray(edge_kji, dtype=np.float64) - 0.5)

    def ras_to_edge(self, place_ras_mm: npt.ArrayLike) -> FloatArray:
        """Map (..., 3) RAS mm to (..., 3) voxel edges [k, j, i]."""
        return self.ras_to_index(place_ras_mm) + 0.5

    def box_centre_ras_mm(self, box: npt.ArrayLike) -> FloatArray:
        """(..., 3) RAS centre of (..., 6) boxes ``[k0, j0, i0, k1, j1, i1)`` in edges."""
        edges = np.asarray(box, dtype=np.float64)
        return self.edge_to_ras((edges[..., :3] + edges[..., 3:]) / 2)

    def box_size_kji_mm(self, box: npt.ArrayLike) -> FloatArray:
        """(..., 3) side lengths in mm along k, j, i of (..., 6) boxes in edges."""
        edges = np.asarray(box, dtype=np.float64)
        sizes = (edges[..., 3:] - edges[..., :3]) * np.array(self.spacing_kji_mm)
        return np.asarray(sizes, dtype=np.float64)

    def box_corners_ras_mm(self, box: npt.ArrayLike) -> FloatArray:
        """(8, 3) RAS corners of one box ``[k0, j0, i0, k1, j1, i1)`` in edges."""
        edges = np.asarray(box, dtype=np.float64)
        pairs = list(zip(edges[:3], edges[3:], strict=True))
        return self.edge_to_ras(np.array(list(itertools.product(*pairs))))

    # --- other grids made from this one ---------------------------------------------

    def cropped(self, start_kji: Sequence[int], stop_kji: Sequence[int]) -> Geometry:
        """Return the grid of ``array[start:stop]``; every voxel keeps its place."""
        matrix = self.ijk_to_ras.copy()
        matrix[:3, 3] = self.index_to_ras(start_kji)
        k, j, i = (int(b) - int(a) for a, b in zip(start_kji, stop_kji, strict=True))
        return Geometry((k, j, i), matrix)

    def axis_map_to(self, orientation: str) -> AxisMap:
        """Return the flips and axis swaps that bring this grid to `orientation`.

        Args:
            orientation: three letters for i, j, k, one of each pair R/L, A/P, S/I.
        """
        wanted = orientation.upper()
        if not is_orientation(wanted):
            raise InputError("bad-orientation", f"'{orientation}' is not three of RL, AP, SI")
        own_kji, wanted_kji = self.orientation[::-1], wanted[::-1]
        order, flips = [], []
        for letter in wanted_kji:
            axis = next(n for n in range(3) if own_kji[n] in (letter, _OPPOSITE[letter]))
            order.append(axis)
            flips.append(own_kji[axis] != letter)
        return AxisMap((order[0], order[1], order[2]), (flips[0], flips[1], flips[2]))

    def reoriented(self, axes: AxisMap) -> Geometry:
        """Return the grid of ``axes.apply(array)``; every voxel keeps its place."""
        first_kji = np.zeros(3)
        columns = []
        for axis, flip in zip(axes.order, axes.flip, strict=True):
            column = self.ijk_to_ras[:3, 2 - axis]
            columns.append(-column if flip else column)
            if flip:
                first_kji[axis] = self.shape_kji[axis] - 1
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack(columns[::-1], axis=1)
        matrix[:3, 3] = self.index_to_ras(first_kji)
        k, j, i = (self.shape_kji[axis] for axis in axes.order)
        return Geometry((k, j, i), matrix)

    def resampled(
        self,
        shape_kji: Sequence[int],
        spacing_kji_mm: Sequence[float] | None = None,
        anchor: GridAnchor = "edges",
    ) -> Geometry:
        """Return a grid of another density over the same region, same axes.

        Args:
            shape_kji: the new number of voxels.
            spacing_kji_mm: the new spacing; with ``anchor="edges"`` it follows from the
                shape and may be left out.
            anchor: what keeps its place, see `GridAnchor`.
        """
        if anchor == "edges":
            old_mm = np.array(self.shape_kji) * np.array(self.spacing_kji_mm)
            spacing = old_mm / np.array(shape_kji)
            first = 0.5 * np.array(self.shape_kji) / np.array(shape_kji) - 0.5
        else:
            spacing = np.asarray(self.spacing_kji_mm if spacing_kji_mm is None else spacing_kji_mm)
            first = np.zeros(3)
        return Geometry.from_axes(
            shape_kji, [float(s) for s in spacing], self.index_to_ras(first), self.directions_ras
        )

    # --- as data --------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return shape and matrix as plain lists (JSON keeps float64 exactly)."""
        return {"shape_kji": list(self.shape_kji), "ijk_to_ras": self.ijk_to_ras.tolist()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Geometry:
        """Rebuild what `to_json` returned."""
        return cls(tuple(data["shape_kji"]), np.array(data["ijk_to_ras"], dtype=np.float64))


@dataclass(frozen=True)
class AxisMap:
    """Axis swaps and flips of a [k, j, i] grid: exact, and exactly undone.

    Args:
        order: for each new axis k, j, i, the old axis it comes from (0 is k).
        flip: for each new axis, whether it runs the other way.
    """

    order: tuple[int, int, int]
    flip: tuple[bool, bool, bool]

    def apply(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view of an array whose last three axes are k, j, i."""
        lead = array.ndim - 3
        moved = array.transpose(*range(lead), *(lead + axis for axis in self.order))
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.flip)
        index: tuple[Any, ...] = (..., *steps)
        return np.asarray(moved[index])

    @property
    def inverse(self) -> AxisMap:
        """The map that takes everything back."""
        back = [self.order.index(axis) for axis in range(3)]
        return AxisMap(
            (back[0], back[1], back[2]),
            (self.flip[back[0]], self.flip[back[1]], self.flip[back[2]]),
        )

    def apply_boxes(self, boxes: npt.ArrayLike, shape_kji: Sequence[int]) -> FloatArray:
        """Map (N, 6) boxes in edges of a grid of `shape_kji` to edges of the mapped grid."""
        old = np.asarray(boxes, dtype=np.float64).reshape(-1, 6)
        new = np.empty_like(old)
        for axis, (source, flip) in enumerate(zip(self.order, self.flip, strict=True)):
            low, high = old[:, source], old[:, source + 3]
            length = float(shape_kji[source])
            new[:, axis] = length - high if flip else low
            new[:, axis + 3] = length - low if flip else high
        return new


def is_orientation(letters: str) -> bool:
    """Whether three letters name one side each of the three patient axes."""
    return sorted(_WORLD_AXIS.get(letter, 9) for letter in letters) == [0, 1, 2]


def _check_axes(columns: FloatArray) -> None:
    """Refuse zero spacing, and axes that are not at right angles."""
    spacing = np.linalg.norm(columns, axis=0)
    if (spacing <= 0).any():
        raise InputError(
            "bad-spacing",
            f"voxel spacing along i, j, k is {spacing.round(6).tolist()} mm",
            todo="re-export the volume with its true spacing",
        )
    units = columns / spacing
    if abs(np.linalg.det(units)) < 1e-3:
        raise InputError(
            "singular-direction",
            "the voxel axes do not span the patient: two of them are parallel",
            todo="re-export the volume with a valid orientation",
        )
    cosines = np.abs(units.T @ units - np.eye(3))
    if cosines.max() > MAX_SHEAR_COSINE:
        degrees = float(np.degrees(np.arcsin(min(1.0, cosines.max()))))
        raise InputError(
            "sheared-direction",
            f"the voxel axes are {degrees:.2f} degrees off a right angle",
            todo="re-export the volume on a right-angled grid (gantry tilt corrected)",
        )

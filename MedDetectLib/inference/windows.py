"""Cutting a prepared volume into overlapping windows, and how much each voxel of one counts.

Along each axis the first window touches the near end, the last the far end. Between them
the card chooses: *even* spreads the starts evenly, as nnU-Net does; *stepped* goes on by a
fixed step and pulls the last window back to the end, as MONAI does:

    volume      |---------------------|      22 voxels, windows of 10, overlap 0.2
    even        0 to 10, 6 to 16, 12 to 22
    stepped     0 to 10, 8 to 18, 12 to 22

A volume smaller than the window lies in its middle:

    window      |-----------|
    volume        |-----|          start = -2, the rest is padding

A voxel's weights over all windows that see it add up to one, so blending is a plain sum.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from MedDetectLib.inference.intensity import Image
from MedDetectLib.models.card import WindowSpec

__all__ = ["FlooredWeights", "Window", "plan_windows"]

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Window:
    """One place of the window on the model's grid.

    Args:
        start_kji: its first voxel; negative where the window overhangs a small volume.
        size_kji: its size in voxels, padding included.
        weights_kji: per axis, the share of each voxel *inside the volume*; their product is
            the blending weight unless there is a floor.
        shape_kji: voxels of the grid it lies on.
        pad_value: what fills the overhang.
        floored: the weights of cards that set a floor under them.
    """

    start_kji: tuple[int, int, int]
    size_kji: tuple[int, int, int]
    weights_kji: tuple[Weights, Weights, Weights]
    shape_kji: tuple[int, int, int]
    pad_value: float
    floored: FlooredWeights | None = None

    @property
    def inside(self) -> tuple[slice, slice, slice]:
        """The part of the grid this window sees."""
        parts = [
            slice(max(0, start), min(start + size, length))
            for start, size, length in zip(
                self.start_kji, self.size_kji, self.shape_kji, strict=True
            )
        ]
        return parts[0], parts[1], parts[2]

    @property
    def own(self) -> tuple[slice, slice, slice]:
        """The same part, counted from the window's first voxel."""
        parts = [
            slice(part.start - start, part.stop - start)
            for part, start in zip(self.inside, self.start_kji, strict=True)
        ]
        return parts[0], parts[1], parts[2]

    def cut(self, array: Image) -> Image:
        """Return (1, C, k, j, i): this window of (C, k, j, i), padded to full size."""
        part = array[(slice(None), *self.inside)]
        if part.shape[1:] == self.size_kji:
            return np.ascontiguousarray(part)[None]
        full = np.full((1, len(array), *self.size_kji), self.pad_value, dtype=np.float32)
        full[(0, slice(None), *self.own)] = part
        return full

    def weights(self) -> Weights:
        """Return the [k, j, i] blending weights of the voxels inside the volume."""
        if self.floored is not None:
            return self.floored.of(self)
        return _outer(self.weights_kji)


class FlooredWeights:
    """Blending weights that never fall below a floor, which no product of axes gives.

    MONAI's sliding window has a floor of 0.001: near a face of the volume, where every
    window is far from its middle, windows then count alike instead of by their distance.

    Args:
        spec: the card's window.
        shape_kji: voxels of the grid.
        starts: (n, 3), the first voxel of every window.
    """

    def __init__(
        self,
        spec: WindowSpec,
        shape_kji: tuple[int, int, int],
        starts: Sequence[tuple[int, int, int]],
    ) -> None:
        self._spec = spec
        self._shape_kji = shape_kji
        self.starts = starts

    def of(self, window: Window) -> Weights:
        """Return the weights of one window's voxels inside the volume."""
        return np.asarray(self.profile[window.own] / self._total[window.inside])

    @cached_property
    def profile(self) -> Weights:
        """One whole window, before normalising."""
        k, j, i = (_profile(size, self._spec).astype(np.float32) for size in self._spec.shape_kji)
        return np.maximum(_outer((k, j, i)), np.float32(self._spec.floor))

    @cached_property
    def _total(self) -> Weights:
        """The sum of all windows on the grid."""
        total = np.zeros(self._shape_kji, np.float32)
        for start in self.starts:
            spans = list(zip(start, self._spec.shape_kji, self._shape_kji, strict=True))
            inside = tuple(slice(max(0, a), min(a + size, end)) for a, size, end in spans)
            own = tuple(
                slice(part.start - a, part.stop - a) for part, a in zip(inside, start, strict=True)
            )
            total[inside] += self.profile[own]
        return total


def plan_windows(shape_kji: tuple[int, int, int], spec: WindowSpec) -> list[Window]:
    """Return the windows that cover a grid, slices first: k changes slowest."""
    axes = [
        _along_axis(length, size, spec)
        for length, size in zip(shape_kji, spec.shape_kji, strict=True)
    ]
    places = list(itertools.product(*axes))
    floored = None
    if spec.floor > 0:
        floored = FlooredWeights(spec, shape_kji, [(k[0], j[0], i[0]) for k, j, i in places])
    return [
        Window(
            (k[0], j[0], i[0]),
            spec.shape_kji,
            (k[1], j[1], i[1]),
            shape_kji,
            spec.pad_value,
            floored,
        )
        for k, j, i in places
    ]


def _outer(weights_kji: tuple[Weights, Weights, Weights]) -> Weights:
    k, j, i = weights_kji
    return np.asarray(k[:, None, None] * (j[:, None] * i))


def _along_axis(length: int, size: int, spec: WindowSpec) -> list[tuple[int, Weights]]:
    """Start and weights, inside the volume, of each window along one axis."""
    starts = _starts(length, size, spec)
    profile = _profile(size, spec)
    total = np.zeros(length)
    spans = [(start, max(0, start), min(start + size, length)) for start in starts]
    for start, low, high in spans:
        total[low:high] += profile[low - start : high - start]
    return [
        (start, (profile[low - start : high - start] / total[low:high]).astype(np.float32))
        for start, low, high in spans
    ]


def _starts(length: int, size: int, spec: WindowSpec) -> list[int]:
    if length <= size:
        return [-((size - length) // 2)]
    if spec.placement == "stepped":
        whole = max(1, int(size * (1.0 - spec.overlap)))
        return [*range(0, length - size, whole), length - size]
    step = max(1.0, size * (1.0 - spec.overlap))
    count = math.ceil((length - size) / step) + 1
    return [round(n * (length - size) / (count - 1)) for n in range(count)]


def _profile(size: int, spec: WindowSpec) -> npt.NDArray[np.float64]:
    """How much each voxel along one axis of a window counts before normalising."""
    if spec.blend == "constant":
        return np.ones(size)
    centre = size // 2 if spec.centre == "voxel" else (size - 1) / 2
    distance = (np.arange(size) - centre) / (size * spec.sigma)
    profile: Sequence[float] | npt.NDArray[np.float64] = np.exp(-0.5 * distance**2)
    return np.maximum(profile, 1e-4)

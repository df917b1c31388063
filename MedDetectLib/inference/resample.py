"""Linear interpolation between two grids that differ only in density.

Such a change is separable: along each axis a new sample lies between two old ones. `Taps`
says which and how near; the same taps, turned round, are the way back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.geometry import GridAnchor
from MedDetectLib.inference.parallel import in_parallel

__all__ = ["ShrinkTaps", "Taps", "resample", "shrink_taps_between", "taps_between"]


@dataclass(frozen=True, eq=False)
class Taps:
    """For each new sample along one axis, the two old samples it lies between.

    Args:
        low: (n,) position of the old sample at or before it.
        high: (n,) position of the old sample after it.
        weight: (n,) float32, the share of `high`.
        size: number of old samples.
    """

    low: npt.NDArray[np.intp]
    high: npt.NDArray[np.intp]
    weight: npt.NDArray[np.float32]
    size: int

    @classmethod
    def at(cls, index: npt.NDArray[np.floating[Any]], size: int) -> Taps:
        """Build the taps for samples at fractional old positions; beyond the ends, the end."""
        inside = np.clip(index, 0.0, size - 1.0)
        low = np.floor(inside).astype(np.intp)
        weight = (inside - low).astype(np.float32)
        return cls(low, np.where(weight > 0, low + 1, low), weight, size)

    def __len__(self) -> int:
        return len(self.low)

    @cached_property
    def is_identity(self) -> bool:
        """Whether every new sample is the old one at the same position."""
        return len(self) == self.size and bool(
            np.array_equal(self.low, np.arange(self.size)) and not self.weight.any()
        )

    def part(self, start: int, stop: int) -> tuple[slice, Taps]:
        """Return the old samples that new samples start to stop need, and taps into them."""
        low, high = self.low[start:stop], self.high[start:stop]
        needed = slice(int(low[0]), int(high[-1]) + 1)
        size = needed.stop - needed.start
        return needed, Taps(low - low[0], high - low[0], self.weight[start:stop], size)

    def apply(
        self, array: npt.NDArray[Any], axis: int, out: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        """Interpolate an array along one of its axes, into `out` if one is given."""
        if self.is_identity:
            if out is None:
                return array
            out[...] = array
            return out
        shape = [1] * array.ndim
        shape[axis] = len(self)
        weight = self.weight.reshape(shape)
        # positions are within the array; "clip" spares numpy a buffer for `out`
        result = np.take(array, self.high, axis=axis, out=out, mode="clip")
        before = np.take(array, self.low, axis=axis)
        result -= before
        result *= weight
        result += before
        return result


@dataclass(frozen=True, eq=False)
class ShrinkTaps:
    """For each new sample along one axis, a triangle of old ones around it.

    The triangle is as wide as two new samples, so every old sample has its say: linear
    interpolation with antialiasing, as Pillow and torch do it.

    Args:
        position: (n, m) old samples, nearest first to last.
        weight: (n, m) float32, adding up to one for each new sample.
        size: number of old samples.
    """

    position: npt.NDArray[np.intp]
    weight: npt.NDArray[np.float32]
    size: int

    @classmethod
    def at(cls, index: npt.NDArray[np.floating[Any]], size: int, step: float) -> ShrinkTaps:
        """Build the triangles around fractional old positions that lie `step` apart."""
        reach = int(np.ceil(step))
        around = np.floor(index).astype(np.intp)[:, None] + np.arange(-reach, reach + 2)
        weight = np.maximum(0.0, 1.0 - np.abs(around - index[:, None]) / step)
        weight[(around < 0) | (around >= size)] = 0.0
        weight /= weight.sum(axis=1, keepdims=True)
        return cls(np.clip(around, 0, size - 1), weight.astype(np.float32), size)

    def __len__(self) -> int:
        return len(self.position)

    def apply(self, array: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
        """Average an array along one of its axes."""
        shape = [1] * array.ndim
        shape[axis] = len(self)
        return np.asarray(
            sum(
                np.take(array, position, axis=axis) * weight.reshape(shape)
                for position, weight in zip(self.position.T, self.weight.T, strict=True)
            )
        )


def taps_between(
    old_shape_kji: Sequence[int],
    new_shape_kji: Sequence[int],
    step_kji: Sequence[float],
    anchor: GridAnchor,
) -> tuple[Taps, Taps, Taps]:
    """Return the taps per axis that sample an old grid at the centres of a new one.

    Args:
        old_shape_kji: voxels of the grid that has values.
        new_shape_kji: voxels of the grid that wants them.
        step_kji: distance between new samples, in old voxels.
        anchor: which part of both grids coincides, see `GridAnchor`.
    """
    taps = []
    for old, new, step in zip(old_shape_kji, new_shape_kji, step_kji, strict=True):
        offset = 0.5 * step - 0.5 if anchor == "edges" else 0.0
        taps.append(Taps.at(np.arange(new) * step + offset, old))
    return taps[0], taps[1], taps[2]


def shrink_taps_between(
    old_shape_kji: Sequence[int],
    new_shape_kji: Sequence[int],
    step_kji: Sequence[float],
    anchor: GridAnchor,
) -> tuple[Taps | ShrinkTaps, ...]:
    """Return what `taps_between` does, with antialiasing along axes that shrink."""
    taps: list[Taps | ShrinkTaps] = list(
        taps_between(old_shape_kji, new_shape_kji, step_kji, anchor)
    )
    for axis, step in enumerate(step_kji):
        if step > 1.0:
            offset = 0.5 * step - 0.5 if anchor == "edges" else 0.0
            index = np.arange(new_shape_kji[axis]) * step + offset
            taps[axis] = ShrinkTaps.at(index, old_shape_kji[axis], step)
    return tuple(taps)


def resample(
    image: npt.NDArray[Any], taps_kji: Sequence[Taps | ShrinkTaps]
) -> npt.NDArray[np.float32]:
    """Interpolate [k, j, i] along all three axes; returns float32.

    Slices are shared among the cores. Rows and columns of a slice are interpolated once,
    while it is in the cache, whatever number of new slices it contributes to. Where
    nothing changes the image itself comes back.
    """
    if all(isinstance(taps, Taps) and taps.is_identity for taps in taps_kji):
        return image.astype(np.float32, copy=False)
    taps_k, taps_j, taps_i = taps_kji
    if not isinstance(taps_k, Taps):
        image = _shrunk_slices(image, taps_k)
        taps_k = Taps.at(np.arange(len(image), dtype=float), len(image))
    if abs(image.strides[0]) != max(abs(stride) for stride in image.strides):
        image = np.ascontiguousarray(image)  # slices of a turned view are scattered
    result = np.empty((len(taps_k), len(taps_j), len(taps_i)), np.float32)

    def work(start: int, stop: int) -> None:
        at_hand: dict[int, npt.NDArray[np.float32]] = {}
        for k in range(start, stop):
            low, high = int(taps_k.low[k]), int(taps_k.high[k])
            for n in {low, high} - at_hand.keys():
                plane = image[n].astype(np.float32, copy=False)
                at_hand[n] = taps_i.apply(taps_j.apply(plane, 0), 1)
            for n in at_hand.keys() - {low, high}:
                del at_hand[n]
            _between(at_hand[low], at_hand[high], taps_k.weight[k], result[k])

    in_parallel(work, len(taps_k))
    return result


def _shrunk_slices(image: npt.NDArray[Any], taps_k: ShrinkTaps) -> npt.NDArray[np.float32]:
    """Average along k, slice by slice: what `ShrinkTaps.apply` does in a fraction of its memory."""
    result = np.zeros((len(taps_k), *image.shape[1:]), np.float32)

    def work(start: int, stop: int) -> None:
        for k in range(start, stop):
            for position, weight in zip(taps_k.position[k], taps_k.weight[k], strict=True):
                if weight:
                    result[k] += image[position].astype(np.float32, copy=False) * weight

    in_parallel(work, len(taps_k))
    return result


def _between(
    low: npt.NDArray[np.float32],
    high: npt.NDArray[np.float32],
    weight: np.float32,
    out: npt.NDArray[np.float32],
) -> None:
    """Write low + weight * (high - low)."""
    if weight == 0:
        out[...] = low
        return
    np.subtract(high, low, out=out)
    out *= weight
    out += low

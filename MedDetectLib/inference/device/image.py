"""Turning, resampling and normalising on the device: `prepare.cpu_image` in torch.

The volume goes up once, as the integers it usually consists of, in its own axis order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from MedDetectLib.core.geometry import AxisMap
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference.device import memory
from MedDetectLib.inference.prepare import require_float32
from MedDetectLib.inference.resample import ShrinkTaps, Taps
from MedDetectLib.models.card import (
    Clip,
    InputSpec,
    IntensityStep,
    IntensityWindow,
    Linear,
    MaskKind,
    MinMax,
    Percentile,
    ZScore,
)

__all__ = ["device_image", "interpolated", "normalised", "turned"]

Tensor = Any
_PIECE = 4 << 20
"""Values at a time when statistics are taken."""
_SMALLEST = float(np.finfo(np.float32).tiny)


def device_image(
    channels: Sequence[Volume],
    axes: AxisMap,
    there: Sequence[Taps | ShrinkTaps],
    spec: InputSpec,
    device: str,
) -> Tensor:
    """Return (C, k, j, i) float32 on the device: every channel turned, resampled, normalised.

    Raises:
        InputError: ``not-finite``.
    """
    import torch

    return torch.stack([_channel(volume, axes, there, spec, device) for volume in channels])


def turned(tensor: Tensor, axes: AxisMap) -> Tensor:
    """Return (..., k, j, i) with its last three axes swapped and flipped."""
    lead = tensor.ndim - 3
    moved = tensor.permute(*range(lead), *(lead + axis for axis in axes.order))
    return moved.flip([lead + n for n, flip in enumerate(axes.flip) if flip])


def interpolated(image: Tensor, taps_kji: Sequence[Taps | ShrinkTaps]) -> Tensor:
    """Interpolate (..., k, j, i) float32 along the last three axes, those that shrink first."""
    order = sorted(range(3), key=lambda n: len(taps_kji[n]) / taps_kji[n].size)
    for n in order:
        taps, axis = taps_kji[n], image.ndim - 3 + n
        image = _along(image, taps, axis) if isinstance(taps, Taps) else _shrunk(image, taps, axis)
    return image


def normalised(image: Tensor, steps: Sequence[IntensityStep]) -> Tensor:
    """Apply a card's intensity steps in order to one channel; see `intensity.normalise`."""
    for step in steps:
        image = _apply(image, step)
    return image


def _channel(
    volume: Volume,
    axes: AxisMap,
    there: Sequence[Taps | ShrinkTaps],
    spec: InputSpec,
    device: str,
) -> Tensor:
    image = turned(memory.upload(volume.array, device), axes)
    if volume.array.dtype.kind == "f":
        low, high = image.aminmax()
        require_float32(float(low), float(high), volume.name)
    image = image.float()
    if spec.normalise == "before_resample":
        return interpolated(normalised(image.clone(), spec.intensity), there)
    image = interpolated(image, there)
    return normalised(image.clone(), spec.intensity)


def _along(image: Tensor, taps: Taps, axis: int) -> Tensor:
    import torch

    if taps.is_identity:
        return image
    low = image.index_select(axis, torch.from_numpy(taps.low).to(image.device))
    high = image.index_select(axis, torch.from_numpy(taps.high).to(image.device))
    sizes = [1] * image.ndim
    sizes[axis] = len(taps)
    weight = torch.from_numpy(np.ascontiguousarray(taps.weight)).to(image.device).reshape(sizes)
    return torch.lerp(low, high, weight)


def _shrunk(image: Tensor, taps: ShrinkTaps, axis: int) -> Tensor:
    import torch

    sizes = [1] * image.ndim
    sizes[axis] = len(taps)
    positions = torch.from_numpy(np.ascontiguousarray(taps.position.T)).to(image.device)
    weights = torch.from_numpy(np.ascontiguousarray(taps.weight.T)).to(image.device)
    total: Tensor = None
    for position, weight in zip(positions, weights, strict=True):
        part = image.index_select(axis, position) * weight.reshape(sizes)
        total = part if total is None else total.add_(part)
    return total


def _apply(image: Tensor, step: IntensityStep) -> Tensor:
    match step:
        case Clip(low, high):
            return image.clamp_(low, high)
        case IntensityWindow(low, high):
            return _to_unit_range(image, low, high)
        case MinMax(mask):
            ends = [values.aminmax() for values in _chosen(image, mask)]
            low, high = min(float(e.min) for e in ends), max(float(e.max) for e in ends)
            return _to_unit_range(image, low, high)
        case Percentile(lower, upper, mask):
            low, high = _percentiles(_chosen(image, mask), (lower, upper))
            return _to_unit_range(image, low, high)
        case ZScore(mask):
            return _scaled(image, *_mean_and_spread(_chosen(image, mask)))
        case Linear(scale, offset):
            return image.mul_(scale).add_(offset)


def _to_unit_range(image: Tensor, low: float, high: float) -> Tensor:
    return _scaled(image.clamp_(low, high), low, high - low)


def _scaled(image: Tensor, offset: float, spread: float) -> Tensor:
    return image.sub_(offset).mul_(1.0 / spread if spread > _SMALLEST else 0.0)


def _chosen(image: Tensor, mask: MaskKind) -> list[Tensor]:
    """Pick the values statistics are taken from; all of them if the mask is empty.

    In pieces, because picking takes 24 bytes a value on the way.
    """
    import torch

    pieces = list(image.reshape(-1).split(_PIECE))
    if mask == "none":
        return pieces
    if mask == "nonzero":
        picked = [piece[piece != 0] for piece in pieces]
    else:
        threshold = image.mean(dtype=torch.float64).float()
        picked = [piece[piece > threshold] for piece in pieces]
    return [values for values in picked if values.numel()] or pieces


def _mean_and_spread(pieces: Sequence[Tensor]) -> tuple[float, float]:
    """Return mean and standard deviation, in float64 piece by piece."""
    import torch

    count = sum(values.numel() for values in pieces)
    mean = sum(float(values.sum(dtype=torch.float64)) for values in pieces) / count
    squares = sum(float(values.double().sub_(mean).square_().sum()) for values in pieces)
    return mean, math.sqrt(squares / count)


def _percentiles(pieces: Sequence[Tensor], percents: tuple[float, float]) -> tuple[float, float]:
    """Return percentiles with linear interpolation, as NumPy does; torch's own stop at 16M."""
    import torch

    ordered = torch.cat(list(pieces)).sort().values
    found = []
    for percent in percents:
        place = percent / 100.0 * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        a, b = float(ordered[low]), float(ordered[high])
        found.append(a + (b - a) * (place - low))
    return found[0], found[1]

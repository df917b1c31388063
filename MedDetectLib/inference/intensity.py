"""Bringing voxel values to what the network was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.models.card import (
    Clip,
    IntensityStep,
    IntensityWindow,
    Linear,
    MaskKind,
    MinMax,
    Percentile,
    ZScore,
)

__all__ = ["Image", "normalise"]

Image = npt.NDArray[np.float32]

_BLOCK = 1 << 16
"""Values at a time: half a megabyte in float64, which stays in the cache."""
_SMALLEST = float(np.finfo(np.float32).tiny)
"""A spread below this has no float32 inverse: the image is constant but for rounding."""


def normalise(image: Image, steps: Sequence[IntensityStep]) -> Image:
    """Apply a card's intensity steps in order to one channel.

    Args:
        image: [k, j, i] in the volume's own unit (CT: HU); may be overwritten.
        steps: from the model card. Statistics are taken from this image as it stands
            when the step is reached. An image of one single value becomes all zeros
            where its spread would divide.

    Returns:
        [k, j, i] float32.
    """
    for step in steps:
        image = _apply(image, step)
    return image


def _apply(image: Image, step: IntensityStep) -> Image:
    match step:
        case Clip(low, high):
            return np.clip(image, low, high, out=image)
        case IntensityWindow(low, high):
            return _to_unit_range(image, low, high)
        case MinMax(mask):
            values = _chosen(image, mask)
            return _to_unit_range(image, float(values.min()), float(values.max()))
        case Percentile(lower, upper, mask):
            values = _chosen(image, mask)
            own = values is not image  # then its order may be spoilt instead of a copy's
            low, high = np.percentile(values, [lower, upper], overwrite_input=own)
            del values
            return _to_unit_range(image, float(low), float(high))
        case ZScore(mask):
            mean, spread = _mean_and_spread(_chosen(image, mask))
            return _scaled(image, mean, spread)
        case Linear(scale, offset):
            image *= np.float32(scale)
            image += np.float32(offset)
            return image


def _to_unit_range(image: Image, low: float, high: float) -> Image:
    np.clip(image, low, high, out=image)
    return _scaled(image, low, high - low)


def _scaled(image: Image, offset: float, spread: float) -> Image:
    image -= np.float32(offset)
    image *= np.float32(1.0 / spread if spread > _SMALLEST else 0.0)
    return image


def _mean_and_spread(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Return mean and standard deviation, in float64 without a float64 copy of everything."""
    flat = values.reshape(-1)
    mean = float(flat.mean(dtype=np.float64))
    blocks = (
        np.subtract(flat[start : start + _BLOCK], mean, dtype=np.float64)
        for start in range(0, flat.size, _BLOCK)
    )
    squares = sum(float(np.square(block, out=block).sum()) for block in blocks)
    return mean, math.sqrt(squares / flat.size)


def _chosen(image: Image, mask: MaskKind) -> npt.NDArray[Any]:
    """Pick the values statistics are taken from; all of them if the mask is empty."""
    if mask == "none":
        return image
    threshold = 0.0 if mask == "nonzero" else float(image.mean(dtype=np.float64))
    values = image[image != 0] if mask == "nonzero" else image[image > threshold]
    return values if values.size else image

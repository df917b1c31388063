"""What a run takes of the device's memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from MedDetectLib.core.geometry import Geometry
from MedDetectLib.inference.device.scores import BLOCK
from MedDetectLib.inference.prepare import model_grid
from MedDetectLib.models.card import ModelCard, Percentile, VoxelScores

__all__ = ["Room", "device_bytes"]

_TEMPORARIES = 5
"""Blocks in hand while slices are decided: three of an interpolation, the result, its sum."""

_SORTING = 28
"""Bytes a voxel while percentiles are looked for: values and their places, both twice."""


@dataclass(frozen=True)
class Room:
    """What a device offers a run.

    Args:
        batch: the most windows at a time the network takes.
        free_bytes: what new tensors may take.
        ceiling_bytes: the most they are allowed; None for no limit but what is free.
    """

    batch: int
    free_bytes: int
    ceiling_bytes: int | None = None

    @property
    def allowed_bytes(self) -> int:
        """What a run may take."""
        ceiling = self.ceiling_bytes
        return self.free_bytes if ceiling is None else min(self.free_bytes, ceiling)


def device_bytes(
    card: ModelCard, geometry: Geometry, itemsizes: Sequence[int], batch: int, name: str = ""
) -> int:
    """Return what a run takes on the device beside the engine itself.

    Args:
        card: a model card whose head is `VoxelScores`.
        geometry: the volume's own grid.
        itemsizes: bytes per voxel of each input volume, one per channel.
        batch: windows at a time.
        name: of the volume, for messages.

    Raises:
        InputError: ``too-large`` when the model's grid is beyond any memory.
    """
    assert isinstance(card.head, VoxelScores)
    spec, inputs = card.input, len(itemsizes)
    turned = geometry.reoriented(geometry.axis_map_to(spec.orientation or geometry.orientation))
    grid = model_grid(turned, spec, name)[0]
    channels = len(card.labels) + int(card.head.activation == "softmax")
    own_voxels, voxels = math.prod(geometry.shape_kji), math.prod(grid.shape_kji)
    image = voxels * 4 * inputs
    # the volume as it came and in float32; both neighbours of an interpolation and its result
    preparing = own_voxels * (max(itemsizes) + 4)
    preparing += 3 * 4 * max(own_voxels, voxels)
    if any(isinstance(step, Percentile) for step in spec.intensity):
        preparing += _SORTING * max(own_voxels, voxels)
    depth = min(spec.window.shape_kji[0], grid.shape_kji[0]) + 1
    plane = math.prod(grid.shape_kji[1:])
    window = math.prod(spec.window.shape_kji) * 4
    scores = 4 * channels * depth * plane + 4 * depth * plane  # one class moves at a time
    running = image + scores + batch * window * (2 * inputs + 2 * channels)
    if spec.window.floor > 0:
        running += voxels * 4
    slab = 4 * max(BLOCK, channels * math.prod(turned.shape_kji[1:]))
    return max(image + preparing, running + _TEMPORARIES * slab)

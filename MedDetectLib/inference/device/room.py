"""Whether a run fits into the device's memory, and with how many windows at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.memory import bytes_text
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference.device.scores import BLOCK
from MedDetectLib.inference.prepare import model_grid
from MedDetectLib.models.card import ModelCard, VoxelScores

__all__ = ["fitting_batch", "needed_bytes"]

_TEMPORARIES = 5
"""Blocks in hand while slices are decided: three of an interpolation, the result, its sum."""


def needed_bytes(card: ModelCard, volumes: Sequence[Volume], batch: int) -> int:
    """Return what a run takes on the device beside the engine itself.

    Args:
        card: a model card whose head is `VoxelScores`.
        volumes: one per channel.
        batch: windows at a time.

    Raises:
        InputError: ``too-large`` when the model's grid is beyond any memory.
    """
    assert isinstance(card.head, VoxelScores)
    spec, own = card.input, volumes[0].geometry
    turned = own.reoriented(own.axis_map_to(spec.orientation or own.orientation))
    grid = model_grid(turned, spec, volumes[0].name)[0]
    channels = len(card.labels) + int(card.head.activation == "softmax")
    own_voxels, voxels = math.prod(own.shape_kji), math.prod(grid.shape_kji)
    image = voxels * 4 * len(volumes)
    # the volume as it came and in float32; both neighbours of an interpolation and its result
    preparing = own_voxels * (max(v.array.itemsize for v in volumes) + 4)
    preparing += 3 * 4 * max(own_voxels, voxels)
    depth = min(spec.window.shape_kji[0], grid.shape_kji[0]) + 1
    plane = math.prod(grid.shape_kji[1:])
    window = math.prod(spec.window.shape_kji) * 4
    scores = 4 * channels * depth * plane + 4 * depth * plane  # one class moves at a time
    running = image + scores + batch * window * (2 * len(volumes) + 2 * channels)
    if spec.window.floor > 0:
        running += voxels * 4
    slab = 4 * max(BLOCK, channels * math.prod(turned.shape_kji[1:]))
    return max(image + preparing, running + _TEMPORARIES * slab)


def fitting_batch(card: ModelCard, volumes: Sequence[Volume], most: int, free_bytes: int) -> int:
    """Return how many windows at a time fit, `most` at the most.

    Raises:
        InputError: ``not-enough-memory`` when not even one does.
    """
    for batch in range(most, 0, -1):
        if needed_bytes(card, volumes, batch) <= free_bytes:
            return batch
    need = bytes_text(needed_bytes(card, volumes, 1))
    raise InputError(
        "not-enough-memory",
        f"the run needs {need} of the GPU's memory, {bytes_text(free_bytes)} are free",
        where=volumes[0].name,
        todo="close what else uses the GPU, crop the volume, or choose --backend openvino",
    )

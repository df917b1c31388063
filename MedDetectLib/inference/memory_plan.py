"""How much memory a run will take, and how it is done in less.

A run has three high tides, and the highest counts:

- preparing: the image, twice while its channels are stacked, and copies on the way there;
- windows: the image, the scores held for a window's depth of slices, the reduced maps;
- findings: the maps, brought home to the own grid, and the masks.

What the network itself takes is not computed but measured: engines differ, and none tells.
`warm` runs one empty window, after which the process holds what the network needs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakSet

import numpy as np

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.memory import available_bytes, bytes_from_text, bytes_text
from MedDetectLib.core.memory_plan import MemoryPlan
from MedDetectLib.core.process_memory import resident_bytes
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference.backends.base import Backend
from MedDetectLib.inference.bands import rows_held
from MedDetectLib.inference.device import memory as device_memory
from MedDetectLib.inference.device.path import stays_on_device
from MedDetectLib.inference.device.room import Room, device_bytes
from MedDetectLib.inference.model import Model
from MedDetectLib.inference.parallel import core_count
from MedDetectLib.inference.prepare import model_grid
from MedDetectLib.models.card import ModelCard, VoxelScores

__all__ = ["allowed_bytes", "allowed_gpu_bytes", "plan_memory", "plan_run", "room_on", "warm"]

VARIABLE = "MEDDETECT_MAX_MEMORY"
"""What a process may hold where nobody says otherwise, e.g. ``8GB``."""
GPU_VARIABLE = "MEDDETECT_MAX_GPU_MEMORY"
"""What a run may take of a GPU, the network not counted, where nobody says otherwise."""

_MOST_BANDS = 32
_ASIDE = 16 << 20
"""Planes and tiles in hand on every core, libraries that come in while it runs."""
_MAP_BYTES = 6  # a class in two bytes and its probability in four
_MASK_BYTES = 8  # the label map in two, a mask on every core, and what measures them
_SPARSE = 0.3
"""The share of a volume that the maps of a model of single findings really take up: pages
where nothing is found are never touched."""


def plan_memory(
    card: ModelCard,
    geometry: Geometry,
    *,
    itemsizes: Sequence[int] = (2,),
    held_bytes: int = 0,
    ceiling_bytes: int | None = None,
    free_bytes: int | None = None,
    room: Room | None = None,
    name: str = "",
) -> MemoryPlan:
    """Return the fastest plan that fits, or the smallest there is if none does.

    Args:
        card: the model's card.
        geometry: the volume's own grid.
        itemsizes: bytes per voxel of each input volume.
        held_bytes: what the process holds already, network and volume included.
        ceiling_bytes: the most the process may hold.
        free_bytes: what the system has left; asked of it when None.
        room: what the device offers on which all is done; None on the CPU.
        name: of the volume, for messages.

    Raises:
        InputError: ``too-large`` when the model's grid is beyond any memory.
    """
    free = available_bytes() if free_bytes is None else free_bytes
    plan = None
    for bands in range(1, _MOST_BANDS + 1):
        plan = _with_bands(card, geometry, itemsizes, bands, room, held_bytes, name)
        plan = replace(plan, ceiling_bytes=ceiling_bytes, free_bytes=free)
        if plan.fits or room is not None or not isinstance(card.head, VoxelScores):
            break
    assert plan is not None
    return plan


def room_on(model: Model, ceiling_bytes: int | None = None) -> Room | None:
    """Return what the model's device offers; None where the CPU does the work around it.

    Args:
        model: from `load_model`.
        ceiling_bytes: the most a run may take there; None: see `allowed_gpu_bytes`.
    """
    network = model.backend.device_network
    if network is None or not stays_on_device(model):
        return None
    ceiling = allowed_gpu_bytes(ceiling_bytes)
    return Room(network.batch, device_memory.free_bytes(network.device), ceiling)


def plan_run(
    volumes: Volume | Sequence[Volume],
    model: Model,
    ceiling_bytes: int | None = None,
    gpu_ceiling_bytes: int | None = None,
) -> MemoryPlan:
    """Plan a run in this process, and refuse one that does not fit.

    The network counts as it is: call `warm` before, or its own memory is missing.

    Args:
        volumes: as `detect` takes them.
        model: from `load_model`.
        ceiling_bytes: the most the process may hold.
        gpu_ceiling_bytes: the most the run may take on a GPU, the network not counted.

    Raises:
        InputError: ``not-enough-memory``, ``too-large``, ``wrong-channels`` for no volume.
    """
    inputs = [volumes] if isinstance(volumes, Volume) else list(volumes)
    if not inputs:
        raise InputError("wrong-channels", f"model {model.card.name} takes volumes, got none")
    plan = plan_memory(
        model.card,
        inputs[0].geometry,
        itemsizes=[volume.array.itemsize for volume in inputs],
        held_bytes=resident_bytes(),
        ceiling_bytes=ceiling_bytes,
        room=room_on(model, gpu_ceiling_bytes),
        name=inputs[0].name,
    )
    if not plan.fits:
        raise _too_little(plan, inputs[0].name)
    return plan


def allowed_bytes(given: int | None = None) -> int | None:
    """Return how much a process may hold: what is given, or what the environment says.

    Raises:
        InputError: ``bad-memory``.
    """
    return _allowed(given, VARIABLE)


def allowed_gpu_bytes(given: int | None = None) -> int | None:
    """Return how much a run may take of a GPU: what is given, or what the environment says.

    Raises:
        InputError: ``bad-memory``.
    """
    return _allowed(given, GPU_VARIABLE)


def _allowed(given: int | None, variable: str) -> int | None:
    text = os.environ.get(variable, "")
    return bytes_from_text(text, variable) if given is None and text else given


def warm(model: Model) -> None:
    """Run one empty window, so that the engine takes the memory it will need; once a network."""
    if model.backend not in _WARM:
        spec = model.card.input
        model.backend.run(np.zeros((1, len(spec.channels), *spec.window.shape_kji), np.float32))
        _WARM.add(model.backend)


_WARM: WeakSet[Backend] = WeakSet()


def _with_bands(
    card: ModelCard,
    geometry: Geometry,
    itemsizes: Sequence[int],
    bands: int,
    room: Room | None,
    held_bytes: int,
    name: str,
) -> MemoryPlan:
    spec, head = card.input, card.head
    axes = geometry.axis_map_to(spec.orientation or geometry.orientation)
    turned = geometry.reoriented(axes)
    grid = model_grid(turned, spec, name)[0]
    own_voxels, model_voxels = math.prod(geometry.shape_kji), math.prod(grid.shape_kji)
    image = model_voxels * 4 * len(spec.channels)
    scattered = axes.order != (0, 1, 2)
    steps_first = spec.normalise == "before_resample"
    copies = own_voxels * max(8 if steps_first else 0, max(itemsizes) if scattered else 0)
    if spec.antialias and grid.shape_kji[0] < turned.shape_kji[0]:  # along k before the rest
        copies += grid.shape_kji[0] * math.prod(turned.shape_kji[1:]) * 4
    window = math.prod(spec.window.shape_kji) * 4
    window_bytes = window * len(spec.channels)
    scores = maps = home = masks = sums = 0
    factor = 1.0
    if isinstance(head, VoxelScores):
        channels = len(card.labels) + int(head.activation == "softmax")
        held_channels = 1 if channels == 2 and head.activation == "softmax" else channels
        depth = min(spec.window.shape_kji[0], grid.shape_kji[0]) + 1
        rows = rows_held(grid.shape_kji[1], turned.shape_kji[1], bands)
        scores = held_channels * depth * rows * grid.shape_kji[2] * 4
        window_bytes += window * channels  # the answer
        sums = model_voxels * 4 * int(spec.window.floor > 0)  # see `FlooredWeights`
        dense = head.one_finding_per == "class"
        share = 1.0 if dense else _SPARSE
        maps = int(own_voxels * _MAP_BYTES * share)
        stays = axes.order == (0, 1, 2) and not any(axes.flip)
        home = 0 if stays else own_voxels * _MAP_BYTES
        masks = int(own_voxels * _MASK_BYTES * share)
        if bands > 1:
            reach = spec.window.shape_kji[1] / grid.shape_kji[1]
            factor = min(float(bands), 1.0 + (bands - 1) * min(1.0, reach))
    aside = _ASIDE + core_count() * (4 << 20)
    device = batch = 0
    if room is not None:
        batch, device = _on_device(card, geometry, itemsizes, room, name)
        image = scores = copies = sums = 0
        maps = _pinned(own_voxels * 2) + _pinned(own_voxels * 4)
    return MemoryPlan(
        held_bytes=held_bytes,
        tides={
            "prepare": 2 * image + copies + aside,
            "detect": image + scores + sums + maps + window_bytes + aside,
            "findings": maps + home + masks + aside,
        },
        parts={
            "image": image,
            "scores": scores,
            "sums of weights": sums,
            "maps": maps,
            "way home": home,
            "window": window_bytes,
        },
        bands=bands,
        windows_factor=factor,
        device_bytes=device,
        device_batch=batch,
        device_ceiling_bytes=None if room is None else room.ceiling_bytes,
        device_free_bytes=0 if room is None else room.free_bytes,
    )


def _pinned(count: int) -> int:
    """Return what torch takes for memory a device writes into: the next power of two."""
    return 1 << max(0, count - 1).bit_length()


def _on_device(
    card: ModelCard, geometry: Geometry, itemsizes: Sequence[int], room: Room, name: str
) -> tuple[int, int]:
    """Return with how many windows at a time it fits, one at the least, and what that takes."""
    for batch in range(room.batch, 0, -1):
        needed = device_bytes(card, geometry, itemsizes, batch, name)
        if needed <= room.allowed_bytes:
            break
    return batch, needed


def _too_little(plan: MemoryPlan, name: str) -> InputError:
    if not plan.fits_device:
        return _too_little_on_device(plan, name)
    largest = max(plan.parts, key=lambda part: plan.parts[part])
    pieces = f"{bytes_text(plan.parts[largest])} for the {largest}"
    if plan.ceiling_bytes is not None and plan.peak_bytes > plan.ceiling_bytes:
        limit = f"{bytes_text(plan.ceiling_bytes)} are allowed"
        need = f"{bytes_text(plan.peak_bytes)} of memory at the least"
        pieces = f"{bytes_text(plan.held_bytes)} held already, {pieces}"
        todo = "allow more (--max-memory), or crop the volume"
    else:
        limit = f"{bytes_text(plan.free_bytes)} are free"
        need = f"{bytes_text(plan.added_bytes)} more memory at the least"
        todo = "close other programs, crop the volume, or use a larger machine"
    return InputError(
        "not-enough-memory",
        f"the run needs {need} ({pieces}), {limit}",
        where=name,
        todo=todo,
    )


def _too_little_on_device(plan: MemoryPlan, name: str) -> InputError:
    ceiling = plan.device_ceiling_bytes
    if ceiling is not None and plan.device_bytes > ceiling:
        limit = f"{bytes_text(ceiling)} are allowed"
        todo = "allow more (--max-gpu-memory), crop the volume, or choose --backend openvino"
    else:
        limit = f"{bytes_text(plan.device_free_bytes)} are free"
        todo = "close what else uses the GPU, crop the volume, or choose --backend openvino"
    return InputError(
        "not-enough-memory",
        f"the run needs {bytes_text(plan.device_bytes)} of the GPU's memory beside the network"
        f" at the least, {limit}",
        where=name,
        todo=todo,
    )

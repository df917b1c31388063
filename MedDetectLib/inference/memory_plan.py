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
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.memory import available_bytes, bytes_text
from MedDetectLib.core.notes import Note
from MedDetectLib.core.process_memory import resident_bytes
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference.bands import rows_held
from MedDetectLib.inference.model import Model
from MedDetectLib.inference.parallel import core_count
from MedDetectLib.inference.prepare import model_grid
from MedDetectLib.models.card import ModelCard, VoxelScores

__all__ = ["MemoryPlan", "plan_memory", "plan_run", "warm"]

_MOST_BANDS = 32
_ASIDE = 16 << 20
"""Planes and tiles in hand on every core, libraries that come in while it runs."""
_MAP_BYTES = 6  # a class in two bytes and its probability in four
_SPARSE = 0.1
"""The share of a volume that the maps of a model of single findings really take up: pages
where nothing is found are never touched."""


@dataclass(frozen=True)
class MemoryPlan:
    """What a run will take, in bytes.

    Args:
        held_bytes: what the process holds before it: Python, libraries, volume, network.
        tides: what each stage adds at its highest, by name.
        parts: what the largest pieces are, by name.
        bands: in how many bands the volume is done, see `bands.py`; 1 is the fastest.
        windows_factor: how many times more windows are run because of that, about.
        device_bytes: what a GPU path adds on the device, network not counted; 0 on the CPU.
        ceiling_bytes: what the process was allowed; None for no limit but free memory.
        free_bytes: what was free when it was planned.
    """

    held_bytes: int
    tides: dict[str, int]
    parts: dict[str, int] = field(default_factory=dict)
    bands: int = 1
    windows_factor: float = 1.0
    device_bytes: int = 0
    ceiling_bytes: int | None = None
    free_bytes: int = 0

    @property
    def added_bytes(self) -> int:
        """What the run adds at its highest."""
        return max(self.tides.values())

    @property
    def peak_bytes(self) -> int:
        """The most the process will hold."""
        return self.held_bytes + self.added_bytes

    @property
    def fits(self) -> bool:
        """Whether free memory and the ceiling allow it."""
        within = self.ceiling_bytes is None or self.peak_bytes <= self.ceiling_bytes
        return within and self.added_bytes <= self.free_bytes

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the findings must say of it."""
        if self.bands == 1:
            return ()
        why = (
            f"{bytes_text(self.free_bytes)} of memory are free"
            if self.ceiling_bytes is None
            else f"at most {bytes_text(self.ceiling_bytes)} of memory were allowed"
        )
        text = (
            f"done in {self.bands} bands, with about {self.windows_factor:.1f} times the windows,"
            f" because {why}; the findings are the same"
        )
        return (Note("memory-shrunk", text),)

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields, and the two sums."""
        return {
            **vars(self),
            "tides": dict(self.tides),
            "parts": dict(self.parts),
            "added_bytes": self.added_bytes,
            "peak_bytes": self.peak_bytes,
            "fits": self.fits,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> MemoryPlan:
        """Rebuild what `to_json` returned."""
        sums = ("added_bytes", "peak_bytes", "fits")
        return cls(**{name: value for name, value in data.items() if name not in sums})


def plan_memory(
    card: ModelCard,
    geometry: Geometry,
    *,
    itemsizes: Sequence[int] = (2,),
    held_bytes: int = 0,
    ceiling_bytes: int | None = None,
    free_bytes: int | None = None,
    device_batch: int = 0,
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
        device_batch: windows at a time of a network that works on a GPU; 0 on the CPU.
        name: of the volume, for messages.

    Raises:
        InputError: ``too-large`` when the model's grid is beyond any memory.
    """
    free = available_bytes() if free_bytes is None else free_bytes
    plan = None
    for bands in range(1, _MOST_BANDS + 1):
        plan = _with_bands(card, geometry, itemsizes, bands, device_batch, held_bytes, name)
        plan = MemoryPlan(**{**vars(plan), "ceiling_bytes": ceiling_bytes, "free_bytes": free})
        if plan.fits or device_batch or not isinstance(card.head, VoxelScores):
            break
    assert plan is not None
    return plan


def plan_run(
    volumes: Volume | Sequence[Volume], model: Model, ceiling_bytes: int | None = None
) -> MemoryPlan:
    """Plan a run in this process, and refuse one that does not fit.

    The network counts as it is: call `warm` before, or its own memory is missing.

    Raises:
        InputError: ``not-enough-memory``, ``too-large``, ``wrong-channels`` for no volume.
    """
    inputs = [volumes] if isinstance(volumes, Volume) else list(volumes)
    if not inputs:
        raise InputError("wrong-channels", f"model {model.card.name} takes volumes, got none")
    network = model.backend.device_network
    plan = plan_memory(
        model.card,
        inputs[0].geometry,
        itemsizes=[volume.array.itemsize for volume in inputs],
        held_bytes=resident_bytes(),
        ceiling_bytes=ceiling_bytes,
        device_batch=0 if network is None else network.batch,
        name=inputs[0].name,
    )
    if not plan.fits:
        raise _too_little(plan, inputs[0].name)
    return plan


def warm(model: Model) -> None:
    """Run one empty window, so that the engine takes the memory it will need."""
    spec = model.card.input
    model.backend.run(np.zeros((1, len(spec.channels), *spec.window.shape_kji), np.float32))


def _with_bands(
    card: ModelCard,
    geometry: Geometry,
    itemsizes: Sequence[int],
    bands: int,
    device_batch: int,
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
    window = math.prod(spec.window.shape_kji) * 4
    window_bytes = window * len(spec.channels)
    scores = maps = home = masks = 0
    factor = 1.0
    if isinstance(head, VoxelScores):
        channels = len(card.labels) + int(head.activation == "softmax")
        held_channels = 1 if channels == 2 and head.activation == "softmax" else channels
        depth = min(spec.window.shape_kji[0], grid.shape_kji[0]) + 1
        rows = rows_held(grid.shape_kji[1], turned.shape_kji[1], bands)
        scores = held_channels * depth * rows * grid.shape_kji[2] * 4
        window_bytes += window * channels * 2  # the answer, and what is held of it
        dense = head.one_finding_per == "class"
        share = 1.0 if dense else _SPARSE
        maps = int(own_voxels * _MAP_BYTES * share)
        stays = axes.order == (0, 1, 2) and not any(axes.flip)
        home = 0 if stays else own_voxels * _MAP_BYTES
        masks = int(own_voxels * 4 * share)
        if bands > 1:
            reach = spec.window.shape_kji[1] / grid.shape_kji[1]
            factor = min(float(bands), 1.0 + (bands - 1) * min(1.0, reach))
    aside = _ASIDE + core_count() * (4 << 20)
    device = 0
    if device_batch:
        volume = own_voxels * max(itemsizes)
        batch = device_batch * window_bytes
        device = max(volume + 2 * image, image + scores + maps + batch)
        image = scores = 0
        copies = 0
    return MemoryPlan(
        held_bytes=held_bytes,
        tides={
            "prepare": 2 * image + copies + aside,
            "detect": image + scores + maps + window_bytes + aside,
            "findings": maps + home + masks + aside,
        },
        parts={"image": image, "scores": scores, "maps": maps, "window": window_bytes},
        bands=bands,
        windows_factor=factor,
        device_bytes=device,
    )


def _too_little(plan: MemoryPlan, name: str) -> InputError:
    largest = max(plan.parts, key=lambda part: plan.parts[part])
    if plan.ceiling_bytes is not None and plan.peak_bytes > plan.ceiling_bytes:
        limit = f"{bytes_text(plan.ceiling_bytes)} are allowed"
        need = f"{bytes_text(plan.peak_bytes)} of memory at the least"
        todo = "allow more (--max-memory), or crop the volume"
    else:
        limit = f"{bytes_text(plan.free_bytes)} are free"
        need = f"{bytes_text(plan.added_bytes)} more memory at the least"
        todo = "close other programs, crop the volume, or use a larger machine"
    return InputError(
        "not-enough-memory",
        f"the run needs {need} ({bytes_text(plan.parts[largest])} for the {largest}), {limit}",
        where=name,
        todo=todo,
    )

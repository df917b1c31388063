"""Blending and deciding on the device: `voxel_scores.VoxelGather` in torch.

As there, scores of all classes exist for one window's depth of slices only. Whatever has
become final is interpolated to the turned grid, decided, and its classes and probabilities
sent to the CPU while the next windows run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from MedDetectLib.core.errors import ModelError
from MedDetectLib.inference.device import memory
from MedDetectLib.inference.device.image import interpolated
from MedDetectLib.inference.prepare import Prepared
from MedDetectLib.inference.voxel_scores import VoxelMaps
from MedDetectLib.inference.windows import FlooredWeights, Window
from MedDetectLib.models.card import ModelCard, VoxelScores

__all__ = ["BLOCK", "DeviceGather"]

Tensor = Any
BLOCK = 32 << 20
"""Scores interpolated at a time: 128 MB, and a few times that for temporaries."""


class DeviceGather:
    """Takes windows in plan order and gives `VoxelMaps`, on the CPU, at the end.

    Args:
        card: a model card whose head is `VoxelScores`.
        prepared: the prepared input.
        device: torch's name of the device.
    """

    def __init__(self, card: ModelCard, prepared: Prepared, device: str) -> None:
        import torch

        assert isinstance(card.head, VoxelScores)
        self._head = card.head
        self._threshold = card.operating_point.voxel_threshold
        self._channels = len(card.labels) + int(card.head.activation == "softmax")
        self._back = prepared.back_kji
        self._device = device
        depth = min(card.input.window.shape_kji[0], prepared.shape_kji[0]) + 1
        shape = (self._channels, depth, *prepared.shape_kji[1:])
        self._held: Tensor = torch.zeros(shape, dtype=torch.float32, device=device)
        self._sum: Tensor = torch.zeros((), dtype=torch.float32, device=device)
        self._classes = memory.arriving(prepared.turned_shape_kji, "int16", device)
        self._chances = memory.arriving(prepared.turned_shape_kji, "float32", device)
        self._weights: dict[tuple[Any, ...], Tensor] = {}
        self._floored: tuple[Tensor, Tensor] | None = None
        self._first = 0  # the slice of the model's grid that self._held begins with
        self._done = 0  # slices of the turned grid already decided

    def add(self, window: Window, scores: Tensor) -> None:
        """Blend one window's (C, k, j, i) scores in.

        Raises:
            ModelError: ``bad-output`` when they have the wrong shape.
        """
        expected = (self._channels, *window.size_kji)
        if tuple(scores.shape) != expected:
            raise ModelError(
                "bad-output",
                f"tensor '{self._head.tensor}' has shape {tuple(scores.shape)}, by the card it"
                f" must be {expected}",
                todo="correct labels, activation or window in the model card",
            )
        self._sum += scores.sum()  # NaN and infinity stay in a sum; looked at once, at the end
        if self._head.blend_on == "probabilities":
            scores = scores.softmax(0) if self._head.activation == "softmax" else scores.sigmoid()
        self._release(window.inside[0].start)
        k, j, i = window.inside
        held = self._held[:, k.start - self._first : k.stop - self._first, j, i]
        held.addcmul_(scores[(slice(None), *window.own)], self._weight(window))

    def result(self) -> VoxelMaps:
        """Decide what is left and return the maps on the turned grid.

        Raises:
            ModelError: ``bad-output`` when a score was not finite.
        """
        self._decide(len(self._back[0]))
        if not np.isfinite(float(self._sum)):
            raise ModelError(
                "bad-output",
                f"tensor '{self._head.tensor}' holds NaN or infinite scores",
                todo="the network overflows on this input; try another precision",
            )
        memory.synchronise(self._device)
        maps = VoxelMaps((0, 0, 0))
        maps.classes = self._classes.numpy().view(np.uint16)
        maps.scores = self._chances.numpy()
        return maps

    def _weight(self, window: Window) -> Tensor:
        """Return the [k, j, i] blending weights; windows of a row share most of theirs."""
        import torch

        if window.floored is not None:
            return self._floored_weight(window, window.floored)
        key = tuple(weights.tobytes() for weights in window.weights_kji)
        if key not in self._weights:
            k, j, i = (torch.from_numpy(w.copy()).to(self._device) for w in window.weights_kji)
            if len(self._weights) > 64:
                self._weights.clear()
            self._weights[key] = k[:, None, None] * (j[:, None] * i)
        return self._weights[key]

    def _floored_weight(self, window: Window, floored: FlooredWeights) -> Tensor:
        """Return weights of a card that sets a floor, from sums made on the device."""
        import torch

        if self._floored is None:
            profile = torch.from_numpy(floored.profile).to(self._device)
            total = torch.zeros(window.shape_kji, device=self._device)
            for start in floored.starts:
                place = replace(window, start_kji=start)
                total[place.inside] += profile[place.own]
            self._floored = profile, total
        profile, total = self._floored
        return profile[window.own] / total[window.inside]

    def _release(self, start: int) -> None:
        """Decide and let go of the slices before `start`: no later window reaches them."""
        if start <= self._first:
            return
        ready = int(np.searchsorted(self._back[0].high, start, side="left"))
        self._decide(ready)
        still = self._back[0].low[ready] if ready < len(self._back[0]) else start
        shift = min(start, int(still)) - self._first
        if shift <= 0:
            return
        for channel in self._held:  # one by one: what overlaps is copied on the way
            channel[:-shift] = channel[shift:].clone()
            channel[-shift:] = 0.0
        self._first += shift

    def _decide(self, stop: int) -> None:
        """Decide turned slices up to `stop`; the slices they need are all blended."""
        rows, columns = len(self._back[1]), len(self._back[2])
        few = max(1, BLOCK // (self._channels * rows * columns))
        for first in range(self._done, stop, few):
            last = min(first + few, stop)
            needed, taps_k = self._back[0].part(first, last)
            slab = self._held[:, needed.start - self._first : needed.stop - self._first]
            classes, chances = self._best(interpolated(slab, (taps_k, *self._back[1:])))
            self._classes[first:last].copy_(classes, non_blocking=True)
            self._chances[first:last].copy_(chances, non_blocking=True)
        self._done = max(self._done, stop)

    def _best(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Best class of (C, k, j, i) scores and its probability; 0 where none counts."""
        import torch

        summed = self._head.blend_on == "probabilities"
        if self._head.activation == "sigmoid":
            best, classes = values.max(0)
            chance = best if summed else best.sigmoid()
            counts = chance >= (0.5 if self._threshold is None else self._threshold)
        else:
            background = values[0]
            best, classes = values[1:].max(0)
            total = None if summed else values.logsumexp(0)
            chance = best if total is None else torch.exp(best - total)
            if self._threshold is None:
                counts = best > background
            else:
                nothing = background if total is None else torch.exp(background - total)
                counts = 1.0 - nothing >= self._threshold
        return (classes + 1).mul_(counts).to(torch.int16), chance * counts

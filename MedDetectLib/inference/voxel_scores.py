"""Blending voxel scores of all windows and reducing them to one class per voxel.

No full volume of scores for every class is ever held. Windows arrive slices first; as soon
as no later window can reach a slice, its blended scores are final: they are interpolated
to the turned grid a few slices at a time, class after class, only the best class and its
probability are kept, and the slices are let go. What is held is (classes, window depth
+ 1, rows, columns), whatever the number of slices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import ModelError
from MedDetectLib.core.findings import LabelMap
from MedDetectLib.core.memory import require_memory
from MedDetectLib.inference.backends.base import Tensors, named
from MedDetectLib.inference.parallel import in_parallel
from MedDetectLib.inference.prepare import Prepared
from MedDetectLib.inference.windows import Window
from MedDetectLib.models.card import ModelCard, VoxelScores

__all__ = ["VoxelGather", "VoxelMaps"]

Array = npt.NDArray[np.float32]
_BLOCK_VOXELS = 250_000
"""Voxels reduced at a time per core: 1 MB per temporary, which stays in the cache."""


class VoxelMaps:
    """The reduced answer on the turned grid: best class and its probability per voxel.

    Args:
        shape_kji: voxels of the turned grid.
    """

    def __init__(self, shape_kji: tuple[int, int, int]) -> None:
        self.classes: LabelMap = np.zeros(shape_kji, np.uint16)
        self.scores: Array = np.zeros(shape_kji, np.float32)


class VoxelGather:
    """Takes windows in plan order and gives `VoxelMaps` at the end.

    Args:
        card: a model card whose head is `VoxelScores`.
        prepared: the prepared input; says how to get back to the turned grid.
    """

    def __init__(self, card: ModelCard, prepared: Prepared) -> None:
        assert isinstance(card.head, VoxelScores)
        self._head = card.head
        self._threshold = card.operating_point.voxel_threshold
        self._channels = len(card.labels) + int(card.head.activation == "softmax")
        self._back = prepared.back_kji
        self._maps = VoxelMaps(prepared.turned_shape_kji)
        depth = min(card.input.window.shape_kji[0], prepared.shape_kji[0]) + 1
        shape = (self._channels, depth, *prepared.shape_kji[1:])
        needed = math.prod(shape) * 4 + math.prod(prepared.turned_shape_kji) * 6
        require_memory(needed, None, what=f"blending {self._channels} classes", where=card.name)
        self._held: Array = np.zeros(shape, np.float32)
        self._first = 0  # the slice of the model's grid that self._held begins with
        self._done = 0  # slices of the turned grid already reduced

    def add(self, window: Window, outputs: Tensors) -> None:
        """Blend one window's scores in.

        Raises:
            ModelError: ``bad-output`` when the network's answer has the wrong shape or is
                not finite.
        """
        scores = self._checked(outputs, window)
        if self._head.blend_on == "probabilities":
            scores = _probabilities(scores, self._head.activation)
        self._release(window.inside[0].start)
        self._blend(window, scores[(slice(None), *window.own)])

    def result(self) -> VoxelMaps:
        """Reduce what is left and return the maps on the turned grid."""
        self._reduce(self._maps.classes.shape[0])
        return self._maps

    def _checked(self, outputs: Tensors, window: Window) -> Array:
        name = self._head.tensor
        scores = np.asarray(named(outputs, name), np.float32)
        if scores.ndim == 4:  # a 2-D network
            scores = scores[:, :, None]
        expected = (1, self._channels, *window.size_kji)
        if scores.shape != expected:
            raise ModelError(
                "bad-output",
                f"tensor '{name}' has shape {scores.shape}, by the card it must be {expected}",
                todo="correct labels, activation or window in the model card",
            )
        if not np.isfinite(scores).all():
            raise ModelError(
                "bad-output",
                f"tensor '{name}' holds NaN or infinite scores",
                todo="the network overflows on this input; try another precision",
            )
        return np.asarray(scores[0])

    def _release(self, start: int) -> None:
        """Reduce and let go of the slices before `start`: no later window reaches them."""
        if start <= self._first:
            return
        ready = int(np.searchsorted(self._back[0].high, start, side="left"))
        self._reduce(ready)
        still = self._back[0].low[ready] if ready < len(self._back[0]) else start
        keep = min(start, int(still))
        shift = keep - self._first
        if shift <= 0:
            return
        self._held[:, :-shift] = self._held[:, shift:].copy()
        self._held[:, -shift:] = 0.0
        self._first = keep

    def _reduce(self, stop: int) -> None:
        """Settle turned slices up to `stop`; the slices they need are all blended."""
        start = self._done
        if stop > start:
            in_parallel(lambda a, b: self._settle(start + a, start + b), stop - start)
        self._done = max(start, stop)

    def _blend(self, window: Window, scores: Array) -> None:
        """Add (C, k, j, i) scores of the voxels inside the volume, weighted."""
        k, j, i = window.inside
        weights_k, weights_j, weights_i = window.weights_kji
        plane_weights = weights_j[:, None] * weights_i
        depth = k.stop - k.start

        def work(start: int, stop: int) -> None:
            for n in range(start, stop):
                channel, row = divmod(n, depth)
                held = self._held[channel, k.start - self._first + row, j, i]
                held += scores[channel, row] * (plane_weights * weights_k[row])

        in_parallel(work, self._channels * depth, smallest=16)

    def _settle(self, start: int, stop: int) -> None:
        """Reduce turned slices start to stop, a few at a time."""
        _, rows, columns = self._maps.classes.shape
        few = max(1, _BLOCK_VOXELS // (rows * columns))
        for first in range(start, stop, few):
            slices = slice(first, min(first + few, stop))
            blocks = self._interpolated(slices)
            if self._head.activation == "softmax":
                classes, scores = self._best_of_softmax(blocks)
            else:
                classes, scores = self._best_of_sigmoid(blocks)
            self._maps.classes[slices] = classes
            self._maps.scores[slices] = scores

    def _interpolated(self, slices: slice) -> Iterator[Array]:
        """Yield the blended scores on turned slices, class after class."""
        needed, taps_k = self._back[0].part(slices.start, slices.stop)
        rows = slice(needed.start - self._first, needed.stop - self._first)
        _, taps_j, taps_i = self._back
        for channel in self._held:
            block = taps_k.apply(channel[rows], 0)
            yield taps_i.apply(taps_j.apply(block, 1), 2)

    def _best_of_softmax(self, blocks: Iterator[Array]) -> tuple[LabelMap, Array]:
        """Best foreground class and its probability; 0 where background wins.

        A running maximum and a running sum of exponentials (Milakov & Gimelshein, "Online
        normalizer calculation for softmax", 2018) need one class at a time.
        """
        background = np.array(next(blocks))
        best = np.full_like(background, -np.inf)
        classes = np.zeros(background.shape, np.uint16)
        if self._head.blend_on == "probabilities":
            for value, block in enumerate(blocks, start=1):
                _take_better(block, value, best, classes)
            chance, foreground = best, 1.0 - background
        else:
            top = background.copy()
            total = np.ones_like(background)
            for value, block in enumerate(blocks, start=1):
                _take_better(block, value, best, classes)
                higher = np.maximum(top, block)
                total *= np.exp(top - higher)
                total += np.exp(block - higher)
                top = higher
            chance = np.exp(best - top) / total
            foreground = 1.0 - np.exp(background - top) / total
        if self._threshold is None:
            counts = best > background
        else:
            counts = foreground >= np.float32(self._threshold)
        return np.where(counts, classes, 0).astype(np.uint16), np.where(counts, chance, 0)

    def _best_of_sigmoid(self, blocks: Iterator[Array]) -> tuple[LabelMap, Array]:
        first = next(blocks)
        best = np.full_like(first, -np.inf)
        classes = np.zeros(first.shape, np.uint16)
        _take_better(first, 1, best, classes)
        for value, block in enumerate(blocks, start=2):
            _take_better(block, value, best, classes)
        chance = best if self._head.blend_on == "probabilities" else _sigmoid(best)
        threshold = np.float32(0.5 if self._threshold is None else self._threshold)
        counts = chance >= threshold
        return np.where(counts, classes, 0).astype(np.uint16), np.where(counts, chance, 0)


def _take_better(block: Array, value: int, best: Array, classes: LabelMap) -> None:
    better = block > best
    np.copyto(best, block, where=better)
    classes[better] = value


def _probabilities(scores: Array, activation: str) -> Array:
    """Activate (C, k, j, i) logits of one window."""
    if activation == "sigmoid":
        return _sigmoid(scores)
    shifted = np.exp(scores - scores.max(axis=0))
    return np.asarray(shifted / shifted.sum(axis=0), np.float32)


def _sigmoid(logits: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), np.float32)

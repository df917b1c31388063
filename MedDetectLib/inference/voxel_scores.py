"""Blending voxel scores of all windows and reducing them to one class per voxel.

No full volume of scores for every class is ever held. Windows arrive slices first; as soon
as no later window can reach a slice, its blended scores are final and are reduced to the
best class and its probability on the turned grid (`reduce_scores.py`), and the slices are
let go. What is held is (channels, window depth + 1, rows, columns), whatever the number of
slices.

Two classes of a softmax differ in one number, so of them only the difference is held.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import ModelError
from MedDetectLib.core.memory import require_memory
from MedDetectLib.inference.backends.base import Tensors, named
from MedDetectLib.inference.parallel import in_parallel
from MedDetectLib.inference.prepare import Prepared
from MedDetectLib.inference.reduce_scores import Rule, VoxelMaps, reduce_scores
from MedDetectLib.inference.windows import Window
from MedDetectLib.models.card import ModelCard, VoxelScores

__all__ = ["VoxelGather", "VoxelMaps"]

Array = npt.NDArray[np.float32]


class VoxelGather:
    """Takes windows in plan order and gives `VoxelMaps` at the end.

    Args:
        card: a model card whose head is `VoxelScores`.
        prepared: the prepared input; says how to get back to the turned grid.
    """

    def __init__(self, card: ModelCard, prepared: Prepared) -> None:
        assert isinstance(card.head, VoxelScores)
        self._head = card.head
        self._channels = len(card.labels) + int(card.head.activation == "softmax")
        self._rule = Rule.of(card)
        self._back = prepared.back_kji
        self._maps = VoxelMaps(prepared.turned_shape_kji)
        held = 1 if self._rule.is_difference else self._channels
        depth = min(card.input.window.shape_kji[0], prepared.shape_kji[0]) + 1
        shape = (held, depth, *prepared.shape_kji[1:])
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
        for channel in self._held:  # one by one: numpy copies what overlaps
            channel[:-shift] = channel[shift:]
            channel[-shift:] = 0.0
        self._first = keep

    def _reduce(self, stop: int) -> None:
        """Settle turned slices up to `stop`; the slices they need are all blended."""
        if stop > self._done:
            span = slice(self._done, stop)
            reduce_scores(self._held, self._first, self._back, span, self._rule, self._maps)
        self._done = max(self._done, stop)

    def _blend(self, window: Window, scores: Array) -> None:
        """Add (C, k, j, i) scores of the voxels inside the volume, weighted."""
        k, j, i = window.inside
        weights = window.weights()
        held = self._held[:, k.start - self._first : k.stop - self._first, j, i]
        finite = [True]

        def work(start: int, stop: int) -> None:
            for row in range(start, stop):
                for channel, values in enumerate(self._to_blend(scores[:, row])):
                    part = values * weights[row]
                    held[channel, row] += part
                    if not np.isfinite(part).all():
                        finite[0] = False

        in_parallel(work, k.stop - k.start)
        if not finite[0]:
            raise ModelError(
                "bad-output",
                f"tensor '{self._head.tensor}' holds NaN or infinite scores",
                todo="the network overflows on this input; try another precision",
            )

    def _to_blend(self, logits: Array) -> Array:
        """Turn (C, j, i) logits into what is held of them."""
        if self._rule.is_difference:
            with np.errstate(invalid="ignore"):  # what is not finite is seen by the caller
                logits = logits[1:] - logits[:1]
        if self._head.blend_on == "logits":
            return logits
        if self._rule.is_difference or self._head.activation == "sigmoid":
            return _sigmoid(logits)
        shifted = np.exp(logits - logits.max(axis=0))
        return np.asarray(shifted / shifted.sum(axis=0), np.float32)


def _sigmoid(logits: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), np.float32)

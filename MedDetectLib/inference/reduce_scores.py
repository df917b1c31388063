"""From blended scores on the model's grid to the best class per voxel of the turned grid.

The turned grid is done in small tiles that stay in a core's cache. In most tiles hardly
anything can win: linear interpolation never leaves the range of the samples it lies
between, so a class whose highest sample in a tile is below the lowest sample of another
cannot win there, and where no foreground can win nothing is interpolated at all. That is
exact, and it is why the time does not grow with the number of classes a network knows, but
with the number that compete.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.findings import LabelMap
from MedDetectLib.inference.parallel import in_parallel
from MedDetectLib.inference.resample import Taps
from MedDetectLib.models.card import ModelCard, VoxelScores

__all__ = ["Rule", "VoxelMaps", "reduce_scores"]

Array = npt.NDArray[np.float32]

_TILE_KJI = (8, 32, 128)
"""Voxels of the turned grid reduced at a time: 128 KB per temporary."""
_NEGLIGIBLE = 25.0
"""Logits so far below the best add less than float32's last digit to a sum of exponentials,
even thousands of them."""


class VoxelMaps:
    """The reduced answer on the turned grid: best class and its probability per voxel.

    Args:
        shape_kji: voxels of the turned grid.
    """

    def __init__(self, shape_kji: tuple[int, int, int]) -> None:
        self.classes: LabelMap = np.zeros(shape_kji, np.uint16)
        self.scores: Array = np.zeros(shape_kji, np.float32)


@dataclass(frozen=True)
class Rule:
    """How scores decide.

    Args:
        kind: ``softmax``, where channel 0 is background and channel v class v; ``difference``,
            one channel, class 1 over background; ``sigmoid``, where channel v - 1 is class v.
        on: whether the scores are logits or probabilities.
        threshold: the foreground probability that makes a voxel count; None: the best wins.
    """

    kind: Literal["softmax", "difference", "sigmoid"]
    on: Literal["logits", "probabilities"]
    threshold: float | None

    @classmethod
    def of(cls, card: ModelCard) -> Rule:
        """Return the rule of a card whose head is `VoxelScores`."""
        head = card.head
        assert isinstance(head, VoxelScores)
        threshold = card.operating_point.voxel_threshold
        if head.activation == "softmax" and len(card.labels) == 1:
            return cls("difference", head.blend_on, threshold)
        return cls(head.activation, head.blend_on, threshold)

    @property
    def is_difference(self) -> bool:
        """Whether one number per voxel is all there is."""
        return self.kind == "difference"

    @property
    def least(self) -> float:
        """A score below which the rule's probability stays below its threshold."""
        chance = 0.5 if self.threshold is None else self.threshold
        if self.on == "probabilities":
            return chance - 1e-5
        if chance <= 0.0:
            return -math.inf
        chance = min(chance, 1.0 - 1e-7)  # float32 rounds what is nearer to one
        return math.log(chance / (1.0 - chance)) - 1e-3


def reduce_scores(
    held: Array, first: int, back_kji: Sequence[Taps], span: slice, rule: Rule, maps: VoxelMaps
) -> None:
    """Fill slices of the maps.

    Args:
        held: (channels, k, j, i) blended scores.
        first: the slice of the model's grid that `held` begins with.
        back_kji: taps that sample the model's grid at the turned grid's voxel centres.
        span: slices of the turned grid; `held` has all they need.
        rule: how scores decide.
        maps: zero there; written to.
    """
    ends = (span, *(slice(0, size) for size in maps.classes.shape[1:]))
    axes = [
        [(slice(a, min(a + side, end.stop)), *taps.part(a, min(a + side, end.stop)))
         for a in range(end.start, end.stop, side)]
        for taps, end, side in zip(back_kji, ends, _TILE_KJI, strict=True)
    ]  # fmt: skip
    tiles = list(itertools.product(*axes))

    def work(start: int, stop: int) -> None:
        for (k, from_k, taps_k), (j, from_j, taps_j), (i, from_i, taps_i) in tiles[start:stop]:
            rows = slice(from_k.start - first, from_k.stop - first)
            samples = _Samples(held[:, rows, from_j, from_i], (taps_k, taps_j, taps_i))
            decided = (
                _by_softmax(samples, rule) if rule.kind == "softmax" else _by_one(samples, rule)
            )
            if decided is not None:
                maps.classes[k, j, i], maps.scores[k, j, i] = decided

    in_parallel(work, len(tiles))


class _Samples:
    """The blended scores that a tile's voxels lie between.

    Args:
        scores: (channels, k, j, i).
        taps_kji: into them, for each voxel of the tile.
    """

    def __init__(self, scores: Array, taps_kji: tuple[Taps, Taps, Taps]) -> None:
        self.scores = scores
        self._taps_kji = taps_kji
        self.highest = scores.max(axis=(1, 2, 3))

    def at_voxels(self, channels: Sequence[int]) -> Array:
        """Interpolate some channels: (n, k, j, i) on the turned grid."""
        k, j, i = self._taps_kji
        values = np.empty((len(channels), len(k), len(j), len(i)), np.float32)
        for n, channel in enumerate(channels):
            # rows come last: a row is interpolated as a whole, a column voxel by voxel
            j.apply(i.apply(k.apply(self.scores[channel], 0), 2), 1, out=values[n])
        return values


def _by_one(samples: _Samples, rule: Rule) -> tuple[LabelMap, Array] | None:
    """Class and probability where every channel stands for itself; None where none counts."""
    able = np.flatnonzero(samples.highest >= rule.least)
    if not len(able):
        return None
    values = samples.at_voxels(able.tolist())
    best, classes = _best(values, (able + 1).tolist())
    chance = best if rule.on == "probabilities" else _sigmoid(best)
    if rule.is_difference and rule.threshold is None:
        counts = best > (0.5 if rule.on == "probabilities" else 0.0)  # background wins a tie
    else:
        counts = chance >= np.float32(0.5 if rule.threshold is None else rule.threshold)
    return np.where(counts, classes, 0).astype(np.uint16), np.where(counts, chance, 0)


def _by_softmax(samples: _Samples, rule: Rule) -> tuple[LabelMap, Array] | None:
    """Best foreground class and its probability, 0 where background wins; None if everywhere."""
    if _background_wins(samples.scores, rule):
        return None
    highest, lowest = samples.highest, samples.scores.min(axis=(1, 2, 3))
    # a threshold makes the best foreground class win even where background is likelier
    rivals = lowest if rule.threshold is None else lowest[1:]
    able = 1 + np.flatnonzero(highest[1:] >= rivals.max())
    if rule.on == "probabilities":
        background, values = samples.at_voxels([0])[0], samples.at_voxels(able.tolist())
        chance, classes = _best(values, able.tolist())
        foreground = 1.0 - background
        counts = chance > background
    else:
        told = 1 + np.flatnonzero(highest[1:] >= lowest.max() - _NEGLIGIBLE)
        told = np.union1d(told, able)
        values = samples.at_voxels([0, *told.tolist()])
        background = values[0]
        which = 1 + np.flatnonzero(np.isin(told, able))
        best, classes = _best(values, able.tolist(), which.tolist())
        counts = best > background
        if rule.threshold is None and 2 * np.count_nonzero(counts) < counts.size:
            chance = np.zeros_like(best)
            chance[counts] = 1.0 / _sum_of_exponentials(values[:, counts], best[counts])
        else:
            top = np.maximum(best, background)
            total = _sum_of_exponentials(values, top)
            chance = np.exp(best - top) / total
            foreground = 1.0 - np.exp(background - top) / total
    if rule.threshold is not None:
        counts = foreground >= np.float32(rule.threshold)
    return np.where(counts, classes, 0).astype(np.uint16), np.where(counts, chance, 0)


def _background_wins(scores: Array, rule: Rule) -> bool:
    """Whether no voxel between these samples can count.

    How far the best foreground class is above background is a convex function of the
    scores, so it is greatest at a sample; so is the logarithm of the sum of exponentials,
    which exceeds the best by the logarithm of their number at most.
    """
    if rule.threshold is not None and rule.on == "probabilities":
        return float(1.0 - scores[0].min()) < rule.least
    ahead = scores[1].copy()
    for channel in scores[2:]:
        np.maximum(ahead, channel, out=ahead)
    ahead -= scores[0]
    if rule.threshold is None:
        return float(ahead.max()) < 0.0
    return float(ahead.max()) < rule.least - math.log(len(scores) - 1)


def _best(
    values: Array, classes: Sequence[int], which: Sequence[int] | None = None
) -> tuple[Array, LabelMap]:
    """Return the highest of some channels and its class; of equal ones the first.

    Args:
        values: (n, k, j, i).
        classes: one per channel looked at.
        which: the channels looked at; all of them if None.
    """
    channels = range(len(values)) if which is None else which
    best = values[channels[0]].copy()
    winners = np.full(best.shape, classes[0], np.uint16)
    for channel, value in zip(channels[1:], classes[1:], strict=True):
        better = values[channel] > best
        np.maximum(best, values[channel], out=best)
        np.copyto(winners, np.uint16(value), where=better)
    return best, winners


def _sum_of_exponentials(values: Array, top: Array) -> Array:
    """Return the sum over (n, ...) of exp(value - top)."""
    total = np.zeros_like(top)
    for channel in values:
        term = channel - top
        total += np.exp(term, out=term)
    return total


def _sigmoid(logits: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), np.float32)

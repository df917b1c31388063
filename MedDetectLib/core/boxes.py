"""Sets of scored boxes on one grid: overlap, suppression, fusion."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import FloatArray

__all__ = ["Boxes", "box_iou"]

IntArray = npt.NDArray[np.int64]

_BLOCK = 256
"""Boxes settled at a time, between two looks whether to stop."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """N boxes with a score and a class each.

    Args:
        edges: (N, 6) float64, ``[k0, j0, i0, k1, j1, i1)`` in voxel edges of one grid.
        scores: (N,) 0 to 1.
        labels: (N,) class numbers.

    Raises:
        InputError: ``bad-boxes`` when shapes disagree, a number is not finite, or a box
            has no extent.
    """

    edges: FloatArray
    scores: FloatArray
    labels: IntArray

    def __post_init__(self) -> None:
        edges = np.array(self.edges, dtype=np.float64)
        if edges.size and edges.shape[-1] != 6:
            raise InputError("bad-boxes", f"boxes have shape {edges.shape}, expected (N, 6)")
        edges = edges.reshape(-1, 6)
        scores = np.array(self.scores, dtype=np.float64).reshape(-1)
        labels = np.array(self.labels, dtype=np.int64).reshape(-1)
        if not len(edges) == len(scores) == len(labels):
            raise InputError(
                "bad-boxes", f"{len(edges)} boxes, {len(scores)} scores, {len(labels)} labels"
            )
        if not (np.isfinite(edges).all() and np.isfinite(scores).all()):
            raise InputError("bad-boxes", "a box edge or score is not a finite number")
        if (edges[:, 3:] <= edges[:, :3]).any():
            raise InputError("bad-boxes", "a box has no extent along some axis")
        for name, value in (("edges", edges), ("scores", scores), ("labels", labels)):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls) -> Boxes:
        """Return a set without boxes."""
        return cls(np.empty((0, 6)), np.empty(0), np.empty(0, np.int64))

    @classmethod
    def concatenate(cls, parts: Iterable[Boxes]) -> Boxes:
        """Return all boxes of several sets on the same grid."""
        sets = [cls.empty(), *parts]
        return cls(
            np.concatenate([s.edges for s in sets]),
            np.concatenate([s.scores for s in sets]),
            np.concatenate([s.labels for s in sets]),
        )

    def take(self, which: npt.NDArray[Any]) -> Boxes:
        """Return the boxes picked by a mask or by positions."""
        return Boxes(self.edges[which], self.scores[which], self.labels[which])

    def clipped(self, shape_kji: tuple[int, int, int]) -> Boxes:
        """Cut the boxes to a grid of `shape_kji`; those wholly outside are dropped."""
        limit = np.array(shape_kji * 2, dtype=np.float64)
        edges = np.clip(self.edges, 0.0, limit)
        inside = (edges[:, 3:] > edges[:, :3]).all(axis=1)
        return Boxes(edges[inside], self.scores[inside], self.labels[inside])

    def suppressed(self, iou_above: float, check: Callable[[], None] | None = None) -> Boxes:
        """Non-maximum suppression, class by class.

        Of boxes of one class that overlap by more than `iou_above`, only the best scored
        is kept. The result is sorted by falling score.

        Args:
            iou_above: 0 to 1.
            check: called now and then while it takes; may raise to stop it.
        """
        order = _best_first(self.scores)
        kept: list[IntArray] = []
        while len(order):
            if check is not None:
                check()
            some, rest = order[:_BLOCK], order[_BLOCK:]
            alive = np.ones(len(some), bool)
            one, other = self._overlapping(some, some, iou_above)
            later = other > one
            for n, m in zip(one[later].tolist(), other[later].tolist(), strict=True):
                if alive[n]:  # pairs come in the order of the better box: n is settled
                    alive[m] = False
            kept.append(some[alive])
            _, beaten = self._overlapping(some[alive], rest, iou_above)
            left = np.ones(len(rest), bool)
            left[beaten] = False
            order = rest[left]
        return self.take(np.concatenate(kept) if kept else np.empty(0, np.int64))

    def _overlapping(
        self, first: IntArray, second: IntArray, iou_above: float
    ) -> tuple[IntArray, IntArray]:
        """Return the pairs of one class that overlap by more, as positions in both lists.

        Whether two boxes meet at all is asked axis by axis, of ever fewer pairs.
        """
        one, other = self.edges[first], self.edges[second]
        low, high = one[:, None, 0] < other[None, :, 3], other[None, :, 0] < one[:, None, 3]
        a, b = np.nonzero(low & high)
        for axis in (1, 2):
            meet = (one[a, axis] < other[b, axis + 3]) & (other[b, axis] < one[a, axis + 3])
            a, b = a[meet], b[meet]
        above = self.labels[first[a]] == self.labels[second[b]]
        a, b = a[above], b[above]
        above = _iou_of_pairs(one[a], other[b]) > iou_above
        return a[above], b[above]

    def fused(self, iou_above: float, check: Callable[[], None] | None = None) -> Boxes:
        """Weighted box fusion, class by class.

        Boxes of one class that overlap the running average of a cluster by more than
        `iou_above` join it; the cluster's box is the score-weighted mean of its members
        and its score is the highest among them: the members are windows of one model
        that see the same thing, so their number says nothing about confidence.
        Solovyev et al., "Weighted boxes fusion", Image and Vision Computing 2021
        (there the score is the members' mean, for ensembles of models).

        Args:
            iou_above: 0 to 1.
            check: called now and then while it takes; may raise to stop it.
        """
        sums, means = np.empty((len(self), 6)), np.empty((len(self), 6))
        weights, firsts = np.empty(len(self)), np.empty(len(self), np.int64)
        count = 0
        for done, n in enumerate(_best_first(self.scores)):
            if check is not None and done % _BLOCK == 0:
                check()
            box, weight = self.edges[n], max(float(self.scores[n]), 1e-12)
            home = -1
            met = _meeting(box, means[:count])
            met = met[self.labels[firsts[met]] == self.labels[n]]
            if len(met):
                overlap = box_iou(box[None], means[met])[0]
                home = int(met[overlap.argmax()]) if overlap.max() > iou_above else -1
            if home < 0:
                home, count = count, count + 1
                firsts[home], weights[home], sums[home] = n, 0.0, 0.0
            weights[home] += weight
            sums[home] += box * weight
            means[home] = sums[home] / weights[home]
        firsts = firsts[:count]
        return Boxes(means[:count], self.scores[firsts], self.labels[firsts])


def box_iou(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the (N, M) intersection over union of (N, 6) and (M, 6) boxes."""
    low = np.maximum(first[:, None, :3], second[None, :, :3])
    high = np.minimum(first[:, None, 3:], second[None, :, 3:])
    shared = np.clip(high - low, 0.0, None).prod(axis=-1)
    size_first = (first[:, 3:] - first[:, :3]).prod(axis=-1)
    size_second = (second[:, 3:] - second[:, :3]).prod(axis=-1)
    union = size_first[:, None] + size_second[None, :] - shared
    return np.asarray(shared / np.maximum(union, 1e-300), dtype=np.float64)


def _iou_of_pairs(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the (N,) intersection over union of (N, 6) boxes with (N, 6) others."""
    low, high = np.maximum(first[:, :3], second[:, :3]), np.minimum(first[:, 3:], second[:, 3:])
    shared = np.clip(high - low, 0.0, None).prod(axis=-1)
    sizes = [(boxes[:, 3:] - boxes[:, :3]).prod(axis=-1) for boxes in (first, second)]
    return np.asarray(shared / np.maximum(sizes[0] + sizes[1] - shared, 1e-300), np.float64)


def _meeting(box: FloatArray, others: FloatArray) -> IntArray:
    """Return the positions of the (N, 6) boxes that share some space with one."""
    met = np.flatnonzero((others[:, 0] < box[3]) & (box[0] < others[:, 3]))
    for axis in (1, 2):
        near = others[met]
        met = met[(near[:, axis] < box[axis + 3]) & (box[axis] < near[:, axis + 3])]
    return met.astype(np.int64)


def _best_first(scores: FloatArray) -> IntArray:
    """Positions by falling score; equal scores keep their order, so results repeat."""
    return np.argsort(-scores, kind="stable").astype(np.int64)

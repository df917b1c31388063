"""Boxes that a network answers window by window, brought together on the model's grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.boxes import Boxes
from MedDetectLib.core.errors import ModelError
from MedDetectLib.core.geometry import FloatArray
from MedDetectLib.inference.backends.base import Tensors, named
from MedDetectLib.inference.prepare import Prepared
from MedDetectLib.inference.windows import Window
from MedDetectLib.models.card import AnchorBoxes, AnchorLevel, DecodedBoxes, ModelCard

__all__ = ["BoxGather"]

_MAX_LOG_GROWTH = float(np.log(1000.0 / 16))
"""A delta may stretch an anchor at most so far; keeps a wild network's boxes finite."""


class BoxGather:
    """Takes windows and gives `Boxes` in edges of the model's grid at the end.

    Args:
        card: a model card whose head is `DecodedBoxes` or `AnchorBoxes`.
        prepared: the prepared input.
    """

    def __init__(self, card: ModelCard, prepared: Prepared) -> None:
        assert isinstance(card.head, (DecodedBoxes, AnchorBoxes))
        self._head = card.head
        self._card = card
        self._shape_kji = prepared.shape_kji
        self._parts: list[Boxes] = []

    def add(self, window: Window, outputs: Tensors) -> None:
        """Take one window's boxes.

        Raises:
            ModelError: ``wrong-tensor`` or ``bad-output``.
        """
        if isinstance(self._head, DecodedBoxes):
            edges, scores, labels = self._decoded(self._head, outputs)
        else:
            edges, scores, labels = self._from_anchors(self._head, outputs)
        if not (np.isfinite(edges).all() and np.isfinite(scores).all()):
            raise ModelError("bad-output", "the network answers boxes that are not finite")
        if scores.size and scores.max() > 1.0 + 1e-3:
            raise ModelError(
                "bad-output",
                f"the network scores a box {scores.max():g}; scores run from 0 to 1",
                todo="export the network with its scores activated",
            )
        # a score of 0 is how networks of fixed output size fill up
        keep = (scores > 0) & (scores >= self._card.operating_point.min_score)
        edges, scores, labels = edges[keep], scores[keep], labels[keep]
        unknown = set(labels.tolist()) - {label.value for label in self._card.labels}
        if unknown:
            raise ModelError(
                "bad-output", f"the network answers classes {sorted(unknown)} the card has not"
            )
        if self._head.order == "ijkijk":
            edges = edges[:, [2, 1, 0, 5, 4, 3]]
        if self._head.coordinates == "index":
            edges = edges + 0.5
        edges = edges + np.array(window.start_kji * 2)
        real = (edges[:, 3:] > edges[:, :3]).all(axis=1)
        boxes = Boxes(edges[real], scores[real], labels[real])
        self._parts.append(boxes.clipped(self._shape_kji))

    def result(self, check: Callable[[], None] | None = None) -> Boxes:
        """Merge the boxes of all windows, best first.

        Args:
            check: called now and then while it takes; may raise to stop it.
        """
        boxes = Boxes.concatenate(self._parts)
        merge = self._head.merge
        work = boxes.fused if merge.method == "wbf" else boxes.suppressed
        return work(merge.iou, check)

    def _decoded(
        self, head: DecodedBoxes, outputs: Tensors
    ) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int64]]:
        edges = np.asarray(named(outputs, head.boxes_tensor), np.float64)
        if edges.shape[-1:] != (6,):
            raise ModelError("bad-output", f"boxes have shape {edges.shape}, expected (..., 6)")
        edges = edges.reshape(-1, 6)
        scores = np.asarray(named(outputs, head.scores_tensor), np.float64).reshape(-1)
        labels = np.asarray(named(outputs, head.labels_tensor)).reshape(-1).astype(np.int64)
        if not len(edges) == len(scores) == len(labels):
            raise ModelError(
                "bad-output", f"{len(edges)} boxes, {len(scores)} scores, {len(labels)} labels"
            )
        return edges, scores, labels + head.first_label

    def _from_anchors(
        self, head: AnchorBoxes, outputs: Tensors
    ) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int64]]:
        edges, scores, labels = [], [], []
        for level in head.levels:
            chances, deltas, anchors = self._level(head, level, outputs)
            flat = chances.reshape(-1)
            count = min(head.max_per_window, flat.size)
            best = np.argsort(-flat, kind="stable")[:count]
            which, channel = best // chances.shape[1], best % chances.shape[1]
            edges.append(_stretched(anchors[which], deltas[which], head.delta_weights))
            scores.append(flat[best])
            labels.append(channel.astype(np.int64) + 1)
        return np.concatenate(edges), np.concatenate(scores), np.concatenate(labels)

    def _level(
        self, head: AnchorBoxes, level: AnchorLevel, outputs: Tensors
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return (A, classes) probabilities, (A, 6) deltas, (A, 6) anchors of one level."""
        logits = np.asarray(named(outputs, level.scores_tensor), np.float64)
        deltas = np.asarray(named(outputs, level.deltas_tensor), np.float64)
        per_place = len(level.anchor_sizes_kji)
        classes = len(self._card.labels) + int(head.activation == "softmax")
        grid = logits.shape[2:]
        expected = ((1, per_place * classes, *grid), (1, per_place * 6, *grid))
        if len(grid) != 3 or (logits.shape, deltas.shape) != expected:
            raise ModelError(
                "bad-output",
                f"level '{level.scores_tensor}': scores {logits.shape}, deltas {deltas.shape};"
                f" the card says {per_place} anchors and {classes} classes",
            )
        window = self._card.input.window.shape_kji
        fits = zip(grid, level.stride_kji, window, strict=True)
        if not all(abs(places * stride - size) < stride for places, stride, size in fits):
            raise ModelError(
                "bad-output",
                f"level '{level.scores_tensor}' has {grid} places in windows of {window}; by the"
                f" card they are {level.stride_kji} voxels apart",
                todo="correct stride_kji in the model card",
            )
        if not (np.isfinite(logits).all() and np.isfinite(deltas).all()):  # even of those cut off
            raise ModelError("bad-output", f"level '{level.scores_tensor}' is not finite")
        logits = logits.reshape(per_place, classes, -1).transpose(2, 0, 1).reshape(-1, classes)
        deltas = deltas.reshape(per_place, 6, -1).transpose(2, 0, 1).reshape(-1, 6)
        if head.activation == "softmax":
            chances = np.exp(logits - logits.max(axis=1, keepdims=True))
            chances = (chances / chances.sum(axis=1, keepdims=True))[:, 1:]
        else:
            chances = 0.5 * (1.0 + np.tanh(0.5 * logits))
        return chances, deltas, _anchors(head, level, (grid[0], grid[1], grid[2]))


def _anchors(head: AnchorBoxes, level: AnchorLevel, grid: tuple[int, int, int]) -> FloatArray:
    """(places * sizes, 6) anchors, places slowest, in the head's coordinates and order."""
    stride = np.array(level.stride_kji, np.float64)
    sizes = np.array(level.anchor_sizes_kji, np.float64)
    places = np.stack(np.meshgrid(*(np.arange(n) for n in grid), indexing="ij"), axis=-1)
    centres = places.reshape(-1, 1, 3) * stride + np.array(level.first_centre_kji)
    low, high = centres - sizes / 2, centres + sizes / 2
    if head.order == "ijkijk":
        low, high = low[..., ::-1], high[..., ::-1]
    return np.concatenate([low, high], axis=-1).reshape(-1, 6)


def _stretched(anchors: FloatArray, deltas: FloatArray, weights: tuple[float, ...]) -> FloatArray:
    """Move and scale (N, 6) anchors by (N, 6) deltas: shifts in anchor sizes, log sizes.

    Ren et al., "Faster R-CNN", 2015, in three dimensions.
    """
    size = anchors[:, 3:] - anchors[:, :3]
    centre = anchors[:, :3] + size / 2
    scaled = deltas / np.array(weights)
    centre = centre + scaled[:, :3] * size
    size = size * np.exp(np.minimum(scaled[:, 3:], _MAX_LOG_GROWTH))
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1)

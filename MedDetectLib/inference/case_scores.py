"""Scores for the case as a whole: the mean over all windows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import ModelError
from MedDetectLib.core.findings import CaseScore
from MedDetectLib.inference.backends.base import Tensors, named
from MedDetectLib.inference.windows import Window
from MedDetectLib.models.card import CaseScoreHead, ModelCard

__all__ = ["CaseGather"]


class CaseGather:
    """Takes windows and gives one probability per class at the end.

    Args:
        card: a model card whose head is `CaseScoreHead`.
    """

    def __init__(self, card: ModelCard) -> None:
        assert isinstance(card.head, CaseScoreHead)
        self._head = card.head
        self._values = [label.value for label in card.labels]
        self._chances: list[npt.NDArray[np.float64]] = []

    def add(self, window: Window, outputs: Tensors) -> None:
        """Take one window's logits.

        Raises:
            ModelError: ``wrong-tensor`` or ``bad-output``.
        """
        logits = np.asarray(named(outputs, self._head.tensor), np.float64).reshape(-1)
        if len(logits) != len(self._values) or not np.isfinite(logits).all():
            raise ModelError(
                "bad-output",
                f"{len(logits)} case scores for {len(self._values)} labels, or not finite",
            )
        if self._head.activation == "softmax":
            chances = np.exp(logits - logits.max())
            self._chances.append(chances / chances.sum())
        else:
            self._chances.append(0.5 * (1.0 + np.tanh(0.5 * logits)))

    def result(self) -> tuple[CaseScore, ...]:
        """Return one score per label, in the card's order."""
        means = np.mean(self._chances, axis=0)
        return tuple(CaseScore(value, float(means[value - 1])) for value in self._values)

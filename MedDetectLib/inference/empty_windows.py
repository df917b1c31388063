"""Leaving out windows in which there is nothing to see.

Around a patient lies air, and a network run on air finds nothing, slowly. Leaving such
windows out is the user's choice, never the default: a network's answer on an empty window
is then not asked but assumed, background, and the findings say how many windows that were.
"""

from __future__ import annotations

import math

import numpy as np

from MedDetectLib.core.notes import Note
from MedDetectLib.inference.backends.base import Tensors
from MedDetectLib.inference.intensity import Image
from MedDetectLib.inference.windows import Window
from MedDetectLib.models.card import CaseScoreHead, ModelCard, VoxelScores

__all__ = ["EmptyWindows"]

_SURE = 99.0
"""Background is so much likelier: for certain, yet a neighbour that sees something outvotes it."""


class EmptyWindows:
    """Tells empty windows, stands in for the network's answer to them, and counts them.

    A window is empty when none of its voxels inside the volume is above the card's
    ``empty_below``; without that number, when each channel has one single value.

    Args:
        card: the model's card. A model that judges the case as a whole has no empty windows:
            what it says is a mean over all of them.
    """

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._known: dict[Window, bool] = {}
        self.seen = 0
        self.skipped = 0

    def sees(self, window: Window, image: Image) -> bool:
        """Whether a window of the prepared (C, k, j, i) image is empty; counts it if so.

        Asked again of the same window, which is run once for every band it reaches into, it
        answers without counting.
        """
        if window not in self._known:
            part = image[(slice(None), *window.inside)]
            low, high = part.min(axis=(1, 2, 3)), part.max(axis=(1, 2, 3))
            self._known[window] = self.judges(low, high)
        return self._known[window]

    def judges(self, low: Image, high: Image) -> bool:
        """Whether a window with these values, (C,) each, is empty; counts it if so."""
        self.seen += 1
        if isinstance(self._card.head, CaseScoreHead):
            return False
        below = self._card.input.window.empty_below
        empty = bool((high <= (low if below is None else below)).all())
        self.skipped += empty
        return empty

    def answer(self, window: Window) -> Tensors | None:
        """Return scores that say background; None for heads that answer nothing for nothing."""
        head = self._card.head
        if not isinstance(head, VoxelScores):
            return None
        count, sure = len(self._card.labels), math.log(self._odds)
        if head.activation == "softmax":
            logits = np.array([sure + math.log(count), *[0.0] * count], np.float32)
        else:
            logits = np.full(count, -sure, np.float32)
        shape = (1, len(logits), *window.size_kji)  # one number per channel, seen everywhere
        return {head.tensor: np.broadcast_to(logits[None, :, None, None, None], shape)}

    @property
    def _odds(self) -> float:
        """How much likelier than anything else background is: below the card's threshold too."""
        least = self._card.operating_point.voxel_threshold or 1.0
        return max(_SURE, 2.0 / least)

    @property
    def notes(self) -> tuple[Note, ...]:
        """How many windows were left out."""
        if not self.skipped:
            return ()
        text = f"{self.skipped} of {self.seen} windows were empty and taken for background, unseen"
        return (Note("empty-windows", text),)

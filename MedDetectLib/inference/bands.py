"""Doing a volume in bands of rows, one after the other, when its scores do not fit at once.

The scores of every class are held for a window's depth of slices, whole slices wide. In
bands only some rows of those slices are held:

    rows of the model's grid   |=========band 0========|
                                                  |=========band 1========|
    windows                    |--------|    |--------|
                                    |--------|    |--------|

Bands are cut on the turned grid, so each of its voxels is settled once, from the same sums in
the same order as without bands: the answer is the same to the byte. A window that reaches
into two bands is run for each, which is the price.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from MedDetectLib.inference.backends.base import Tensors
from MedDetectLib.inference.prepare import Prepared
from MedDetectLib.inference.voxel_scores import VoxelGather, VoxelMaps
from MedDetectLib.inference.windows import Window
from MedDetectLib.models.card import ModelCard

__all__ = ["BandedGather", "bands_of", "rows_held"]

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Band:
    """Some rows of the turned grid, and what of the model's grid they need.

    Args:
        prepared: as if the volume had only these rows; its image is still the whole one.
        turned_rows: the rows settled, on the turned grid.
        rows: the rows whose scores that takes, on the model's grid.
        pairs: each window that sees those rows, whole, and as this band sees it.
    """

    prepared: Prepared
    turned_rows: slice
    rows: slice
    pairs: tuple[tuple[Window, Window], ...]


class BandedGather:
    """Takes `windows` in their order and gives `VoxelMaps` at the end.

    Args:
        card: a model card whose head is `VoxelScores`.
        prepared: the prepared input.
        bands: from `bands_of`.
    """

    def __init__(self, card: ModelCard, prepared: Prepared, bands: list[Band]) -> None:
        self._card = card
        self._to_come = deque((band, seen) for band in bands for _, seen in band.pairs)
        self._maps = VoxelMaps(prepared.turned_shape_kji)
        self._band = bands[0]
        self._gather: VoxelGather | None = VoxelGather(card, bands[0].prepared)
        self.windows = [whole for band in bands for whole, _ in band.pairs]
        """What to run, some of them more than once."""

    def add(self, window: Window, outputs: Tensors) -> None:
        """Blend one window's scores in; with its first window a band takes over.

        Raises:
            ModelError: ``bad-output``.
        """
        band, seen = self._to_come.popleft()
        if band is not self._band or self._gather is None:
            self._settle()
            self._band = band
            self._gather = VoxelGather(self._card, band.prepared)
        self._gather.add(seen, outputs)

    def result(self) -> VoxelMaps:
        """Return the maps on the turned grid."""
        self._settle()
        return self._maps

    def _settle(self) -> None:
        """Keep what a band has found, and let go of its scores."""
        if self._gather is not None:
            found, rows = self._gather.result(), self._band.turned_rows
            self._maps.classes[:, rows] = found.classes
            self._maps.scores[:, rows] = found.scores
            self._gather = None


def bands_of(prepared: Prepared, windows: list[Window], count: int) -> list[Band]:
    """Cut a volume into `count` bands, or as many as it has rows; slices stay in order."""
    edges = _edges(prepared.turned_shape_kji[1], count)
    return [_band(prepared, windows, slice(a, b)) for a, b in itertools.pairwise(edges)]


def rows_held(prepared_rows: int, turned_rows: int, count: int) -> int:
    """Return how many rows of the model's grid the largest band takes, at most."""
    most = int(np.diff(_edges(turned_rows, count)).max())
    return min(prepared_rows, int(np.ceil(most * prepared_rows / turned_rows)) + 2)


def _edges(rows: int, count: int) -> list[int]:
    return [int(edge) for edge in np.unique(np.linspace(0, rows, count + 1).astype(int))]


def _band(prepared: Prepared, windows: list[Window], turned_rows: slice) -> Band:
    taps_k, taps_j, taps_i = prepared.back_kji
    rows, taps = taps_j.part(turned_rows.start, turned_rows.stop)
    depth, _, columns = prepared.shape_kji
    turned_depth, _, turned_columns = prepared.turned_shape_kji
    shape = (depth, rows.stop - rows.start, columns)
    narrow = replace(
        prepared,
        geometry=replace(prepared.geometry, shape_kji=shape),
        turned_shape_kji=(turned_depth, turned_rows.stop - turned_rows.start, turned_columns),
        back_kji=(taps_k, taps, taps_i),
    )
    pairs = tuple(
        (window, _seen_by(window, rows))
        for window in windows
        if window.inside[1].start < rows.stop and window.inside[1].stop > rows.start
    )
    return Band(narrow, turned_rows, rows, pairs)


@dataclass(frozen=True, eq=False)
class _Seen(Window):
    """A window as a band sees it: rows counted from the band's first, cut at its ends.

    Args:
        whole: the window itself.
        part: which of its rows inside the volume the band has.
    """

    whole: Window | None = None
    part: tuple[int, int] = (0, 0)

    def weights(self) -> Weights:
        assert self.whole is not None
        return self.whole.weights()[:, slice(*self.part)]


def _seen_by(window: Window, rows: slice) -> Window:
    inside = window.inside[1]
    first, last = max(inside.start, rows.start), min(inside.stop, rows.stop)
    start_k, start_j, start_i = window.start_kji
    depth, _, columns = window.shape_kji
    return _Seen(
        start_kji=(start_k, start_j - rows.start, start_i),
        size_kji=window.size_kji,
        weights_kji=window.weights_kji,
        shape_kji=(depth, rows.stop - rows.start, columns),
        pad_value=window.pad_value,
        whole=window,
        part=(first - inside.start, last - inside.start),
    )

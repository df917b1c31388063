"""Which findings share one label image, and under which value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.findings import Finding
from MedDetectLib.review.patches import Patch, shared_voxels

__all__ = ["Layer", "plan_layers"]

HIGHEST = 65535


class Layer:
    """One label image: who is in it, under which value, and where."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.patches: dict[str, Patch] = {}
        self._edges = np.empty((0, 6), np.int64)
        self._order: list[Patch] = []

    def has_room(self, patch: Patch) -> bool:
        """Whether none of the patch's voxels is taken, and a value is left."""
        if self._next_value > HIGHEST:
            return False
        own = np.array(patch.box, np.int64)
        meets = (self._edges[:, :3] < own[3:]).all(axis=1) & (self._edges[:, 3:] > own[:3]).all(
            axis=1
        )
        return not any(shared_voxels(patch, self._order[n]) for n in np.flatnonzero(meets))

    def add(self, item_id: str, patch: Patch | None, value: int | None = None) -> None:
        """Take a finding in, under the next value if none is given."""
        self.values[item_id] = self._next_value if value is None else value
        if patch is not None:
            self.patches[item_id] = patch
            self._order.append(patch)
            self._edges = np.vstack([self._edges, np.array(patch.box, np.int64)])

    @property
    def window(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """First index and size [k, j, i] of the smallest array that holds all voxels."""
        if not self._order:
            return (0, 0, 0), (0, 0, 0)
        low, high = self._edges[:, :3].min(axis=0), self._edges[:, 3:].max(axis=0)
        return tuple(int(n) for n in low), tuple(int(n) for n in high - low)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """The smallest type that holds every value."""
        return np.uint8 if max(self.values.values(), default=0) < 256 else np.uint16

    def paint(self, array: npt.NDArray[np.unsignedinteger]) -> None:
        """Paint everybody into an array of zeros that covers `window`."""
        start, _ = self.window
        for item_id, patch in self.patches.items():
            part = tuple(
                slice(s.start - a, s.stop - a) for s, a in zip(patch.slices, start, strict=True)
            )
            array[part][patch.mask] = self.values[item_id]

    @property
    def _next_value(self) -> int:
        return max(self.values.values(), default=0) + 1


def plan_layers(items: Iterable[Finding], patches: Mapping[str, Patch]) -> list[Layer]:
    """Distribute findings over as few label images as their overlaps allow.

    Findings with a mask are the first layer, their values unchanged. Filled boxes join the
    first layer in which they cover nobody; overlapping ones open further layers.

    Args:
        items: the findings.
        patches: the voxels of each by id: its mask, or its box filled.
    """
    layers: list[Layer] = []
    boxes = []
    masks = Layer()
    for item in items:
        if item.mask_value is not None:
            masks.add(item.id, patches.get(item.id), item.mask_value)
        elif item.id in patches:
            boxes.append((item.id, patches[item.id]))
    if masks.values:
        layers.append(masks)
    for item_id, patch in boxes:
        layer = next((each for each in layers if each.has_room(patch)), None)
        if layer is None:
            layer = Layer()
            layers.append(layer)
        layer.add(item_id, patch)
    return layers

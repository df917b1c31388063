"""Which findings share one label image, and under which value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.findings import Findings
from MedDetectLib.review.patches import Patch, unclaimed_patches

__all__ = ["Layer", "plan_layers"]


@dataclass
class Layer:
    """One label image on the whole grid.

    Args:
        array: [k, j, i] uint8 or uint16; 0 is nothing.
        values: the value of each finding in it, by id.
    """

    array: npt.NDArray[Any]
    values: dict[str, int]

    def has_room(self, patch: Patch) -> bool:
        """Whether none of the patch's voxels is taken, and a value is left."""
        taken = self.array[patch.slices][patch.mask]
        return self._next_value <= 65535 and not bool(taken.any())

    def add(self, item_id: str, patch: Patch) -> None:
        """Paint a finding under the next value."""
        value = self._next_value
        if value > np.iinfo(self.array.dtype).max:
            self.array = self.array.astype(np.uint16)
        self.array[patch.slices][patch.mask] = value
        self._reserve(item_id, value)

    def __post_init__(self) -> None:
        used = max(self.values.values(), default=0)
        self._next_value = max(used, int(self.array.max(initial=0))) + 1

    def _reserve(self, item_id: str, value: int) -> None:
        self.values[item_id] = value
        self._next_value = value + 1


def plan_layers(findings: Findings, boxes: Sequence[tuple[str, Patch]]) -> list[Layer]:
    """Distribute findings over as few label images as their overlaps allow.

    The label map's findings are the first layer, their values unchanged. Filled boxes join
    the first layer in which they cover nobody; overlapping ones open further layers.

    Args:
        findings: those with a mask go into the first layer.
        boxes: id and filled box of each finding without a mask.
    """
    values = {f.id: f.mask_value for f in findings if f.mask_value is not None}
    layers: list[Layer] = []
    if findings.label_map is not None:
        highest = max(values.values(), default=0)
        array = findings.label_map.copy()
        for patch in unclaimed_patches(findings).values():
            array[patch.slices][patch.mask] = 0
        layers.append(Layer(array.astype(np.uint8 if highest < 256 else np.uint16), values))
    for item_id, patch in boxes:
        layer = next((each for each in layers if each.has_room(patch)), None)
        if layer is None:
            layer = Layer(np.zeros(findings.geometry.shape_kji, np.uint8), {})
            layers.append(layer)
        layer.add(item_id, patch)
    return layers

"""Named segments on one grid, whatever file they came from or go to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import Geometry

__all__ = ["Segment", "Segmentation"]


@dataclass(frozen=True)
class Segment:
    """One segment: which voxels it is and what is said of it.

    Args:
        id: unique in its segmentation; the finding's id in ours.
        name: what a person reads.
        colour_rgb: 0 to 255.
        value: its value in its layer.
        layer: which layer.
        tags: Slicer's segment tags.
    """

    id: str
    name: str
    colour_rgb: tuple[int, int, int]
    value: int
    layer: int = 0
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Segments on one grid.

    Args:
        geometry: the grid; Slicer may have cropped it to what is segmented.
        layers: [layer, k, j, i] label values.
        segments: what the values mean.
    """

    geometry: Geometry
    layers: npt.NDArray[Any]
    segments: tuple[Segment, ...]

    def mask_of(self, segment: Segment) -> npt.NDArray[np.bool_]:
        """Return the [k, j, i] voxels of one segment."""
        return np.asarray(self.layers[segment.layer] == segment.value)

    def on_grid(self, geometry: Geometry) -> Segmentation:
        """Return the same segments on a larger or smaller grid with the same voxels.

        Raises:
            InputError: ``other-grid`` when the voxels of the two grids do not coincide, or
                a segment reaches beyond the other grid.
        """
        if self.geometry.is_close(geometry):
            return self
        first = geometry.ras_to_index(self.geometry.origin_ras_mm)
        start = np.rint(first).astype(int)
        moved = geometry.cropped(start.tolist(), (start + self.geometry.shape_kji).tolist())
        if not moved.is_close(self.geometry, 0.01 * min(geometry.spacing_kji_mm)):
            raise InputError(
                "other-grid",
                "the segmentation's voxels are not those of the volume",
                todo="segment on the volume's own grid, or resample the segmentation onto it",
            )
        layers = np.zeros((len(self.layers), *geometry.shape_kji), self.layers.dtype)
        low = np.maximum(start, 0)
        high = np.minimum(start + np.array(self.geometry.shape_kji), geometry.shape_kji)
        there: list[slice] = []
        here: list[slice] = []
        for a, b, s in zip(low, high, start, strict=True):
            there.append(slice(int(a), max(int(a), int(b))))
            here.append(slice(int(a - s), max(int(a - s), int(b - s))))
        cut = self.layers[(slice(None), *here)]
        layers[(slice(None), *there)] = cut
        if np.count_nonzero(cut) != np.count_nonzero(self.layers):
            raise InputError(
                "other-grid",
                "the segmentation reaches beyond the volume",
                todo="segment inside the volume",
            )
        return Segmentation(geometry, layers, self.segments)

"""One scalar image volume: the voxels and where they lie."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import AxisMap, Geometry
from MedDetectLib.core.notes import Note

__all__ = ["Volume"]


@dataclass(frozen=True, eq=False)
class Volume:
    """A scalar volume on a right-angled grid.

    Args:
        array: [k, j, i], real numbers; CT in HU, other modalities in their own unit.
        geometry: the grid; its shape must be the array's.
        modality: DICOM code such as ``"CT"`` or ``"MR"``; empty when nobody knows.
        name: what a person calls it (file or series name).
        notes: flaws that were accepted on the way in.
        source: where it came from, as plain JSON data (path, series UID, ...).

    Raises:
        InputError: ``bad-array`` when the array is not three-dimensional and real,
            ``bad-shape`` when it does not fit the geometry.
    """

    array: npt.NDArray[Any]
    geometry: Geometry
    modality: str = ""
    name: str = "volume"
    notes: tuple[Note, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.array.ndim != 3 or self.array.dtype.kind not in "iufb":
            raise InputError(
                "bad-array",
                f"a volume needs a 3-D array of real numbers, got {self.array.dtype}"
                f" with shape {self.array.shape}",
                where=self.name,
            )
        if self.array.shape != self.geometry.shape_kji:
            raise InputError(
                "bad-shape",
                f"the array is {self.array.shape}, its geometry {self.geometry.shape_kji}",
                where=self.name,
            )

    @property
    def sha256(self) -> str:
        """Fingerprint of values and place, the same whatever number type holds them.

        Values are hashed as float64, so an int16 file and the same volume held as float
        in a Slicer scene agree.
        """
        return self.fingerprint()

    def fingerprint(self, stop: Callable[[], bool] = lambda: False) -> str:
        """Return `sha256`; asks between slices whether to stop, and is then empty."""
        digest = hashlib.sha256(struct.pack("<3q", *self.geometry.shape_kji))
        digest.update((self.geometry.ijk_to_ras.round(6) + 0.0).astype("<f8").tobytes())
        for plane in self.array:
            if stop():
                return ""
            values = np.add(plane, 0.0, dtype=np.float64)  # -0.0 becomes 0.0
            digest.update(np.ascontiguousarray(values, dtype="<f8").data)
        return digest.hexdigest()

    def reoriented(self, axes: AxisMap) -> Volume:
        """Return the same image with its axes swapped and flipped; nothing moves in RAS."""
        return replace(self, array=axes.apply(self.array), geometry=self.geometry.reoriented(axes))

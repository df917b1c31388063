"""SEG and RTSTRUCT as reference labels on a volume's own grid, voxel by voxel.

Nothing is interpolated: an object whose frames do not lie on the volume's voxels, or that was
made for other images, is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from MedDetectLib import __version__
from MedDetectLib.cases.clinical.dicom_objects import read_object
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding, Findings, Provenance, State
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.labels import Label, Terminology
from MedDetectLib.core.measure import as_box, measure_mask
from MedDetectLib.core.notes import Note
from MedDetectLib.core.volume import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["REFERENCE_ACCEPTABLE", "Part", "Reference", "read_reference"]

REFERENCE_ACCEPTABLE: dict[str, str] = {
    "other-series": "take labels drawn on another series in the same frame of reference",
    "no-reference": "take labels that do not say which images they were drawn on",
}
"""What reading a reference accepts by name."""
PALETTE = (
    (230, 75, 53), (77, 187, 213), (0, 160, 135), (243, 155, 127), (132, 145, 180),
    (145, 209, 194), (126, 97, 72), (176, 156, 133),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Part:
    """One segment or region of interest.

    Args:
        id: unique in its reference.
        name: of its class, what a person reads.
        flat: (n,) sorted indices of its voxels in the volume's array.
        terminology: coded meaning, None where none is stated.
        colour_rgb: None where none is stated.
        state: how it came about, as far as it is known.
    """

    id: str
    name: str
    flat: npt.NDArray[np.int64]
    terminology: Terminology | None = None
    colour_rgb: tuple[int, int, int] | None = None
    state: State = "accepted"


@dataclass(frozen=True, eq=False)
class Reference:
    """Reference labels for one volume; parts may overlap.

    Args:
        geometry: the volume's grid.
        parts: in the order of the object.
        made_by: who or what drew them.
        volume_sha256: the volume's.
        uid: SOP Instance UID of the object.
        notes: what was accepted or is remarkable.
    """

    geometry: Geometry
    parts: tuple[Part, ...]
    made_by: str
    volume_sha256: str
    uid: str
    notes: tuple[Note, ...] = ()

    def mask_of(self, part: Part) -> npt.NDArray[np.bool_]:
        """Return the [k, j, i] voxels of one part, whatever overlaps it."""
        mask = np.zeros(self.geometry.shape_kji, bool)
        mask.flat[part.flat] = True
        return mask

    def findings(self) -> Findings:
        """Return the parts as findings; where they overlap, the later one has the voxels.

        A part that others cover wholly, or that has no voxel, is left out with a note.
        """
        labels = self._labels()
        label_map = np.zeros(self.geometry.shape_kji, np.uint16)
        notes = list(self.notes)
        flat = label_map.reshape(-1)
        lost = 0
        for value, part in enumerate(self.parts, 1):
            lost += int(np.count_nonzero(flat[part.flat]))
            flat[part.flat] = value
        if lost:
            notes.append(
                Note("overlap", f"{lost} voxels of overlapping parts went to the later one")
            )
        items = []
        for value, part in enumerate(self.parts, 1):
            left = part.flat[flat[part.flat] == value]
            if not len(left):
                notes.append(Note("empty-part", f"{part.id} '{part.name}' has no voxel left"))
                continue
            label = labels[_class_of(part)].value
            at = np.stack(np.unravel_index(left, label_map.shape), axis=1)
            low, high = at.min(axis=0), at.max(axis=0) + 1
            window = label_map[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
            sizes = measure_mask(window == value, self.geometry)
            box = as_box([*low, *high])
            items.append(Finding(part.id, label, 1.0, box, value, *sizes, part.state))
        made = Provenance(
            self.made_by, "", "", "reference", "", "", "", self.volume_sha256, __version__
        )
        return Findings(
            self.geometry, tuple(labels.values()), tuple(items), label_map, made, (), tuple(notes)
        )

    def _labels(self) -> dict[tuple[str, Terminology | None], Label]:
        """Return one label per class, numbered in the order they appear."""
        labels: dict[tuple[str, Terminology | None], Label] = {}
        for part in self.parts:
            if _class_of(part) not in labels:
                value = len(labels) + 1
                colour = part.colour_rgb or PALETTE[(value - 1) % len(PALETTE)]
                labels[_class_of(part)] = Label(value, part.name, colour, part.terminology)
        return labels


def read_reference(
    path: str | PathLike[str],
    volume: Volume,
    *,
    accept: Collection[str] = (),
    threshold: float = 0.5,
) -> Reference:
    """Read a DICOM SEG or RTSTRUCT onto a volume.

    Args:
        path: the object's file.
        volume: read from the DICOM series it was drawn on, by `read_volume`. For one from
            another kind of file only the geometry can be compared, and a note says so.
        accept: codes out of `REFERENCE_ACCEPTABLE`.
        threshold: the share (0 to 1) from which a voxel of a FRACTIONAL SEG counts.

    Raises:
        InputError: ``not-a-reference``, ``bad-header``, ``other-frame-of-reference``,
            ``other-series``, ``no-reference``, ``other-grid``, ``unreadable``,
            ``unknown-accept``, ``bad-threshold``.
    """
    from MedDetectLib.cases.clinical.reference_contours import contour_parts
    from MedDetectLib.cases.clinical.reference_segments import segment_parts
    from MedDetectLib.cases.clinical.reference_source import check_source

    path = Path(path)
    unknown = sorted(set(accept) - REFERENCE_ACCEPTABLE.keys())
    if unknown:
        raise InputError(
            "unknown-accept", f"'{unknown[0]}' cannot be accepted",
            todo=f"choose from {', '.join(REFERENCE_ACCEPTABLE)}",
        )  # fmt: skip
    if not 0 < threshold <= 1:
        raise InputError("bad-threshold", f"{threshold:g} is no share above 0 and up to 1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = _read(path)
        notes = check_source(data, volume, path, accept)
        if data.Modality == "SEG":
            parts, more = segment_parts(data, volume.geometry, path, threshold)
        else:
            parts, more = contour_parts(data, volume.geometry, path)
    stated = (str(data.get(key) or "") for key in ("Manufacturer", "ManufacturerModelName"))
    made_by = " ".join(["reference", *dict.fromkeys(filter(None, stated))])
    return Reference(
        volume.geometry, tuple(parts), made_by, volume.sha256, str(data.SOPInstanceUID),
        (*notes, *more),
    )  # fmt: skip


def _read(path: Path) -> Dataset:
    """Read the object, whole."""
    data = read_object(path)
    kind = str(data.get("Modality") or "")
    if kind not in ("SEG", "RTSTRUCT"):
        raise InputError(
            "not-a-reference",
            f"it holds a {kind or 'nameless'} object",
            where=path,
            todo="give a DICOM SEG or RTSTRUCT",
        )
    return data


def _class_of(part: Part) -> tuple[str, Terminology | None]:
    return part.name, part.terminology

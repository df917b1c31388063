"""What `detect()` hands back: findings on the volume's own grid, and how they came about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.labels import Label
from MedDetectLib.core.notes import Note

__all__ = ["Box", "CaseScore", "Finding", "Findings", "LabelMap", "Provenance", "State"]

FORMAT = "meddetect.findings/1"

Box = tuple[float, float, float, float, float, float]
"""``[k0, j0, i0, k1, j1, i1)`` in voxel edges of the volume's own grid."""
LabelMap = npt.NDArray[np.uint16]
State = Literal["new", "accepted", "rejected", "edited", "added"]


@dataclass(frozen=True)
class Finding:
    """One thing found: a box, and a mask when the model draws one.

    Args:
        id: unique within its `Findings`, stable through edits (``"F1"``, ``"F2"``, ...).
        label: the class number, see `Findings.labels`.
        score: the model's confidence, 0 to 1.
        box: voxel edges of the own grid, half-open.
        mask_value: the voxels of the label map that are this finding; None for box only.
        diameter_mm: longest extent of the mask, or the longest side of the box.
        volume_ml: volume of the mask, or of the box.
        state: where the review of it stands.
    """

    id: str
    label: int
    score: float
    box: Box
    mask_value: int | None
    diameter_mm: float
    volume_ml: float
    state: State = "new"

    def to_json(self) -> dict[str, Any]:
        """Return plain data under the field names."""
        data = dict(vars(self))
        data["box"] = list(self.box)
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Finding:
        """Rebuild what `to_json` returned."""
        k0, j0, i0, k1, j1, i1 = (float(edge) for edge in data["box"])
        return cls(**{**data, "box": (k0, j0, i0, k1, j1, i1)})


@dataclass(frozen=True)
class CaseScore:
    """The probability (0 to 1) of one class for the case as a whole."""

    label: int
    score: float


@dataclass(frozen=True)
class Provenance:
    """Everything needed to say later where a finding came from."""

    model: str
    model_version: str
    model_sha256: str
    backend: str
    precision: str
    device: str
    input_name: str
    input_sha256: str
    meddetect_version: str
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Findings:
    """All findings in one volume.

    Args:
        geometry: the volume's own grid.
        labels: the classes the model knows.
        items: the findings, highest score first when they come from `detect`.
        label_map: [k, j, i] on the own grid; 0 is nothing, other values are
            `Finding.mask_value`. None when no finding has a mask.
        case_scores: one per class for models that judge the case as a whole.
        provenance: what made them.
        notes: accepted flaws, fallbacks, limits.

    Raises:
        InputError: ``bad-label-map``, ``bad-finding`` (unknown label, duplicate id, empty
            or non-finite box, a score or size that is not finite, a mask value used twice
            or outside 1 to 65535).
    """

    geometry: Geometry
    labels: tuple[Label, ...]
    items: tuple[Finding, ...]
    label_map: LabelMap | None
    provenance: Provenance
    case_scores: tuple[CaseScore, ...] = ()
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        if self.label_map is not None and (
            self.label_map.shape != self.geometry.shape_kji or self.label_map.dtype != np.uint16
        ):
            raise InputError(
                "bad-label-map",
                f"the label map is {self.label_map.dtype} {self.label_map.shape},"
                f" expected uint16 {self.geometry.shape_kji}",
            )
        known = {label.value for label in self.labels}
        ids: set[str] = set()
        masks: set[int] = set()
        for item in self.items:
            low, high = np.array(item.box[:3]), np.array(item.box[3:])
            sizes = (item.score, item.diameter_mm, item.volume_ml)
            if item.label not in known:
                raise InputError("bad-finding", f"{item.id} has unknown label {item.label}")
            if item.id in ids or item.mask_value in masks:
                raise InputError("bad-finding", f"{item.id}: its id or mask value is used twice")
            if not (np.isfinite(low).all() and np.isfinite(high).all() and (high > low).all()):
                raise InputError("bad-finding", f"{item.id} has an empty box {item.box}")
            if not np.isfinite(sizes).all():
                raise InputError("bad-finding", f"{item.id}: a score or size is not a number")
            if item.mask_value is not None and not 1 <= item.mask_value <= 65535:
                raise InputError("bad-finding", f"{item.id} has mask value {item.mask_value}")
            if item.mask_value is not None and self.label_map is None:
                raise InputError("bad-finding", f"{item.id} has a mask but there is no label map")
            ids.add(item.id)
            if item.mask_value is not None:
                masks.add(item.mask_value)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.items)

    def label_of(self, item: Finding) -> Label:
        """Return the class a finding belongs to."""
        return next(label for label in self.labels if label.value == item.label)

    def mask_of(self, item: Finding) -> npt.NDArray[np.bool_] | None:
        """Return the [k, j, i] mask of one finding on the own grid, None if it has none."""
        if self.label_map is None or item.mask_value is None:
            return None
        return np.asarray(self.label_map == item.mask_value)

    def class_map(self) -> LabelMap:
        """Return [k, j, i] class numbers: the label map with findings of a class merged."""
        lookup = np.zeros(1 << 16, np.uint16)  # voxels of no finding are of no class
        for item in self.items:
            if item.mask_value is not None:
                lookup[item.mask_value] = item.label
        if self.label_map is None:
            return np.zeros(self.geometry.shape_kji, np.uint16)
        return np.asarray(lookup[self.label_map])

    def with_notes(self, *notes: Note) -> Findings:
        """Return the same findings with remarks added."""
        return replace(self, notes=self.notes + notes)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the label map's voxels as plain data."""
        return {
            "format": FORMAT,
            "geometry": self.geometry.to_json(),
            "labels": [label.to_json() for label in self.labels],
            "findings": [item.to_json() for item in self.items],
            "case_scores": [dict(vars(score)) for score in self.case_scores],
            "provenance": dict(vars(self.provenance)),
            "notes": [dict(vars(note)) for note in self.notes],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any], label_map: LabelMap | None) -> Findings:
        """Rebuild what `to_json` returned, with the label map read beside it.

        Raises:
            InputError: ``bad-findings-file`` when the data is of another format or damaged.
        """
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        if found != FORMAT:
            raise InputError(
                "bad-findings-file",
                f"expected format '{FORMAT}', found '{found}'",
                todo="give a findings.json written by this or an older MedDetect",
            )
        try:
            return cls(
                geometry=Geometry.from_json(data["geometry"]),
                labels=tuple(Label.from_json(label) for label in data["labels"]),
                items=tuple(Finding.from_json(item) for item in data["findings"]),
                label_map=label_map,
                provenance=Provenance(**data["provenance"]),
                case_scores=tuple(CaseScore(**score) for score in data["case_scores"]),
                notes=tuple(Note(**note) for note in data["notes"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                "bad-findings-file",
                f"a field is missing or wrong ({type(error).__name__}: {error})",
                todo="give a findings.json that MedDetect wrote",
            ) from None

"""The JSON files of a store as typed records; each is sealed with its own fingerprint."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from MedDetectLib.cases.store.split import SPLITS, Ratios, Split
from MedDetectLib.core.errors import InputError, StoreError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.notes import Note

__all__ = [
    "CASE_ID",
    "KINDS",
    "SCHEMA",
    "Blob",
    "CaseRecord",
    "Kind",
    "StoreRecord",
    "VersionRecord",
    "checked_name",
    "damaged",
    "plain_name",
    "seal_of",
    "sealed",
    "unsealed",
]

SCHEMA = 1
STORE_FORMAT, CASE_FORMAT, VERSION_FORMAT = (
    "meddetect.store",
    "meddetect.case/1",
    "meddetect.version/1",
)
Kind = Literal["ai", "review", "adjudicated", "restored"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CASE_ID = re.compile(r"[0-9a-f]{12}")
BLOB_NAME = re.compile(r"[0-9a-f]{64}\.(nrrd|json)")
T = TypeVar("T")


def sealed(data: dict[str, Any]) -> bytes:
    """Return a record as a person reads it, with the fingerprint of its content."""
    whole = {**data, "seal": seal_of(data)}
    return (json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def seal_of(data: dict[str, Any]) -> str:
    """Return the SHA-256 of a record's content, whatever its layout."""
    content = {key: value for key, value in data.items() if key != "seal"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def unsealed(text: bytes, where: Path, build: Callable[[dict[str, Any]], T]) -> T:
    """Rebuild a record and refuse one that is not what was written.

    Raises:
        StoreError: ``damaged``.
    """
    try:
        data = json.loads(text)
        if data["seal"] != seal_of(data):
            raise damaged(where, "its content is not what was written")
        return build(data)
    except (InputError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(where, f"it cannot be understood ({error!r})") from error


def damaged(where: Path, what: str) -> StoreError:
    """Return the error for a file that is not what it was."""
    return StoreError(
        "damaged", what, where=where, todo="restore it from a backup; see 'store verify'"
    )


def checked_name(text: str, what: str) -> str:
    """Return a patient's or reader's name.

    Raises:
        InputError: ``bad-name`` when it is empty, long, or holds control characters.
    """
    text = plain_name(text)
    if not text or len(text) > 128 or not text.isprintable():
        raise InputError(
            "bad-name", f"'{text[:40]!r}' is no {what}", todo="give 1 to 128 printable characters"
        )
    return text


def plain_name(text: str) -> str:
    """Return a name as it is compared: the same letters, however they were typed, are the same.

    Umlauts come composed from a keyboard and decomposed from some file names (Unicode NFC, NFD):
    one patient written both ways must not become two, in two splits.
    """
    return unicodedata.normalize("NFC", text).strip()


@dataclass(frozen=True)
class Blob:
    """One content-addressed file: ``blobs/<first two>/<sha256>.<suffix>``."""

    name: str
    bytes: int

    def __post_init__(self) -> None:
        if not BLOB_NAME.fullmatch(self.name):
            raise ValueError(f"'{self.name}' is no blob")

    @property
    def sha256(self) -> str:
        """The fingerprint of the file's bytes."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class StoreRecord:
    """``store.json``: what this folder is.

    Args:
        id: of this store; an index belongs to one.
        schema: the layout's version.
        created: UTC time, ISO 8601.
        ratios: how new patients are shared out.
        salt: what makes this store's draw its own.
    """

    id: str
    schema: int
    created: str
    ratios: Ratios
    salt: str

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        split = {"ratios": self.ratios.to_json(), "salt": self.salt}
        return {
            "format": STORE_FORMAT,
            "schema": self.schema,
            "id": self.id,
            "created": self.created,
            "split": split,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> StoreRecord:
        """Rebuild what `to_json` returned."""
        split = data["split"]
        return cls(
            str(data["id"]), int(data["schema"]), str(data["created"]),
            Ratios(**split["ratios"]), str(split["salt"]),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class CaseRecord:
    """``case.json``: one image of one patient.

    Args:
        id: random, says nothing about the patient.
        patient: the pseudonym given at import.
        split: the patient's, for good.
        split_reason: ``drawn``, ``patient`` (as before) or ``same-image`` (as another
            patient with this very image).
        imported: UTC time, ISO 8601.
        name: what a person calls the volume.
        modality: DICOM code.
        geometry: the grid, exact.
        dtype: numpy name of the voxels' type.
        image: the voxels.
        volume_sha256: `Volume.sha256`, the same for the same image in any file.
        source: where it came from (series UIDs), as plain data.
        notes: flaws accepted on the way in, and what was found at import.
        same_image_as: other cases with the same image.
    """

    id: str
    patient: str
    split: Split
    split_reason: str
    imported: str
    name: str
    modality: str
    geometry: Geometry
    dtype: str
    image: Blob
    volume_sha256: str
    source: dict[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    same_image_as: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        data = dict(vars(self))
        data |= {
            "geometry": self.geometry.to_json(),
            "image": vars(self.image),
            "notes": [dict(vars(note)) for note in self.notes],
            "same_image_as": list(self.same_image_as),
        }
        return {"format": CASE_FORMAT, **data}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CaseRecord:
        """Rebuild what `to_json` returned."""
        fields = {key: value for key, value in data.items() if key not in ("format", "seal")}
        if data["format"] != CASE_FORMAT or data["split"] not in SPLITS:
            raise ValueError(f"format {data['format']}, split {data['split']}")
        fields |= {
            "geometry": Geometry.from_json(data["geometry"]),
            "image": Blob(**data["image"]),
            "notes": tuple(Note(**note) for note in data["notes"]),
            "same_image_as": tuple(data["same_image_as"]),
        }
        return cls(**fields)


@dataclass(frozen=True)
class VersionRecord:
    """``versions/0001.json``: what somebody or some model found in a case.

    Args:
        case: the case's id.
        number: from 1, without gaps.
        kind: ``ai``, ``review``, ``adjudicated`` or ``restored``.
        author: the reader, or the model's name and version.
        signed: UTC time, ISO 8601.
        parent: the version it started from.
        previous_seal: of the version before, or of the case for the first.
        findings: all but the voxels.
        label_map: the voxels, None when no finding has a mask.
        count: how many findings that are not rejected.
        labels: their class names, each once.
        act: given by the caller; the same act is never stored twice.
        comment: of the author.
        blinded: whether the author had seen no other reader's work.
        of: the versions an adjudication settled, or the one restored.
        meddetect: the version of the program.
        details: what the author's program recorded beside (reasons, edit effort), plain data.
    """

    case: str
    number: int
    kind: Kind
    author: str
    signed: str
    parent: int | None
    previous_seal: str
    findings: Blob
    label_map: Blob | None
    count: int
    labels: tuple[str, ...]
    act: str
    comment: str = ""
    blinded: bool = False
    of: tuple[int, ...] = ()
    meddetect: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        data = dict(vars(self))
        data |= {
            "findings": vars(self.findings),
            "label_map": vars(self.label_map) if self.label_map else None,
            "labels": list(self.labels),
            "of": list(self.of),
        }
        return {"format": VERSION_FORMAT, **data}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> VersionRecord:
        """Rebuild what `to_json` returned."""
        fields = {key: value for key, value in data.items() if key not in ("format", "seal")}
        if data["format"] != VERSION_FORMAT or data["kind"] not in KINDS:
            raise ValueError(f"format {data['format']}, kind {data['kind']}")
        fields |= {
            "findings": Blob(**data["findings"]),
            "label_map": Blob(**data["label_map"]) if data["label_map"] else None,
            "labels": tuple(data["labels"]),
            "of": tuple(data["of"]),
        }
        return cls(**fields)

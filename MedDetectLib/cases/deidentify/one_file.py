"""What kind of file it is, and which cleaner knows it."""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from MedDetectLib.cases.deidentify.dicom_object import clean_file, is_dicom, remains_in
from MedDetectLib.cases.deidentify.identity import Identity
from MedDetectLib.cases.deidentify.key_file import Key
from MedDetectLib.cases.deidentify.our_json import KNOWN_NAMES, clean_json, identity_of_json
from MedDetectLib.cases.deidentify.plain_files import (
    clean_meta,
    clean_nifti,
    clean_nrrd,
    clean_png,
)
from MedDetectLib.core.errors import InputError

__all__ = ["Kind", "Taken", "take_file"]

HEAD_BYTES = 512
UNPACKING = (struct.error, OverflowError)


class Kind(Enum):
    """Which files can be cleaned."""

    DICOM = "dicom"
    NIFTI = "nifti"
    NRRD = "nrrd"
    META = "meta"
    PNG = "png"
    JSON = "json"
    OTHER = "other"


PLAIN: dict[Kind, Callable[[bytes], tuple[bytes, Counter[str]]]] = {
    Kind.NIFTI: clean_nifti,
    Kind.NRRD: clean_nrrd,
    Kind.META: clean_meta,
    Kind.PNG: clean_png,
}
SUFFIXES = {
    ".nii.gz": Kind.NIFTI, ".nii": Kind.NIFTI, ".seg.nrrd": Kind.NRRD, ".nrrd": Kind.NRRD,
    ".mha": Kind.META, ".png": Kind.PNG, ".mrk.json": Kind.JSON, ".json": Kind.JSON,
}  # fmt: skip


@dataclass(frozen=True)
class Taken:
    """What became of one file.

    Args:
        kind: of file.
        reasons: why it is set aside; empty when it may leave.
        data: the new bytes.
        old_sha256: of the original.
        counts: what was done, how often.
        gone: identifying values that were in it.
        coincidences: see `Cleaner`.
        patient: pseudonym, for DICOM.
        study: new UID, for DICOM.
        series: new UID, for DICOM.
        name: when it keeps its name, because it is one that MedDetect gives.
        suffix: of the new name otherwise.
    """

    kind: Kind
    reasons: tuple[str, ...] = ()
    data: bytes = b""
    old_sha256: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    gone: Identity = field(default_factory=Identity)
    coincidences: frozenset[str] = frozenset()
    patient: str = ""
    study: str = ""
    series: str = ""
    name: str = ""
    suffix: str = ""

    def without_data(self) -> Taken:
        """Return the same without the bytes and the values, which may be large."""
        return replace(self, data=b"", gone=Identity())


def take_file(
    path: Path,
    key: Key,
    fingerprints: dict[str, str],
    *,
    shift_dates: bool,
    accept: frozenset[str],
) -> Taken:
    """Clean one file in memory.

    Args:
        path: the original.
        key: gives out pseudonyms.
        fingerprints: new SHA-256 by old, of files cleaned before.
        shift_dates: see `Options`.
        accept: see `Options`.

    Raises:
        InputError: ``no-file`` when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        kind, suffix = _kind(path, head)
        if kind is Kind.DICOM:
            return _dicom(path, key, shift_dates, accept)
        if kind is Kind.OTHER:
            return Taken(kind, ("unknown-kind",))
        if kind is Kind.PNG and "picture" not in accept:
            return Taken(kind, ("picture",))
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(
            "no-file", f"a file cannot be read ({error.strerror or error})", where=path,
            todo="check the disk and that you may read it",
        ) from error  # fmt: skip
    digest = hashlib.sha256(raw).hexdigest()
    name = path.name if path.name in KNOWN_NAMES else ""
    try:
        if kind is Kind.JSON:
            gone = identity_of_json(raw)
            data, counts = clean_json(raw, key, fingerprints), Counter[str]()
            counts["rewritten"] += data != raw
        else:
            gone = Identity()
            data, counts = PLAIN[kind](raw)
    except json.JSONDecodeError:
        return Taken(kind, ("unknown-kind",))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, *UNPACKING):
        return Taken(kind, ("unknown-kind" if kind is Kind.JSON else "damaged",))
    return Taken(kind, (), data, digest, +counts, gone, name=name, suffix=suffix)


def _dicom(path: Path, key: Key, shift_dates: bool, accept: frozenset[str]) -> Taken:
    try:
        done = clean_file(path, key, shift_dates=shift_dates, accept=accept)
    except ValueError:
        return Taken(Kind.DICOM, ("damaged",))
    reasons = done.reasons
    if not reasons and remains_in(done.data, done.gone, with_pixels=True):
        reasons = ("identity-remains",)
    return Taken(
        Kind.DICOM, reasons, done.data, "", done.counts, done.gone, done.coincidences,
        done.pseudonym, done.study, done.series,
    )  # fmt: skip


def _kind(path: Path, head: bytes) -> tuple[Kind, str]:
    """Return what a file is by its content and, where that says nothing, by its name."""
    lower = path.name.lower()
    suffix = next((end for end in SUFFIXES if lower.endswith(end)), "")
    kind = SUFFIXES.get(suffix, Kind.OTHER)
    if is_dicom(head) and kind is not Kind.JSON:
        return Kind.DICOM, ".dcm"
    return kind, suffix

"""Several readers of one case: blinded second readings, agreement, adjudication.

A blinded reader starts from what the model found, never from another reader's work, and sees
other readers' versions only after signing. Who settles a disagreement is none of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from MedDetectLib.cases.store.agreement import Agreement, agreement_of
from MedDetectLib.cases.store.findings_blobs import read_findings_of
from MedDetectLib.cases.store.records import VersionRecord, checked_name, plain_name
from MedDetectLib.cases.store.signing import Saying, add_version
from MedDetectLib.cases.store.store_folder import StoreFolder
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Findings

__all__ = [
    "Reading",
    "adjudicate",
    "check_adjudication",
    "compare_readings",
    "sign_reading",
    "start_reading",
    "visible_to",
]


@dataclass(frozen=True)
class Reading:
    """What a reader starts from.

    Args:
        case: the case's id.
        reader: who reads.
        blinded: whether other readers' work is kept from them.
        start: the version they start from, None without any.
        findings: of that version.
    """

    case: str
    reader: str
    blinded: bool
    start: VersionRecord | None
    findings: Findings | None


def visible_to(store: StoreFolder, case_id: str, reader: str) -> tuple[VersionRecord, ...]:
    """Return the versions a blinded reader may see: all of them only after having signed."""
    versions, reader = tuple(store.cases.versions(case_id)), plain_name(reader)
    if any(version.author == reader for version in versions):
        return versions
    return tuple(version for version in versions if version.kind == "ai")


def start_reading(
    store: StoreFolder, case_id: str, reader: str, *, blinded: bool = False
) -> Reading:
    """Return what a reader starts from: the newest version they may see.

    A blinded reader who has signed before goes on from their own newest version, unless
    somebody else's work is in it.

    Raises:
        InputError: ``no-case``, ``bad-name``.
        StoreError: ``damaged``, ``cannot-read``.
    """
    reader = checked_name(reader, "reader")
    store.cases.case(case_id)
    versions = tuple(store.cases.versions(case_id))
    if blinded:
        own = [version for version in versions if _is_own(version, reader, versions)]
        versions = tuple(own or (version for version in versions if version.kind == "ai"))
    start = versions[-1] if versions else None
    findings = None if start is None else read_findings_of(store.blobs, start)
    return Reading(case_id, reader, blinded, start, findings)


def sign_reading(
    store: StoreFolder,
    reading: Reading,
    findings: Findings,
    *,
    comment: str = "",
    act: str = "",
    details: dict[str, Any] | None = None,
) -> VersionRecord:
    """Store what a reader made of a case; see `Saying` for the last three.

    Raises:
        InputError: ``not-blinded`` when a blinded reading started from somebody else's work.
        StoreError: see `add_version`.
    """
    start = reading.start
    if (
        reading.blinded
        and start
        and start.kind != "ai"
        and not _is_own(start, reading.reader, tuple(store.cases.versions(reading.case)))
    ):
        raise InputError(
            "not-blinded",
            f"the reading of {reading.reader} started from version {start.number}"
            f" ({start.author}), which holds another reader's work",
            where=reading.case,
            todo="start it with start_reading(..., blinded=True)",
        )
    parent = start.number if start else None
    saying = Saying(
        "review", reading.reader, parent, comment, reading.blinded, act=act, details=details or {}
    )
    return add_version(store, reading.case, findings, saying)


def _is_own(version: VersionRecord, reader: str, versions: tuple[VersionRecord, ...]) -> bool:
    """Whether a version is a reader's, made from nothing but a model's findings and their own."""
    by_number = {each.number: each for each in versions}
    while version.kind in ("review", "restored") and version.author == reader:
        before = by_number.get(version.of[0] if version.of else version.parent or 0)
        if before is None or before.kind == "ai":
            return True
        if before.number >= version.number:
            return False
        version = before
    return False


def compare_readings(store: StoreFolder, case_id: str, first: int, second: int) -> Agreement:
    """Say how far two versions of a case agree.

    Raises:
        InputError: ``no-case``, ``no-version``.
        StoreError: ``damaged``, ``cannot-read``.
    """
    one, two = (store.cases.version(case_id, number) for number in (first, second))
    return agreement_of(read_findings_of(store.blobs, one), read_findings_of(store.blobs, two))


def check_adjudication(store: StoreFolder, case_id: str, author: str, of: tuple[int, ...]) -> str:
    """Make sure that somebody may settle some versions; return their name, cleaned.

    Args:
        store: which.
        case_id: which case.
        author: who decides; none of the readers.
        of: the versions to settle, of at least two readers.

    Raises:
        InputError: ``not-two-readings``, ``not-independent``; ``no-case``, ``no-version``,
            ``bad-name``.
        StoreError: ``damaged``, ``cannot-read``.
    """
    author = checked_name(author, "author")
    settled = [store.cases.version(case_id, number) for number in of]
    readers = {version.author for version in settled if version.kind != "ai"}
    if len(readers) < 2:
        raise InputError(
            "not-two-readings",
            f"versions {list(of)} are of {len(readers)} reader",
            where=case_id,
            todo="name a version of each of two readers",
        )
    if author in readers:
        raise InputError(
            "not-independent",
            f"{author} is one of the readers",
            where=case_id,
            todo="let a third person decide",
        )
    return author


def adjudicate(
    store: StoreFolder,
    case_id: str,
    findings: Findings,
    author: str,
    of: tuple[int, ...],
    *,
    comment: str = "",
    act: str = "",
    details: dict[str, Any] | None = None,
) -> VersionRecord:
    """Store what a third person decided about readings that differ.

    Args:
        store: which.
        case_id: which case.
        findings: the decision.
        author: who decided; none of the readers.
        of: the versions it settles, of at least two readers.
        comment: free text.
        act: see `Saying`.
        details: see `Saying`.

    Raises:
        InputError: see `check_adjudication`.
        StoreError: see `add_version`.
    """
    author = check_adjudication(store, case_id, author, of)
    saying = Saying(
        "adjudicated", author, of[-1], comment, of=tuple(of), act=act, details=details or {}
    )
    return add_version(store, case_id, findings, saying)

"""What a reading of a case starts from, and where its session lies.

start = start_case(store, case_id, "Dr A", blinded=True)
with begin_session(store, start) as session:
session.do(Accept("F1"))
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from MedDetectLib import __version__
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.cases.store.records import CaseRecord
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Findings, Provenance
from MedDetectLib.core.labels import Label
from MedDetectLib.core.volume import Volume
from MedDetectLib.review.case_note import CaseNote, read_note, write_note
from MedDetectLib.review.session import ReviewSession

__all__ = [
    "CaseStart",
    "begin_session",
    "new_session_folder",
    "no_findings",
    "sessions_of",
    "start_case",
    "take_in",
]

REVIEWS = "reviews"
"""Folder beside a store's own, where sessions of its cases lie unless said otherwise."""


@dataclass(frozen=True, eq=False)
class CaseStart:
    """What a reader starts from.

    Args:
        case: the case's record.
        note: which case, who reads.
        findings: of the version it starts from; empty ones where nothing was said yet.
    """

    case: CaseRecord
    note: CaseNote
    findings: Findings


def take_in(
    store: CaseStore, volume: Volume, patient: str, findings: Findings | None = None
) -> CaseRecord:
    """Store an image as a case; the one that is there when it is known of this patient.

    Raises:
        InputError, StoreError: see `importing.import_volume`.
    """
    return store.import_volume(volume, patient, findings, existing_ok=True).case


def start_case(
    store: CaseStore,
    case_id: str,
    reader: str,
    *,
    blinded: bool = False,
    settles: tuple[int, ...] = (),
    labels: tuple[Label, ...] = (),
) -> CaseStart:
    """Return what a reader starts from: the newest version they may see.

    Args:
        store: where the case lies.
        case_id: which.
        reader: who reads.
        blinded: keep other readers' work from this one.
        settles: versions this adjudicates; it starts from the first of them.
        labels: classes for a case that no model has looked at yet.

    Raises:
        InputError: ``no-case``, ``bad-name``; ``no-labels`` when there is no version to
            start from and no labels were given; ``not-two-readings``, ``not-independent``,
            ``no-version`` for what an adjudication would settle.
        StoreError: ``damaged``, ``cannot-read``.
    """
    case = store.case(case_id)
    start: int | None
    if settles:
        reader = store.check_adjudication(case_id, reader, settles)
        findings, start = store.findings(case_id, settles[0]), settles[0]
    else:
        reading = store.start_reading(case_id, reader, blinded=blinded)
        reader, start = reading.reader, reading.start.number if reading.start else None
        findings = reading.findings or no_findings(case, labels)
    place = str(store.folder.absolute())
    return CaseStart(case, CaseNote(place, case_id, reader, blinded, start, settles), findings)


def begin_session(
    store: CaseStore, start: CaseStart, folder: str | PathLike[str] | None = None
) -> ReviewSession:
    """Begin the session of a reading.

    Args:
        store: where the case lies.
        start: see `start_case`.
        folder: for the session; beside the store's own folders if None.

    Raises:
        StoreError: see `ReviewSession.start`.
    """
    place = Path(folder) if folder is not None else new_session_folder(store, start.note)
    session = ReviewSession.start(
        place, start.findings, volume_sha256=start.case.volume_sha256, about=start.note.about
    )
    try:
        write_note(session.folder, start.note)
    except BaseException:
        session.close()
        raise
    return session


def no_findings(case: CaseRecord, labels: tuple[Label, ...]) -> Findings:
    """Return empty findings to begin with, for a case that no model has looked at.

    Raises:
        InputError: ``no-labels``.
    """
    if not labels:
        raise InputError(
            "no-labels", "no version to start from, and no classes to name findings by",
            where=case.id, todo="run a model on it first, or choose one whose classes are used",
        )  # fmt: skip
    by_hand = Provenance(
        model="none", model_version="", model_sha256="", backend="none", precision="",
        device="", input_name=case.name, input_sha256=case.volume_sha256,
        meddetect_version=__version__,
    )  # fmt: skip
    return Findings(case.geometry, labels, (), None, by_hand)


def new_session_folder(store: CaseStore, note: CaseNote) -> Path:
    """Return a folder that no session has yet, beside the store's own folders."""
    return store.folder / REVIEWS / f"{note.case}-{secrets.token_hex(6)}"


def sessions_of(store: CaseStore, case_id: str = "") -> Iterator[tuple[Path, CaseNote]]:
    """Yield the sessions kept beside a store, with what each is of; of one case if given."""
    for path in sorted((store.folder / REVIEWS).glob(f"{case_id or '*'}-*")):
        with contextlib.suppress(InputError):
            if (note := read_note(path)) is not None:
                yield path, note

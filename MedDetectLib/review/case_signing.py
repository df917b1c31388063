"""A signed review as a version of its case: stored once, whatever dies in between.

A signature is two things: an act in the session's journal, and a version of the case. The
version carries the act's name, so that storing it again is storing it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from MedDetectLib.cases.store.case_store import CaseStore, Reading
from MedDetectLib.cases.store.records import VersionRecord
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Findings
from MedDetectLib.review.case_note import CaseNote
from MedDetectLib.review.history import Signature
from MedDetectLib.review.session import ReviewSession

__all__ = ["Signed", "act_of", "details_of", "not_built_on", "signed", "store_signed", "version_of"]


@dataclass(frozen=True, eq=False)
class Signed:
    """A signature and what it signs, apart from the session it came from.

    Args:
        note: which case, who reads.
        findings: what was signed.
        signature: by whom.
        act: its name in the store.
        details: see `details_of`.
    """

    note: CaseNote
    findings: Findings
    signature: Signature
    act: str
    details: dict[str, Any]


def act_of(session: ReviewSession) -> str:
    """Return what names a session's present signature in the store; empty without one."""
    signature = session.signature
    if signature is None:
        return ""
    return f"review:{session.header['session']}:{signature.seq}:{signature.findings_sha256[:16]}"


def version_of(store: CaseStore, note: CaseNote, session: ReviewSession) -> VersionRecord | None:
    """Return the version a session's present signature has become; None while there is none.

    Raises:
        InputError: ``no-case``.
        StoreError: ``damaged``, ``cannot-read``.
    """
    act = act_of(session)
    if not act:
        return None
    return next((v for v in store.versions(note.case) if v.act == act), None)


def signed(session: ReviewSession, note: CaseNote) -> Signed:
    """Return a session's signature, to be stored, in another thread if need be.

    Raises:
        InputError: ``not-signed``.
    """
    signature = session.signature
    if signature is None:
        raise InputError("not-signed", "the review is not signed", where=session.folder)
    return Signed(note, session.findings, signature, act_of(session), details_of(session))


def store_signed(store: CaseStore, what: Signed) -> VersionRecord:
    """Store a signature as a version of its case; once, however often it is called.

    Raises:
        InputError: ``not-blinded``, ``not-independent``, ...: see `CaseStore`.
        StoreError: see `CaseStore`; the review stays signed, and this can be repeated.
    """
    note, reader, comment = what.note, what.signature.reviewer, what.signature.comment
    if note.settles:
        return store.adjudicate(
            note.case, what.findings, reader, note.settles,
            comment=comment, act=what.act, details=what.details,
        )  # fmt: skip
    start = next((v for v in store.versions(note.case) if v.number == note.start), None)
    reading = Reading(note.case, reader, note.blinded, start, None)
    return store.sign_reading(
        reading, what.findings, comment=comment, act=what.act, details=what.details
    )


def not_built_on(
    store: CaseStore, note: CaseNote, version: VersionRecord
) -> tuple[VersionRecord, ...]:
    """Return what people signed while a reading was under way, and what it does not contain.

    It stays in the store; the newer version speaks for the case all the same. A blinded
    reader is told nothing.

    Raises:
        StoreError: see `CaseStore.versions`.
    """
    if note.blinded:
        return ()
    session = version.details.get("session")
    return tuple(
        other
        for other in store.versions(note.case)
        if (note.start or 0) < other.number < version.number
        and other.kind != "ai"
        and other.number not in note.settles
        and (session is None or other.details.get("session") != session)
    )


def details_of(session: ReviewSession) -> dict[str, Any]:
    """Return what a version records beside its findings: effort, reasons, comments."""
    reasons: dict[str, str] = {}
    for entry in session.history:
        if entry.kind == "reject":
            reasons[str(entry.act["finding_id"])] = str(entry.act["reason"])
    rejected = {item.id for item in session.items if item.state == "rejected"}
    return {
        "session": str(session.header["session"]),
        "effort": {key: dict(vars(effort)) for key, effort in session.effort.items()},
        "reasons": {key: reason for key, reason in reasons.items() if key in rejected},
        "comments": [
            {"finding": entry.act.get("finding_id"), "text": str(entry.act["text"])}
            for entry in session.comments
        ],
    }

"""How a session comes from its folder: begun, gone on with, or only looked at."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MedDetectLib.core.errors import StoreError
from MedDetectLib.core.findings import Findings
from MedDetectLib.core.notes import Note
from MedDetectLib.review.disk import AppendOnly, saying_plainly
from MedDetectLib.review.draft import Draft
from MedDetectLib.review.fingerprint import findings_sha256
from MedDetectLib.review.folder import JOURNAL, create, damaged, read_journal, read_start
from MedDetectLib.review.folder import read_voxels as read_voxels_file
from MedDetectLib.review.history import History
from MedDetectLib.review.journal import FORMAT, READABLE_BY, VERSION, Journal, newer_session
from MedDetectLib.review.one_writer import OneWriter

__all__ = ["Opened", "begin", "go_on"]


@dataclass(eq=False)
class Opened:
    """A session as its journal tells it.

    Args:
        folder: where it is.
        draft: the findings as they stand.
        history: what was done.
        journal: what was read.
        file: the journal, to be written to; None when somebody only looks.
        writer: the right to write; None when somebody only looks.
        notes: what had to be said.
    """

    folder: Path
    draft: Draft
    history: History
    journal: Journal
    file: AppendOnly | None
    writer: OneWriter | None
    notes: tuple[Note, ...] = ()


def begin(
    folder: Path, findings: Findings, volume_sha256: str, about: Mapping[str, Any], now: str
) -> Opened:
    """Make a new session, see `ReviewSession.start`; `now` is UTC in ISO 8601."""
    from MedDetectLib import __version__

    header = {
        "format": FORMAT,
        "version": VERSION,
        "readable_by": READABLE_BY,
        "session": secrets.token_hex(16),
        "started": now,
        "findings_sha256": findings_sha256(findings),
        "volume_sha256": volume_sha256,
        "meddetect_version": __version__,
        "about": dict(about),
    }
    writer = create(folder, findings, header)
    with _released_if_it_fails(folder, writer):
        journal = read_journal(folder)
        file = AppendOnly(folder / JOURNAL, journal.size)
        return Opened(folder, Draft(findings), History(), journal, file, writer)


def go_on(folder: Path, *, read_only: bool, up_to_damage: bool) -> Opened:
    """Open a session, see `ReviewSession.open`."""
    writer = None
    if not (read_only or up_to_damage):
        if not os.path.isfile(folder / JOURNAL):
            read_journal(folder)  # says why not; a folder that is no session gets no lock file
        with saying_plainly(folder):
            writer = OneWriter(folder)
    with _released_if_it_fails(folder, writer):
        journal = read_journal(folder)
        if writer is not None and int(journal.header["version"]) > VERSION:
            raise newer_session(folder)
        if journal.damage and not up_to_damage:
            raise StoreError(
                "damaged-journal",
                journal.damage,
                where=folder / JOURNAL,
                todo="restore it from a backup; 'meddetect review export --up-to-damage' saves"
                " what is before it",
            )
        start = read_start(folder, str(journal.header["findings_sha256"]))
        draft, history, lost = _replayed(folder, start, journal, up_to_damage=up_to_damage)
        file = None if writer is None else AppendOnly(folder / JOURNAL, journal.size)
        return Opened(folder, draft, history, journal, file, writer, (*_notes(journal), *lost))


@contextlib.contextmanager
def _released_if_it_fails(folder: Path, writer: OneWriter | None) -> Iterator[None]:
    try:
        with saying_plainly(folder):
            yield
    except BaseException:
        if writer is not None:
            writer.release()
        raise


def _replayed(
    folder: Path, start: Findings, journal: Journal, *, up_to_damage: bool
) -> tuple[Draft, History, tuple[Note, ...]]:
    """Do every act of a journal again, by what it changed.

    Args:
        folder: of the session.
        start: the findings before the first act.
        journal: what was read.
        up_to_damage: end before the first act whose voxels are lost, with a note.

    Raises:
        StoreError: ``damaged-journal``, ``damaged-session`` when files of voxels are not
            there, or the result is not what was signed.
    """
    draft, history, lost = Draft(start, copy=False), History(), tuple[Note, ...]()
    for line in journal.lines:
        entry = history.read(line)
        try:
            change = entry.effect.change(lambda name: read_voxels_file(folder, name))
        except StoreError as error:
            if not up_to_damage:
                raise
            left = len(journal.lines) - len(history.entries)
            lost = (Note("damaged-session", f"{error.what}: the last {left} acts are left out"),)
            break
        draft.apply(entry.effect, change, follow=False)
        history.add(entry)
    draft.find_voxels()
    history.focus = None  # nobody looks at a finding of a closed session
    wanted = history.signatures[-1].findings_sha256 if history.signed else ""
    if wanted and findings_sha256(draft.findings(copy=False)) != wanted:
        raise damaged(folder, "the findings are not those that were signed")
    return draft, history, lost


def _notes(journal: Journal) -> tuple[Note, ...]:
    notes = []
    if journal.torn:
        text = f"{journal.torn} bytes of an act that was not acknowledged are left out"
        notes.append(Note("torn-act", text))
    if journal.damage:
        notes.append(Note("damaged-journal", journal.damage))
    return tuple(notes)

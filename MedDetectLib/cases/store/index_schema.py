"""The tables of the index, and how one case's rows follow from its files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from MedDetectLib.cases.store.records import CaseRecord, VersionRecord

__all__ = [
    "LAYOUT",
    "TABLES",
    "Status",
    "drop_case",
    "put_case",
    "put_versions",
    "said_by",
    "status_of",
]

LAYOUT = "4"
"""Raise it with every change below: an index of another layout is rebuilt."""

# The indexes hold every column that is filtered by, and `labels` too: a filter that nothing
# passes is answered from an index alone, without looking up each case.

Status = Literal["imported", "detected", "reviewed", "read-twice", "adjudicated", "damaged"]

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE cases (
  id TEXT PRIMARY KEY, patient TEXT, split TEXT, imported TEXT, name TEXT, modality TEXT,
  volume_sha256 TEXT, status TEXT, readers INTEGER, reader TEXT, versions INTEGER,
  latest_kind TEXT, signed TEXT, findings INTEGER, labels TEXT
) WITHOUT ROWID;
CREATE INDEX cases_in_order ON cases (imported, id, split, modality, reader);
CREATE INDEX cases_by_split ON cases (split, imported, id, modality, reader);
CREATE INDEX cases_by_status ON cases (status, imported, id, split, modality, reader);
CREATE INDEX cases_by_both ON cases (status, split, imported, id, modality, reader);
CREATE INDEX cases_by_modality ON cases (modality, imported, id, status, split, reader);
CREATE INDEX cases_by_patient ON cases (patient);
CREATE INDEX cases_by_image ON cases (volume_sha256);
CREATE TABLE labels (
  label TEXT, imported TEXT, id TEXT, patient TEXT, status TEXT, split TEXT, modality TEXT,
  reader TEXT, PRIMARY KEY (label, imported, id)
) WITHOUT ROWID;
CREATE INDEX labels_of_case ON labels (id);
CREATE TABLE versions (
  case_id TEXT, number INTEGER, kind TEXT, author TEXT, act TEXT, signed TEXT, reader TEXT,
  PRIMARY KEY (case_id, number)
) WITHOUT ROWID;
CREATE INDEX versions_by_act ON versions (act);
CREATE INDEX versions_by_author ON versions (case_id, author);
"""


def said_by(versions: Iterable[VersionRecord]) -> list[tuple[str, str]]:
    """Return (kind, author) of each version as `status_of` takes them, oldest first."""
    said: dict[int, tuple[str, str]] = {}
    for version in versions:
        said[version.number] = _said(version, said)
    return list(said.values())


def _said(version: VersionRecord, before: Mapping[int, tuple[str, str]]) -> tuple[str, str]:
    """Return who says a version: whose it is that was restored; ``unread`` for a model's."""
    if version.kind != "restored" or not version.of:
        return version.kind, version.author
    kind, author = before.get(version.of[0], (version.kind, version.author))
    return ("unread" if kind == "ai" else kind), author


def status_of(versions: Sequence[tuple[str, str]]) -> tuple[Status, tuple[str, ...]]:
    """Return where a case stands, and who has read it since it was last adjudicated.

    A model's version that somebody restored speaks for the case again, and nobody has read it.

    Args:
        versions: (kind, author), oldest first, see `said_by`.
    """
    readers: dict[str, None] = {}
    status: Status = "imported"
    for kind, author in versions:
        if kind == "ai":
            status = "detected" if status == "imported" else status
        elif kind in ("adjudicated", "unread"):
            status, readers = ("adjudicated" if kind == "adjudicated" else "detected"), {}
        else:
            readers[author] = None
            status = "read-twice" if len(readers) > 1 else "reviewed"
    return status, tuple(readers)


def put_case(db: sqlite3.Connection, case_id: str, case: CaseRecord | None) -> None:
    """Write the row of a case that has no versions yet; None for one that is damaged."""
    db.execute(
        "INSERT OR REPLACE INTO cases VALUES (?,?,?,?,?,?,?,?,0,'',0,'','',0,'')",
        (case_id, "", "", "", "", "", "", "damaged")
        if case is None
        else (case.id, case.patient, case.split, case.imported, case.name, case.modality,
              case.volume_sha256, "imported"),
    )  # fmt: skip


def put_versions(
    db: sqlite3.Connection, case_id: str, fresh: Iterable[VersionRecord], *, broken: bool
) -> None:
    """Add versions to a case's row.

    Args:
        db: inside a transaction.
        case_id: whose row is there already.
        fresh: those not in the index yet, oldest first.
        broken: whether the next version cannot be read.
    """
    last: VersionRecord | None = None
    known = "SELECT number, kind, reader FROM versions WHERE case_id=? ORDER BY number"
    said = {number: (kind, reader) for number, kind, reader in db.execute(known, (case_id,))}
    for last in fresh:
        kind, reader = said[last.number] = _said(last, said)
        db.execute(
            "INSERT OR REPLACE INTO versions VALUES (?,?,?,?,?,?,?)",
            (case_id, last.number, kind, last.author, last.act, last.signed, reader),
        )
    status, readers = status_of(list(said.values()))
    sole = readers[0] if len(readers) == 1 else ""
    db.execute(
        "UPDATE cases SET status=?, readers=?, reader=?, versions=? WHERE id=?",
        ("damaged" if broken else status, len(readers), sole, len(said), case_id),
    )
    if last is not None:
        db.execute(
            "UPDATE cases SET latest_kind=?, signed=?, findings=?, labels=? WHERE id=?",
            (last.kind, last.signed, last.count, "\n".join(last.labels), case_id),
        )
    (labels,) = db.execute("SELECT labels FROM cases WHERE id=?", (case_id,)).fetchone()
    db.execute("DELETE FROM labels WHERE id=?", (case_id,))
    db.executemany(
        "INSERT INTO labels SELECT ?, imported, id, patient, status, split, modality, reader"
        " FROM cases WHERE id=?",
        [(label, case_id) for label in labels.split("\n") if label],
    )


def drop_case(db: sqlite3.Connection, case_id: str) -> None:
    """Forget a case whose folder is gone."""
    db.execute("DELETE FROM cases WHERE id=?", (case_id,))
    db.execute("DELETE FROM labels WHERE id=?", (case_id,))
    db.execute("DELETE FROM versions WHERE case_id=?", (case_id,))

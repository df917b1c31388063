"""The tables of the index, and how one case's rows follow from its files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Literal

from MedDetectLib.cases.store.records import CaseRecord, VersionRecord

__all__ = ["LAYOUT", "TABLES", "Status", "drop_case", "put_case", "put_versions", "status_of"]

LAYOUT = "3"
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
  case_id TEXT, number INTEGER, kind TEXT, author TEXT, act TEXT, signed TEXT,
  PRIMARY KEY (case_id, number)
) WITHOUT ROWID;
CREATE INDEX versions_by_act ON versions (act);
CREATE INDEX versions_by_author ON versions (case_id, author);
"""


def status_of(versions: Sequence[tuple[str, str]]) -> tuple[Status, tuple[str, ...]]:
    """Return where a case stands, and who has read it since it was last adjudicated.

    Args:
        versions: (kind, author), oldest first.
    """
    readers: dict[str, None] = {}
    status: Status = "imported"
    for kind, author in versions:
        if kind == "ai":
            status = "detected" if status == "imported" else status
        elif kind == "adjudicated":
            status, readers = "adjudicated", {}
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
    for last in fresh:
        db.execute(
            "INSERT OR REPLACE INTO versions VALUES (?,?,?,?,?,?)",
            (case_id, last.number, last.kind, last.author, last.act, last.signed),
        )
    said = db.execute(
        "SELECT kind, author FROM versions WHERE case_id=? ORDER BY number", (case_id,)
    ).fetchall()
    status, readers = status_of(said)
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

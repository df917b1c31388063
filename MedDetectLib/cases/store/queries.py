"""What is asked of the index: lists, the next case to read, what is known of an image."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

from MedDetectLib.cases.store.index_schema import Status
from MedDetectLib.cases.store.records import plain_name
from MedDetectLib.cases.store.split import Split

__all__ = [
    "CaseFilter",
    "CaseRow",
    "KnownImage",
    "count_cases",
    "ids_beginning",
    "latest_number",
    "list_cases",
    "number_of_act",
    "split_of_patient",
    "with_image",
]

COLUMNS = (
    "id, patient, split, imported, name, modality, status, readers, versions, latest_kind,"
    " signed, findings, labels"
)


@dataclass(frozen=True)
class CaseRow:
    """One case as a list shows it.

    Args:
        id: of the case.
        patient: the pseudonym given at import.
        split: ``train``, ``validation`` or ``frozen``.
        imported: UTC time, ISO 8601.
        name: of the volume.
        modality: DICOM code.
        status: ``imported``, ``detected``, ``reviewed``, ``read-twice``, ``adjudicated``,
            ``damaged``.
        readers: how many have read it since it was last adjudicated.
        versions: how many there are.
        latest_kind: of the newest version, empty without one.
        signed: when the newest version was.
        findings: how many that are not rejected, in the newest version; None in a list for a
            reader who shall not know what others found, see `CaseFilter.not_read_by`.
        labels: their class names; none of them then.
    """

    id: str
    patient: str
    split: Split
    imported: str
    name: str
    modality: str
    status: Status
    readers: int
    versions: int
    latest_kind: str
    signed: str
    findings: int | None
    labels: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**vars(self), "labels": list(self.labels)}


@dataclass(frozen=True)
class CaseFilter:
    """Which cases; what is None does not matter. In the order they were imported.

    Args:
        status: where the case stands.
        split: of the patient.
        patient: the pseudonym.
        modality: DICOM code.
        label: a class name found in the newest version.
        not_read_by: a reader who has no version of the case. That reader may be blinded, so
            the rows do not tell what other people found.
        after: a row of an earlier answer: go on behind it.
        limit: at most so many.
    """

    status: Status | None = None
    split: Split | None = None
    patient: str | None = None
    modality: str | None = None
    label: str | None = None
    not_read_by: str | None = None
    after: CaseRow | None = None
    limit: int | None = None

    def which(self) -> tuple[str, list[Any]]:
        """Return ``FROM ... WHERE ...`` and its values; both tables have what is filtered by."""
        tests, values = ["1"], list[Any]()
        for column in ("status", "split", "patient", "modality", "label"):
            if (value := getattr(self, column)) is not None:
                tests.append(f"{column}=?")
                values.append(plain_name(value) if column == "patient" else value)
        table = "cases" if self.label is None else "labels"
        if self.not_read_by is not None:
            # The sole reader stands in the indexes, so most rows need no second look.
            tests.append(
                "reader<>? AND NOT EXISTS (SELECT 1 FROM versions WHERE"
                f" versions.case_id={table}.id AND versions.author=?)"
            )
            values += [plain_name(self.not_read_by)] * 2
        if self.after is not None:
            tests.append("(imported, id)>(?,?)")
            values += [self.after.imported, self.after.id]
        return f"FROM {table} WHERE {' AND '.join(tests)}", values


class KnownImage(NamedTuple):
    """A case that holds an image."""

    id: str
    patient: str
    split: Split


def list_cases(db: sqlite3.Connection, wanted: CaseFilter) -> Iterator[CaseRow]:
    """Yield cases in the order they were imported, one at a time."""
    which, values = wanted.which()
    which = f"SELECT id {which} ORDER BY imported, id"
    if wanted.limit is not None:
        which += " LIMIT ?"
        values.append(wanted.limit)
    # Which cases is asked apart from what is shown of them: an index alone answers the first.
    sql = f"SELECT {COLUMNS} FROM cases WHERE id IN ({which}) ORDER BY imported, id"
    for row in db.execute(sql, values):
        labels = tuple(row[-1].split("\n")) if row[-1] else ()
        found = CaseRow(*(*row[:-1], labels))
        if wanted.not_read_by is not None and found.latest_kind not in ("", "ai"):
            found = replace(found, findings=None, labels=())
        yield found


def count_cases(db: sqlite3.Connection, wanted: CaseFilter) -> int:
    """Return how many cases there are of a kind."""
    which, values = wanted.which()
    return int(db.execute(f"SELECT COUNT(*) {which}", values).fetchone()[0])


def ids_beginning(db: sqlite3.Connection, text: str, limit: int) -> tuple[str, ...]:
    """Return the ids that begin with a text of hexadecimal digits."""
    rows = db.execute(
        "SELECT id FROM cases WHERE id>=? AND id<? LIMIT ?", (text, f"{text}g", limit)
    )
    return tuple(row[0] for row in rows)


def with_image(db: sqlite3.Connection, volume_sha256: str) -> list[KnownImage]:
    """Return the cases that hold this very image."""
    rows = db.execute(
        "SELECT id, patient, split FROM cases WHERE volume_sha256=? ORDER BY imported, id",
        (volume_sha256,),
    )
    return [KnownImage(*row) for row in rows]


def split_of_patient(db: sqlite3.Connection, patient: str) -> Split | None:
    """Return the split a patient is in, None for a new one."""
    row = db.execute("SELECT split FROM cases WHERE patient=? LIMIT 1", (patient,)).fetchone()
    return cast(Split, row[0]) if row else None


def latest_number(db: sqlite3.Connection, case_id: str) -> int:
    """Return the number of a case's newest version, 0 without one."""
    row = db.execute("SELECT versions FROM cases WHERE id=?", (case_id,)).fetchone()
    return int(row[0]) if row else 0


def number_of_act(db: sqlite3.Connection, case_id: str, act: str) -> int | None:
    """Return the version an act has become, None when it was never stored."""
    row = db.execute(
        "SELECT number FROM versions WHERE act=? AND case_id=?", (act, case_id)
    ).fetchone()
    return int(row[0]) if row else None

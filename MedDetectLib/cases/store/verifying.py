"""Checking every byte a store vouches for, and tidying up what nobody refers to."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from MedDetectLib.cases.durable import WRITING, said_plainly, unreadable
from MedDetectLib.cases.store.index_schema import said_by, status_of
from MedDetectLib.cases.store.nrrd_blob import read_voxels
from MedDetectLib.cases.store.records import (
    BLOB_NAME,
    CASE_ID,
    Blob,
    CaseRecord,
    VersionRecord,
    damaged,
    seal_of,
)
from MedDetectLib.cases.store.store_folder import FOLDERS, StoreFolder
from MedDetectLib.core.errors import MedDetectError, StoreError
from MedDetectLib.core.volume import Volume

__all__ = ["Report", "verify_store"]

LEFT_ALONE_S = 24 * 3600.0
"""A file being written this long ago is nobody's any more."""


@dataclass
class Report:
    """What a check found.

    Args:
        cases: how many were checked.
        versions: of all cases.
        blobs: files named by their content, checked.
        problems: what is not as it was written; nothing repairs these but a backup.
        leftovers: files that crashes left and nobody refers to; harmless.
        index: what the index had wrong; empty when it agrees with the folder.
        removed: leftovers removed by a repair; blobs only when there are cases and no problems.
        index_rebuilt: whether a repair made the index anew.
    """

    cases: int = 0
    versions: int = 0
    blobs: int = 0
    problems: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    index: list[str] = field(default_factory=list)
    removed: int = 0
    index_rebuilt: bool = False

    @property
    def is_good(self) -> bool:
        """Whether everything the store vouches for is there and right."""
        return not self.problems and (not self.index or self.index_rebuilt)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**vars(self), "is_good": self.is_good}


def verify_store(
    store: StoreFolder, *, repair: bool = False, deep: bool = False, quick: bool = False
) -> Report:
    """Check records, chains, splits, blobs and the index.

    Args:
        store: which.
        repair: make the index anew and remove leftovers; takes the lease.
        deep: also decode every image and compare its own fingerprint.
        quick: believe a blob of the right size without reading it.

    Raises:
        StoreError: with `repair`, see `StoreFolder.writing`.
    """
    if not repair:
        return _Check(store, deep, quick, lambda: None).run()
    with store.writing() as lease, said_plainly(store.root):
        check = _Check(store, deep, quick, lease.beat)
        report = check.run()
        store.rebuild_index(lease.beat)
        report.index_rebuilt = True
        for path in check.leftover_paths():
            if (report.problems or not report.cases) and BLOB_NAME.fullmatch(path.name):
                continue  # what refers to it may be what cannot be read, or is not back yet
            if path.is_dir():
                shutil.rmtree(path)
            else:
                os.unlink(path)
            report.removed += 1
            lease.beat()
    return report


ROW = "SELECT id, patient, split, versions, status FROM cases"


class _Check:
    """One run over a store; what is referred to is noted on disk, not in memory."""

    def __init__(
        self, store: StoreFolder, deep: bool, quick: bool, alive: Callable[[], None]
    ) -> None:
        self.store, self.deep, self.quick, self.alive = store, deep, quick, alive
        self.report = Report()
        self.notes = sqlite3.connect("", isolation_level=None)
        self.notes.execute("CREATE TABLE blobs (name TEXT PRIMARY KEY) WITHOUT ROWID")
        self.notes.execute("CREATE TABLE patients (id TEXT PRIMARY KEY, split TEXT) WITHOUT ROWID")
        self.notes.execute("CREATE TABLE rows (id TEXT PRIMARY KEY, said TEXT) WITHOUT ROWID")
        self.notes.execute("CREATE TABLE listed (id TEXT PRIMARY KEY) WITHOUT ROWID")
        self.notes.execute("BEGIN")

    def run(self) -> Report:
        for case_id in self.store.cases.ids():
            self.report.cases += 1
            self.alive()
            try:
                self._check_case(case_id)
            except MedDetectError as error:
                self.report.problems.append(str(error))
            except OSError as error:
                unread = f"it cannot be read ({error.strerror or error})"
                self.report.problems.append(str(damaged(Path(error.filename or case_id), unread)))
        self._compare_index()
        for path in self.leftover_paths():
            self.report.leftovers.append(path.relative_to(self.store.root).as_posix())
        return self.report

    def _check_case(self, case_id: str) -> None:
        case = self.store.cases.case(case_id)
        self._check_split(case)
        self._check_blob(case.image)
        if self.deep:
            self._check_image(case)
        previous, said, count = seal_of(case.to_json()), list[VersionRecord](), 0
        for version in self.store.cases.versions(case_id):
            path = self.store.cases.version_path(case_id, version.number)
            if version.previous_seal != previous:
                raise damaged(path, "the version before it is not the one it was signed after")
            for blob in (version.findings, version.label_map):
                if blob is not None:
                    self._check_blob(blob)
            previous = seal_of(version.to_json())
            said.append(version)
            count += 1
            self.report.versions += 1
        row = _line((case.patient, case.split, count, status_of(said_by(said))[0]))
        self.notes.execute("INSERT INTO rows VALUES (?,?)", (case_id, row))
        self._check_numbers(case_id, count)

    def _check_numbers(self, case_id: str, count: int) -> None:
        """Refuse a version behind a gap: one before it was taken away."""
        folder = self.store.cases.case_folder(case_id) / "versions"
        there = os.listdir(folder) if folder.is_dir() else []
        names = [name for name in there if not name.startswith(WRITING)]
        if len(names) != count:
            raise damaged(folder, f"{len(names)} versions are there, {count} of them in sequence")

    def _check_split(self, case: CaseRecord) -> None:
        self.notes.execute(
            "INSERT OR IGNORE INTO patients VALUES (?,?)", (case.patient, case.split)
        )
        (split,) = self.notes.execute(
            "SELECT split FROM patients WHERE id=?", (case.patient,)
        ).fetchone()
        if split != case.split:
            raise damaged(
                self.store.cases.case_folder(case.id) / "case.json",
                f"patient {case.patient} is in '{split}' and in '{case.split}'",
            )

    def _check_blob(self, blob: Blob) -> None:
        fresh = self.notes.execute("INSERT OR IGNORE INTO blobs VALUES (?)", (blob.name,)).rowcount
        if not fresh:
            return
        self.report.blobs += 1
        path = self.store.blobs.path_of(blob)
        try:
            size = path.stat().st_size
        except OSError:
            size = -1
        if size != blob.bytes:
            raise damaged(path, "the file is not there" if size < 0 else "its length is not right")
        if not self.quick:
            self.store.blobs.check(blob)
        self.alive()

    def _check_image(self, case: CaseRecord) -> None:
        path = self.store.blobs.path_of(case.image)
        array, geometry = read_voxels(path, case.dtype)
        if Volume(array, geometry).sha256 != case.volume_sha256:
            raise damaged(path, "its voxels are not those of the case")

    def _compare_index(self) -> None:
        """Note where the index, brought up to date, differs from the folder."""
        try:
            differing = self.store.ask(self._differing)
            self.report.index += [
                f"case {case_id} is not as the folder has it"
                for case_id in differing
                if not self._is_right_now(case_id)
            ]
        except StoreError as error:
            self.report.index.append(str(error))

    def _differing(self, db: sqlite3.Connection) -> list[str]:
        """Return the cases of which the index says something else than was noted."""
        differing: list[str] = []
        self.notes.execute("DELETE FROM listed")
        for case_id, *said in db.execute(f"{ROW} ORDER BY id"):
            row = self._noted(case_id)
            if row is None and said[-1] == "damaged":
                continue
            if row != _line(said):
                differing.append(case_id)
            self.notes.execute("INSERT OR IGNORE INTO listed VALUES (?)", (case_id,))
        missing = "SELECT id FROM rows WHERE id NOT IN (SELECT id FROM listed)"
        return differing + [case_id for (case_id,) in self.notes.execute(missing)]

    def _is_right_now(self, case_id: str) -> bool:
        """Look again: somebody may have written while we were checking."""
        row = self.store.ask(lambda db: db.execute(f"{ROW} WHERE id=?", (case_id,)).fetchone())
        if row is None or not self.store.cases.is_there(case_id):
            return row is None and not self.store.cases.is_there(case_id)
        case = self.store.cases.readable_case(case_id)
        versions, broken = self.store.cases.readable_versions(case_id, 1)
        if case is None or broken:
            return bool(row[-1] == "damaged")
        status = status_of(said_by(versions))[0]
        return _line(row[1:]) == _line((case.patient, case.split, len(versions), status))

    def _noted(self, case_id: str) -> str | None:
        row = self.notes.execute("SELECT said FROM rows WHERE id=?", (case_id,)).fetchone()
        return str(row[0]) if row else None

    def leftover_paths(self) -> Iterator[Path]:
        """Yield what nobody refers to and nobody is writing any more.

        Raises:
            StoreError: ``cannot-read``.
        """
        root = self.store.root
        oldest = time.time() - LEFT_ALONE_S
        for folder in (root, *(root / name for name in FOLDERS)):
            for entry in _entries(folder):
                if entry.name.startswith(WRITING):
                    yield from _if_old(entry, oldest)
                elif folder.name == "blobs" and entry.is_dir():
                    yield from self._unreferred(Path(entry.path))
                elif folder.name == "cases" and CASE_ID.fullmatch(entry.name):
                    for inner in (Path(entry.path), Path(entry.path) / "versions"):
                        for one in _entries(inner):
                            if one.name.startswith(WRITING):
                                yield from _if_old(one, oldest)

    def _unreferred(self, folder: Path) -> Iterator[Path]:
        for entry in _entries(folder):
            known = self.notes.execute("SELECT 1 FROM blobs WHERE name=?", (entry.name,)).fetchone()
            if BLOB_NAME.fullmatch(entry.name) and not known:
                yield Path(entry.path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what a folder holds, by name; nothing where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(error, folder, "a folder of the case store") from error


def _if_old(entry: os.DirEntry[str], oldest: float) -> Iterator[Path]:
    """Yield it when it is old; one that is just gone has been finished by its writer."""
    with contextlib.suppress(FileNotFoundError):
        if entry.stat().st_mtime < oldest:
            yield Path(entry.path)


def _line(said: Iterable[object]) -> str:
    return "|".join(map(str, said))

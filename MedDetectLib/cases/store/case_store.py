"""The case store's door: import images, add versions, list, verify, export.

    store = CaseStore.open_or_create("cases")
    case = store.import_volume(volume, patient="P001", findings=findings).case
    reading = store.start_reading(case.id, "Dr A", blinded=True)
    store.sign_reading(reading, corrected)
    for row in store.cases(CaseFilter(split="train", status="reviewed")): ...

What a method that writes has returned from is on disk: it survives `kill -9` and a power cut.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from MedDetectLib.cases.store.agreement import Agreement
from MedDetectLib.cases.store.differences import Difference, difference_of
from MedDetectLib.cases.store.exporting import export_case, truth_of
from MedDetectLib.cases.store.findings_blobs import read_findings_of
from MedDetectLib.cases.store.importing import Imported, import_volume
from MedDetectLib.cases.store.lease import WAIT_S
from MedDetectLib.cases.store.nrrd_blob import read_voxels
from MedDetectLib.cases.store.queries import (
    CaseFilter,
    CaseRow,
    count_cases,
    ids_beginning,
    list_cases,
)
from MedDetectLib.cases.store.readings import (
    Reading,
    adjudicate,
    check_adjudication,
    compare_readings,
    sign_reading,
    start_reading,
    visible_to,
)
from MedDetectLib.cases.store.records import CaseRecord, VersionRecord
from MedDetectLib.cases.store.signing import Saying, add_version, restore_version
from MedDetectLib.cases.store.split import Ratios
from MedDetectLib.cases.store.store_folder import StoreFolder, create_store
from MedDetectLib.cases.store.verifying import Report, verify_store
from MedDetectLib.core.findings import Findings
from MedDetectLib.core.volume import Volume

__all__ = ["CaseFilter", "CaseRow", "CaseStore", "Imported", "Ratios", "Reading", "Saying"]

PAGE = 500


class CaseStore:
    """An opened store. Threads and processes may each have their own, on one folder.

    Args:
        folder: an existing store.
        network: whether it lies on a network file system; None to find out.
        wait_s: how long a write waits for another writer before it is told ``busy``.

    Raises:
        InputError: ``no-store``.
        StoreError: ``damaged``, ``cannot-read``, ``newer-store`` (78).
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        *,
        network: bool | None = None,
        wait_s: float = WAIT_S,
    ) -> None:
        self._store = StoreFolder(Path(folder), network=network, wait_s=wait_s)

    @classmethod
    def open_or_create(
        cls,
        folder: str | PathLike[str],
        ratios: Ratios | None = None,
        *,
        network: bool | None = None,
        wait_s: float = WAIT_S,
    ) -> CaseStore:
        """Open a store, made first where the folder is empty or missing.

        Args:
            folder: where.
            ratios: how new patients are shared out, of a store that is made.
            network: see `CaseStore`.
            wait_s: see `CaseStore`.

        Raises:
            StoreError: ``not-empty``, ``cannot-write`` (73), ``newer-store`` (78).
        """
        create_store(Path(folder), ratios or Ratios())
        return cls(folder, network=network, wait_s=wait_s)

    @property
    def folder(self) -> Path:
        """Where the store lies."""
        return self._store.root

    @property
    def is_read_only(self) -> bool:
        """Whether a newer program made it."""
        return bool(self._store.read_only_because)

    def reopened(self) -> CaseStore:
        """Return the same store opened anew, with the same settings, for another thread."""
        return CaseStore(self.folder, network=self._store.network, wait_s=self._store.wait_s)

    # --- writing ----------------------------------------------------------------------

    def import_volume(
        self,
        volume: Volume,
        patient: str,
        findings: Findings | None = None,
        *,
        existing_ok: bool = False,
    ) -> Imported:
        """Store an image as a new case, see `importing.import_volume`."""
        return import_volume(self._store, volume, patient, findings, existing_ok=existing_ok)

    def add_version(self, case_id: str, findings: Findings, saying: Saying) -> VersionRecord:
        """Append a version to a case, see `signing.add_version`."""
        return add_version(self._store, case_id, findings, saying)

    def sign_reading(
        self,
        reading: Reading,
        findings: Findings,
        *,
        comment: str = "",
        act: str = "",
        details: dict[str, Any] | None = None,
    ) -> VersionRecord:
        """Store what a reader made of a case, see `readings.sign_reading`."""
        return sign_reading(
            self._store, reading, findings, comment=comment, act=act, details=details
        )

    def adjudicate(
        self,
        case_id: str,
        findings: Findings,
        author: str,
        of: tuple[int, ...],
        *,
        comment: str = "",
        act: str = "",
        details: dict[str, Any] | None = None,
    ) -> VersionRecord:
        """Store a third person's decision, see `readings.adjudicate`."""
        return adjudicate(
            self._store, case_id, findings, author, of, comment=comment, act=act, details=details
        )

    def restore(
        self, case_id: str, number: int, author: str, *, comment: str = "", act: str = ""
    ) -> VersionRecord:
        """Append an old version again as the newest, see `signing.restore_version`."""
        return restore_version(self._store, case_id, number, author, comment, act)

    # --- reading ----------------------------------------------------------------------

    def case(self, case_id: str) -> CaseRecord:
        """Return a case's record.

        Raises:
            InputError: ``no-case``.
            StoreError: ``damaged``, ``cannot-read``.
        """
        return self._store.cases.case(case_id)

    def versions(self, case_id: str, *, seen_by: str | None = None) -> tuple[VersionRecord, ...]:
        """Return a case's versions, oldest first.

        Args:
            case_id: which case.
            seen_by: a blinded reader: others' work is left out until they have signed.

        Raises:
            InputError: ``no-case``.
            StoreError: ``damaged``, ``cannot-read``.
        """
        self.case(case_id)
        if seen_by is not None:
            return visible_to(self._store, case_id, seen_by)
        return tuple(self._store.cases.versions(case_id))

    def volume(self, case_id: str) -> Volume:
        """Return a case's image: the voxels, their type and the matrix to the bit.

        Raises:
            InputError: ``no-case``.
            StoreError: ``damaged``, ``cannot-read``.
        """
        case = self.case(case_id)
        array, _ = read_voxels(self._store.blobs.check(case.image), case.dtype)
        return Volume(array, case.geometry, case.modality, case.name, case.notes, case.source)

    def findings(self, case_id: str, number: int) -> Findings:
        """Return what a version says.

        Raises:
            InputError: ``no-version``.
            StoreError: ``damaged``, ``cannot-read``.
        """
        return read_findings_of(self._store.blobs, self._store.cases.version(case_id, number))

    def truth(self, case_id: str) -> VersionRecord | None:
        """Return the version that speaks for a case: the newest of a person, else the newest."""
        return truth_of(self.versions(case_id))

    def start_reading(self, case_id: str, reader: str, *, blinded: bool = False) -> Reading:
        """Return what a reader starts from, see `readings.start_reading`."""
        return start_reading(self._store, case_id, reader, blinded=blinded)

    def check_adjudication(self, case_id: str, author: str, of: tuple[int, ...]) -> str:
        """Make sure somebody may settle versions, see `readings.check_adjudication`."""
        return check_adjudication(self._store, case_id, author, of)

    def diff(self, case_id: str, before: int, after: int) -> Difference:
        """Return what changed from one version to another."""
        return difference_of(self.findings(case_id, before), self.findings(case_id, after))

    def agreement(self, case_id: str, first: int, second: int) -> Agreement:
        """Return how far two versions agree, see `agreement.agreement_of`."""
        return compare_readings(self._store, case_id, first, second)

    # --- lists ------------------------------------------------------------------------

    def cases(self, wanted: CaseFilter | None = None) -> Iterator[CaseRow]:
        """Yield cases in the order they were imported, in pages: memory stays flat."""
        wanted = wanted or CaseFilter()
        left = wanted.limit
        while left is None or left > 0:
            page = replace(wanted, limit=PAGE if left is None else min(PAGE, left))
            rows = self._store.ask(partial(_rows, wanted=page))
            yield from rows
            if len(rows) < (page.limit or 0):
                return
            wanted = replace(wanted, after=rows[-1])
            left = None if left is None else left - len(rows)

    def next_case(self, wanted: CaseFilter) -> CaseRow | None:
        """Return the first case of a kind, behind `wanted.after`."""
        return next(self.cases(replace(wanted, limit=1)), None)

    def ids_beginning(self, text: str, limit: int = 2) -> tuple[str, ...]:
        """Return the ids of cases that begin so, at most `limit`."""
        return self._store.ask(lambda db: ids_beginning(db, text, limit))

    def full_id(self, text: str) -> str:
        """Return the one case whose id begins so; the text itself where none or several do."""
        found = self.ids_beginning(text)
        return found[0] if len(found) == 1 else text

    def count(self, wanted: CaseFilter | None = None) -> int:
        """Return how many cases there are of a kind."""
        return self._store.ask(lambda db: count_cases(db, wanted or CaseFilter()))

    # --- as a whole -------------------------------------------------------------------

    def verify(self, *, repair: bool = False, deep: bool = False, quick: bool = False) -> Report:
        """Check everything the store vouches for, see `verifying.verify_store`."""
        return verify_store(self._store, repair=repair, deep=deep, quick=quick)

    def export(
        self, case_id: str, folder: str | PathLike[str], number: int | None = None
    ) -> VersionRecord | None:
        """Write one version with its image into a plain folder, see `exporting.export_case`."""
        return export_case(self._store, case_id, Path(folder), number)


def _rows(db: sqlite3.Connection, wanted: CaseFilter) -> list[CaseRow]:
    return list(list_cases(db, wanted))

"""Where the records of a store lie, and reading them: the folder is the truth."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from MedDetectLib.cases.durable import unreadable
from MedDetectLib.cases.store.records import CASE_ID, CaseRecord, VersionRecord, damaged, unsealed
from MedDetectLib.core.errors import InputError, StoreError

__all__ = ["CaseFiles", "exists", "read_bytes"]


class CaseFiles:
    """The ``cases`` folder of one store.

    Args:
        folder: that folder.
        network: whether other computers write to it.
    """

    def __init__(self, folder: Path, *, network: bool = False) -> None:
        self.folder = folder
        self.network = network

    def case_folder(self, case_id: str) -> Path:
        """Return where a case lies."""
        return self.folder / case_id

    def version_path(self, case_id: str, number: int) -> Path:
        """Return where a version's record lies."""
        return self.folder / case_id / "versions" / f"{number:04d}.json"

    def ids(self) -> Iterator[str]:
        """Yield the id of every case, in no order, without keeping them.

        Raises:
            StoreError: ``cannot-read``.
        """
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if CASE_ID.fullmatch(entry.name):
                        yield entry.name
        except FileNotFoundError:
            return
        except OSError as error:
            raise _cannot_read(self.folder, error) from error

    def is_there(self, case_id: str) -> bool:
        """Whether there is such a case.

        Raises:
            StoreError: ``cannot-read`` when that cannot be told.
        """
        return bool(CASE_ID.fullmatch(case_id)) and exists(self.case_folder(case_id))

    def case(self, case_id: str) -> CaseRecord:
        """Read a case's record.

        Raises:
            InputError: ``no-case``.
            StoreError: ``damaged``, ``cannot-read``.
        """
        if not self.is_there(case_id):
            raise InputError(
                "no-case",
                f"there is no case '{case_id}'",
                where=self.folder.parent,
                todo="see 'meddetect store list'",
            )
        path = self.case_folder(case_id) / "case.json"
        record = unsealed(read_bytes(path), path, CaseRecord.from_json)
        if record.id != case_id:
            raise damaged(path, f"it belongs to case {record.id}")
        return record

    def version(self, case_id: str, number: int) -> VersionRecord:
        """Read one version's record.

        Raises:
            InputError: ``no-version``.
            StoreError: ``damaged``, ``cannot-read``.
        """
        path = self.version_path(case_id, number)
        if number < 1 or not exists(path):
            raise InputError(
                "no-version",
                f"case {case_id} has no version {number}",
                where=self.folder.parent,
                todo="see 'meddetect store show'",
            )
        record = unsealed(read_bytes(path), path, VersionRecord.from_json)
        if (record.case, record.number) != (case_id, number):
            raise damaged(path, f"it is version {record.number} of case {record.case}")
        return record

    def versions(self, case_id: str, first: int = 1) -> Iterator[VersionRecord]:
        """Yield the versions of a case from one number on, oldest first.

        Raises:
            StoreError: ``damaged``, ``cannot-read``.
        """
        number = first
        if self.network:
            # Opening a folder asks the server; a name once missed is remembered as missing.
            with contextlib.suppress(OSError), os.scandir(self.version_path(case_id, 1).parent):
                pass
        while exists(self.version_path(case_id, number)):
            yield self.version(case_id, number)
            number += 1

    def readable_versions(self, case_id: str, first: int) -> tuple[list[VersionRecord], bool]:
        """Return the versions from one number on up to the first damaged one, and if there is."""
        found: list[VersionRecord] = []
        try:
            for record in self.versions(case_id, first):
                found.append(record)
        except StoreError:
            return found, True
        return found, False

    def readable_case(self, case_id: str) -> CaseRecord | None:
        """Return a case's record, None when it is damaged or gone."""
        try:
            return self.case(case_id)
        except (StoreError, InputError):
            return None

    def is_readable(self, case_id: str) -> bool:
        """Whether a case is there and every record of it is what was written."""
        if self.readable_case(case_id) is None:
            return False
        return not self.readable_versions(case_id, 1)[1]


def read_bytes(path: Path) -> bytes:
    """Return a small file's content.

    Raises:
        StoreError: ``cannot-read``.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise _cannot_read(path, error) from error


def exists(path: Path) -> bool:
    """Whether there is something of that name.

    A disk or server that gives no answer is an error: what it holds is not gone.

    Raises:
        StoreError: ``cannot-read``.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _cannot_read(path, error) from error
    return True


def _cannot_read(path: Path, error: OSError) -> StoreError:
    return unreadable(error, path, "a file of the case store", "run 'meddetect store verify'")

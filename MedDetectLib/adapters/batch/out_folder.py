"""The folder a batch writes: what is finished, what is being written, and by whom."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from MedDetectLib.adapters.batch.cases import BatchCase
from MedDetectLib.cases.atomic import write_bytes
from MedDetectLib.cases.byte_lock import ByteLock
from MedDetectLib.cases.durable import make_folder, said_plainly, sync_file, sync_folder
from MedDetectLib.core.errors import StoreError

__all__ = ["OutFolder"]

_WORKING = ".working"
_SCHEMA = 1
NOT_ALLOWED = 77


class OutFolder:
    """A batch's results, held by one program at a time; close it at the end.

    Args:
        folder: made if it is not there.

    Raises:
        StoreError: ``busy`` (75) when another batch writes there, ``cannot-write`` (73),
            ``exists`` (73) when something else is in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        with said_plainly(self.folder, "the batch"):
            make_folder(self.folder)
            foreign = not (self.folder / _WORKING).is_dir() and any(self.folder.iterdir())
        if foreign:
            raise StoreError(
                "exists", "the folder is not empty and holds no batch", where=self.folder,
                todo="give another --out", exit_code=73,
            )  # fmt: skip
        self._working = self.folder / _WORKING
        with said_plainly(self.folder, "the batch"):
            make_folder(self._working)
            self._lock = ByteLock(self._working / "lock")
            taken = self._lock.take()
        if not taken:
            raise StoreError(
                "busy", "another batch is writing here", where=self.folder,
                todo="wait for it, or give another --out", exit_code=75,
            )  # fmt: skip
        self._sweep()

    def close(self) -> None:
        """Let others write here."""
        try:
            self._sweep()
        finally:
            self._lock.drop()

    def __enter__(self) -> OutFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def agree(self, settings: Mapping[str, Any]) -> None:
        """Keep what this batch is done with, and refuse to go on with something else.

        Args:
            settings: the model and every option that changes results, as plain data.

        Raises:
            StoreError: ``other-batch`` (77) naming what differs.
        """
        path = self.folder / "batch.json"
        wanted = {"schema": _SCHEMA, **settings}
        before = _read_json(path)
        if before is None:
            write_bytes(path, json.dumps(wanted, indent=2).encode())
        elif before != wanted:
            keys = sorted(before.keys() | wanted.keys())
            differ = [f"{k} {before.get(k)!r}, now {wanted.get(k)!r}"
                      for k in keys if before.get(k) != wanted.get(k)]  # fmt: skip
            raise StoreError(
                "other-batch",
                f"the results here were made with {'; '.join(differ)}",
                where=self.folder,
                todo="give another --out, or delete this one",
                exit_code=NOT_ALLOWED,
            )

    def place_of(self, case: BatchCase) -> Path:
        """Return the folder of a case's results."""
        return self.folder / "cases" / case.name

    def status_of(self, case: BatchCase) -> dict[str, Any] | None:
        """Return how a case went that is finished.

        None when it is not, when its input changed, or when somebody took away some of it.
        """
        signature = case.signature  # looked up before the image is read: later changes must show
        status = _read_json(self.place_of(case) / "status.json")
        if status is None or status.get("signature") != signature:
            return None
        place, files = self.place_of(case), status.get("files") or ()
        return status if all(os.path.exists(place / name) for name in files) else None

    def new_working_folder(self, case: BatchCase) -> Path:
        """Return a folder, not made yet, for results that are not complete."""
        return self._working / f"{uuid.uuid4().hex[:12]}-{case.name}"

    def publish(self, case: BatchCase, status: Mapping[str, Any], made: Path | None) -> None:
        """Let a case appear under its name, complete with its status, by one rename.

        Args:
            case: which one.
            status: written to ``status.json``.
            made: its results in a working folder, None when there are none.

        Raises:
            StoreError: ``cannot-write``.
        """
        made = made or self.new_working_folder(case)
        place = self.place_of(case)
        with said_plainly(self.folder, "the batch"):
            make_folder(made)
            write_bytes(made / "status.json", json.dumps(status, indent=2).encode())
            for path in made.iterdir():
                sync_file(path)
            sync_folder(made)
            make_folder(place.parent)
            if place.exists():
                place.rename(self.new_working_folder(case))
            made.rename(place)
            sync_folder(place.parent)

    def _sweep(self) -> None:
        """Take away what was not finished; we hold the lock. What cannot be waits for the next."""
        with contextlib.suppress(OSError):
            for left in self._working.iterdir():
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None

"""A store opened: its parts, its index kept in step, and the right to write in it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from MedDetectLib.cases.durable import (
    WRITING,
    make_folder,
    said_plainly,
    sync_folder,
    write_new,
)
from MedDetectLib.cases.store.blobs import Blobs
from MedDetectLib.cases.store.case_files import CaseFiles, exists, read_bytes
from MedDetectLib.cases.store.change_log import ChangeLog
from MedDetectLib.cases.store.file_system import is_network
from MedDetectLib.cases.store.index import Index, IndexBroken
from MedDetectLib.cases.store.lease import WAIT_S, Lease
from MedDetectLib.cases.store.records import SCHEMA, STORE_FORMAT, StoreRecord, sealed, unsealed
from MedDetectLib.cases.store.split import Ratios
from MedDetectLib.core.errors import InputError, StoreError

__all__ = ["STORE_FILE", "StoreFolder", "create_store", "now"]

STORE_FILE = "store.json"
FOLDERS = ("cases", "blobs", "locks")
T = TypeVar("T")
OURS = {STORE_FILE, "changes.log", "index.sqlite", "index.sqlite-journal", *FOLDERS}


class StoreFolder:
    """One store: where things are, and who may touch them.

    Args:
        root: the folder.
        network: whether other computers write to it; None to find out.
        wait_s: how long a write waits for another writer.

    Raises:
        InputError: ``no-store`` when the folder is no store.
        StoreError: ``damaged``, ``cannot-read``.
    """

    def __init__(self, root: Path, *, network: bool | None = None, wait_s: float = WAIT_S) -> None:
        self.root = root
        path = root / STORE_FILE
        if not exists(path):
            raise InputError(
                "no-store",
                "there is no case store here",
                where=root,
                todo="check --store, or make one with 'meddetect store import'",
            )
        text = read_bytes(path)
        self.schema = _schema_of(text)
        try:
            self.record = unsealed(text, path, StoreRecord.from_json)
        except StoreError as error:
            if self.schema > SCHEMA:
                raise self._newer("and it cannot be read") from error
            raise
        self.network = is_network(root) if network is None else network
        self.wait_s = wait_s
        self.cases = CaseFiles(root / "cases", network=self.network)
        self.blobs = Blobs(root / "blobs")
        self.log = ChangeLog(root / "changes.log", network=self.network)
        self.index = Index(self._index_path(), self.record.id, self.cases, self.log)
        self._spare: Index | None = None
        self._is_settled = False

    @property
    def read_only_because(self) -> str:
        """Why nothing may be written here, empty when it may."""
        if self.schema > SCHEMA:
            return f"the store is of schema {self.schema}, this program knows {SCHEMA}"
        return ""

    @contextlib.contextmanager
    def writing(self) -> Iterator[Lease]:
        """Take the right to write; the index is up to date when it is ours.

        Raises:
            StoreError: ``newer-store`` (78), ``busy`` (75), ``cannot-write`` (73), ``index``.
        """
        self.check_writable()
        with Lease(self.root / "locks", network=self.network, wait_s=self.wait_s) as lease:
            self.catch_up_under_lease(lease.beat)
            yield lease

    def _settle(self) -> None:
        """Flush what others may have made visible and died before flushing; once.

        A folder that was copied without its empty folders gets them again.
        """
        if self._is_settled:
            return
        with said_plainly(self.root):
            for name in FOLDERS:
                make_folder(self.root / name)
            sync_folder(self.root)
            with contextlib.suppress(OSError):
                sync_folder(self.root.absolute().parent)
        self._is_settled = True

    def check_writable(self) -> None:
        """Refuse a store that a newer program made; make sure of its folders.

        Raises:
            StoreError: ``newer-store``, exit code 78; ``cannot-write``.
        """
        if self.read_only_because:
            raise self._newer("it can be read, not written")
        self._settle()

    def _newer(self, what: str) -> StoreError:
        return StoreError(
            "newer-store",
            f"{self.read_only_because}: {what}",
            where=self.root,
            todo="update MedDetect",
            exit_code=78,
        )

    def catch_up_under_lease(self, alive: Callable[[], None]) -> None:
        """Bring the index up to date; a broken one is made anew."""
        try:
            self.index.catch_up(alive)
        except IndexBroken:
            self._make_index_anew(alive)

    def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Return the answer of an index that is up to date.

        Where the store's own cannot be used (a folder that may not be written, a full disk, a
        broken file that somebody keeps us from replacing), one is made on a temporary place.

        Args:
            question: only reads; asked again where the index turns out to be broken.
        """
        if not self.read_only_because and self._spare is None:
            with contextlib.suppress(StoreError):
                self._mend_index(self.index.catch_up)
                return self._mend_index(lambda: self._answer(question))
        if self._spare is None:
            self._spare = Index(None, self.record.id, self.cases, self.log)
        with self._spare.current() as db:
            return question(db)

    def ask_under_lease(self, lease: Lease, question: Callable[[sqlite3.Connection], T]) -> T:
        """Return the answer of the index as `writing` has left it; a broken one is made anew.

        Raises:
            StoreError: ``index``, ``busy``.
        """
        try:
            return self._answer(question)
        except IndexBroken:
            self._make_index_anew(lease.beat)
        try:
            return self._answer(question)
        except IndexBroken as error:
            raise self._index_lost(error) from error

    def _answer(self, question: Callable[[sqlite3.Connection], T]) -> T:
        with self.index.opened() as db:
            return question(db)

    def committed(self, case_id: str) -> None:
        """Note that a case has changed; what fails here is made good by the next start."""
        with contextlib.suppress(OSError):
            self.log.done(case_id)
        with contextlib.suppress(StoreError, IndexBroken, OSError):
            self.index.catch_up()

    def rebuild_index(self, alive: Callable[[], None]) -> int:
        """Make the index anew from the folder, under the lease; returns how many cases."""
        with said_plainly(self.root):
            self.index.discard()
        try:
            return self.index.rebuild(alive)
        except IndexBroken as error:
            raise self._index_lost(error) from error

    def _make_index_anew(self, alive: Callable[[], None]) -> None:
        """Throw a broken index away and read the folder; under the lease."""
        with said_plainly(self.root):
            self.index.discard()
        try:
            self.index.catch_up(alive)
        except IndexBroken as error:
            raise self._index_lost(error) from error

    def _index_lost(self, error: IndexBroken) -> StoreError:
        return StoreError("index", str(error), where=self.root, todo="check the disk")

    def _mend_index(self, use: Callable[[], T]) -> T:
        """Use the index; a file that turns out to be none is replaced, as only a writer may."""
        try:
            return use()
        except IndexBroken:
            with Lease(self.root / "locks", network=self.network, wait_s=2.0) as lease:
                with contextlib.suppress(IndexBroken):
                    return use()  # another one was faster
                self._make_index_anew(lease.beat)
        try:
            return use()
        except IndexBroken as error:
            raise self._index_lost(error) from error

    def _index_path(self) -> Path | None:
        """Return where the index lies: beside the truth, but never on a network."""
        if self.schema > SCHEMA:
            return None
        if not self.network:
            return self.root / "index.sqlite"
        folder = _cache_folder()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return None
        return folder / f"{self.record.id}.sqlite"


def create_store(root: Path, ratios: Ratios) -> None:
    """Make an empty store; a folder that holds one already is left as it is.

    Raises:
        StoreError: ``not-empty`` (73) when something else is there, ``cannot-write``.
    """
    with said_plainly(root):
        if (root / STORE_FILE).is_file():
            return
        others = [
            name
            for name in (os.listdir(root) if root.is_dir() else [])
            if name not in OURS and not name.startswith(WRITING)
        ]
        if others:
            raise StoreError(
                "not-empty",
                f"the folder is no case store and holds other things ('{others[0]}')",
                where=root,
                todo="give an empty folder",
                exit_code=73,
            )
        for name in FOLDERS:
            make_folder(root / name)
        sync_folder(root)
        record = StoreRecord(secrets.token_hex(8), SCHEMA, now(), ratios, secrets.token_hex(8))
        with contextlib.suppress(FileExistsError):
            write_new(root / STORE_FILE, sealed(record.to_json()))


def now() -> str:
    """Return the time in UTC, so written that it sorts."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _schema_of(text: bytes) -> int:
    """Return a store's schema; 0 when that cannot be told."""
    try:
        data = json.loads(text)
        return int(data["schema"]) if data["format"] == STORE_FORMAT else 0
    except (ValueError, KeyError, TypeError):
        return 0


def _cache_folder() -> Path:
    """Return this user's folder on this computer for what can be made again."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "meddetect" / "indexes"

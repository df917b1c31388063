"""`index.sqlite`: what the folder holds, to be listed and searched quickly. A cache.

The folder is the truth. Before each answer the index reads in `changes.log` which cases were
touched since it last looked, and looks at those again; when it is missing, of another layout
or store, or does not know the log any more, it reads the whole folder.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from MedDetectLib.cases.durable import unreadable
from MedDetectLib.cases.store.case_files import CaseFiles
from MedDetectLib.cases.store.change_log import ChangeLog
from MedDetectLib.cases.store.index_schema import (
    LAYOUT,
    TABLES,
    drop_case,
    put_case,
    put_versions,
)
from MedDetectLib.core.errors import StoreError

__all__ = ["Index", "IndexBroken"]

WAIT_S = 60.0
ALIVE_EVERY = 256


class IndexBroken(Exception):
    """The index file is no index; it has to be thrown away under the lease."""


class Index:
    """The index of one store.

    Args:
        path: its file; None for one of this object's own, on a temporary place.
        store_id: which store it belongs to.
        cases: the truth.
        log: what was touched.
    """

    def __init__(self, path: Path | None, store_id: str, cases: CaseFiles, log: ChangeLog) -> None:
        self.path = path
        self.store_id = store_id
        self.cases = cases
        self.log = log
        self._own: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection to the index as it is.

        Raises:
            StoreError: ``index``, when the file cannot be used now.
            IndexBroken: when it never will.
        """
        try:
            db = self._connect()
            try:
                yield db
            finally:
                if db is not self._own:
                    db.close()
        except sqlite3.OperationalError as error:
            locked = "locked" in str(error) or "busy" in str(error)
            raise StoreError(
                "busy" if locked else "index",
                f"the index cannot be used ({error})",
                where=self.path or "",
                todo="wait a moment and repeat it" if locked else "check the disk and its space",
                exit_code=75 if locked else 74,
            ) from error
        except sqlite3.DatabaseError as error:
            raise IndexBroken(str(error)) from error
        except OSError as error:
            raise unreadable(error, error.filename or "", "the case store") from error

    @contextlib.contextmanager
    def current(self, alive: Callable[[], None] = lambda: None) -> Iterator[sqlite3.Connection]:
        """Yield a connection to the index after it has caught up with the folder."""
        with self.opened() as db:
            self._catch_up(db, alive)
            yield db

    def catch_up(self, alive: Callable[[], None] = lambda: None) -> None:
        """Bring the index up to date with the folder; `alive` is called now and then."""
        with self.current(alive):
            pass

    def rebuild(self, alive: Callable[[], None] = lambda: None) -> int:
        """Read the whole folder again; returns how many cases there are."""
        with self.opened() as db, _transaction(db):
            return self._read_all(db, alive)

    def read_anew(self, case_id: str) -> None:
        """Forget what is known of one case and read it again: its folder is an older copy."""
        with self.opened() as db, _transaction(db):
            drop_case(db, case_id)
            self._refresh(db, case_id)

    def discard(self) -> None:
        """Throw the file away; under the lease."""
        if self.path is not None:
            for name in (f"{self.path.name}-journal", self.path.name):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path.with_name(name))

    def _connect(self) -> sqlite3.Connection:
        if self._own is not None:
            return self._own
        db = sqlite3.connect(
            self.path or "", timeout=WAIT_S, isolation_level=None, check_same_thread=False
        )
        if self.path is None:
            self._own = db
        else:
            # Not WAL: its shared memory file fails where a folder is shared.
            db.execute("PRAGMA journal_mode=DELETE")
            db.execute("PRAGMA synchronous=FULL")
        return db

    def _catch_up(self, db: sqlite3.Connection, alive: Callable[[], None]) -> None:
        """Look again at every case that was touched; at all when the log is not the same."""
        start = self._known_end(db)
        if start is not None and start == max(self.log.size(), 0):
            self._look_again_at_damaged(db)
            return
        with _transaction(db):
            start = self._known_end(db)  # another process may have been here
            if start is None:
                self._read_all(db, alive)
                return
            while True:
                changes = self.log.since(start)
                for case_id in changes.cases:
                    self._refresh(db, case_id)
                if changes.end == start:
                    break
                start = changes.end
                _set(db, end=start, mark=changes.mark)

    def _look_again_at_damaged(self, db: sqlite3.Connection) -> None:
        """Let cases be well again that could not be read for a moment, or were restored."""
        ids = db.execute("SELECT id FROM cases WHERE status='damaged' LIMIT 100").fetchall()
        well = [
            case_id
            for (case_id,) in ids
            if self._is_gone(case_id) or self.cases.is_readable(case_id)
        ]
        if well:
            with _transaction(db):
                for case_id in well:
                    self._refresh(db, case_id)

    def _known_end(self, db: sqlite3.Connection) -> int | None:
        """Return up to where the log is in the index, None when all has to be read."""
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone():
            return None
        meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
        if (meta.get("layout"), meta.get("store")) != (LAYOUT, self.store_id):
            return None
        end = int(meta["end"])
        if end > max(self.log.size(), 0) or bytes(meta["mark"]) != self.log.mark_at(end):
            return None
        return end

    def _read_all(self, db: sqlite3.Connection, alive: Callable[[], None]) -> int:
        """Replace everything by what the folder holds now."""
        # What is touched while we read is read again by whoever asks next.
        end = self._settled(max(0, self.log.size() - 256))
        for kind, name in db.execute("SELECT type, name FROM sqlite_master").fetchall():
            if kind == "table":
                db.execute(f'DROP TABLE "{name}"')
        for statement in TABLES.split(";"):
            db.execute(statement)
        count = 0
        for count, case_id in enumerate(self.cases.ids(), 1):
            self._refresh(db, case_id)
            if count % ALIVE_EVERY == 0:
                alive()
        _set(db, layout=LAYOUT, store=self.store_id, end=end, mark=self.log.mark_at(end))
        return count

    def _settled(self, end: int) -> int:
        """Return the end of the last line that is not at work, looking from a place before."""
        while True:
            changes = self.log.since(end)
            if changes.end == end:
                return end
            end = changes.end

    def _is_gone(self, case_id: str) -> bool:
        """Whether a case's folder is surely not there; one that gives no answer is damaged."""
        try:
            return not self.cases.is_there(case_id)
        except StoreError:
            return False

    def _refresh(self, db: sqlite3.Connection, case_id: str) -> None:
        """Bring one case's rows up to date; what is indexed already never changes."""
        if self._is_gone(case_id):
            drop_case(db, case_id)
            return
        row = db.execute(
            "SELECT versions, patient, status FROM cases WHERE id=?", (case_id,)
        ).fetchone()
        if row is None or not row[1]:
            record = self.cases.readable_case(case_id)
            put_case(db, case_id, record)
            if record is None:
                return
        known = int(row[0]) if row else 0
        fresh, broken = self.cases.readable_versions(case_id, known + 1)
        if row is None or fresh or broken or row[2] == "damaged":
            put_versions(db, case_id, fresh, broken=broken)


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _set(db: sqlite3.Connection, **values: object) -> None:
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?,?)", list(values.items()))

"""SQLite with full flushing: what C code writes is struck too, and it is known to hold."""

import sqlite3
from contextlib import closing
from pathlib import Path

from MedDetectLib.core.errors import StoreError


def prepare(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "index.db")) as base:
        base.execute("create table rows (value)")
        base.commit()


def act(folder, acknowledge) -> None:
    try:
        with closing(sqlite3.connect(folder / "index.db")) as base:
            base.execute("pragma synchronous = extra")
            for value in range(2):
                base.execute("insert into rows values (?)", (value,))
                base.commit()
                acknowledge(str(value))
    except sqlite3.Error as error:
        raise StoreError("index-not-written", str(error)) from error


def check(folder, acknowledged) -> None:
    with closing(sqlite3.connect(folder / "index.db")) as base:
        rows = [str(row[0]) for row in base.execute("select value from rows order by value")]
        assert base.execute("pragma integrity_check").fetchone() == ("ok",)
    assert rows[: len(acknowledged)] == acknowledged
    assert len(rows) <= len(acknowledged) + 1

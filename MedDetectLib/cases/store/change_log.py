"""`changes.log`: which cases were touched, so that an index can catch up with the folder.

A writer appends ``+ <case>`` and flushes it before it makes anything visible, and
``= <case>`` afterwards. A reader looks again at every case named since it last read. A last
line that is a ``+`` may still be at work, so it is read again next time; with one writer at
a time there is no other such line. The log is a hint and may be lost: then the index is
rebuilt.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from MedDetectLib.cases.durable import flush, sync_folder, write_all

__all__ = ["ChangeLog", "Changes"]

LINE = re.compile(rb"[+=] ([0-9a-f]{12})")
PIECE = 1 << 20
MARK = 64


@dataclass(frozen=True)
class Changes:
    """What a piece of the log says.

    Args:
        cases: each touched case once.
        end: up to where it is settled; read from here next time.
        mark: the bytes before `end`, by which the log is known again.
    """

    cases: tuple[str, ...]
    end: int
    mark: bytes


class ChangeLog:
    """The log of one store.

    Args:
        path: the file.
        network: whether other computers write to it.
    """

    def __init__(self, path: Path, *, network: bool = False) -> None:
        self.path = path
        self.network = network

    def size(self) -> int:
        """Return how long it is now; -1 when it is not there."""
        try:
            if self.network:
                with self.path.open("rb") as file:  # asks the server, where stat() remembers
                    return os.fstat(file.fileno()).st_size
            return os.stat(self.path).st_size
        except FileNotFoundError:
            return -1

    def begin(self, case_id: str) -> None:
        """Say, durably, that a case is about to change."""
        fresh = self.size() < 0
        self._append(b"+ " + case_id.encode("ascii") + b"\n", durable=True)
        if fresh:
            sync_folder(self.path.parent)

    def done(self, case_id: str) -> None:
        """Say that it has changed; without this line the case is merely read once more."""
        self._append(b"= " + case_id.encode("ascii") + b"\n", durable=False)

    def mark_at(self, end: int) -> bytes:
        """Return the bytes before a position."""
        try:
            with self.path.open("rb") as file:
                start = max(0, end - MARK)
                file.seek(start)
                return file.read(end - start)
        except FileNotFoundError:
            return b""

    def since(self, start: int) -> Changes:
        """Read on from where a reader stopped; at most a megabyte at a time."""
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                data = file.read(PIECE)
        except FileNotFoundError:
            data = b""
        whole = data.rfind(b"\n") + 1
        if not whole and len(data) == PIECE:
            whole = PIECE  # no line of ours is that long: a power cut left zeros
        cases: dict[str, None] = {}
        settled, at, pending = 0, 0, False
        for line in data[:whole].splitlines(keepends=True):
            found = LINE.fullmatch(line.rstrip(b"\n"))
            pending = found is not None and line.startswith(b"+")
            if found:
                cases[found[1].decode("ascii")] = None
            if pending:
                settled = at
            at += len(line)
        end = start + (settled if pending else whole)
        return Changes(tuple(cases), end, self.mark_at(end))

    def _append(self, line: bytes, *, durable: bool) -> None:
        """Add one line; after a line that was cut short, on a line of its own."""
        flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)
        handle = os.open(self.path, flags, 0o666)
        try:
            size = os.lseek(handle, 0, os.SEEK_END)
            if size:
                os.lseek(handle, size - 1, os.SEEK_SET)
                if os.read(handle, 1) != b"\n":
                    line = b"\n" + line
            write_all(handle, line)
            if durable:
                flush(handle)
        finally:
            os.close(handle)

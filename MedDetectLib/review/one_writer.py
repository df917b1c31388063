"""One writer at a time: a lock that the operating system lets go of when its holder dies.

The lock file also says who holds it, for the one who is told `busy`. On a file system
without locks the lock is that text alone; it is stale when its process, on this computer, is
gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

from MedDetectLib.cases.byte_lock import NO_LOCKS, lock_byte
from MedDetectLib.cases.store.file_system import process_lives
from MedDetectLib.core.errors import StoreError

__all__ = ["OneWriter"]

LOCK = "session.lock"
BUSY = 75
LOCKED_BYTE = 1 << 30  # far behind the text: Windows lets nobody read a locked byte


class OneWriter:
    """The right to write to one session folder, held until `release`.

    Args:
        folder: the session's folder, which exists.

    Raises:
        StoreError: ``busy`` (75) when somebody else holds it.
        OSError: the lock file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        self._handle = self._locked()
        try:
            owner = {"pid": os.getpid(), "host": socket.gethostname()}
            os.ftruncate(self._handle, 0)
            os.lseek(self._handle, 0, os.SEEK_SET)
            os.write(self._handle, json.dumps(owner).encode("ascii"))
        except BaseException:
            os.close(self._handle)
            raise

    def release(self) -> None:
        """Let the next one write."""
        if self._handle >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, 0)
            with contextlib.suppress(OSError):
                os.close(self._handle)
            self._handle = -1

    def _locked(self) -> int:
        handle = os.open(self.path, os.O_CREAT | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666)
        try:
            try:
                lock_byte(handle, LOCKED_BYTE)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise self._busy(_owner(handle)) from None
                owner = _owner(handle)
                if owner and not _is_gone(owner):
                    raise self._busy(owner) from None
            if not self._still_there(handle):
                raise self._busy({})
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _still_there(self, handle: int) -> bool:
        """Whether the locked file is the one that bears the name, not one moved away."""
        try:
            return os.path.samestat(os.fstat(handle), self.path.stat())
        except FileNotFoundError:
            return False

    def _busy(self, owner: dict[str, Any]) -> StoreError:
        who = f"process {owner['pid']} on {owner['host']}" if owner else "another process"
        return StoreError(
            "busy",
            f"{who} has this review open",
            where=self.path.parent,
            todo="close it there, or open it read-only",
            exit_code=BUSY,
        )


def _owner(handle: int) -> dict[str, Any]:
    """Return who the file says holds it, empty when it says nothing."""
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        data = json.loads(os.read(handle, 4096))
        return {"pid": int(data["pid"]), "host": str(data["host"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _is_gone(owner: dict[str, Any]) -> bool:
    """Whether the holder surely died: it ran on this computer and does so no more."""
    return owner["host"] == socket.gethostname() and not process_lives(owner["pid"])

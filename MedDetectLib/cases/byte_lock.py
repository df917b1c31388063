"""A lock the operating system lets go of when its holder dies; for local disks only."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path

__all__ = ["NO_LOCKS", "ByteLock", "lock_byte"]

NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""What file systems without locks answer: nobody holds it, and nobody can."""


class ByteLock:
    """An exclusive lock on one file, held through an open handle.

    Args:
        path: the file; made when missing, never removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def take(self) -> bool:
        """Try to take it, without waiting; whether it is ours now.

        Raises:
            OSError: the file cannot be made, or the file system has no locks (`NO_LOCKS`).
        """
        handle = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            lock_byte(handle)
        except OSError as error:
            os.close(handle)
            if error.errno in NO_LOCKS:
                raise
            return False
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        return True

    def drop(self) -> None:
        """Let it go."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.close(self._handle)
            self._handle = None


def lock_byte(handle: int, place: int = 0) -> None:
    """Lock an open file for this handle alone, without waiting.

    Args:
        handle: of the file; closing it lets the lock go.
        place: which byte Windows locks, and lets nobody read; elsewhere it is the whole file.

    Raises:
        OSError: another handle holds it, or the file system has no locks.
    """
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, place, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

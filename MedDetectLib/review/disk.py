"""How a session touches the disk: what is acknowledged is flushed before."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from MedDetectLib.cases.durable import flush, said_plainly, write_all
from MedDetectLib.core.errors import StoreError

__all__ = ["AppendOnly", "saying_plainly"]

BINARY = getattr(os, "O_BINARY", 0)


def saying_plainly(where: Path) -> contextlib.AbstractContextManager[None]:
    """Turn a failing call of the file system into a `StoreError`, in a review's words.

    Raises:
        StoreError: ``disk-full`` or ``cannot-write``, exit code 73.
    """
    return said_plainly(where, "the review", verb="saved", again="the act")


class AppendOnly:
    """A file that grows by whole, flushed pieces.

    Args:
        path: an existing file.
        size: how much of it counts; what is behind that is cut off.

    Raises:
        OSError: it cannot be opened, cut or flushed.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        self._lost = False
        self._handle = os.open(path, os.O_RDWR | os.O_APPEND | BINARY)
        try:
            if os.fstat(self._handle).st_size != size:
                self._cut()
        except BaseException:
            os.close(self._handle)
            raise

    def append(self, data: bytes) -> None:
        """Add a piece; it is on the disk, or nowhere, when this returns or raises.

        Raises:
            StoreError: ``disk-full``, ``cannot-write``; ``journal-changed`` when somebody
                else wrote to the file, or a failed piece could not be taken back. Nothing
                more can then be added until the session is opened again.
        """
        with saying_plainly(self.path):
            if self._lost or os.fstat(self._handle).st_size != self.size:
                raise StoreError(
                    "journal-changed",
                    "the journal is not as this session left it",
                    where=self.path,
                    todo="close the review and open it again",
                )
            try:
                write_all(self._handle, data)
                flush(self._handle)
            except BaseException:
                self._take_back()
                raise
        self.size += len(data)

    @property
    def is_lost(self) -> bool:
        """Whether it takes nothing more."""
        return self._lost

    def give_up(self) -> None:
        """Take nothing more: what was added could not be followed in memory."""
        self._lost = True

    def close(self) -> None:
        """Let the file go; every piece of it is flushed already."""
        with contextlib.suppress(OSError):
            os.close(self._handle)

    def _take_back(self) -> None:
        try:
            self._cut()
        except OSError:
            self._lost = True

    def _cut(self) -> None:
        os.ftruncate(self._handle, self.size)
        flush(self._handle)

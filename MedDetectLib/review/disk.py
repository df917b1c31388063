"""How a session touches the disk: what is acknowledged is flushed before."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from MedDetectLib.core.errors import StoreError

__all__ = ["AppendOnly", "saying_plainly", "sync_folder", "write_flushed"]

BINARY = getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def saying_plainly(where: Path) -> Iterator[None]:
    """Turn a failing call of the file system into a `StoreError`.

    Raises:
        StoreError: ``disk-full`` or ``cannot-write``, exit code 73.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
        raise StoreError(
            "disk-full" if full else "cannot-write",
            f"the review could not be saved ({error.strerror or error})",
            where=error.filename or where,
            todo="free some space and repeat the act"
            if full
            else "check the folder, its permissions and the disk, and repeat the act",
            exit_code=73,
        ) from error


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
        if self._lost or os.fstat(self._handle).st_size != self.size:
            raise StoreError(
                "journal-changed",
                "the journal is not as this session left it",
                where=self.path,
                todo="close the review and open it again",
            )
        with saying_plainly(self.path):
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(self._handle, rest) :]
                _flush(self._handle)
            except BaseException:
                self._take_back()
                raise
        self.size += len(data)

    def close(self) -> None:
        """Let the file go."""
        os.close(self._handle)

    def _take_back(self) -> None:
        try:
            self._cut()
        except OSError:
            self._lost = True

    def _cut(self) -> None:
        os.ftruncate(self._handle, self.size)
        _flush(self._handle)


def write_flushed(path: Path, data: bytes) -> None:
    """Write a file whole, under a temporary name first; flushed, and so is its name.

    Raises:
        OSError: nothing is there under `path`, or what was.
    """
    made = path.with_name(f".writing-{path.name}")
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | BINARY
    handle = os.open(made, flags, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
        _flush(handle)
    finally:
        os.close(handle)
    os.replace(made, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush which names a folder holds; Windows has no such call."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush(handle: int) -> None:
    """Flush to the platter; macOS needs to be asked twice."""
    os.fsync(handle)
    if sys.platform == "darwin":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)

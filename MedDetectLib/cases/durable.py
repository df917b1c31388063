"""The few ways we touch the disk: complete or not there, and flushed before told.

Every function goes through `os` so that tests can count, fail and kill each call.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from MedDetectLib.core.errors import StoreError

__all__ = [
    "WRITING",
    "flush",
    "fresh_file",
    "make_folder",
    "publish",
    "said_plainly",
    "sync_file",
    "sync_folder",
    "temporary_name",
    "unreadable",
    "write_all",
    "write_inside",
    "write_new",
    "write_over",
]

WRITING = ".writing-"
"""How the name of a file or folder begins that nobody may read yet."""

NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""What file systems without hard links answer."""

FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
BINARY = getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def said_plainly(
    where: Path, what: str = "the case store", *, verb: str = "written", again: str = "it"
) -> Iterator[None]:
    """Turn a failing call of the file system into a `StoreError`.

    Args:
        where: named where the failed call names no file.
        what: what was being written, for a person.
        verb: what could not be done to it.
        again: what to repeat once the disk is well.

    Raises:
        StoreError: ``disk-full`` or ``cannot-write``, exit code 73.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in FULL
        raise StoreError(
            "disk-full" if full else "cannot-write",
            f"{what} could not be {verb} ({error.strerror or error})",
            where=error.filename or where,
            todo=f"free some space and repeat {again}"
            if full
            else f"check the folder, its permissions and the disk, and repeat {again}",
            exit_code=73,
        ) from error


def unreadable(
    error: OSError,
    where: Path | str,
    what: str,
    todo: str = "check the folder, its permissions and the disk",
) -> StoreError:
    """Return what a failed reading is to be raised as: ``cannot-read``.

    Args:
        error: what the file system said.
        where: the file or folder.
        what: was being read, for a person.
        todo: what a person can do.
    """
    why = error.strerror or error
    return StoreError("cannot-read", f"{what} cannot be read ({why})", where=where, todo=todo)


def temporary_name(folder: Path, ending: str = "") -> Path:
    """Return a name in `folder` that no reader looks at and nobody else uses."""
    return folder / f"{WRITING}{secrets.token_hex(8)}{ending}"


def write_all(handle: int, data: bytes) -> None:
    """Write every byte to an open file."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


@contextlib.contextmanager
def fresh_file(folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield a new open file with a temporary name; flushed at the end, gone when it fails.

    Whoever asked for it publishes it (see `publish`) and removes the temporary name.
    """
    path = temporary_name(folder)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | BINARY
    handle = os.open(path, flags, 0o666)
    try:
        try:
            yield handle, path
            flush(handle)
        finally:
            os.close(handle)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def publish(made: Path, path: Path) -> None:
    """Give a finished, flushed file its name, which nobody has yet; flush the folder.

    `made` keeps existing where the file system has hard links.

    Raises:
        FileExistsError: somebody else was first; `path` is theirs.
    """
    try:
        os.link(made, path)
    except OSError as error:
        if os.name == "posix" and error.errno not in NO_LINKS:
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, "somebody was first", str(path)) from None
        os.rename(made, path)  # refuses an existing name on Windows; the lease guards the rest
    sync_folder(path.parent)


def write_new(path: Path, data: bytes) -> None:
    """Write a whole file that does not exist yet: complete, durable, or not there at all.

    Raises:
        FileExistsError: somebody else was first.
    """
    with fresh_file(path.parent) as (handle, made):
        write_all(handle, data)
    try:
        publish(made, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(made)


def write_inside(path: Path, data: bytes) -> None:
    """Write a whole file into a folder that nobody reads yet; the folder is not flushed."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | BINARY
    handle = os.open(path, flags, 0o666)
    try:
        write_all(handle, data)
        flush(handle)
    finally:
        os.close(handle)


def write_over(path: Path, data: bytes) -> None:
    """Write a whole file, over what is there; flushed, and so is its name.

    For one writer at a time: its temporary name is always the same, so that what a crash
    left is written over by the next one.

    Raises:
        OSError: nothing is there under `path`, or what was.
    """
    made = path.with_name(f"{WRITING}{path.name}")
    handle = os.open(made, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | BINARY, 0o666)
    try:
        write_all(handle, data)
        flush(handle)
    finally:
        os.close(handle)
    os.replace(made, path)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Create a folder and those above it where they are missing; each is flushed.

    An existing one is flushed too: whoever made it may have died before that.
    """
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flush which names a folder holds; Windows has no such call."""
    if os.name == "posix":
        sync_file(folder)


def sync_file(path: Path) -> None:
    """Flush a file that is there already."""
    flags = os.O_RDONLY if os.name == "posix" else os.O_RDWR
    handle = os.open(path, flags)
    try:
        flush(handle)
    finally:
        os.close(handle)


def flush(handle: int) -> None:
    """Flush to the platter; macOS needs to be asked twice."""
    os.fsync(handle)
    if sys.platform == "darwin":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)

"""Writing a file so that a crash leaves the old one or the new one, never a torn one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from MedDetectLib.core.errors import StoreError

__all__ = ["make_folder", "replacing", "write_bytes"]

CANNOT_WRITE = 73


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; what is written there takes its place at the end.

    The temporary name keeps all suffixes, for writers that choose the format by them. The
    file and its folder are flushed to disk. When the body fails, nothing is left.

    Raises:
        StoreError: ``cannot-write``, exit code 73.
    """
    suffixes = "".join(path.suffixes[-3:])
    try:
        handle, name = tempfile.mkstemp(prefix=".writing-", suffix=suffixes, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _cannot_write(path, error) from error
    made = Path(name)
    try:
        yield made
        with made.open("rb+") as file:
            os.fsync(file.fileno())
        if os.name == "posix":
            made.chmod(0o666 & ~_umask())
        made.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        made.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file at once, see `replacing`."""
    with replacing(path) as made:
        made.write_bytes(data)


def make_folder(path: Path) -> None:
    """Create a folder and those above it where they are missing.

    Raises:
        StoreError: ``cannot-write``.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> StoreError:
    return StoreError(
        "cannot-write",
        f"writing failed ({error.strerror or error})",
        where=path,
        todo="check the folder, its permissions and the free space",
        exit_code=CANNOT_WRITE,
    )


def _umask() -> int:
    """Return the mask for new files; mkstemp ignores it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Flush a folder's entries; Windows has no such call."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Writing a file so that a crash leaves the old one or the new one, never a torn one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from MedDetectLib.cases.durable import sync_file, sync_folder, temporary_name
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
    made = temporary_name(path.parent, "".join(path.suffixes[-3:]))
    try:
        handle = os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        try:
            os.close(handle)
            yield made
            sync_file(made)
            made.replace(path)
            sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):  # what failed first is what is told
                made.unlink()
            raise
    except OSError as error:
        raise _cannot_write(path, error) from error


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

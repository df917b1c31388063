"""A new folder that appears complete and flushed, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from MedDetectLib.cases.durable import (
    make_folder,
    said_plainly,
    sync_folder,
    temporary_name,
)
from MedDetectLib.core.errors import StoreError

__all__ = ["check_free", "whole_folder"]


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder with a temporary name beside `folder`; it takes its name at the end.

    Whoever fills it flushes each file (see `durable.write_inside`); folders are flushed here.
    When the body fails nothing is left; after a kill only a ``.writing-...`` folder may be.

    Args:
        folder: not there yet, or empty.

    Raises:
        StoreError: ``exists``, ``cannot-write``, ``disk-full`` (73).
    """
    folder = folder.absolute()
    with said_plainly(folder, "the folder"):
        check_free(folder)
        make_folder(folder.parent)
        made = temporary_name(folder.parent)
        try:
            os.mkdir(made)
            yield made
            for root, _, _ in os.walk(made, topdown=False, onerror=_refuse):
                sync_folder(Path(root))
            if folder.is_dir():
                os.rmdir(folder)
            os.rename(made, folder)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        sync_folder(folder.parent)


def check_free(folder: Path) -> None:
    """Refuse a name that is taken by anything but an empty folder.

    Raises:
        StoreError: ``exists``, ``cannot-write`` (73).
    """
    with said_plainly(folder, "the folder"):
        taken = (
            folder.is_symlink()
            or (folder.exists() and not folder.is_dir())
            or (folder.is_dir() and any(folder.iterdir()))
        )
    if taken:
        raise StoreError(
            "exists",
            "the export folder is not empty",
            where=folder,
            todo="give a new folder",
            exit_code=73,
        )


def _refuse(error: OSError) -> None:
    """Let no folder go unflushed because it could not be listed."""
    raise error

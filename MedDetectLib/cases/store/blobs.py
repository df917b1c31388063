"""Files named by their content: written once, never changed, shared by all who need them."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from MedDetectLib.cases.durable import (
    fresh_file,
    make_folder,
    publish,
    said_plainly,
    sync_file,
    sync_folder,
    unreadable,
)
from MedDetectLib.cases.store.records import Blob, damaged

__all__ = ["Blobs", "Staged", "sha256_of"]


@dataclass(frozen=True)
class Staged:
    """A finished file that has no name yet; it becomes `blob` when kept."""

    made: Path
    blob: Blob


class Blobs:
    """The content-addressed files of one store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path_of(self, blob: Blob) -> Path:
        """Return where a blob lies."""
        return self.folder / blob.name[:2] / blob.name

    @contextlib.contextmanager
    def staged(self, suffix: str, write: Callable[[int], None]) -> Iterator[Staged]:
        """Write a file under a temporary name, without any lease; gone at the end.

        Args:
            suffix: ``nrrd`` or ``json``.
            write: gets the open file.
        """
        with said_plainly(self.folder):
            with fresh_file(self.folder) as (handle, made):
                write(handle)
                size = os.fstat(handle).st_size
            try:
                yield Staged(made, Blob(f"{sha256_of(made)}.{suffix}", size))
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(made)

    def keep(self, staged: Staged) -> None:
        """Give a staged file its name; under the lease. One that is there already is checked.

        A damaged one is replaced: its content is known again.
        """
        path = self.path_of(staged.blob)
        make_folder(path.parent)
        try:
            publish(staged.made, path)
        except FileExistsError:
            if sha256_of(path) == staged.blob.sha256:
                sync_file(path)  # whoever made it may have died before that
                sync_folder(path.parent)
            else:
                os.replace(staged.made, path)
                sync_folder(path.parent)

    def check(self, blob: Blob) -> Path:
        """Return a blob's path once its bytes are known to be right.

        Raises:
            StoreError: ``damaged``; ``cannot-read``.
        """
        path = self.path_of(blob)
        try:
            found = sha256_of(path)
        except FileNotFoundError:
            raise damaged(path, "the file is not there") from None
        except OSError as error:
            raise unreadable(error, path, "a file of the case store") from error
        if found != blob.sha256:
            raise damaged(path, "its content is not what was written")
        return path


def sha256_of(path: Path) -> str:
    """Return the fingerprint of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Renames without any fsync: a power cut may leave an empty file under the final name."""

import os
from pathlib import Path

from MedDetectLib.core.errors import StoreError


def prepare(folder: Path) -> None:
    (folder / "kept").write_bytes(b"old")


def act(folder, acknowledge) -> None:
    try:
        (folder / "new").write_bytes(b"new" * 100)
        os.replace(folder / "new", folder / "kept")
    except OSError as error:
        raise StoreError("cannot-write", str(error)) from error
    acknowledge("new")


def check(folder, acknowledged) -> None:
    allowed = {b"new" * 100} if acknowledged else {b"old", b"new" * 100}
    assert (folder / "kept").read_bytes() in allowed

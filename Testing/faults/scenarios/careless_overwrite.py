"""Writes over the only copy, flushed: safe against nothing but the end."""

import os
from pathlib import Path


def prepare(folder: Path) -> None:
    (folder / "kept").write_bytes(b"old")


def act(folder, acknowledge) -> None:
    with (folder / "kept").open("wb") as file:
        file.write(b"new" * 100)
        file.flush()
        os.fsync(file.fileno())
    acknowledge("new")


def check(folder, acknowledged) -> None:
    allowed = {b"new" * 100} if acknowledged else {b"old", b"new" * 100}
    assert (folder / "kept").read_bytes() in allowed

"""Where the real data lies, unpacked once per run."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of shared data; the test is skipped where it is absent."""
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("MEDDETECT_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real data: neither MEDDETECT_DATA nor {beside}")
    return folder


@pytest.fixture(scope="session")
def unpacked(data_folder: Path, tmp_path_factory) -> Callable[[str], Path]:
    """Unpack one archive by name and give its folder."""
    done: dict[str, Path] = {}

    def unpack(name: str) -> Path:
        if name not in done:
            archive = data_folder / f"{name}.tar.xz"
            if not archive.is_file():
                pytest.skip(f"no real data: {archive.name} is absent")
            done[name] = tmp_path_factory.mktemp("real")
            with tarfile.open(archive) as tar:
                tar.extractall(done[name], filter="data")
        return done[name]

    return unpack

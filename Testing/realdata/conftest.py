import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def data():
    """The folder of real volumes and models; skips where it is absent."""
    folder = Path(os.environ.get("MEDDETECT_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "INDEX.md").is_file():
        pytest.skip(f"no real data in {folder}; set MEDDETECT_DATA")
    return folder


@pytest.fixture(scope="session")
def unpacked(data, tmp_path_factory):
    """Unpack one of the folder's archives, once, and return where it lies."""
    done = {}

    def unpack(archive):
        if archive not in done:
            done[archive] = tmp_path_factory.mktemp("archive")
            with tarfile.open(data / archive) as packed:
                packed.extractall(done[archive], filter="data")
        return done[archive]

    return unpack


@pytest.fixture
def model_folder(data, tmp_path):
    """Make a model folder from one of the real networks and a card without fingerprints."""

    def make(network, card):
        source = data / network
        shutil.copy(source, tmp_path / source.name)
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        whole = {
            "format": "meddetect.model/1",
            "version": "1.0.0",
            "weights": source.name,
            "files": {source.name: digest},
            **card,
        }
        (tmp_path / "model.json").write_text(json.dumps(whole))
        return tmp_path

    return make

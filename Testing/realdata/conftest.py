import hashlib
import json
import shutil

import pytest


@pytest.fixture
def model_folder(data_folder, tmp_path):
    """Make a model folder from one of the real networks and a card without fingerprints."""

    def make(network, card):
        source = data_folder / network
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

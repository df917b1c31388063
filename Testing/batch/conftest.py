"""Small cases, a small model, and lanes that misbehave on command."""

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

HERE = Path(__file__).parent


@pytest.fixture
def model(bright_model):
    return bright_model(0.5)


@pytest.fixture
def cases(tmp_path):
    """Return a function that makes a folder of images, each with one bright block."""
    folder = tmp_path / "cases"
    folder.mkdir()

    def make(*names):
        for number, name in enumerate(names):
            array = np.zeros((20, 24, 22), np.float32)
            array[5:9, 6 : 10 + number, 7:11] = 1.0
            path = folder / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = sitk.GetImageFromArray(array)
            image.SetSpacing((1.0, 1.0, 2.0))
            sitk.WriteImage(image, str(path))
        return folder

    return make


@pytest.fixture
def strange_python(tmp_path, monkeypatch):
    """A "Python" whose lanes are those of `strange_lane.py`, and the log they keep."""
    if sys.platform == "win32":
        pytest.skip("needs a shell script as program")
    log = tmp_path / "lane.log"
    log.touch()
    monkeypatch.setenv("LANE_LOG", str(log))
    program = tmp_path / "strange-python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "strange_lane.py"}" "$@"\n')
    program.chmod(0o755)
    return str(program), log

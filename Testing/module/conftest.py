"""The Slicer application's stand-in, for tests of the module and its panel."""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)


@pytest.fixture
def slicer_harness():
    """A running stand-in with a main window; errors in slots and timers fail the test."""
    from Testing.harness.running import slicer_running

    with slicer_running() as harness:
        yield harness


@pytest.fixture
def meddetect(slicer_harness):
    """The stand-in with MedDetect loaded: what `slicer_harness.load_module()` gives."""
    slicer_harness.load_module()
    return slicer_harness


from Testing.module.panel_world import home, reviewed, world  # noqa: E402, F401

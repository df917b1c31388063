"""Samples and scenarios are imported by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "scenarios"), str(HERE.parent / "faults")]

from MedDetectLib.cases.store.case_store import CaseStore  # noqa: E402


@pytest.fixture
def store(tmp_path):
    return CaseStore.open_or_create(tmp_path / "store")

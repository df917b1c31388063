"""Training exports and de-identified folders struck at every write: whole or absent."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "faults"))
from fault_points import enumerate_faults, why_not  # noqa: E402


@pytest.mark.slow
@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("scenario", ["training_export", "deidentifying"])
def test_whatever_goes_wrong_at_any_write_the_folder_is_whole_or_absent(scenario, capsys):
    table = enumerate_faults(scenario, HERE / "scenarios", timeout_s=1800)
    with capsys.disabled():
        print(f"\n{table.text}")
    assert table.missed == [], table.text

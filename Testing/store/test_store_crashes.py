"""Every write of the store is cut short in every way: what was acknowledged is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_points import enumerate_faults, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
SCENARIOS = Path(__file__).parent / "scenarios"


@pytest.mark.parametrize("scenario", ["signing"])
def test_a_crash_at_any_write_loses_nothing_acknowledged_and_tears_nothing(scenario, capsys):
    table = enumerate_faults(scenario, SCENARIOS)
    with capsys.disabled():
        print(f"\n{table.text}")
    assert table.missed == [], table.text


@pytest.mark.slow
@pytest.mark.parametrize(
    "scenario", ["creating", "importing", "exporting", "rebuilding", "catching_up"]
)
def test_a_crash_at_any_write_of_the_rest_too(scenario, capsys):
    table = enumerate_faults(scenario, SCENARIOS, timeout_s=1800)
    with capsys.disabled():
        print(f"\n{table.text}")
    assert table.missed == [], table.text

"""Every write of the store is cut short in every way: what was acknowledged is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_points import enumerate_faults, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
SCENARIOS = Path(__file__).parent / "scenarios"
MINUTES = ["creating", "importing", "signing", "exporting", "rebuilding", "catching_up"]


def test_a_kill_or_a_power_cut_at_any_write_loses_nothing_acknowledged(capsys):
    strike_everywhere("briefly", capsys)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", MINUTES)
def test_whatever_goes_wrong_at_any_write_loses_nothing_and_tears_nothing(scenario, capsys):
    strike_everywhere(scenario, capsys)


def strike_everywhere(scenario, capsys):
    table = enumerate_faults(scenario, SCENARIOS, timeout_s=3600)
    with capsys.disabled():
        print(f"\n{table.text}")
    assert table.missed == [], table.text

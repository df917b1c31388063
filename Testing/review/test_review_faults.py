"""Wherever a crash, a full disk or a power cut hits a review, what was acknowledged is there."""

from pathlib import Path

import pytest
from fault_points import enumerate_faults, why_not

SCENARIOS = Path(__file__).parent / "scenarios"


@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("scenario", ["review_session", "review_goes_on"])
def test_no_fault_at_any_call_loses_an_act_or_leaves_a_torn_one(scenario, capsys, record_property):
    table = enumerate_faults(scenario, SCENARIOS)
    record_property("fault table", table.text)  # xdist shows nothing a passing test prints
    with capsys.disabled():
        print(f"\n{table.text}")
    assert table.missed == []

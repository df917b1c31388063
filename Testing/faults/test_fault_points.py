"""The fault layer itself: it finds the known faults, and none where there are none."""

from pathlib import Path

import pytest
from fault_points import enumerate_faults, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
SCENARIOS = Path(__file__).parent / "scenarios"


def held(table):
    return {mode: (good, total) for mode, good, total in table.rows}


def test_a_rename_that_nobody_flushed_is_lost_with_the_power_and_only_then():
    table = enumerate_faults("careless_rename", SCENARIOS)
    rows = held(table)
    broken = {mode for mode, (good, total) in rows.items() if good < total}
    assert broken == {"power-nothing", "power-names", "power-torn"}, table.text
    assert rows["kill-before"] == (3, 3)  # open, write, rename


def test_overwriting_the_only_copy_is_torn_by_a_kill_and_by_a_full_disk():
    rows = held(enumerate_faults("careless_overwrite", SCENARIOS))
    for mode in ("kill-after", "torn-write", "ENOSPC", "power-torn"):
        good, total = rows[mode]
        assert good < total, mode


def test_what_sqlite_writes_is_struck_at_every_call_and_holds():
    table = enumerate_faults("database", SCENARIOS)
    assert table.missed == [], table.text
    assert table.rows[0][1] > 15

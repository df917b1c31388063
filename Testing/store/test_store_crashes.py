"""Every write of the store is cut short in every way: what was acknowledged is there."""

import pytest

MINUTES = ["creating", "importing", "signing", "exporting", "rebuilding", "catching_up"]


def test_a_kill_or_a_power_cut_at_any_write_loses_nothing_acknowledged(strike_everywhere):
    strike_everywhere("briefly")


@pytest.mark.slow
@pytest.mark.parametrize("scenario", MINUTES)
def test_whatever_goes_wrong_at_any_write_loses_nothing_and_tears_nothing(
    scenario, strike_everywhere
):
    strike_everywhere(scenario)

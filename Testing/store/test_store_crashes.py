"""Every write of the store is cut short in every way: what was acknowledged is there."""

import pytest

OPERATIONS = ["creating", "importing", "signing", "exporting", "rebuilding", "catching_up"]


@pytest.mark.parametrize("scenario", OPERATIONS)
def test_whatever_goes_wrong_at_any_write_loses_nothing_and_tears_nothing(
    scenario, strike_everywhere
):
    strike_everywhere(scenario)

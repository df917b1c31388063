"""Wherever a crash, a full disk or a power cut hits a review, what was acknowledged is there."""

import pytest


@pytest.mark.parametrize("scenario", ["review_session", "review_goes_on"])
def test_no_fault_at_any_call_loses_an_act_or_leaves_a_torn_one(scenario, strike_everywhere):
    strike_everywhere(scenario)

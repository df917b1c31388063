"""Training exports and de-identified folders struck at every write: whole or absent."""

import pytest


@pytest.mark.parametrize("scenario", ["training_export", "deidentifying"])
def test_whatever_goes_wrong_at_any_write_the_folder_is_whole_or_absent(
    scenario, strike_everywhere
):
    strike_everywhere(scenario)

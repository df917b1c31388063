"""Sessions on small findings, and a clock that ticks by hand."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "faults")]

from review_samples import made_findings  # noqa: E402

from MedDetectLib.review.session import ReviewSession  # noqa: E402


class Clock:
    """Shows a fixed time until it is moved."""

    def __init__(self):
        self.now = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def findings():
    return made_findings()


@pytest.fixture
def session(tmp_path, findings, clock):
    with ReviewSession.start(
        tmp_path / "review", findings, volume_sha256="1" * 64, clock=clock
    ) as made:
        yield made

"""Timing several ways of doing the same work, in turns.

A machine speeds up and slows down over seconds. Taking turns (A B A B ...) lets every side
meet the same weather, and the median forgets a single gust.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Timed", "interleaved", "seconds_text"]


@dataclass(frozen=True, eq=False)
class Timed:
    """What one side took, round by round, and what it answered in the last one."""

    seconds: tuple[float, ...]
    output: Any

    @property
    def median(self) -> float:
        """The median of all rounds, in seconds."""
        return statistics.median(self.seconds)

    def times_faster_than(self, baseline: Timed) -> float:
        """Return the baseline's median over ours: 2.0 is twice as fast."""
        return baseline.median / self.median

    def __str__(self) -> str:
        """Median, and the fastest and slowest round."""
        low, high = min(self.seconds), max(self.seconds)
        middle = seconds_text(self.median)
        return f"{middle} ({seconds_text(low)} to {seconds_text(high)})"


def interleaved(
    sides: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    warm_ups: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timed]:
    """Run every side once per round, in the order given.

    Args:
        sides: what to do, by name.
        rounds: how many are timed.
        warm_ups: rounds before that which are not.
        clock: seconds from any origin.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    outputs: dict[str, Any] = {}
    for number in range(-warm_ups, rounds):
        for name, work in sides.items():
            outputs.pop(name, None)  # the last round's answer must not crowd this one's memory
            start = clock()
            answer = work()
            elapsed = clock() - start
            if number >= 0:
                seconds[name].append(elapsed)
            outputs[name] = answer
    return {name: Timed(tuple(seconds[name]), outputs[name]) for name in sides}


def seconds_text(seconds: float) -> str:
    """Return a duration with three figures that count."""
    if seconds < 1.0:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:.0f} s"

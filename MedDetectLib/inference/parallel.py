"""Sharing array work among the cores: numpy lets go of the interpreter while it computes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["core_count", "in_parallel"]


def core_count() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_parallel(work: Callable[[int, int], None], count: int, smallest: int = 1) -> None:
    """Call `work(start, stop)` for spans that together cover 0 to `count`.

    Several spans per core, so that a core that is held up does not hold up the rest. The
    spans must not depend on each other. The first error raised is raised here.

    Args:
        work: does the items from start to stop.
        count: number of items.
        smallest: fewest items worth a span.
    """
    cores = core_count()
    size = max(smallest, -(-count // (cores * 4)))
    starts = range(0, count, size)
    if cores == 1 or len(starts) == 1:
        work(0, count)
        return
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(lambda start: work(start, min(start + size, count)), starts))

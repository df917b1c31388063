"""How long work tells its progress and hears that it should stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from MedDetectLib.core.errors import Cancelled

__all__ = ["SILENT", "Progress", "Watch"]

Item = TypeVar("Item")


@dataclass(frozen=True)
class Progress:
    """One report: which stage, how much of it is done (0 to 1), seconds left if known."""

    stage: str
    fraction: float
    seconds_left: float | None = None


@dataclass
class Watch:
    """Carries progress out of a long computation and a stop request into it.

    Args:
        on_progress: called with each `Progress`.
        should_stop: asked at every step; when true, `Cancelled` is raised there.
        seconds: wall-clock seconds spent per stage, filled while stages run.
    """

    on_progress: Callable[[Progress], None] | None = None
    should_stop: Callable[[], bool] | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def check(self) -> None:
        """Raise `Cancelled` if somebody asked to stop."""
        if self.should_stop is not None and self.should_stop():
            raise Cancelled

    def report(self, stage: str, fraction: float, seconds_left: float | None = None) -> None:
        """Pass one progress report on, after a look whether to stop."""
        self.check()
        if self.on_progress is not None:
            self.on_progress(Progress(stage, fraction, seconds_left))

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the seconds spent inside to `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Report and time one stage."""
        self.report(name, 0.0)
        with self.timed(name):
            yield
        self.report(name, 1.0)

    def each(self, items: Sequence[Item], stage: str) -> Iterator[Item]:
        """Yield the items one by one, reporting progress and time left before each."""
        start = time.perf_counter()
        for done, item in enumerate(items):
            left = (time.perf_counter() - start) / done * (len(items) - done) if done else None
            self.report(stage, done / len(items), left)
            yield item
        self.report(stage, 1.0, 0.0)

    def fresh(self) -> Watch:
        """Return a watch with the same ears and mouth and an empty stopwatch."""
        return Watch(self.on_progress, self.should_stop)


SILENT = Watch()
"""Reports to nobody and is never told to stop; call `fresh` before timing with it."""

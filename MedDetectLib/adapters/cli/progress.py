"""Progress on a terminal as bars, or as JSON lines for another program."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from MedDetectLib.core.watch import Progress as Report
from MedDetectLib.core.watch import Watch

__all__ = ["add_to", "shown"]


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses JSON events."""
    parser.add_argument(
        "--events", action="store_true", help="report progress as JSON lines on stderr"
    )


@contextmanager
def shown(options: argparse.Namespace, title: str) -> Iterator[Watch]:
    """Give a watch whose progress is shown as the options say, or not at all in a pipe."""
    if options.events:
        yield Watch(_print_event)
    elif _is_terminal() and find_spec("rich") is not None:
        with _bars(title) as watch:
            yield watch
    else:
        yield Watch()


def _is_terminal() -> bool:
    """Whether somebody looks at stderr; what Slicer puts in its place may not know."""
    return bool(getattr(sys.stderr, "isatty", bool)())


def _print_event(report: Report) -> None:
    left = report.seconds_left
    event = {
        "event": "progress",
        "stage": report.stage,
        "fraction": round(report.fraction, 4),
        "seconds_left": None if left is None else round(left, 1),
    }
    print(json.dumps(event), file=sys.stderr, flush=True)


@contextmanager
def _bars(title: str) -> Iterator[Watch]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("[bold]{task.fields[title]}"),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(report: Report) -> None:
            if report.stage not in tasks:
                tasks[report.stage] = bars.add_task(report.stage, total=1.0, title=title)
            bars.update(tasks[report.stage], completed=report.fraction)

        yield Watch(show)

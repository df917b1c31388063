"""`meddetect batch`: a folder or a list of cases in, a folder for each out."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedDetectLib.adapters.cli import progress
from MedDetectLib.core.watch import Progress, Watch

if TYPE_CHECKING:
    from MedDetectLib.adapters.batch.run import Outcome, State

__all__ = ["add_to"]


def add_to(commands: Any, everywhere: argparse.ArgumentParser) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser(
        "batch",
        parents=[everywhere],
        help="run a model on many cases, resumable",
        description="Run a model on every image of a folder, or on those a CSV file lists"
        " (columns: path, and optionally case, series, modality). Run it again to go on where"
        " it was stopped, whatever stopped it: finished cases are not done again. Exits with"
        " another code than 0 when any case failed.",
    )
    parser.add_argument("input", type=Path, help="folder of images and DICOM series, or CSV file")
    parser.add_argument("--model", required=True, help="a model's name or folder")
    parser.add_argument("--out", required=True, type=Path, help="folder for the results")
    parser.add_argument("--jobs", type=_at_least_one, default=1, help="cases at a time")
    parser.add_argument(
        "--accept", action="append", default=[], metavar="CODE",
        help="accept one flaw of the inputs by its code; it is then flagged in the findings",
    )  # fmt: skip
    parser.add_argument("--modality", default="", help="say what inputs are that do not say it")
    parser.add_argument("--backend", default="auto", help="inference engine (default: auto)")
    parser.add_argument(
        "--precision",
        choices=("f32", "f16", "bf16"),
        default="f32",
        help="what the network computes in",
    )
    parser.add_argument("--no-scene", action="store_true", help="do not write scene.mrb")
    parser.add_argument(
        "--case-timeout", type=float, default=3600.0, metavar="SECONDS",
        help="a case that takes longer has failed (default: 3600)",
    )  # fmt: skip
    parser.add_argument("--python", help=argparse.SUPPRESS)
    parser.add_argument("--packages", action="append", default=[], help=argparse.SUPPRESS)
    progress.add_to(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List the cases, run them, and say how they went."""
    from MedDetectLib.adapters.batch.cases import list_cases
    from MedDetectLib.adapters.batch.run import Batch, run_batch

    batch = Batch(
        cases=list_cases(options.input),
        out=options.out,
        model=options.model,
        backend=options.backend,
        precision=options.precision,
        accept=tuple(options.accept),
        modality=options.modality,
        scene=not options.no_scene,
        jobs=options.jobs,
        case_timeout_s=options.case_timeout,
    )
    with progress.shown(options, "batch") as watch, _stopped_by_signals() as should_stop:
        outcome = run_batch(
            batch,
            python=options.python,
            packages=options.packages,
            on_state=_Shown(watch),
            should_stop=should_stop,
        )
    if options.json:
        print(json.dumps({"cases": outcome.statuses, "skipped": outcome.skipped}, indent=2))
    else:
        _print(outcome, options.out)
    return outcome.exit_code


class _Shown:
    """Passes a batch's state on as progress, when it has changed."""

    def __init__(self, watch: Watch) -> None:
        self._watch, self._last = watch, (-1, -1)

    def __call__(self, state: State) -> None:
        tried = state.done + state.failed
        now = (tried, int(state.fraction * 200))
        if self._watch.on_progress is None or now == self._last:
            return
        self._last = now
        self._watch.on_progress(Progress("cases", state.fraction, state.seconds_left))


def _print(outcome: Outcome, out: Path) -> None:
    done = sum(status["state"] == "done" for status in outcome.statuses)
    before = f" ({outcome.skipped} of them before)" if outcome.skipped else ""
    print(f"{done} of {len(outcome.statuses)} cases done{before}")
    for status in outcome.failed:
        error = status["error"]
        parts = (error["what"], error["where"], error["todo"])
        said = "; ".join(part for part in parts if part)
        print(f"{status['case']}: error[{error['code']}]: {said}", file=sys.stderr)
    print(f"See {out / 'summary.html'}")


@contextmanager
def _stopped_by_signals() -> Iterator[Callable[[], bool]]:
    """Let SIGTERM, and the first Ctrl+C, end the batch in order: the summary gets written."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop.is_set
        return

    def told(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.default_int_handler)

    before = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number

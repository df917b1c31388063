"""`meddetect bench`: the same work by us and by our peers, in turns, outputs compared."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedDetectLib.core.errors import MedDetectError, StoreError

if TYPE_CHECKING:
    from MedDetectLib.core.volume import Volume
    from MedDetectLib.evaluation.bench.comparison import Comparison, Measured, Setting

__all__ = ["add_to", "comparisons", "run"]

_PATIENT = 3
"""The phantom everything is measured on; never trained on."""
_IDLE = 0.5
"""The load below which a machine counts as idle."""


def add_to(commands: Any, everywhere: argparse.ArgumentParser) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser(
        "bench",
        help="measure speed and memory against other software",
        description="Do the same work as our peers, in turns on this machine, compare the"
        " outputs, and print a table. Needs what is compared with: pip install"
        " 'meddetect[bench]'. Exits with 70 if an output differs.",
    )
    parser.add_argument("name", nargs="*", help="rows or groups of rows (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    parser.add_argument(
        "--quick", action="store_true", help="tiny inputs: see that it works, not how fast"
    )
    parser.add_argument("--debug", action="store_true", help="show where an error arose")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, and fail if an output differs."""
    from MedDetectLib.evaluation.bench.comparison import Row, Setting, chosen, rows_of
    from MedDetectLib.evaluation.bench.machine import load_average, machine_line
    from MedDetectLib.evaluation.bench.table import markdown

    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise StoreError(
            "cannot-create",
            "the folder for the rows is not there",
            where=options.json,
            todo="make it first: measuring takes long",
            exit_code=73,
        )
    load = load_average()
    if load is not None and load > _IDLE and not options.quick:
        print(f"the machine is busy (load {load:.1f}): figures will scatter", file=sys.stderr)
    setting = Setting(_scan, options.quick)
    rows: list[Row] = []
    packages: list[str] = []
    for comparison in chosen(comparisons(), options.name):
        print(f"{comparison.promises[0].name} ...", file=sys.stderr, flush=True)
        rows += rows_of(comparison, setting)
        packages += comparison.packages
        _write(options.json, rows)  # what is measured is kept, whatever becomes of the rest
    where = machine_line(list(dict.fromkeys(packages)))
    before = "" if load is None else f"; load before the start {load:.1f}"
    print(markdown(rows, where + before))
    different = [row.name for row in rows if row.equal_output is False]
    if different:
        raise MedDetectError(
            "unequal-output",
            f"ours and the baseline's output differ in {', '.join(different)}",
            todo="a ratio of unequal outputs means nothing: find out which of the two is right",
        )
    return 0


def comparisons() -> Sequence[Comparison]:
    """Return all comparisons in the order of the table, the longest last."""
    from MedDetectLib.evaluation.bench import (
        gpu,
        memory,
        naive_loop,
        nnunet,
        resampling,
        whole_path,
        worker,
    )

    return (
        *resampling.COMPARISONS,
        *whole_path.COMPARISONS,
        *naive_loop.COMPARISONS,
        *_of_segments(),
        *worker.COMPARISONS,
        *memory.COMPARISONS,
        *nnunet.COMPARISONS,
        *gpu.COMPARISONS,
    )


def _of_segments() -> list[Comparison]:
    from MedDetectLib.evaluation.bench.comparison import Comparison, Promise

    rows = [
        Comparison(
            (Promise(f"segments/{labels}", "one import per segment, as slicer.util does", target),),
            ("slicer-core", "vtk"),
            functools.partial(_import_segments, labels),
        )
        for labels, target in ((25, 10.0), (117, 50.0))
    ]
    surfaces = Promise("segments/surfaces-25", "Slicer's default (flying edges per segment)")
    return [*rows, Comparison((surfaces,), ("slicer-core", "vtk"), _surfaces)]


def _import_segments(labels: int, setting: Setting) -> dict[str, Measured]:
    from MedDetectLib.adapters.mrml.bench_segments import measure_import

    return measure_import(labels, f"segments/{labels}", setting)


def _surfaces(setting: Setting) -> dict[str, Measured]:
    from MedDetectLib.adapters.mrml.bench_segments import measure_surfaces

    return measure_surfaces("segments/surfaces-25", setting)


@functools.lru_cache(maxsize=3)
def _scan(
    shape_kji: tuple[int, int, int], spacing_kji_mm: tuple[float, float, float] | None
) -> Volume:
    from MedDetectLib.learning.phantoms import chest_phantom

    phantom = chest_phantom(
        _PATIENT, shape_kji=shape_kji, spacing_kji_mm=spacing_kji_mm, lesion_count=(6, 9)
    )
    return phantom.volume


def _write(path: Path | None, rows: Sequence[Any]) -> None:
    if path is not None:
        text = json.dumps([row.to_json() for row in rows], indent=2) + "\n"
        path.write_text(text, "utf-8")

"""What a row of the benchmark is, and how one comes about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from MedDetectLib.core.errors import BackendUnavailable, InputError
from MedDetectLib.core.volume import Volume
from MedDetectLib.evaluation.bench.machine import machine_line

__all__ = ["Comparison", "Measured", "Promise", "Row", "Setting", "chosen", "rows_of"]


@dataclass(frozen=True)
class Setting:
    """What every comparison is given.

    Args:
        scan: makes a chest CT (HU, int16): voxels [k, j, i] and, unless the whole chest is
            to fit, their size in mm.
        quick: tiny inputs and one round, to see that everything works; figures mean nothing.
    """

    scan: Callable[[tuple[int, int, int], tuple[float, float, float] | None], Volume]
    quick: bool = False

    def chest(self, shape_kji: tuple[int, int, int] = (150, 512, 512)) -> Volume:
        """Return a whole chest; when it must be quick the middle of one, coarsely."""
        if self.quick:
            return self.scan((32, 40, 40), (2.8, 2.8, 2.8))
        return self.scan(shape_kji, None)

    def rounds(self, wanted: int) -> int:
        """Return how many rounds are timed."""
        return 1 if self.quick else wanted


@dataclass(frozen=True)
class Promise:
    """A row before it is measured.

    Args:
        name: ``"group/row"``.
        baseline: what we are compared with, and how it is set up.
        target: the ratio to reach; None where nobody set one.
    """

    name: str
    baseline: str
    target: float | None = None


@dataclass(frozen=True)
class Measured:
    """What came out for one row.

    Args:
        ratio: the baseline's median over ours; above one, we are better.
        equal_output: whether both gave the same answer, to the tolerance in the detail.
        detail: medians, tolerances, sizes.
        target: where it follows from the measurement (an allowance in milliseconds).
    """

    ratio: float
    equal_output: bool
    detail: str
    target: float | None = None


@dataclass(frozen=True)
class Comparison:
    """One measurement, which fills one row or several.

    Args:
        promises: the rows it fills.
        packages: distributions the baseline consists of, for their versions.
        measure: does the work; returns what came out by row name.
    """

    promises: tuple[Promise, ...]
    packages: tuple[str, ...]
    measure: Callable[[Setting], Mapping[str, Measured]]


@dataclass(frozen=True)
class Row:
    """One line of the table. `ratio` is None when the baseline could not be run."""

    name: str
    baseline: str
    ratio: float | None
    target: float | None
    equal_output: bool | None
    detail: str
    machine: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name; the machine goes into the detail, so a row travels alone."""
        fields = asdict(self)
        machine = fields.pop("machine")
        fields["detail"] = "; ".join(part for part in (self.detail, machine) if part)
        return fields


def rows_of(comparison: Comparison, setting: Setting) -> list[Row]:
    """Measure, and return the rows; a peer that is not installed gives rows that say so."""
    try:
        measured = comparison.measure(setting)
    except ImportError as error:
        missing = (error.name or "").split(".")[0]
        if missing in ("", "MedDetectLib"):
            raise
        todo = f"pip install {' '.join(comparison.packages)}"
        return [
            _absent(promise, f"{missing} is not installed: {todo}")
            for promise in comparison.promises
        ]
    except BackendUnavailable as error:
        return [_absent(promise, str(error)) for promise in comparison.promises]
    rows = []
    for promise in comparison.promises:
        found = measured[promise.name]
        target = promise.target if found.target is None else found.target
        size = "tiny input, figures mean nothing; " if setting.quick else ""
        rows.append(
            Row(
                promise.name,
                promise.baseline,
                float(f"{found.ratio:.4g}"),
                None if target is None else float(f"{target:.4g}"),
                found.equal_output,
                f"{size}{found.detail}",
                machine_line(comparison.packages),
            )
        )
    return rows


def chosen(comparisons: Sequence[Comparison], names: Sequence[str]) -> Iterator[Comparison]:
    """Yield the comparisons that fill a row or group named; all of them for no names.

    Raises:
        InputError: ``no-such-row``.
    """
    known = {promise.name for each in comparisons for promise in each.promises}
    for name in names:
        if not any(_is_in(row, name) for row in known):
            raise InputError(
                "no-such-row",
                f"there is no comparison '{name}'",
                todo=f"choose of: {', '.join(sorted(known))}",
            )
    for each in comparisons:
        if not names or any(_is_in(p.name, name) for p in each.promises for name in names):
            yield each


def _is_in(row: str, name: str) -> bool:
    return row == name or row.startswith(f"{name}/")


def _absent(promise: Promise, why: str) -> Row:
    return Row(promise.name, promise.baseline, None, promise.target, None, why)

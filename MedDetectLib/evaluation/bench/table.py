"""Rows as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence

from MedDetectLib.evaluation.bench.comparison import Row

__all__ = ["markdown"]

_HEAD = ("comparison", "baseline", "ratio", "target", "same output", "detail")


def markdown(rows: Sequence[Row], machine: str) -> str:
    """Return the table; the machine, the same for all rows, stands once above it.

    Args:
        rows: in the order they are printed.
        machine: one line.
    """
    lines = [f"Measured on: {machine}", "", _line(_HEAD), _line(["---"] * len(_HEAD))]
    return "\n".join([*lines, *(_line(_cells(row)) for row in rows)])


def _cells(row: Row) -> list[str]:
    return [
        row.name,
        row.baseline,
        "not run" if row.ratio is None else f"{row.ratio:.3g}x",
        "" if row.target is None else f"{row.target:.3g}x{_verdict(row)}",
        {True: "yes", False: "**NO**", None: ""}[row.equal_output],
        row.detail,
    ]


def _verdict(row: Row) -> str:
    if row.ratio is None or row.target is None:
        return ""
    return " reached" if row.ratio >= row.target else " missed"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"

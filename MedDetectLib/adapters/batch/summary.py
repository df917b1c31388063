"""`summary.csv` and `summary.html`: every case of a batch on one page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from MedDetectLib.adapters.report_style import STYLE
from MedDetectLib.cases.atomic import write_bytes

__all__ = ["write_summary"]

_COLUMNS = (
    "case", "state", "findings", "labels", "best_score", "largest_mm", "case_scores", "seconds",
    "notes", "error", "what", "todo", "input",
)  # fmt: skip
_POLICY = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"

Status = Mapping[str, Any]


def write_summary(folder: Path, statuses: Sequence[Status], settings: Status) -> None:
    """Write both files.

    Args:
        folder: the batch's.
        statuses: one for each case, as in its status.json; waiting ones have state ``waiting``.
        settings: what the batch was done with.

    Raises:
        StoreError: ``cannot-write``.
    """
    rows = [_row(status) for status in statuses]
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\r\n")
    table.writeheader()
    table.writerows({key: _harmless(value) for key, value in row.items()} for row in rows)
    write_bytes(folder / "summary.csv", text.getvalue().encode("utf-8-sig"))
    write_bytes(folder / "summary.html", _page(folder, statuses, rows, settings).encode())


def _row(status: Status) -> dict[str, str]:
    result, error = status.get("result") or {}, status.get("error") or {}
    seconds = status.get("seconds") or {}
    return {
        "case": status["case"],
        "state": status["state"],
        "findings": str(result.get("findings", "")),
        "labels": ", ".join(f"{name} {n}" for name, n in (result.get("by_label") or {}).items()),
        "best_score": _number(result.get("best_score"), 3),
        "largest_mm": _number(result.get("largest_mm"), 1),
        "case_scores": ", ".join(
            f"{name} {score:.3f}" for name, score in (result.get("case_scores") or {}).items()
        ),
        "seconds": _number(sum(seconds.values()) if seconds else None, 1),
        "notes": ", ".join(note["code"] for note in result.get("notes") or ()),
        "error": error.get("code", ""),
        "what": error.get("what", ""),
        "todo": error.get("todo", ""),
        "input": "; ".join(status.get("input") or ()),
    }


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _harmless(text: str) -> str:
    """Return a text no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(tuple("=+-@\t\r")) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _page(
    folder: Path, statuses: Sequence[Status], rows: Sequence[Mapping[str, str]], settings: Status
) -> str:
    counts: dict[str, int] = {}
    for status in statuses:
        counts[status["state"]] = counts.get(status["state"], 0) + 1
    lead = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
    model = f"{settings.get('model', '')} {settings.get('version', '')}".strip()
    head = "".join(f"<th>{escape(text)}</th>" for text in _HEADINGS)
    body = "\n".join(_line(folder, status, row) for status, row in zip(statuses, rows, strict=True))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width">
<title>{escape(model)}: {len(statuses)} cases</title><style>{STYLE}
td img {{ display: block; height: 72px; border-radius: 4px; }}
.failed {{ color: #cf222e; font-weight: 600; }} .waiting {{ color: var(--dim); }}</style></head>
<body><main><header><div class="kind">MedDetect batch</div>
<h1>{escape(model)}</h1><p class="lead">{len(statuses)} cases: {escape(lead)}</p>
<p class="research">For research use; not a medical device</p></header>
<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table></div></main></body></html>
"""


_HEADINGS = ("Case", "", "State", "Findings", "Largest, mm", "Best score", "Seconds", "Remarks")


def _line(folder: Path, status: Status, row: Mapping[str, str]) -> str:
    """Return one case's line: failed ones say why, done ones link to their report."""
    place = f"cases/{quote(status['case'])}"
    name, picture = escape(status["case"]), ""
    if (folder / "cases" / status["case"] / "report.html").is_file():
        name = f'<a href="{place}/report.html">{name}</a>'
    if (folder / "cases" / status["case"] / "montage.png").is_file():
        picture = f'<img loading="lazy" src="{place}/montage.png" alt="">'
    remarks = row["notes"]
    if row["error"]:
        remarks = f"{row['error']}: {row['what']}. {row['todo']}"
    found = " ".join(part for part in (row["findings"], f"({row['labels']})") if part != "()")
    state = escape(row["state"])
    cells = (
        f"<td>{name}</td><td>{picture}</td>",
        f'<td class="{state}">{state}</td>',
        f"<td>{escape(found or row['case_scores'])}</td>",
        f'<td class="number">{row["largest_mm"]}</td>',
        f'<td class="number">{row["best_score"]}</td>',
        f'<td class="number">{row["seconds"]}</td>',
        f'<td style="white-space:normal">{escape(remarks)}</td>',
    )
    return f"<tr>{''.join(cells)}</tr>"

"""How findings read in a picture or a report: places, sizes, scores, names from files."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.core.volume import Volume

__all__ = ["best_first", "is_placed", "percent_text", "place_text", "plain", "volume_text"]


def best_first(findings: Findings) -> list[Finding]:
    """Return the findings by falling score; equal scores keep their order."""
    return sorted(findings.items, key=lambda item: -item.score)


def is_placed(volume: Volume, findings: Findings) -> bool:
    """Whether sides and millimetres mean anything: not in a flat picture without spacing."""
    codes = {note.code for note in (*volume.notes, *findings.notes)}
    return not (1 in volume.geometry.shape_kji and "no-spacing" in codes)


def percent_text(score: float) -> str:
    """Return a score (0 to 1) in percent; certainty is only claimed where it is exact."""
    if 0.995 <= score < 1:
        return ">99 %"
    if 0 < score < 0.005:
        return "<1 %"
    return f"{100 * score:.0f} %"


def place_text(place_ras_mm: npt.ArrayLike) -> str:
    """Return a RAS place in words: ``"L 41.2  P 7.0  S 102.5"`` for (-41.2, -7, 102.5)."""
    parts = []
    for value, sides in zip(np.asarray(place_ras_mm, float), ("RL", "AP", "SI"), strict=True):
        rounded = round(float(value), 1)
        parts.append(f"{sides[int(rounded < 0)]} {abs(rounded):.1f}")
    return "  ".join(parts)


def volume_text(volume_ml: float) -> str:
    """Return a volume with the digits that mean something, in mL or, when small, in mm3."""
    if volume_ml < 0.1:
        return f"{volume_ml * 1000:.0f} mm³"
    return f"{volume_ml:.2f} mL" if volume_ml < 10 else f"{volume_ml:.0f} mL"


def plain(text: str, most: int = 1000) -> str:
    """Return text from a file as one printable line of at most `most` characters."""
    line = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    line = " ".join(line.split())
    return line if len(line) <= most else line[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"

"""What a desk says of itself: rows for a table, and what has just changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from MedDetectLib.core.findings import Finding, Findings, State
from MedDetectLib.core.geometry import Geometry

__all__ = ["DeskChanged", "DeskItem", "Kind", "desk_item", "place_text"]

Kind = Literal["act", "undo", "redo", "focus", "signed", "reopened", "shown", "moved", "trouble",
               "closed"]  # fmt: skip
"""``act``: something was done to findings; ``undo``, ``redo``: taken back, done again;
``focus``: another finding is current; ``signed``, ``reopened``; ``shown``: other findings are
visible; ``moved``: the volume or its transform moved, places are new; ``trouble``: an edit in
the scene could not be taken, see `text`; ``closed``: the desk has ended, see `text`."""

SIDES = (("R", "L"), ("A", "P"), ("S", "I"))


@dataclass(frozen=True)
class DeskItem:
    """One finding as a table shows it.

    Args:
        id: of the finding.
        state: where its review stands.
        label: its class number.
        label_name: its class.
        colour_rgb: of the class, 0 to 255.
        score: 0 to 1.
        diameter_mm: longest extent.
        volume_ml: of the mask, or of the box.
        has_mask: whether it is more than a box.
        centre_ras_mm: of its box, where the transforms of the scene put it now.
        slice_k: the slice its centre lies in, from 0.
        place: the centre for a person, such as ``"R 34 A 12 S 105"``.
    """

    id: str
    state: State
    label: int
    label_name: str
    colour_rgb: tuple[int, int, int]
    score: float
    diameter_mm: float
    volume_ml: float
    has_mask: bool
    centre_ras_mm: tuple[float, float, float]
    slice_k: int
    place: str


@dataclass(frozen=True)
class DeskChanged:
    """What listeners of a desk are told, after session and scene both show it.

    Args:
        kind: what happened, see `Kind`.
        ids: findings that changed, came or went; of ``focus`` the one left and the one taken.
        added: those of them that came.
        removed: those of them that went.
        text: one line for a person; why, for ``closed`` and ``trouble``.
    """

    kind: Kind
    ids: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    text: str = ""


def desk_item(item: Finding, about: Findings, geometry: Geometry) -> DeskItem:
    """Return one finding as a row.

    Args:
        item: the finding.
        about: findings that know its class.
        geometry: the grid where it lies in the world now.
    """
    label = about.label_of(item)
    r, a, s = (float(n) for n in geometry.box_centre_ras_mm(item.box))
    slice_k = int((item.box[0] + item.box[3]) / 2)
    return DeskItem(
        id=item.id,
        state=item.state,
        label=item.label,
        label_name=label.name,
        colour_rgb=label.colour_rgb,
        score=item.score,
        diameter_mm=item.diameter_mm,
        volume_ml=item.volume_ml,
        has_mask=item.mask_value is not None,
        centre_ras_mm=(r, a, s),
        slice_k=min(max(slice_k, 0), geometry.shape_kji[0] - 1),
        place=place_text((r, a, s)),
    )


def place_text(place_ras_mm: Sequence[float]) -> str:
    """Return a place as ``"R 34 A 12 S 105"``, in whole millimetres."""
    parts = []
    for value, (plus, minus) in zip(place_ras_mm, SIDES, strict=True):
        parts.append(f"{plus if value >= 0 else minus} {abs(round(value))}")
    return " ".join(parts)

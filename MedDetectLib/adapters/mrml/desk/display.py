"""How findings look in the views: the current one stands out, rejected ones are outlines."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from MedDetectLib.core.findings import Finding

__all__ = ["highlight", "look_of", "show_only"]

RESTING, CURRENT, REJECTED = 0.4, 0.9, 0.0
"""Opacity of the fill in slices, times that of the whole segmentation."""


def highlight(node: Any, item: Finding | None, before: Finding | None) -> None:
    """Have one finding stand out in the slices, and the one before no longer."""
    with _at_once(node) as display:
        if display is None:
            return
        if before is not None:
            display.SetSegmentOpacity2DFill(before.id, _fill(before, is_current=False))
        if item is not None:
            display.SetSegmentOpacity2DFill(item.id, _fill(item, is_current=True))


def look_of(node: Any, items: Iterable[Finding], current: str | None) -> None:
    """Give findings the look of their state; a rejected one is an outline in slices only."""
    with _at_once(node) as display:
        for item in items if display is not None else ():
            display.SetSegmentOpacity2DFill(item.id, _fill(item, item.id == current))
            display.SetSegmentVisibility3D(item.id, item.state != "rejected")


def show_only(node: Any, own: Iterable[str], shown: Collection[str] | None) -> None:
    """Show some findings' segments and hide the others; the user's own are left alone.

    Args:
        node: the segmentation node.
        own: segments that are findings.
        shown: which to show; None for all.
    """
    wanted = None if shown is None else set(shown)
    with _at_once(node) as display:
        for key in own if display is not None else ():
            visible = wanted is None or key in wanted
            if bool(display.GetSegmentVisibility(key)) != visible:
                display.SetSegmentVisibility(key, visible)


def _fill(item: Finding, is_current: bool) -> float:
    if is_current:
        return CURRENT
    return REJECTED if item.state == "rejected" else RESTING


@contextmanager
def _at_once(node: Any) -> Iterator[Any]:
    """Give the display node, and tell the views once of all that is done to it."""
    display = node.GetDisplayNode()
    if display is None:
        yield None
        return
    were_modifying = display.StartModify()
    try:
        yield display
    finally:
        display.EndModify(were_modifying)

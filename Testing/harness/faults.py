"""What went wrong where nobody was calling: in slots, timers and observers.

Slicer prints such errors and goes on. A test must not: it asks here at its end.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

raised: list[BaseException] = []
"""Errors that left a slot, timer, event handler or observer since the last `clear`."""

_hook_before: list[Any] = []


class StandInLacks(NotImplementedError):
    """Slicer has this name, but the stand-in does not do it yet."""


def note(error: BaseException) -> None:
    """Keep an error for the test's end, and print it as Slicer would."""
    raised.append(error)
    traceback.print_exception(error)


def clear() -> list[BaseException]:
    """Forget the errors so far, and return them."""
    found = list(raised)
    raised.clear()
    return found


def guarded(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call something on behalf of Qt: an error is noted, and None returned."""
    try:
        return function(*arguments)
    except Exception as error:
        note(error)
        return None


def watch_observers() -> None:
    """Note errors in VTK observers, which VTK hands to sys.excepthook."""
    if _hook_before:
        return
    before = sys.excepthook
    _hook_before.append(before)

    def hook(kind: Any, error: Any, where: Any) -> None:
        if isinstance(error, Exception):
            raised.append(error)
        before(kind, error, where)

    sys.excepthook = hook


def unwatch_observers() -> None:
    """Give sys.excepthook back."""
    if _hook_before:
        sys.excepthook = _hook_before.pop()

"""A widget's observers on VTK objects: they end with the widget, and never keep it alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import shiboken6

_ends: list[Callable[[], None]] = []


def end_all() -> None:
    """End every observer, before the scene they watch is destroyed."""
    while _ends:
        _ends.pop()()


def observe(widget: Any, source: Any, event: Any, name: str) -> Callable[[], None]:
    """Call a widget's method on a VTK object's event, as long as the widget lives.

    Args:
        widget: the Qt object.
        source: the VTK object.
        event: its event.
        name: the method, called with the source and the event's name.

    Returns:
        What ends it.
    """
    weakly = weakref.ref(widget)
    added: list[tuple[Any, int]] = []

    def end() -> None:
        """Remove the observer, and keep nothing of what was observed."""
        while added:
            subject, tag = added.pop()
            subject.RemoveObserver(tag)
        if end in _ends:
            _ends.remove(end)

    def heard(caller: Any, event_name: str) -> None:
        alive = weakly()
        if alive is None or not shiboken6.isValid(alive):
            end()
        else:
            getattr(alive, name)(caller, event_name)

    added.append((source, source.AddObserver(event, heard)))
    _ends.append(end)
    return end

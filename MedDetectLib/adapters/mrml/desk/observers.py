"""Observers of VTK objects that are never left behind."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["Observers"]

LOG = logging.getLogger(__name__)


class Observers:
    """Observers somebody added, to be removed together.

    VTK is given no strong reference to the listener: one that is gone hears nothing. An
    exception never reaches VTK, which would only print it.

    Args:
        trouble: told of an exception in a listener.
    """

    def __init__(self, trouble: Callable[[Exception], None]) -> None:
        self._trouble = weakref.WeakMethod(trouble)
        self._added: list[tuple[Any, int]] = []
        # Also keeps the subjects' Python sides alive: where they are garbage together with
        # their observers, Python clears functions that VTK still calls, and crashes.
        self._finish = weakref.finalize(self, _remove, self._added)

    def add(
        self, subject: Any, event: int | str, listener: Callable[..., None], data: Any = None
    ) -> None:
        """Call a bound method at an event of a VTK object.

        Args:
            subject: the vtkObject.
            event: its number or name.
            listener: a bound method; called without arguments, or with the event's data.
            data: the VTK type of the event's data (``"string0"``, ``vtk.VTK_OBJECT``); None
                when it has none, or none of one certain type.
        """
        weak, trouble = weakref.WeakMethod(listener), self._trouble

        def called(_subject: Any, _event: str, *said: Any) -> None:
            method = weak()
            if method is None:
                return
            try:
                method(*said)
            except Exception as error:  # nobody above us but VTK
                LOG.exception("a change of the scene could not be followed")
                if (told := trouble()) is not None:
                    told(error)

        if data is not None:
            called.CallDataType = data  # type: ignore[attr-defined]
        self._added.append((subject, subject.AddObserver(event, called)))

    def remove(self, subject: Any) -> None:
        """Stop listening to one object."""
        mine = [pair for pair in self._added if pair[0] is subject]
        self._added[:] = [pair for pair in self._added if pair[0] is not subject]
        _remove(mine)

    def close(self) -> None:
        """Stop listening to all of them."""
        _remove(self._added)


def _remove(added: list[tuple[Any, int]]) -> None:
    for subject, tag in added:
        subject.RemoveObserver(tag)
    added.clear()

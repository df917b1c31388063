"""The Python modules `qt` and `ctk`, and the Qt classes in `slicer`, made as they are asked for."""

from __future__ import annotations

import importlib
import types
from typing import Any

from Testing.harness import api, faults, proxy

_QT = ("QtCore", "QtGui", "QtWidgets", "QtUiTools", "QtNetwork", "QtSvg", "QtTest")

STAND_INS: dict[str, type] = {}
"""Our PySide6 class behind each ctk and qMRML class, by the name Slicer gives it."""


def stands_for(*names: str) -> Any:
    """Class decorator: this PySide6 class is what Slicer calls 'ctk.…' or 'slicer.…'."""

    def register(cls: type) -> type:
        for name in names:
            if not api.is_class(name):
                raise KeyError(f"{name} is not listed by Slicer")
            STAND_INS[name] = cls
            proxy.proxy_class(name, cls)
        return cls

    return register


def find_class(full_name: str) -> Any:
    """Return the class of a full name like 'qt.QLabel' as Slicer's Python sees it.

    Raises:
        AttributeError: not listed.
        StandInLacks: listed, but not stood in for.
    """
    module, _, name = full_name.partition(".")
    if not api.is_class(full_name):
        raise AttributeError(f"module '{module}' has no attribute '{name}'")
    if full_name in STAND_INS:
        return proxy.proxy_class(full_name, STAND_INS[full_name])
    if module == "qt":
        for part in _QT:
            native = getattr(importlib.import_module(f"PySide6.{part}"), name, None)
            if native is not None:
                return proxy.proxy_class(full_name, native)
    raise faults.StandInLacks(f"{full_name} is listed by Slicer but not in the stand-in")


class QtModule(types.ModuleType):
    """`qt` or `ctk`: a class for every listed name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = find_class(f"{self.__name__}.{name}")
        setattr(self, name, found)
        return found

    def __dir__(self) -> list[str]:
        start = f"{self.__name__}."
        return [n[len(start) :] for n in api.listing()["classes"] if n.startswith(start)]

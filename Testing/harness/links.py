"""Signals: who is connected to what, and how a Python callable is called.

Signals of Qt's own classes are Qt's. Those of the ctk and qMRML stand-ins are kept here,
under the C++ signatures they have in Slicer, so a connection is checked as Qt checks it.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6.QtCore import SIGNAL, QObject

from Testing.harness import api, faults

_links: dict[int, list[tuple[str, Any, Any]]] = {}


class NoSuchSignal(AttributeError):
    """The class has no signal of this signature."""


class SignalsOf:
    """Mixed into a stand-in widget: signals under the signatures they have in Slicer."""

    OWN_SIGNALS: dict[str, Callable[..., tuple[Any, ...]] | None] = {}
    """Signature to what is passed, given what `fire` was called with (None: the same)."""

    def fire(self, name: str, *arguments: Any) -> None:
        """Call whoever is connected to any signature of this signal."""
        if self.signalsBlocked() or not shiboken6.isValid(self):
            return
        for signature, convert in self.OWN_SIGNALS.items():
            if signature.split("(")[0] == name:
                passed = convert(*arguments) if convert else arguments
                for at, _target, call in list(_links.get(key_of(self), ())):
                    if at == signature:
                        call(*passed)


def key_of(native: QObject) -> int:
    """Return what a Qt object is known by as long as it lives."""
    return shiboken6.getCppPointer(native)[0]


def normal_signature(text: str) -> str:
    """Return 'clicked(bool)' for ' clicked( bool )', checked to look like a signature."""
    name, bracket, rest = text.strip().partition("(")
    if not bracket or not rest.endswith(")"):
        raise NoSuchSignal(f"'{text}' is not a signal signature such as 'clicked(bool)'")
    return f"{name.strip()}({api.normalized(rest[:-1])})"


def find_signature(native: Any, class_name: str, text: str) -> str:
    """Return the signature of the signal meant, as the class declares it.

    Args:
        native: the Qt object.
        class_name: full name in the listing, like 'qt.QPushButton'.
        text: a signature, or a bare name (the first overload then).

    Raises:
        NoSuchSignal: not listed for the class, or not with these arguments.
    """
    bare = "(" not in text
    signature = text.strip() if bare else normal_signature(text)
    name = signature.split("(")[0]
    if name not in api.members(class_name).signals:
        raise NoSuchSignal(f"{class_name} has no signal '{text}'")
    declared = [s for s in getattr(native, "OWN_SIGNALS", {}) if s.split("(")[0] == name]
    declared += [s for s in _qt_signals(native) if s.split("(")[0] == name]
    if not declared:
        raise faults.StandInLacks(f"signal {class_name}.{name} is not in the stand-in")
    if bare:
        return declared[0]
    if signature not in declared:
        raise NoSuchSignal(f"{class_name} has no signal '{text}', only {', '.join(declared)}")
    return signature


def meta_of(cls: type) -> Any:
    """Return the QMetaObject of a PySide6 class.

    Asking an object instead (`metaObject()`) would end the class's own when the object dies:
    shiboken knows one wrapper for both, and counts it as the object's child.
    """
    return cls.staticMetaObject  # type: ignore[attr-defined]


def _qt_signals(native: Any) -> list[str]:
    meta = meta_of(type(native))
    methods = (meta.method(at) for at in range(meta.methodCount()))
    return [
        bytes(method.methodSignature().data()).decode()
        for method in methods
        if method.methodType() == method.MethodType.Signal
    ]


def connect(native: Any, signature: str, target: Callable[..., Any], wrap: Any) -> bool:
    """Connect a Python callable to a signal of this exact signature."""
    if not callable(target):
        raise TypeError(f"cannot connect {signature} to {target!r}: it is not callable")
    count = len([a for a in api._split(signature.partition("(")[2][:-1]) if a.strip()])

    def call(*arguments: Any) -> None:
        faults.guarded(target, *[wrap(a) for a in arguments[: taken_by(target, count)]])

    if signature not in getattr(native, "OWN_SIGNALS", {}):
        QObject.connect(native, SIGNAL(signature), call)
    if key_of(native) not in _links:
        key = key_of(native)
        _links[key] = []
        native.destroyed.connect(lambda *_: _links.pop(key, None))
    _links[key_of(native)].append((signature, target, call))
    return True


def disconnect(native: Any, signature: str, target: Callable[..., Any] | None) -> bool:
    """Undo `connect`; without a target, for everyone. False where nothing was connected."""
    links = _links.get(key_of(native), [])
    gone = [link for link in links if link[0] == signature and target in (None, link[1])]
    for link in gone:
        links.remove(link)
        if signature not in getattr(native, "OWN_SIGNALS", {}):
            QObject.disconnect(native, SIGNAL(signature), link[2])
    return bool(gone)


def taken_by(target: Callable[..., Any], sent: int) -> int:
    """Return how many of `sent` arguments PythonQt would pass to this callable.

    A plain function or method gets no more than it names; anything else gets all.
    """
    function, bound = target, 0
    if isinstance(target, types.MethodType):
        function, bound = target.__func__, 1
    if not isinstance(function, types.FunctionType):
        return sent
    if function.__code__.co_flags & inspect.CO_VARARGS:
        return sent
    return min(sent, max(0, function.__code__.co_argcount - bound))

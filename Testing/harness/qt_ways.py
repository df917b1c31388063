"""Where PythonQt's ways differ from PySide6's, one function each.

Registered by importing this file. Semantics are those of PythonQt's standard decorators
and conversions as Slicer builds them.
"""

from __future__ import annotations

from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import QObject, QTimer

from Testing.harness import dialogs, faults, links, proxy
from Testing.harness.proxy import SPECIAL, SPECIAL_OF, SPECIAL_STATIC, native_of, unwrap, wrap

opened_urls: list[str] = []
"""What would have been opened in the desktop's browser or file manager."""


def _connect(self: Any, signal: str, *target: Any) -> bool:
    native, class_name = native_of(self), self.API
    signature = links.find_signature(native, class_name, str(signal))
    if "(" not in str(signal):
        raise links.NoSuchSignal(f"connect('{signal}') wants a signature like '{signature}'")
    if len(target) == 1:
        return links.connect(native, signature, target[0], wrap)
    return links.connect(native, signature, slot_of(*target[:2]), wrap)


def _disconnect(self: Any, signal: str, *target: Any) -> bool:
    native, class_name = native_of(self), self.API
    signature = links.find_signature(native, class_name, str(signal))
    if len(target) > 1:
        return links.disconnect(native, signature, slot_of(*target[:2]))
    return links.disconnect(native, signature, target[0] if target else None)


def slot_of(receiver: Any, slot: str) -> Any:
    """Return what a slot signature of a receiver calls, with as many arguments as it names."""
    name, _, rest = slot.partition("(")
    count = len([a for a in rest.rstrip(")").split(",") if a.strip()])
    getattr(receiver, name)  # raises where there is none

    def call(*arguments: Any) -> Any:
        return getattr(receiver, name)(*arguments[:count])

    return call


def _native_type(kind: Any) -> Any:
    if isinstance(kind, str):
        return lambda o: o.inherits(kind) or type(o).__name__ == kind
    native = proxy._listed_base(kind).NATIVE
    return lambda o: isinstance(o, native)


def _children_of(native: QObject, fits: Any, name: str) -> list[QObject]:
    found = []
    for child in native.children():
        if name and child.objectName() != name:
            continue
        if fits(child):
            found.append(child)
        found += _children_of(child, fits, name)
    return found


def _find_children(self: Any, kind: Any, name: str = "") -> tuple[Any, ...]:
    return tuple(wrap(c) for c in _children_of(native_of(self), _native_type(kind), name))


def _find_child(self: Any, kind: Any, name: str = "") -> Any:
    waiting, fits = [native_of(self)], _native_type(kind)
    while waiting:
        here = waiting.pop(0)
        for child in here.children():
            if fits(child) and (not name or child.objectName() == name):
                return wrap(child)
        waiting += here.children()
    return None


def _set_property(self: Any, name: str, value: Any) -> bool:
    return bool(native_of(self).setProperty(name, unwrap(value)))


def _property(self: Any, name: str) -> Any:
    native = native_of(self)
    if links.meta_of(type(native)).indexOfProperty(name) >= 0:
        return wrap(proxy._read(native, self.API, name))
    return wrap(native.property(name))


def _class_name(self: Any) -> str:
    return self.API.split(".")[1]


def _inherits(self: Any, name: str) -> bool:
    native = native_of(self)
    return native.inherits(name) or name in [
        c.__name__ for c in type(native).__mro__ if c is not object
    ]


def _delete(self: Any) -> None:
    shiboken6.delete(native_of(self))


_to_delete: list[Any] = []


def _delete_later(self: Any) -> None:
    """Delete when control is back where no event is handled, as in a running application.

    Qt deletes at once when the next loop starts if none runs yet, which in an application
    never happens: there is always the main loop. A test has none.
    """
    native = native_of(self)
    if QtCore.QThread.currentThread().loopLevel() == 0:
        _to_delete.append(native)
    else:
        native.deleteLater()


def delete_now() -> None:
    """Delete what waits to be deleted."""
    for native in _to_delete:
        if shiboken6.isValid(native):
            native.deleteLater()
    _to_delete.clear()
    QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)


def _single_shot(msec: int, target: Any) -> None:
    if not callable(target):
        raise TypeError("QTimer.singleShot wants a callable")
    QTimer.singleShot(msec, lambda: faults.guarded(target))


def _open_url(url: Any) -> bool:
    opened_urls.append(native_of(url).toString())
    return True


def _settings(native_class: Any, *arguments: Any) -> Any:
    from Testing.harness import application

    if arguments and isinstance(arguments[0], str):
        return native_class(*arguments)
    path = application.folder() / "Slicer.ini"
    return native_class(str(path), QtCore.QSettings.Format.IniFormat)


def _key_sequences(native_class: Any, *arguments: Any) -> Any:
    plain = [int(a.value) if isinstance(a, QtCore.Qt.Key) else a for a in arguments]
    return native_class(*plain)


SPECIAL.update(
    connect=_connect,
    disconnect=_disconnect,
    findChildren=_find_children,
    findChild=_find_child,
    property=_property,
    setProperty=_set_property,
    className=_class_name,
    inherits=_inherits,
    delete=_delete,
    deleteLater=_delete_later,
)
SPECIAL_STATIC.update(
    {
        ("qt.QTimer", "singleShot"): _single_shot,
        ("qt.QDesktopServices", "openUrl"): _open_url,
        **{("qt.QFileDialog", name): call for name, call in dialogs.FILE_DIALOGS.items()},
        **{("qt.QInputDialog", name): call for name, call in dialogs.INPUT_DIALOGS.items()},
        **{("qt.QMessageBox", name): call for name, call in dialogs.MESSAGE_BOXES.items()},
    }
)
SPECIAL_OF.update(
    {
        ("qt.QSettings", "__init__"): _settings,
        ("qt.QKeySequence", "__init__"): _key_sequences,
    }
)
for _dialog in ("exec", "exec_"):
    SPECIAL[_dialog] = dialogs.run

__all__ = ["QtGui", "QtWidgets", "opened_urls", "slot_of"]

"""Reading a .ui file as Slicer's QUiLoader does, with the ctk and qMRML widgets in it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6.QtCore import QBuffer, QByteArray, QIODevice
from PySide6.QtUiTools import QUiLoader
from PySide6.QtWidgets import QWidget

from Testing.harness import api, faults, proxy, qt_ways
from Testing.harness.modules import find_class
from Testing.harness.proxy import SPECIAL_OF, native_of, wrap


class _Loader(QUiLoader):
    """Qt's loader, making our stand-ins where a widget is not Qt's."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[QWidget] = []

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> QWidget:
        listed = api.full_name(class_name)
        if listed is None:
            raise AttributeError(f"the .ui file has a {class_name}, which Slicer does not list")
        if listed.startswith("qt."):
            return super().createWidget(class_name, parent, name)
        widget = proxy._listed_base(find_class(listed)).NATIVE(parent)
        widget.setObjectName(name)
        self.made.append(widget)
        return widget


def load(_loader: Any, file: Any, parent: Any = None) -> Any:
    """Return the widget a .ui file describes (QUiLoader.load); None where it is unreadable."""
    tree = ElementTree.fromstring(bytes(native_of(file).readAll().data()))
    wires = _take_connections(tree)
    loader = _Loader()
    data = QBuffer()
    data.setData(QByteArray(ElementTree.tostring(tree)))
    data.open(QIODevice.OpenModeFlag.ReadOnly)
    widget = loader.load(data, native_of(parent) if parent is not None else None)
    if widget is None:
        raise RuntimeError(f"the .ui file cannot be read: {loader.errorString()}")
    for sender, signal, receiver, slot in wires:
        _wire(widget, sender, signal, receiver, slot)
    return wrap(widget)


def _take_connections(tree: ElementTree.Element) -> list[tuple[str, ...]]:
    wires = []
    for group in tree.findall("connections"):
        for wire in group.findall("connection"):
            parts = [wire.findtext(tag) or "" for tag in ("sender", "signal", "receiver", "slot")]
            wires.append(tuple(parts))
        tree.remove(group)
    return wires


def _named(root: QWidget, name: str) -> Any:
    found = root if root.objectName() == name else root.findChild(QWidget, name)
    if found is None:
        raise RuntimeError(f"the .ui file connects '{name}', which it does not have")
    return wrap(found)


def _wire(root: QWidget, sender: str, signal: str, receiver: str, slot: str) -> None:
    target = _named(root, receiver)
    if slot.split("(")[0] not in api.members(target.API).methods:
        raise faults.StandInLacks(f"{target.API} has no slot '{slot}' (named in the .ui file)")
    qt_ways._connect(_named(root, sender), signal, target, slot)


SPECIAL_OF[("qt.QUiLoader", "load")] = load

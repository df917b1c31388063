"""Widgets bound to parameters: which widget serves which type, and through what signal.

As in Slicer, a widget's exact class decides, a slider must be given bounds, and a combo
box a `Choice` or an enum. A pair Slicer has no connector for is refused.
"""

from __future__ import annotations

import enum
import pathlib
from collections.abc import Callable
from typing import Any

from Testing.harness.modules import find_class
from Testing.harness.parameter_kinds import (
    Choice,
    Decimals,
    Maximum,
    Minimum,
    SingleStep,
    WithinRange,
    findFirstAnnotation,
    getNodeTypes,
    isNodeOrUnionOfNodes,
    splitAnnotations,
)

PROPERTY = "SlicerParameterName"
"""The dynamic property that names a widget's parameter in a .ui file."""


class GuiConnector:
    """Reads and writes one widget; a subclass knows its kind."""

    signal = ""

    def __init__(self, widget: Any, datatype: Any) -> None:
        self._widget = widget
        self._type, self._annotations = splitAnnotations(datatype)
        self._callback: Callable[[], None] | None = None

    def onChanged(self, callback: Callable[[], None] | None) -> None:
        connected, self._callback = self._callback is not None, callback
        if not self.signal:
            return
        signal = getattr(self._widget, self.signal)
        if callback is None and connected:
            signal.disconnect(self.changed)
        elif callback is not None and not connected:
            signal.connect(self.changed)

    def changed(self) -> None:
        if self._callback:
            self._callback()

    def widget(self) -> Any:
        return self._widget

    def read(self) -> Any:
        raise NotImplementedError

    def write(self, value: Any) -> None:
        raise NotImplementedError

    def annotation(self, kind: Any) -> Any:
        return findFirstAnnotation(self._annotations, kind)

    def bounds(self) -> tuple[Any, Any]:
        """Return the least and the greatest value the type allows; None where unbounded."""
        within = self.annotation(WithinRange)
        if within is not None:
            return within.minimum, within.maximum
        low, high = self.annotation(Minimum), self.annotation(Maximum)
        return low and low.minimum, high and high.maximum


class _Checked(GuiConnector):
    def read(self) -> bool:
        return bool(self._widget.checked)

    def write(self, value: bool) -> None:
        self._widget.checked = value


class _CheckBox(_Checked):
    signal = "stateChanged"


class _Button(_Checked):
    signal = "toggled"


class _Number(GuiConnector):
    signal = "valueChanged"

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        low, high = self.bounds()
        kind = type(widget).__name__
        if kind in {"QSlider", "ctkSliderWidget", "qMRMLSliderWidget"} and None in (low, high):
            raise RuntimeError(f"a {kind} cannot be bound to an unbounded {self._type}")
        decimals, step = self.annotation(Decimals), self.annotation(SingleStep)
        if decimals is not None:
            widget.decimals = decimals.value
        elif self._type is int and kind not in {"QSlider", "QSpinBox", "ctkDoubleSlider"}:
            widget.decimals = 0
        if step is not None:
            widget.singleStep = step.value
        whole = kind in {"QSlider", "QSpinBox"}
        least, greatest = (-(2**31), 2**31 - 1) if whole else (float("-inf"), float("inf"))
        widget.minimum = least if low is None else low
        widget.maximum = greatest if high is None else high

    def read(self) -> Any:
        return self._type(self._widget.value)

    def write(self, value: Any) -> None:
        self._widget.value = self._type(value)


class _Combo(GuiConnector):
    signal = "currentIndexChanged"

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        if isinstance(self._type, type) and issubclass(self._type, enum.Enum):
            label = getattr(self._type, "label", lambda one: one.name)
            self._entries = [(label(one), one) for one in self._type]
        else:
            choice = self.annotation(Choice)
            if choice is None:
                raise RuntimeError("a combo box wants a parameter with a Choice annotation")
            self._entries = [(str(one), one) for one in choice.choices]
        widget.clear()
        for text, _value in self._entries:
            widget.addItem(text)

    def read(self) -> Any:
        return self._entries[self._widget.currentIndex][1]

    def write(self, value: Any) -> None:
        values = [one for _text, one in self._entries]
        if value not in values:
            raise ValueError(f"{value!r} is not among the choices {values}")
        self._widget.currentIndex = values.index(value)


class _Line(GuiConnector):
    signal = "textChanged"

    def read(self) -> str:
        return self._widget.text

    def write(self, value: str) -> None:
        if value != self._widget.text:
            self._widget.text = value


class _Label(_Line):
    signal = ""


class _Text(GuiConnector):
    signal = "textChanged"

    def read(self) -> str:
        return self._widget.toPlainText()

    def write(self, value: str) -> None:
        self._widget.setPlainText(value)


class _Path(GuiConnector):
    signal = "currentPathChanged"

    def read(self) -> pathlib.Path:
        return self._type(self._widget.currentPath)

    def write(self, value: pathlib.Path) -> None:
        self._widget.currentPath = str(value)


class _Directory(GuiConnector):
    signal = "directoryChanged"

    def read(self) -> pathlib.Path:
        return self._type(self._widget.directory)

    def write(self, value: pathlib.Path) -> None:
        self._widget.directory = str(value)


class _Node(GuiConnector):
    signal = "currentNodeChanged"

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, datatype)
        widget.nodeTypes = getNodeTypes(datatype)

    def read(self) -> Any:
        return self._widget.currentNode()

    def write(self, value: Any) -> None:
        self._widget.setCurrentNode(value)


_PLAIN = {
    bool: {"qt.QCheckBox": _CheckBox, "ctk.ctkCheckBox": _CheckBox, "qt.QPushButton": _Button},
    str: {"qt.QLineEdit": _Line, "qt.QLabel": _Label, "qt.QTextEdit": _Text},
    pathlib.Path: {"ctk.ctkPathLineEdit": _Path, "ctk.ctkDirectoryButton": _Directory},
}
_COMBOS = ("qt.QComboBox", "ctk.ctkComboBox")
_REALS = ("qt.QDoubleSpinBox", "ctk.ctkSliderWidget", "ctk.ctkDoubleSlider",
          "ctk.ctkDoubleSpinBox", "slicer.qMRMLSliderWidget")  # fmt: skip
_WHOLES = ("qt.QSlider", "qt.QSpinBox", *_REALS)


def _serving(datatype: Any) -> dict[str, type[GuiConnector]]:
    kind = splitAnnotations(datatype)[0]
    if isNodeOrUnionOfNodes(datatype):
        return {"slicer.qMRMLNodeComboBox": _Node}
    serving: dict[str, type[GuiConnector]] = dict(_PLAIN.get(kind, {}))
    if kind in (int, float):
        serving |= dict.fromkeys(_WHOLES if kind is int else _REALS, _Number)
    if kind in (int, float, str, bool) or (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        serving |= dict.fromkeys(_COMBOS, _Combo)
    return serving


def connector(widget: Any, datatype: Any) -> GuiConnector:
    """Return what binds a widget to a parameter of this type.

    Raises:
        RuntimeError: Slicer has no connector for the two.
    """
    if isinstance(widget, GuiConnector):
        return widget
    for name, kind in _serving(datatype).items():
        if type(widget) is find_class(name):
            return kind(widget, datatype)
    raise RuntimeError(f"Unable to create GUI connector from {datatype} to {type(widget)}")


def named_widgets(gui: Any) -> dict[str, Any]:
    """Return the widgets that name a parameter, by that name."""
    is_widget = getattr(gui, "isWidgetType", lambda: False)()
    widgets = gui.findChildren(find_class("qt.QWidget")) if is_widget else vars(gui).values()
    found = {}
    for widget in widgets:
        name = widget.property(PROPERTY)
        if name:
            found[name] = widget
    return found

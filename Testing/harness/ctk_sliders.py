"""Stand-ins for CTK's sliders over floating point numbers."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Property, Qt
from PySide6.QtWidgets import QDoubleSpinBox, QHBoxLayout, QSlider, QWidget

from Testing.harness.ctk_widgets import kept
from Testing.harness.links import SignalsOf
from Testing.harness.modules import stands_for

_STEPS = 10000  # positions of the integer slider behind a floating point one


class _Handle(QSlider):
    """An integer slider that stands for a floating point value of its owner."""

    def __init__(self, owner: Any, read: Any, write: Any) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setRange(0, _STEPS)
        self._owner, self._read, self._write = owner, read, write
        self.valueChanged.connect(self._moved)

    def _moved(self, position: int) -> None:
        low, high = self._owner._low, self._owner._high
        self._write(low + (high - low) * position / _STEPS)

    def follow(self) -> None:
        low, high = self._owner._low, self._owner._high
        share = (self._read() - low) / (high - low) if high > low else 0.0
        self.blockSignals(True)
        self.setValue(round(share * _STEPS))
        self.blockSignals(False)


class _Bounded(SignalsOf, QWidget):
    """A value kept within bounds."""

    _low, _high, _value = 0.0, 99.0, 0.0

    def _bounds_changed(self) -> None:
        raise NotImplementedError

    def _set_low(self, low: float) -> None:
        self._low = low
        self._high = max(self._high, low)
        self._bounds_changed()

    def _set_high(self, high: float) -> None:
        self._high = high
        self._low = min(self._low, high)
        self._bounds_changed()


class _OneValue(_Bounded):
    _high = 100.0

    def setValue(self, value: float) -> None:
        value = min(max(float(value), self._low), self._high)
        changed = value != self._value
        self._value = value
        self._show()
        if changed:
            self._changed()

    def _bounds_changed(self) -> None:
        self._show_bounds()
        self.setValue(self._value)

    def _show(self) -> None:
        self._handle.follow()

    def _show_bounds(self) -> None:
        pass

    def _changed(self) -> None:
        self.fire("valueChanged", self._value)


@stands_for("ctk.ctkDoubleSlider")
class DoubleSlider(_OneValue):
    """A slider over floating point numbers."""

    OWN_SIGNALS = {
        "valueChanged(double)": None,
        "sliderMoved(double)": None,
        "sliderPressed()": None,
        "sliderReleased()": None,
        "rangeChanged(double,double)": None,
    }

    def __init__(self, *arguments: Any) -> None:
        super().__init__(next((a for a in arguments if isinstance(a, QWidget)), None))
        self._handle = _Handle(self, lambda: self._value, self.setValue)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._handle)
        self._handle.sliderReleased.connect(lambda: self.fire("sliderReleased"))
        self._handle.sliderPressed.connect(lambda: self.fire("sliderPressed"))

    def setOrientation(self, orientation: Any) -> None:
        self._handle.setOrientation(orientation)

    def _show_bounds(self) -> None:
        self.fire("rangeChanged", self._low, self._high)

    value = Property(float, lambda s: s._value, _OneValue.setValue)
    minimum = Property(float, lambda s: s._low, _Bounded._set_low)
    maximum = Property(float, lambda s: s._high, _Bounded._set_high)
    singleStep = kept(float, "singleStep", 1.0)
    pageStep = kept(float, "pageStep", 10.0)
    tracking = kept(bool, "tracking", True)


@stands_for("ctk.ctkSliderWidget")
class SliderWidget(_OneValue):
    """A slider with a spin box beside it.

    With `tracking` off the value changes only when the handle is let go; meanwhile
    `valueIsChanging` is sent.
    """

    OWN_SIGNALS = {
        "valueChanged(double)": None,
        "valueIsChanging(double)": None,
        "decimalsChanged(int)": None,
    }
    SynchronizeSiblings: Any = 2

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._handle = _Handle(self, lambda: self._value, self._dragged)
        self._handle.sliderReleased.connect(self._released)
        self._box = QDoubleSpinBox()
        self._box.setRange(self._low, self._high)
        self._box.valueChanged.connect(self.setValue)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._handle, 1)
        row.addWidget(self._box)

    def _dragged(self, value: float) -> None:
        value = round(value, self._box.decimals())
        if self.property("tracking") or not self._handle.isSliderDown():
            self.setValue(value)
        else:
            self._pending = value
            self.fire("valueIsChanging", value)

    def _released(self) -> None:
        pending = self.__dict__.pop("_pending", None)
        if pending is not None:
            self.setValue(pending)

    def setValue(self, value: float) -> None:
        super().setValue(round(float(value), self._box.decimals()))

    def _show(self) -> None:
        self._handle.follow()
        self._box.blockSignals(True)
        self._box.setValue(self._value)
        self._box.blockSignals(False)

    def _show_bounds(self) -> None:
        self._box.blockSignals(True)
        self._box.setRange(self._low, self._high)
        self._box.blockSignals(False)

    def _changed(self) -> None:
        self.fire("valueIsChanging", self._value)
        self.fire("valueChanged", self._value)

    def setDecimals(self, count: int) -> None:
        if count != self._box.decimals():
            self._box.setDecimals(count)
            self.fire("decimalsChanged", count)

    def setSpinBoxVisible(self, shown: bool) -> None:
        self._box.setVisible(shown)

    def reset(self) -> None:
        self.setValue(0.0)

    value = Property(float, lambda s: s._value, lambda s, v: s.setValue(v))
    minimum = Property(float, lambda s: s._low, _Bounded._set_low)
    maximum = Property(float, lambda s: s._high, _Bounded._set_high)
    singleStep = Property(
        float, lambda s: s._box.singleStep(), lambda s, v: s._box.setSingleStep(v)
    )
    pageStep = kept(float, "pageStep", 10.0)
    decimals = Property(int, lambda s: s._box.decimals(), setDecimals)
    suffix = Property(str, lambda s: s._box.suffix(), lambda s, v: s._box.setSuffix(v))
    prefix = Property(str, lambda s: s._box.prefix(), lambda s, v: s._box.setPrefix(v))
    tracking = kept(bool, "tracking", True)
    spinBoxVisible = Property(bool, lambda s: not s._box.isHidden(), setSpinBoxVisible)
    tickInterval = kept(float, "tickInterval", 0.0)
    popupSlider = kept(bool, "popupSlider", False)


@stands_for("slicer.qMRMLSliderWidget")
class MRMLSliderWidget(SliderWidget):
    """The same with a scene; its units are not stood in for."""

    _scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene

    quantity = kept(str, "quantity", "")


@stands_for("ctk.ctkRangeWidget")
class RangeWidget(_Bounded):
    """Two values, the lower never above the upper."""

    OWN_SIGNALS = {
        "valuesChanged(double,double)": None,
        "minimumValueChanged(double)": None,
        "maximumValueChanged(double)": None,
        "minimumValueIsChanging(double)": None,
        "maximumValueIsChanging(double)": None,
        "rangeChanged(double,double)": None,
    }
    _first, _last = 0.0, 99.0

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._boxes = (QDoubleSpinBox(), QDoubleSpinBox())
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for box in self._boxes:
            box.setRange(self._low, self._high)
            box.valueChanged.connect(lambda _v: self.setValues(*[b.value() for b in self._boxes]))
            row.addWidget(box)
        self._bounds_changed()

    def setRange(self, low: float, high: float) -> None:
        self._low, self._high = low, max(low, high)
        self._bounds_changed()

    def _bounds_changed(self) -> None:
        for box in self._boxes:
            box.blockSignals(True)
            box.setRange(self._low, self._high)
            box.blockSignals(False)
        self.fire("rangeChanged", self._low, self._high)
        self.setValues(self._first, self._last)

    def setValues(self, first: float, last: float) -> None:
        first = min(max(float(first), self._low), self._high)
        last = min(max(float(last), first), self._high)
        was = self._first, self._last
        self._first, self._last = first, last
        for box, value in zip(self._boxes, (first, last), strict=True):
            box.blockSignals(True)
            box.setValue(value)
            box.blockSignals(False)
        if first != was[0]:
            self.fire("minimumValueChanged", first)
        if last != was[1]:
            self.fire("maximumValueChanged", last)
        if (first, last) != was:
            self.fire("valuesChanged", first, last)

    def setMinimumValue(self, value: float) -> None:
        self.setValues(value, self._last)

    def setMaximumValue(self, value: float) -> None:
        self.setValues(self._first, value)

    def setDecimals(self, count: int) -> None:
        for box in self._boxes:
            box.setDecimals(count)

    def reset(self) -> None:
        self.setValues(self._low, self._high)

    minimum = Property(float, lambda s: s._low, _Bounded._set_low)
    maximum = Property(float, lambda s: s._high, _Bounded._set_high)
    minimumValue = Property(float, lambda s: s._first, setMinimumValue)
    maximumValue = Property(float, lambda s: s._last, setMaximumValue)
    decimals = Property(int, lambda s: s._boxes[0].decimals(), setDecimals)
    singleStep = kept(float, "singleStep", 1.0)
    suffix = kept(str, "suffix", "")
    prefix = kept(str, "prefix", "")
    tracking = kept(bool, "tracking", True)

"""What a test does to a panel: click, type, wait, take a picture, look out for freezes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QCoreApplication, QEventLoop, QPoint, Qt, QTimer
from PySide6.QtGui import QKeySequence
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QTableView, QWidget

from Testing.harness import qt_ways
from Testing.harness.proxy import EnumValue, Proxy, native_of, wrap


def _native(widget: Any) -> Any:
    return native_of(widget) if isinstance(widget, Proxy) else widget


def click(widget: Any) -> None:
    """Press and release the left mouse button on a widget, as a user does.

    Raises:
        AssertionError: the widget is disabled or not to be seen, so no user could.
    """
    native = _native(widget)
    name = native.objectName() or type(native).__name__
    if not native.isEnabled():
        raise AssertionError(f"{name} is disabled, and cannot be clicked")
    if not native.isVisible():
        raise AssertionError(f"{name} is not shown, and cannot be clicked")
    where = native.rect().center()
    if isinstance(native, QAbstractButton) and not native.hitButton(where):
        where = QPoint(8, min(8, native.height() // 2))
    QTest.mouseClick(native, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, where)


def click_text(panel: Any, text: str) -> None:
    """Click the one button in a panel that has this text."""
    root = _native(getattr(panel, "parent", panel))
    found = [b for b in root.findChildren(QAbstractButton) if b.text().replace("&", "") == text]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} buttons are called '{text}'")
    click(found[0])


def click_cell(table: Any, row: int, column: int) -> None:
    """Click one cell of a table."""
    native: QTableView = _native(table)
    index = native.model().index(row, column)
    native.scrollTo(index)
    where = native.visualRect(index).center()
    QTest.mouseClick(
        native.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, where
    )


def press(widget: Any, keys: str) -> None:
    """Press a key or a chord, like 'A', 'Ctrl+Z' or 'Return', while a widget has the focus.

    Shortcuts see it first, as they would on a desktop. A widget that takes no focus leaves
    it where it was, and the key goes there.
    """
    native = _native(getattr(widget, "parent", widget) if not isinstance(widget, Proxy) else widget)
    if not native.window().isActiveWindow():
        native.window().show()
        native.window().activateWindow()
        QTest.qWaitForWindowActive(native.window())
    native.setFocus()
    QApplication.processEvents()
    chord = QKeySequence(keys)[0]
    target = QApplication.focusWidget() or native
    QTest.keyClick(target, chord.key(), chord.keyboardModifiers())
    QApplication.processEvents()


def type_text(widget: Any, text: str) -> None:
    """Type a text into a widget, replacing what is selected in it."""
    native = _native(widget)
    native.setFocus()
    QTest.keyClicks(native, text)


def choose(combo: Any, text: str) -> None:
    """Choose an entry of a combo box by its text, as a user does."""
    native = _native(combo)
    native = getattr(native, "_combo", native)
    row = native.findText(text)
    if row < 0:
        entries = [native.itemText(i) for i in range(native.count())]
        raise AssertionError(f"there is no '{text}' among {entries}")
    native.setCurrentIndex(row)
    native.activated.emit(row)


def process(msec: int = 0) -> None:
    """Let Qt handle its events for some milliseconds."""
    end = time.perf_counter() + msec / 1000
    qt_ways.delete_now()
    QCoreApplication.processEvents()
    while time.perf_counter() < end:
        QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 5)
        time.sleep(0.001)


def until(condition: Callable[[], Any], seconds: float = 10.0, what: str = "") -> Any:
    """Let Qt handle events until a condition holds, and return what it gave.

    Raises:
        AssertionError: it did not hold in time.
    """
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 5)
        held = condition()
        if held:
            return held
        time.sleep(0.001)
    raise AssertionError(f"after {seconds} s still not: {what or condition}")


class FrozenWatch:
    """A 20 ms timer in the GUI thread that remembers the longest it was kept waiting.

    with FrozenWatch() as watch:
        ...
    assert watch.longest_ms < 100
    """

    PERIOD_MS = 20

    def __init__(self) -> None:
        self.gaps_ms: list[float] = []
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._last = 0.0

    def __enter__(self) -> FrozenWatch:
        self._last = time.perf_counter()
        self._timer.start(self.PERIOD_MS)
        return self

    def __exit__(self, *_error: Any) -> None:
        self._tick()
        self._timer.stop()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps_ms.append((now - self._last) * 1000)
        self._last = now

    @property
    def longest_ms(self) -> float:
        """The longest time between two ticks, in milliseconds."""
        return max(self.gaps_ms, default=0.0)


def picture(widget: Any, path: Path | str) -> Path:
    """Write a PNG of a widget as it looks now."""
    native: QWidget = _native(widget)
    process(20)
    if not native.grab().save(str(path)):
        raise OSError(f"{path} cannot be written")
    return Path(path)


def find(panel: Any, name: str) -> Any:
    """Return the widget of this object name in a panel, as Slicer's Python sees it."""
    found = _native(getattr(panel, "parent", panel)).findChild(QWidget, name)
    if found is None:
        raise AssertionError(f"the panel has no widget called '{name}'")
    return wrap(found)


def key(value: EnumValue) -> Qt.Key:
    """Return PySide6's key for one of `qt.Qt.Key_…`."""
    return value.native

"""Dialogs answered by the test: whoever opens one that no test expects makes it fail.

with dialogs.answers(Ok):                 # the next dialog is answered with its Ok button
    kit.click(panel.ui.saveButton)
with dialogs.answers("/some/folder"):     # the next file dialog chooses this
with dialogs.answers(lambda dialog: …):   # the next dialog is shown and handed over
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QDialog, QMessageBox

from Testing.harness import faults
from Testing.harness.proxy import EnumValue, native_of, unwrap, wrap


class UnexpectedDialog(AssertionError):
    """A dialog was opened that no test had an answer for."""


@dataclasses.dataclass
class Shown:
    """One dialog that was opened: which call, its title and its text."""

    kind: str
    title: str
    text: str


shown: list[Shown] = []
"""Every dialog since the harness started, in order."""

_waiting: list[Any] = []


@contextlib.contextmanager
def answers(*given: Any) -> Iterator[list[Shown]]:
    """Answer the dialogs opened inside, in this order; all of them must be opened.

    Args:
        given: a standard button (`qt.QMessageBox.Yes`), the text of a button, a path or
            paths or text for file and input dialogs, None for cancelling, or a function
            that is given the dialog (as Slicer's Python sees it) while it is open.

    Raises:
        AssertionError: a dialog expected here was not opened.
    """
    before, first = list(_waiting), len(shown)
    _waiting[:] = given
    opened: list[Shown] = []
    try:
        yield opened
        opened += shown[first:]
        if _waiting:
            raise AssertionError(f"expected {len(_waiting)} more dialog(s): {_waiting}")
    finally:
        _waiting[:] = before


def _next(kind: str, title: str, text: str) -> Any:
    shown.append(Shown(kind, title, text))
    if not _waiting:
        error = UnexpectedDialog(f"{kind} '{title}' was opened unexpectedly: {text}")
        faults.raised.append(error)
        raise error
    return _waiting.pop(0)


def run(dialog: Any) -> int:
    """Stand in for `exec` of any dialog (of a menu or an event loop: Qt's own)."""
    native = native_of(dialog)
    if not isinstance(native, QDialog):
        return wrap(native.exec())
    text = native.text() if isinstance(native, QMessageBox) else ""
    answer = _next(type(native).__name__, native.windowTitle(), text)
    act = answer if callable(answer) else lambda _d: _press(native, answer)
    problems: list[Exception] = []

    def begin() -> None:
        try:
            act(dialog)
        except Exception as error:
            problems.append(error)
            native.done(0)

    QTimer.singleShot(0, native, begin)
    result = native.exec()
    if problems:
        raise problems[0]
    return int(getattr(result, "value", result))


def _press(native: Any, answer: Any) -> None:
    if answer is None:
        native.reject()
        return
    if isinstance(answer, EnumValue) and isinstance(native, QMessageBox):
        button = native.button(answer.native)
        if button is None:
            raise AssertionError(f"'{native.text()}' has no button {answer!r}")
        button.click()
        return
    from PySide6.QtWidgets import QAbstractButton

    for button in native.findChildren(QAbstractButton):
        if button.text().replace("&", "") == answer:
            button.click()
            return
    raise AssertionError(f"the dialog '{native.windowTitle()}' has no button {answer!r}")


def _file_dialog(name: str, many: bool) -> Callable[..., Any]:
    def call(_parent: Any = None, caption: str = "", *_more: Any) -> Any:
        answer = _next(f"QFileDialog.{name}", caption, "")
        if many:
            return tuple(str(path) for path in answer or ())
        return "" if answer is None else str(answer)

    return call


def _input_dialog(name: str, cancelled: Any) -> Callable[..., Any]:
    def call(_parent: Any, title: str, label: str, *_more: Any) -> Any:
        answer = _next(f"QInputDialog.{name}", title, label)
        return cancelled if answer is None else answer

    return call


def _message_box(name: str) -> Callable[..., Any]:
    def call(_parent: Any, title: str, text: str, *_more: Any) -> Any:
        answer = _next(f"QMessageBox.{name}", title, text)
        return wrap(unwrap(answer)) if answer is not None else EnumValue(_CANCEL)

    return call


_CANCEL = QMessageBox.StandardButton.Cancel
FILE_DIALOGS = {
    "getExistingDirectory": _file_dialog("getExistingDirectory", many=False),
    "getOpenFileName": _file_dialog("getOpenFileName", many=False),
    "getSaveFileName": _file_dialog("getSaveFileName", many=False),
    "getOpenFileNames": _file_dialog("getOpenFileNames", many=True),
}
INPUT_DIALOGS = {
    "getText": _input_dialog("getText", ""),
    "getItem": _input_dialog("getItem", ""),
    "getInt": _input_dialog("getInt", 0),
    "getDouble": _input_dialog("getDouble", 0.0),
}
MESSAGE_BOXES = {
    name: _message_box(name) for name in ("question", "information", "warning", "critical")
}

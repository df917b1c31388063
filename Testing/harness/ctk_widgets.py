"""Stand-ins for the CTK widgets a panel uses: real Qt widgets with CTK's names and habits."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Property, QSize, Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QAbstractButton,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGroupBox,
    QHBoxLayout,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QStyle,
    QStyleOptionButton,
    QStylePainter,
    QToolButton,
    QWidget,
)

from Testing.harness import dialogs
from Testing.harness.links import SignalsOf
from Testing.harness.modules import stands_for


def kept(kind: Any, name: str, default: Any) -> Any:
    """Return a Qt property that is only kept, for looks that the stand-in does not draw."""

    def read(self: Any) -> Any:
        return self.__dict__.get(f"_kept_{name}", default)

    def write(self: Any, value: Any) -> None:
        self.__dict__[f"_kept_{name}"] = value

    return Property(kind, read, write)


class Collapsing(SignalsOf):
    """What collapses: its children are hidden, and only a header stays."""

    OWN_SIGNALS = {"contentsCollapsed(bool)": None}
    HEADER = 24

    def _collapse(self: Any, collapsed: bool) -> None:
        for child in self.children():
            if isinstance(child, QWidget) and not child.isWindow():
                child.setVisible(not collapsed)
        self.setMaximumHeight(self.HEADER if collapsed else 16777215)
        self.fire("contentsCollapsed", collapsed)

    def _is_collapsed(self: Any) -> bool:
        return not self.isChecked()

    def _set_collapsed(self: Any, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    def childEvent(self: Any, event: Any) -> None:
        super().childEvent(event)
        child = event.child()
        if event.added() and not self.isChecked() and isinstance(child, QWidget):
            child.setVisible(False)


@stands_for("ctk.ctkCollapsibleButton")
class CollapsibleButton(Collapsing, QAbstractButton):
    """A header button above its contents; checked means open."""

    def __init__(self, *arguments: Any) -> None:
        text = next((a for a in arguments if isinstance(a, str)), "")
        super().__init__(next((a for a in arguments if isinstance(a, QWidget)), None))
        self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, self.HEADER, 0, 0)
        self.toggled.connect(lambda on: self._collapse(not on))

    def sizeHint(self) -> QSize:
        inside = self.layout().totalSizeHint() if self.layout() else QSize(0, 0)
        header = self.fontMetrics().horizontalAdvance(self.text()) + 40
        height = inside.height() if self.isChecked() else self.HEADER
        return QSize(max(header, inside.width()), max(self.HEADER, height))

    minimumSizeHint = sizeHint

    def hitButton(self, where: Any) -> bool:
        return where.y() < self.HEADER

    def paintEvent(self, _event: Any) -> None:
        option = QStyleOptionButton()
        option.initFrom(self)
        option.rect.setHeight(self.HEADER)
        option.text = f"{'▾' if self.isChecked() else '▸'}  {self.text()}"
        painter = QStylePainter(self)
        painter.drawControl(QStyle.ControlElement.CE_PushButton, option)

    collapsed = Property(bool, Collapsing._is_collapsed, Collapsing._set_collapsed)
    flat = kept(bool, "flat", False)
    collapsedHeight = kept(int, "collapsedHeight", 10)
    contentsLineWidth = kept(int, "contentsLineWidth", 1)
    contentsMidLineWidth = kept(int, "contentsMidLineWidth", 0)


@stands_for("slicer.qMRMLCollapsibleButton")
class MRMLCollapsibleButton(CollapsibleButton):
    """The same, with a scene."""

    OWN_SIGNALS = {**Collapsing.OWN_SIGNALS, "mrmlSceneChanged(vtkMRMLScene*)": None}
    _scene: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.fire("mrmlSceneChanged", scene)


@stands_for("ctk.ctkCollapsibleGroupBox")
class CollapsibleGroupBox(Collapsing, QGroupBox):
    """A group box whose tick closes it."""

    OWN_SIGNALS: dict[str, Any] = {}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(lambda on: self._collapse(not on))

    collapsed = Property(bool, Collapsing._is_collapsed, Collapsing._set_collapsed)
    collapsedHeight = kept(int, "collapsedHeight", 14)


@stands_for("ctk.ctkPathLineEdit")
class PathLineEdit(SignalsOf, QWidget):
    """A path one can type or browse for.

    `currentPathChanged` is told of every path but an empty one, which CTK's validator takes
    for no path: clearing is told by `validInputChanged` alone.
    """

    OWN_SIGNALS = {"currentPathChanged(QString)": None, "validInputChanged(bool)": None}

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._history: list[str] = []
        self._valid = False
        self._combo = QComboBox()
        self._combo.setEditable(True)
        self._combo.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._button = QToolButton()
        self._button.setText("…")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo, 1)
        row.addWidget(self._button)
        self._combo.editTextChanged.connect(self._edited)
        self._button.clicked.connect(lambda: self.browse())

    def comboBox(self) -> QComboBox:
        return self._combo

    def _edited(self, path: str) -> None:
        was, self._valid = self._valid, bool(path)
        if self._valid:
            self.fire("currentPathChanged", path)
        if self._valid != was:
            self.fire("validInputChanged", self._valid)

    def browse(self) -> None:
        name = "getExistingDirectory" if self._dirs_only() else "getOpenFileName"
        chosen = dialogs.FILE_DIALOGS[name](None, "Select a file or a folder")
        if chosen:
            self.setCurrentPath(chosen)

    def _dirs_only(self) -> bool:
        files, dirs = 0x002, 0x001
        return bool(self.filters & dirs) and not self.filters & files

    def setCurrentPath(self, path: str) -> None:
        self._combo.setEditText(path)

    def _path(self) -> str:
        return self._combo.currentText()

    def addCurrentPathToHistory(self) -> None:
        if self._path() and self._combo.findText(self._path()) < 0:
            self._combo.blockSignals(True)
            self._combo.addItem(self._path())
            self._combo.blockSignals(False)

    def _browsable(self) -> bool:
        return not self._button.isHidden()

    def _set_browsable(self, shown: bool) -> None:
        self._button.setVisible(shown)

    currentPath = Property(str, _path, setCurrentPath)
    showBrowseButton = Property(bool, _browsable, _set_browsable)
    showHistoryButton = kept(bool, "showHistoryButton", True)
    nameFilters = kept("QStringList", "nameFilters", [])
    filters = kept(int, "filters", 0x6007)
    options = kept(int, "options", 0)
    settingKey = kept(str, "settingKey", "")
    label = kept(str, "label", "")
    minimumContentsLength = kept(int, "minimumContentsLength", 0)
    Dirs, Files, NoDot, NoDotDot, Readable, Writable, Executable = (
        1, 2, 0x2000, 0x4000, 0x10, 0x20, 0x40,
    )  # fmt: skip
    Drives, AllDirs, AllEntries, Hidden, NoFilter = 4, 0x400, 7, 0x100, -1


@stands_for("ctk.ctkDirectoryButton")
class DirectoryButton(SignalsOf, QWidget):
    """A button showing a folder; clicking it asks for another."""

    OWN_SIGNALS = {"directoryChanged(QString)": None, "directorySelected(QString)": None}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(next((a for a in arguments if isinstance(a, QWidget)), None))
        self._button = QPushButton()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._button)
        self._button.clicked.connect(lambda: self.browse())
        self._directory = ""
        self._set_directory(next((a for a in arguments if isinstance(a, str)), "."))

    def browse(self) -> None:
        chosen = dialogs.FILE_DIALOGS["getExistingDirectory"](None, self.caption)
        if chosen:
            self._set_directory(chosen)
            self.fire("directorySelected", self._directory)

    def _set_directory(self, path: str) -> None:
        from pathlib import Path

        absolute = str(Path(path).absolute())
        if absolute != self._directory:
            self._directory = absolute
            self._button.setText(absolute)
            self.fire("directoryChanged", absolute)

    directory = Property(str, lambda self: self._directory, _set_directory)
    caption = kept(str, "caption", "")
    text = Property(
        str, lambda self: self._button.text(), lambda self, text: self._button.setText(text)
    )


@stands_for("ctk.ctkComboBox")
class ComboBox(QComboBox):
    """A combo box with a text for when nothing is chosen."""

    def _set_default(self, text: str) -> None:
        self.setPlaceholderText(text)

    defaultText = Property(str, lambda self: self.placeholderText(), _set_default)
    forceDefault = kept(bool, "forceDefault", False)

    def _user_data(self) -> str:
        return str(self.currentData() or "")

    def setCurrentUserDataAsString(self, text: str) -> None:
        self.setCurrentIndex(self.findData(text))

    currentUserDataAsString = Property(str, _user_data, setCurrentUserDataAsString)


@stands_for("ctk.ctkCheckBox")
class CheckBox(QCheckBox):
    """Qt's, with an icon."""


@stands_for("ctk.ctkSearchBox")
class SearchBox(QLineEdit):
    """A line to search by, with a button that empties it."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setClearButtonEnabled(True)
        self.setPlaceholderText("Search...")

    showSearchIcon = kept(bool, "showSearchIcon", False)


@stands_for("ctk.ctkMessageBox")
class MessageBox(QMessageBox):
    """Qt's, with 'don't show again'."""

    dontShowAgain = kept(bool, "dontShowAgain", False)
    dontShowAgainVisible = kept(bool, "dontShowAgainVisible", False)
    dontShowAgainSettingsKey = kept(str, "dontShowAgainSettingsKey", "")

    def setDontShowAgain(self, shown: bool) -> None:
        self.setProperty("dontShowAgain", shown)


@stands_for("ctk.ctkColorPickerButton")
class ColorPickerButton(SignalsOf, QPushButton):
    """A button with a colour."""

    OWN_SIGNALS = {"colorChanged(QColor)": None}

    def setColor(self, colour: QColor) -> None:
        if colour != self._color():
            self.__dict__["_colour"] = QColor(colour)
            self.fire("colorChanged", self._color())

    def _color(self) -> QColor:
        return QColor(self.__dict__.get("_colour", QColor(Qt.GlobalColor.black)))

    color = Property(QColor, _color, setColor)
    displayColorName = kept(bool, "displayColorName", True)


@stands_for("ctk.ctkDoubleSpinBox")
class CtkDoubleSpinBox(SignalsOf, QWidget):
    """CTK's spin box: a widget around Qt's, so it has only the names CTK gives it."""

    OWN_SIGNALS = {
        "valueChanged(double)": None,
        "editingFinished()": None,
        "decimalsChanged(int)": None,
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._box = QDoubleSpinBox()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self._box.valueChanged.connect(lambda value: self.fire("valueChanged", value))
        self._box.editingFinished.connect(lambda: self.fire("editingFinished"))

    def setValue(self, value: float) -> None:
        self._box.setValue(value)

    def setDecimals(self, count: int) -> None:
        self._box.setDecimals(count)

    def setReadOnly(self, on: bool) -> None:
        self._box.setReadOnly(on)

    def stepUp(self) -> None:
        self._box.stepUp()

    def stepDown(self) -> None:
        self._box.stepDown()

    value = Property(float, lambda s: s._box.value(), setValue)
    minimum = Property(float, lambda s: s._box.minimum(), lambda s, v: s._box.setMinimum(v))
    maximum = Property(float, lambda s: s._box.maximum(), lambda s, v: s._box.setMaximum(v))
    singleStep = Property(
        float, lambda s: s._box.singleStep(), lambda s, v: s._box.setSingleStep(v)
    )
    decimals = Property(int, lambda s: s._box.decimals(), setDecimals)
    suffix = Property(str, lambda s: s._box.suffix(), lambda s, v: s._box.setSuffix(v))
    prefix = Property(str, lambda s: s._box.prefix(), lambda s, v: s._box.setPrefix(v))
    readOnly = Property(bool, lambda s: s._box.isReadOnly(), setReadOnly)

"""Stand-in for `slicer.app`: one QApplication, with Slicer's names for what hangs on it."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import PySide6
import slicer
from PySide6.QtCore import Property, QSettings, qInstallMessageHandler
from PySide6.QtWidgets import QApplication, QMainWindow

from Testing.harness.ctk_widgets import kept
from Testing.harness.links import SignalsOf
from Testing.harness.modules import stands_for
from Testing.harness.proxy import wrap

_folder: list[Path] = []


def folder() -> Path:
    """Return the folder of this harness run's settings and temporary files."""
    if not _folder:
        raise RuntimeError("the harness is not started")
    return _folder[-1]


def _qt_says(_kind: Any, _where: Any, text: str) -> None:
    """Pass on what Qt warns of, except what the offscreen platform says of every window."""
    if "propagateSizeHints" not in text:
        print(text, file=sys.stderr)


@stands_for("slicer.qSlicerCommandOptions")
class CommandOptions(SignalsOf, QSettings):
    """How the application was started (the few options that matter to a module)."""

    noMainWindow = kept(bool, "noMainWindow", False)
    testingEnabled = kept(bool, "testingEnabled", False)


@stands_for("slicer.qSlicerMainWindow")
class MainWindow(SignalsOf, QMainWindow):
    """The main window: it has a status bar, and a selector of modules."""

    OWN_SIGNALS = {"initialWindowShown()": None}

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.selector: Any = None
        self.statusBar()

    def moduleSelector(self) -> Any:
        return self.selector


@stands_for("slicer.qSlicerApplication")
class Application(SignalsOf, QApplication):
    """`slicer.app`. Made once in a process; `begin` gives it a new scene for each run."""

    OWN_SIGNALS = {
        "startupCompleted()": None,
        "mrmlSceneChanged(vtkMRMLScene*)": None,
        "renderPaused(bool)": None,
    }

    def __init__(self) -> None:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        if PySide6.__version_info__[:2] == (6, 12) and sys.version_info < (3, 12):
            raise RuntimeError(
                f"PySide6 {PySide6.__version__} gives up a reference to None at each call, which"
                " ends a Python older than 3.12; install PySide6-Essentials<6.12"
            )
        qInstallMessageHandler(_qt_says)
        super().__init__(["Slicer"])
        self.setApplicationName("Slicer")
        self.setOrganizationName("harness")
        self.setQuitOnLastWindowClosed(False)
        self.parts: Any = None

    def begin(self, parts: Any) -> None:
        """Take the scene, managers and windows of one harness run."""
        self.parts = parts

    def mrmlScene(self) -> Any:
        return self.parts.scene

    def applicationLogic(self) -> Any:
        return self.parts.logic

    def layoutManager(self) -> Any:
        return self.parts.layout

    def moduleManager(self) -> Any:
        return self.parts.modules

    def coreIOManager(self) -> Any:
        return self.parts.files

    def ioManager(self) -> Any:
        return self.parts.files

    def commandOptions(self) -> Any:
        return self.parts.options

    def moduleLogic(self, name: str) -> Any:
        return getattr(slicer.modules, name.lower()).logic()

    def settings(self) -> Any:
        return QSettings(str(folder() / "Slicer.ini"), QSettings.Format.IniFormat)

    userSettings = revisionUserSettings = defaultSettings = settings

    def testingEnabled(self) -> bool:
        return bool(self.parts.options.testingEnabled)

    def pauseRender(self) -> None:
        self.fire("renderPaused", True)

    def resumeRender(self) -> None:
        self.fire("renderPaused", False)

    def setRenderPaused(self, paused: bool) -> None:
        self.fire("renderPaused", paused)

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"https://slicer.readthedocs.io/en/latest/user_guide/modules/{name.lower()}.html"

    def modulesAssociatedWithNodeType(self, _kind: str) -> list[str]:
        return []

    def openNodeModule(self, node: Any, _role: str = "", _context: str = "") -> None:
        self.parts.opened_nodes.append(node)

    def logUsageEvent(self, _component: str, _event: str) -> None:
        return None

    def _temporary(self) -> str:
        path = folder() / "temporary"
        path.mkdir(exist_ok=True)
        return str(path)

    temporaryPath = Property(str, _temporary)
    cachePath = Property(str, _temporary)
    defaultScenePath = Property(str, _temporary)
    slicerHome = Property(str, lambda self: str(folder() / "home"))
    extensionsInstallPath = Property(str, lambda self: str(folder() / "extensions"))
    slicerUserSettingsFilePath = Property(str, lambda self: str(folder() / "Slicer.ini"))
    majorVersion = Property(int, lambda self: 5)
    minorVersion = Property(int, lambda self: 13)
    mainApplicationName = Property(str, lambda self: "Slicer")
    documentationBaseUrl = Property(str, lambda self: "https://slicer.readthedocs.io/en/latest/")
    os = Property(str, lambda self: "linux")
    arch = Property(str, lambda self: "amd64")
    applicationLocaleName = Property(str, lambda self: "en_US")
    isInstalled = Property(bool, lambda self: True)
    platform = Property(str, lambda self: "linux-amd64")


def the_application() -> Application:
    """Return the process's one application, made at the first call.

    Raises:
        RuntimeError: somebody else made a QApplication before.
    """
    running = QApplication.instance()
    if running is None:
        running = Application()
        wrap(running)
    if not isinstance(running, Application):
        raise RuntimeError("a QApplication other than the harness's is already running")
    return running


def new_folder() -> tempfile.TemporaryDirectory[str]:
    """Begin a run's folder; the caller keeps what is returned, and cleans it up."""
    made = tempfile.TemporaryDirectory(prefix="slicer-harness-")
    _folder.append(Path(made.name))
    return made


def forget_folder() -> None:
    """Forget the last run's folder."""
    _folder.pop()

"""Starting and stopping the stand-in: `with slicer_running() as harness:`."""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import slicer
import slicer.util
from PySide6.QtWidgets import QApplication

from Testing.harness import (  # noqa: F401  (importing them registers their classes)
    api,
    application,
    ctk_sliders,
    ctk_widgets,
    dialogs,
    faults,
    files,
    i18n,
    modules,
    mrml_widgets,
    node_combo,
    observing,
    packages,
    parameter_module,
    qt_ways,
    sample_data,
    scripted_bases,
    scripted_modules,
    segment_editor,
    ui_files,
    views,
)
from Testing.harness.proxy import wrap

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "MedDetect" / "MedDetect.py"

_QT = modules.QtModule("qt")
_CTK = modules.QtModule("ctk")


class Harness:
    """One run of the stand-in: a new scene, new windows, Slicer's own modules.

    Attributes:
        scene: the vtkMRMLScene, as `slicer.mrmlScene`.
        logic: the vtkSlicerApplicationLogic.
        modules: the module manager; `layout`: the layout manager; `window`: main window.
        opened_nodes: nodes whose own module was asked for.
    """

    def __init__(self, main_window: bool = True, testing: bool = False) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.logic = slicer.vtkSlicerApplicationLogic()
        self.logic.SetMRMLScene(self.scene)
        self._cache = slicer.vtkCacheManager()
        self._cache.SetRemoteCacheDirectory(str(application.folder() / "cache"))
        self._transfers = slicer.vtkDataIOManager()
        self._transfers.SetCacheManager(self._cache)
        self.scene.SetDataIOManager(self._transfers)
        self.scene.SetCacheManager(self._cache)
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.scene.AddNode(crosshair)
        self.options = application.CommandOptions()
        self.options.setProperty("noMainWindow", not main_window)
        self.options.setProperty("testingEnabled", testing)
        self.modules = scripted_modules.ModuleManager()
        self.opened_nodes: list[Any] = []
        self.namespace = scripted_modules.Namespace(sampleDataSources={})
        for name in scripted_modules.LOADABLE:
            module = scripted_modules.LoadableModule(name, self.logic, self.scene)
            self.modules.add(module)
            setattr(self.namespace, name.lower(), wrap(module))
        self.logic.SetColorLogic(self.modules.by_name["Colors"].logic())
        self.layout = views.LayoutManager(self.scene, self.logic)
        self.files = files.Files(self.scene, lambda n: self.modules.by_name[n].logic())
        self.window = application.MainWindow() if main_window else None
        if self.window is not None:
            self.window.selector = scripted_modules.ModuleSelector(self.modules, self.window)
            self.window.addToolBar(self.window.selector)
            self.window.resize(560, 900)
            self.window.show()

    def load_module(self, path: Path = MODULE) -> Any:
        """Load a scripted module's file, and return `slicer.modules.<name>`."""
        module = scripted_modules.ScriptedModule(path.stem, str(path))
        module.load(self.scene)
        self.modules.add(module)
        if self.window is not None and not self.started:
            self.started = True
            slicer.app.startupCompleted.emit()
        return wrap(module)

    started = False

    def panel(self, name: str = "MedDetect") -> Any:
        """Enter a module, and return its Python widget."""
        if self.window is not None:
            slicer.util.selectModule(name)
        return slicer.util.getModuleWidget(name)

    def close(self) -> None:
        """Unload the modules, close the scene and the windows."""
        for name in list(self.modules.by_name):
            self.modules.fire("moduleAboutToBeUnloaded", name)
        self.scene.Clear(1)
        for widget in QApplication.topLevelWidgets():
            widget.close()
            widget.deleteLater()
        self.scene.SetDataIOManager(None)
        qt_ways.delete_now()
        QApplication.processEvents()
        observing.end_all()


@contextlib.contextmanager
def slicer_running(main_window: bool = True, testing: bool = False) -> Iterator[Harness]:
    """Run the stand-in inside; afterwards Python is as it was.

    Args:
        main_window: False as with --no-main-window.
        testing: True as with --testing: Slicer's dialogs answer themselves.

    Raises:
        ExceptionGroup: errors left a slot, timer or observer inside, and nobody took them
            with `faults.clear()`.
    """
    app = application.the_application()
    folder = application.new_folder()
    before = _install()
    faults.clear()
    faults.watch_observers()
    try:
        harness = Harness(main_window, testing)
        app.begin(harness)
        slicer.app, slicer.mrmlScene = wrap(app), harness.scene
        slicer.modules, slicer.selfTests = harness.namespace, {}
        try:
            yield harness
        finally:
            harness.close()
            gc.collect()
    finally:
        faults.unwatch_observers()
        _restore(before)
        application.forget_folder()
        folder.cleanup()
    errors = [e for e in faults.clear() if isinstance(e, Exception)]
    if errors:
        raise ExceptionGroup("errors in slots, timers or observers", errors)


_STAND_INS = {
    "qt": _QT,
    "ctk": _CTK,
    "SampleData": sample_data,
    "slicer.i18n": i18n,
    "slicer.packaging": packages,
    "slicer.parameterNodeWrapper": parameter_module,
    "slicer.ScriptedLoadableModule": scripted_bases,
}
_PIP = {name: getattr(slicer.util, name) for name in ("pip_install", "pip_uninstall")}
_NAMES = ("app", "mrmlScene", "modules", "selfTests", "__getattr__")


def _install() -> tuple[dict[str, Any], dict[str, Any], list[str], set[str]]:
    """Put the stand-in's modules where Python finds Slicer's, and return what was there."""
    below = [n.split(".")[1] for n in _STAND_INS if n.startswith("slicer.")]
    names = {n: slicer.__dict__.get(n) for n in (*_NAMES, *below)}
    loaded = {n: sys.modules.get(n) for n in _STAND_INS}
    paths, known = list(sys.path), set(sys.modules)
    for name, module in _STAND_INS.items():
        sys.modules[name] = module
        if name.startswith("slicer."):
            setattr(slicer, name.split(".")[1], module)
    slicer.__dict__["__getattr__"] = _slicer_class
    slicer.util.__dict__["__getattr__"] = _newer_util
    slicer.util.pip_install = packages.pip_install  # Slicer's own would install
    slicer.util.pip_uninstall = packages.pip_uninstall
    return names, loaded, paths, known


def _slicer_class(name: str) -> Any:
    if name.startswith("__") or name == "selfTests":
        raise AttributeError(f"module 'slicer' has no attribute '{name}'")
    return modules.find_class(f"slicer.{name}")


def _newer_util(name: str) -> Any:
    """Tell what only a newer Slicer has from what none has."""
    if f"slicer.util.{name}" in api.listing()["python"]:
        raise faults.StandInLacks(f"slicer.util.{name} is newer than slicer-core's slicer.util")
    raise AttributeError(f"module 'slicer.util' has no attribute '{name}'")


def _restore(before: tuple[dict[str, Any], dict[str, Any], list[str], set[str]]) -> None:
    names, loaded, paths, known = before
    for name, value in names.items():
        if value is None:
            slicer.__dict__.pop(name, None)
        else:
            setattr(slicer, name, value)
    for name, module in loaded.items():
        if module is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = module
    for name in set(sys.modules) - known:
        found = str(getattr(sys.modules[name], "__file__", "") or "")
        if Path(found).parent == MODULE.parent or found.startswith(str(MODULE.parent)):
            del sys.modules[name]
    sys.path[:] = paths
    slicer.util.__dict__.pop("__getattr__", None)
    vars(slicer.util).update(_PIP)


def measure_load(path: Path = MODULE) -> tuple[float, set[str]]:
    """Return the processor seconds a module's loading takes, and what it imports meanwhile.

    To be called while the stand-in runs and before the module is loaded.
    """
    known, started = set(sys.modules), time.thread_time()
    application.the_application().parts.load_module(path)
    seconds = time.thread_time() - started
    logging.debug("%s was loaded in %.1f ms", path.stem, seconds * 1000)
    return seconds, set(sys.modules) - known

"""Loading a scripted module's file as Slicer does, and the module manager that knows it."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import slicer
from PySide6.QtCore import Property, QObject
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QToolBar

from Testing.harness import api, faults
from Testing.harness.ctk_widgets import kept
from Testing.harness.links import SignalsOf
from Testing.harness.modules import stands_for
from Testing.harness.mrml_widgets import ModuleWidget
from Testing.harness.proxy import wrap

# The loadable modules a panel may ask for, and the class of their logic in slicer-core.
LOADABLE = {
    "Markups": "vtkSlicerMarkupsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Models": "vtkSlicerModelsLogic",
    "Colors": "vtkMRMLColorLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Units": "vtkSlicerUnitsLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
}


class Namespace(types.SimpleNamespace):
    """`slicer.modules`: what Slicer has and the stand-in has not is told apart."""

    def __getattr__(self, name: str) -> Any:
        if name in api.listing()["python"]["slicer.modules"]:
            raise faults.StandInLacks(f"slicer.modules.{name}")
        raise AttributeError(f"slicer.modules has no attribute '{name}'")


class _Module(SignalsOf, QObject):
    """What every module has."""

    def __init__(self, name: str, path: str = "") -> None:
        super().__init__()
        self._name, self._path = name, path
        self._icon = QIcon()
        self._logic: Any = None
        self._widget: Any = None
        self.scene: Any = None

    def logic(self) -> Any:
        return self._logic

    def mrmlScene(self) -> Any:
        return self.scene

    def setMRMLScene(self, scene: Any) -> None:
        self.scene = scene
        if self._logic is not None:
            self._logic.SetMRMLScene(scene)

    def _set_icon(self, icon: QIcon) -> None:
        self._icon = icon

    name = Property(str, lambda self: self._name)
    path = Property(str, lambda self: self._path)
    icon = Property(QIcon, lambda self: self._icon, _set_icon)
    title = kept(str, "title", "")
    categories = kept("QStringList", "categories", [])
    contributors = kept("QStringList", "contributors", [])
    dependencies = kept("QStringList", "dependencies", [])
    associatedNodeTypes = kept("QStringList", "associatedNodeTypes", [])
    helpText = kept(str, "helpText", "")
    acknowledgementText = kept(str, "acknowledgementText", "")
    hidden = kept(bool, "hidden", False)
    index = kept(int, "index", -1)
    isBuiltIn = Property(bool, lambda self: False)
    defaultDocumentationLink = Property(str, lambda self: "")


@stands_for("slicer.qSlicerAbstractModule")
class LoadableModule(_Module):
    """A module of Slicer's own: its logic is real, its panel is not stood in for."""

    def __init__(self, name: str, application_logic: Any, scene: Any) -> None:
        super().__init__(name)
        self._logic = getattr(slicer, LOADABLE[name])()
        self._logic.SetMRMLApplicationLogic(application_logic)
        self.setMRMLScene(scene)
        application_logic.SetModuleLogic(name, self._logic)

    def widgetRepresentation(self) -> Any:
        raise faults.StandInLacks(f"the panel of Slicer's own module {self._name}")


@stands_for("slicer.qSlicerScriptedLoadableModule")
class ScriptedModule(_Module):
    """A module written in Python."""

    extensions = kept("QVariantMap", "extensions", {})

    def load(self, scene: Any) -> None:
        """Import the file and make its module class; its panel waits until it is asked for."""
        self._logic = slicer.vtkSlicerScriptedLoadableModuleLogic()
        self._module = import_file(self._name, Path(self._path))
        made = getattr(self._module, self._name)(wrap(self))
        setattr(slicer.modules, f"{self._name}Instance", made)
        setattr(slicer.modules, self._name.lower(), wrap(self))
        self.python = made
        if hasattr(made, "setup"):
            made.setup()
        self.setMRMLScene(scene)

    def widgetRepresentation(self) -> Any:
        if self._widget is None:
            self._widget = self.createNewWidgetRepresentation()
        return self._widget

    def createNewWidgetRepresentation(self) -> Any:
        if not hasattr(sys.modules[self._name], f"{self._name}Widget"):
            return None
        widget = ModuleWidget()
        widget.setObjectName(f"{self._name}ModuleWidget")
        widget.of = wrap(self)

        def make() -> None:
            made = getattr(sys.modules[self._name], f"{self._name}Widget")(wrap(widget))
            widget.python = made
            setattr(slicer.modules, f"{self._name}Widget", made)

        widget.make = make
        widget.setMRMLScene(self.scene)
        widget.reload()
        return widget


def import_file(name: str, path: Path) -> Any:
    """Import a module's file under the name Slicer gives it."""
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@stands_for("slicer.qSlicerModuleFactoryManager")
class FactoryManager(SignalsOf, QObject):
    """Names of the modules there are."""

    OWN_SIGNALS = {"moduleLoaded(QString)": None, "modulesLoaded(QStringList)": None}

    def __init__(self, manager: Any) -> None:
        super().__init__()
        self._manager = manager

    def loadedModuleNames(self) -> list[str]:
        return list(self._manager.by_name)

    def isLoaded(self, name: str) -> bool:
        return name in self._manager.by_name


@stands_for("slicer.qSlicerModuleManager")
class ModuleManager(SignalsOf, QObject):
    """The modules by name."""

    OWN_SIGNALS = {"moduleLoaded(QString)": None, "moduleAboutToBeUnloaded(QString)": None}

    def __init__(self) -> None:
        super().__init__()
        self.by_name: dict[str, Any] = {}
        self._factory = FactoryManager(self)

    def add(self, module: Any) -> None:
        self.by_name[module.name] = module
        self.fire("moduleLoaded", module.name)

    def module(self, name: str) -> Any:
        if name not in self.by_name and name.lower() in api.listing()["python"]["slicer.modules"]:
            raise faults.StandInLacks(f"Slicer's own module {name}")
        return self.by_name.get(name)

    def modulesNames(self) -> list[str]:
        return list(self.by_name)

    def factoryManager(self) -> Any:
        return self._factory


@stands_for("slicer.qSlicerModuleSelectorToolBar")
class ModuleSelector(SignalsOf, QToolBar):
    """Goes from module to module: the old one is left, the new one entered."""

    OWN_SIGNALS = {"moduleSelected(QString)": None}

    def __init__(self, manager: ModuleManager, window: Any) -> None:
        super().__init__()
        self._manager, self._window = manager, window
        self._selected = ""

    def selectModule(self, name: str) -> None:
        module = self._manager.module(name)
        if module is None or name == self._selected:
            return
        before = self._manager.module(self._selected)
        self._selected = name
        if isinstance(before, ScriptedModule):
            before.widgetRepresentation().exit()
        if isinstance(module, ScriptedModule):
            self._window.setCentralWidget(module.widgetRepresentation())
            module.widgetRepresentation().show()
            module.widgetRepresentation().enter()
        self.fire("moduleSelected", name)

    selectedModule = Property(str, lambda self: self._selected)

"""Stand-ins for the plain widgets with a scene, and for a scripted module's own."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Property
from PySide6.QtWidgets import QVBoxLayout, QWidget

from Testing.harness import faults
from Testing.harness.links import SignalsOf
from Testing.harness.modules import stands_for


@stands_for("slicer.qSlicerWidget")
class SlicerWidget(SignalsOf, QWidget):
    """A widget that tells its children of the scene (by connections in a .ui file)."""

    OWN_SIGNALS: dict[str, Any] = {"mrmlSceneChanged(vtkMRMLScene*)": None}
    _scene: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.fire("mrmlSceneChanged", scene)


@stands_for("slicer.qMRMLWidget")
class MRMLWidget(SlicerWidget):
    """The same, as most .ui files have it at their root."""

    def mrmlScene(self) -> Any:
        return self._scene


@stands_for("slicer.qSlicerScriptedLoadableModuleWidget")
class ModuleWidget(SlicerWidget):
    """What holds a scripted module's panel, and calls its setup, enter, exit and cleanup."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.make: Any = None  # makes the Python widget and sets `python`; from the loader
        self.python: Any = None
        self.of: Any = None
        self._entered = False
        self.setLayout(QVBoxLayout())

    def self(self) -> Any:
        return self.python

    def module(self) -> Any:
        return self.of

    def reload(self) -> None:
        self.make()
        self._call("setup")

    def enter(self) -> None:
        self._entered = True
        self._call("enter")

    def exit(self) -> None:
        self._entered = False
        self._call("exit")

    def setEditedNode(self, node: Any, role: str = "", context: str = "") -> bool:
        return bool(self._call("setEditedNode", node, role, context))

    def nodeEditable(self, node: Any) -> float:
        return float(self._call("nodeEditable", node) or 0.0)

    def _call(self, name: str, *arguments: Any) -> Any:
        function = getattr(self.python, name, None)
        return None if function is None else faults.guarded(function, *arguments)

    isEntered = Property(bool, lambda self: self._entered)
    moduleName = Property(str, lambda self: self.of.name if self.of else "")

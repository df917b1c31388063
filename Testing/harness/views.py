"""Stand-in for the layout manager and its slice views: real slice nodes and slice logics."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6.QtCore import Property, QObject
from PySide6.QtWidgets import QVBoxLayout, QWidget

from Testing.harness.links import SignalsOf
from Testing.harness.modules import stands_for

VIEWS = {
    "Red": ("Axial", "R", (0.952941, 0.290196, 0.2)),
    "Yellow": ("Sagittal", "Y", (0.929412, 0.835294, 0.298039)),
    "Green": ("Coronal", "G", (0.431373, 0.690196, 0.294118)),
}
"""Slicer's default slice views: orientation, letter, colour."""


@stands_for("slicer.qMRMLSliceControllerWidget")
class SliceController(SignalsOf, QWidget):
    """The bar above a slice view."""

    def __init__(self, logic: Any) -> None:
        super().__init__()
        self._logic = logic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def sliceLogic(self) -> Any:
        return self._logic

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()

    def setSliceOffsetValue(self, offset: float) -> None:
        self._logic.SetSliceOffset(offset)


@stands_for("slicer.qMRMLSliceView")
class SliceView(SignalsOf, QWidget):
    """The picture of a slice view; `slices.py` renders it where a picture is wanted."""

    def __init__(self, logic: Any) -> None:
        super().__init__()
        self._logic = logic
        self.renders = 0

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def scheduleRender(self) -> None:
        self.renders += 1

    def forceRender(self) -> None:
        self.renders += 1


@stands_for("slicer.qMRMLSliceWidget")
class SliceWidget(SignalsOf, QWidget):
    """One slice view with its bar."""

    OWN_SIGNALS = {"nodeAboutToBeEdited(vtkMRMLNode*)": None}

    def __init__(self, logic: Any) -> None:
        super().__init__()
        self._logic = logic
        self._view, self._controller = SliceView(logic), SliceController(logic)
        column = QVBoxLayout(self)
        column.addWidget(self._controller)
        column.addWidget(self._view, 1)

    def sliceLogic(self) -> Any:
        return self._logic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def sliceView(self) -> Any:
        return self._view

    def sliceController(self) -> Any:
        return self._controller

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()

    def setSliceOrientation(self, name: str) -> None:
        self.mrmlSliceNode().SetOrientation(name)

    sliceOrientation = Property(
        str, lambda self: self.mrmlSliceNode().GetOrientation(), setSliceOrientation
    )
    sliceViewName = Property(str, lambda self: self.mrmlSliceNode().GetLayoutName())


@stands_for("slicer.qSlicerLayoutManager")
class LayoutManager(SignalsOf, QObject):
    """The views there are. 3D views are not stood in for: their count is 0."""

    OWN_SIGNALS = {"layoutChanged(int)": None}

    def __init__(self, scene: Any, application_logic: Any) -> None:
        super().__init__()
        self._scene = scene
        self._logics = vtk.vtkCollection()
        self.widgets: dict[str, SliceWidget] = {}
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
        self._layout_node = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
        for name, (orientation, letter, colour) in VIEWS.items():
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(application_logic)
            logic.SetMRMLScene(scene)
            node = logic.AddSliceNode(name)
            node.SetOrientation(orientation)
            node.SetLayoutLabel(letter)
            node.SetLayoutColor(*colour)
            node.SetDimensions(300, 300, 1)
            node.SetMappedInLayout(1)
            self._logics.AddItem(logic)
            self.widgets[name] = SliceWidget(logic)
        application_logic.SetSliceLogics(self._logics)

    def sliceViewNames(self) -> list[str]:
        return list(self.widgets)

    def sliceWidget(self, name: str) -> Any:
        return self.widgets.get(name)

    def mrmlSliceLogics(self) -> Any:
        return self._logics

    def mrmlScene(self) -> Any:
        return self._scene

    def resetSliceViews(self) -> None:
        for widget in self.widgets.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        return None

    def setRenderPaused(self, _paused: bool) -> None:
        return None

    def pauseRender(self) -> None:
        return None

    def resumeRender(self) -> None:
        return None

    def setLayout(self, layout: int) -> None:
        if layout != self._layout_node.GetViewArrangement():
            self._layout_node.SetViewArrangement(layout)
            self.fire("layoutChanged", layout)

    layout = Property(int, lambda s: s._layout_node.GetViewArrangement(), setLayout)
    threeDViewCount = Property(int, lambda self: 0)
    tableViewCount = Property(int, lambda self: 0)
    plotViewCount = Property(int, lambda self: 0)

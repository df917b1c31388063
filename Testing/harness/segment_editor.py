"""Stand-in for qMRMLSegmentEditorWidget: no brushes, but Slicer's own segment editor logic.

What an effect draws is given by the test (`paint`); how it enters the segmentation, with
masking, overlap rules, undo and the events that follow, is vtkSlicerSegmentEditorLogic's
work, as in Slicer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
import vtk.util.numpy_support
from PySide6.QtCore import Property
from PySide6.QtWidgets import QGridLayout, QToolButton, QVBoxLayout

from Testing.harness.ctk_widgets import kept
from Testing.harness.modules import stands_for
from Testing.harness.mrml_widgets import MRMLWidget
from Testing.harness.observing import observe
from Testing.harness.proxy import Proxy, native_of

NAMES = (
    "Threshold", "Paint", "Draw", "Erase", "Level tracing", "Grow from seeds",
    "Fill between slices", "Margin", "Hollow", "Smoothing", "Scissors", "Islands",
    "Logical operators", "Mask volume",
)  # fmt: skip
"""Slicer's own effects."""


@stands_for("slicer.qMRMLSegmentEditorWidget")
class SegmentEditorWidget(MRMLWidget):
    """The editor: nodes and the current segment are real, effects are only buttons."""

    OWN_SIGNALS = {
        **MRMLWidget.OWN_SIGNALS,
        "currentSegmentIDChanged(QString)": None,
        "segmentationNodeChanged(vtkMRMLSegmentationNode*)": None,
        "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)": None,
        "masterVolumeNodeChanged(vtkMRMLVolumeNode*)": None,
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.logic = slicer.vtkSlicerSegmentEditorLogic()
        self._node: Any = None
        self._unobserve: Any = None
        self._shown: tuple[Any, Any, str] = (None, None, "")
        self.observing_views = False
        grid = QGridLayout()
        self._buttons: dict[str, QToolButton] = {}
        for at, name in enumerate(NAMES):
            button = QToolButton()
            button.setText(name)
            button.setCheckable(True)
            button.clicked.connect(lambda on, n=name: self.setActiveEffectByName(n if on else ""))
            grid.addWidget(button, at // 4, at % 4)
            self._buttons[name] = button
        QVBoxLayout(self).addLayout(grid)
        self._follow()

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self.mrmlScene():
            return
        super().setMRMLScene(scene)
        self.logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self.logic.SetMRMLScene(scene)
        self._follow()

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        if node is self._node:
            return
        if self._unobserve is not None:
            self._unobserve()
            self._unobserve = None
        self._node = node
        self.logic.SetSegmentEditorNode(node)
        if node is not None:
            event = vtk.vtkCommand.ModifiedEvent
            self._unobserve = observe(self, node, event, "_node_changed")
        self._follow()

    def mrmlSegmentEditorNode(self) -> Any:
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        if self.logic.GetSegmentationNode() is node:
            return
        self.logic.SetSegmentationNode(node)
        self.setActiveEffect(None)
        self._follow()

    def setSegmentationNodeID(self, node_id: str) -> None:
        self.setSegmentationNode(self.mrmlScene().GetNodeByID(node_id))

    def segmentationNode(self) -> Any:
        return self.logic.GetSegmentationNode()

    def segmentationNodeID(self) -> str:
        node = self.segmentationNode()
        return node.GetID() if node is not None else ""

    def setSourceVolumeNode(self, node: Any) -> None:
        self.logic.SetSourceVolumeNode(node)
        self._follow()

    def sourceVolumeNode(self) -> Any:
        return self.logic.GetSourceVolumeNode()

    def setCurrentSegmentID(self, segment_id: str) -> None:
        if self._node is not None:
            self._node.SetSelectedSegmentID(segment_id)

    def currentSegmentID(self) -> str:
        return (self._node.GetSelectedSegmentID() or "") if self._node is not None else ""

    def setActiveEffectByName(self, name: str) -> None:
        if self._node is not None:
            self._node.SetActiveEffectName(name if name in NAMES else "")

    def setActiveEffect(self, effect: Any) -> None:
        if effect is not None:
            raise TypeError("the stand-in has no effect objects: use setActiveEffectByName")
        self.setActiveEffectByName("")

    def activeEffect(self) -> Any:
        return None

    def availableEffectNames(self) -> list[str]:
        return list(NAMES)

    def setEffectNameOrder(self, _names: Any) -> None:
        return None

    def updateWidgetFromMRML(self) -> None:
        self._follow()

    def setupViewObservations(self) -> None:
        self.observing_views = True

    def removeViewObservations(self) -> None:
        self.observing_views = False

    def installKeyboardShortcuts(self, _parent: Any = None) -> None:
        self.shortcuts = True

    def uninstallKeyboardShortcuts(self) -> None:
        self.shortcuts = False

    def setMaximumNumberOfUndoStates(self, count: int) -> None:
        self.logic.SetMaximumNumberOfUndoStates(count)

    def saveStateForUndo(self) -> None:
        self.logic.SaveStateForUndo()

    def undo(self) -> None:
        self.logic.Undo()

    def redo(self) -> None:
        self.logic.Redo()

    def setReadOnly(self, on: bool) -> None:
        self.setProperty("readOnly", on)

    def _node_changed(self, _node: Any, _event: str) -> None:
        self._follow()

    def _follow(self) -> None:
        scene = self.mrmlScene()
        if scene is not None and (scene.IsClosing() or scene.IsBatchProcessing()):
            return
        ready = self._node is not None and self.segmentationNode() is not None
        before, volume_before, segment_before = self._shown
        segmentation, volume = self.segmentationNode(), self.sourceVolumeNode()
        self._shown = (segmentation, volume, self.currentSegmentID())
        for name, button in self._buttons.items():
            button.setEnabled(ready and not self.property("readOnly"))
            active = self._node.GetActiveEffectName() if self._node is not None else ""
            button.setChecked(name == active)
        if segmentation is not before:
            if segmentation is not None:
                segmentation.CreateDefaultDisplayNodes()
                role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
                self.logic.SetSourceVolumeNode(segmentation.GetNodeReference(role))
                if segmentation.GetSegmentation().GetNumberOfSegments():
                    self.logic.SelectFirstSegment(True)
            self.fire("segmentationNodeChanged", segmentation)
        if volume is not volume_before:
            self.fire("sourceVolumeNodeChanged", volume)
        if self.currentSegmentID() != segment_before:
            self.fire("currentSegmentIDChanged", self.currentSegmentID())

    readOnly = kept(bool, "readOnly", False)
    undoEnabled = kept(bool, "undoEnabled", True)
    maximumNumberOfUndoStates = Property(
        int,
        lambda self: self.logic.GetMaximumNumberOfUndoStates(),
        setMaximumNumberOfUndoStates,
    )

    # Switches that only change which controls are drawn.
    addRemoveSegmentButtonsVisible = kept(bool, "addRemoveSegmentButtonsVisible", True)
    autoShowSourceVolumeNode = kept(bool, "autoShowSourceVolumeNode", True)
    maskingSectionVisible = kept(bool, "maskingSectionVisible", True)
    jumpToSelectedSegmentEnabled = kept(bool, "jumpToSelectedSegmentEnabled", False)
    segmentationNodeSelectorVisible = kept(bool, "segmentationNodeSelectorVisible", True)
    show3DButtonVisible = kept(bool, "show3DButtonVisible", True)
    sourceVolumeNodeSelectorVisible = kept(bool, "sourceVolumeNodeSelectorVisible", True)
    specifyGeometryButtonVisible = kept(bool, "specifyGeometryButtonVisible", True)
    switchToSegmentationsButtonVisible = kept(bool, "switchToSegmentationsButtonVisible", True)
    unorderedEffectsVisible = kept(bool, "unorderedEffectsVisible", True)


def paint(editor: Any, mask_kji: np.ndarray, add: bool = True) -> None:
    """Draw into the editor's current segment, or erase from it, as one stroke of a brush.

    Args:
        editor: the slicer.qMRMLSegmentEditorWidget.
        mask_kji: (k, j, i) voxels of the segmentation's reference geometry to be touched.
        add: False erases.

    Raises:
        AssertionError: a user could not draw now: nothing selected, or read-only.
    """
    widget = native_of(editor) if isinstance(editor, Proxy) else editor
    segment = widget.currentSegmentID()
    if not segment or widget.segmentationNode() is None:
        raise AssertionError("the segment editor has no segment to draw into")
    if widget.property("readOnly") or not widget.isEnabled():
        raise AssertionError("the segment editor is read-only")
    logic = widget.logic
    if widget.property("undoEnabled"):
        logic.SaveStateForUndo()
    if not logic.ResetModifierLabelmapToDefault():
        raise AssertionError("the segmentation has no geometry to draw on")
    labelmap = logic.GetModifierLabelmap()
    shape = tuple(reversed(labelmap.GetDimensions()))
    if shape != mask_kji.shape:
        raise ValueError(f"the mask is {mask_kji.shape}, the segmentation's grid is {shape}")
    scalars = vtk.util.numpy_support.vtk_to_numpy(labelmap.GetPointData().GetScalars())
    scalars.reshape(shape)[...] = mask_kji
    labelmap.Modified()
    mode = logic.ModificationModeAdd if add else logic.ModificationModeRemove
    logic.ModifySegmentByLabelmap(widget.segmentationNode(), segment, labelmap, mode, True, False)


def draw(editor: Any, mask_kji: np.ndarray) -> None:
    """Paint voxels into the current segment."""
    paint(editor, mask_kji, add=True)


def erase(editor: Any, mask_kji: np.ndarray) -> None:
    """Erase voxels from the current segment."""
    paint(editor, mask_kji, add=False)

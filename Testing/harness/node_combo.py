"""Stand-in for qMRMLNodeComboBox: a combo box that follows a real scene.

Which node is current after additions and removals, and what is sent when, is as in
Slicer's Libs/MRML/Widgets: the first node is chosen by itself only where 'None' is not
offered and no menu entries (create, delete, ...) follow the nodes; when the current node
is removed, the one that takes its row becomes current.
"""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6.QtCore import Property
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QWidget

from Testing.harness import dialogs
from Testing.harness.ctk_widgets import kept
from Testing.harness.links import SignalsOf
from Testing.harness.modules import stands_for
from Testing.harness.observing import observe

_SCENE_EVENTS = ("NodeAddedEvent", "NodeRemovedEvent", "EndBatchProcessEvent", "EndCloseEvent")


def _flag(name: str, default: bool) -> Any:
    """Return a property that changes which entries are offered."""

    def write(self: Any, value: bool) -> None:
        self.__dict__[name] = bool(value)
        self.refresh()

    return Property(bool, lambda self: self.__dict__.get(name, default), write)


@stands_for("slicer.qMRMLNodeComboBox")
class NodeComboBox(SignalsOf, QWidget):
    """Chooses one node of the given classes."""

    OWN_SIGNALS = {
        "currentNodeChanged(vtkMRMLNode*)": None,
        "currentNodeChanged(bool)": lambda node: (node is not None,),
        "currentNodeIDChanged(QString)": None,
        "currentNodeRenamed(QString)": None,
        "nodeActivated(vtkMRMLNode*)": None,
        "nodeAdded(vtkMRMLNode*)": None,
        "nodeAddedByUser(vtkMRMLNode*)": None,
        "nodeAddedByUserAction(vtkMRMLNode*)": None,
        "nodeAboutToBeRemoved(vtkMRMLNode*)": None,
        "nodeAboutToBeEdited(vtkMRMLNode*)": None,
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._observed: list[Any] = []
        self._named: dict[str, Any] = {}
        self._nodes: list[Any] = []
        self._current: Any = None
        self._asked: Any = None  # chosen before there was a scene
        self._types: list[str] = []
        self._attributes: dict[str, tuple[str, Any]] = {}
        self._labels: dict[str, str] = {}
        self._base_names: dict[str, str] = {}
        self._combo = QComboBox()
        self._combo.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._combo.activated.connect(self._chosen)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        self.setEnabled(False)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        for end in self._observed:
            end()
        self._observed, self._scene = [], scene
        if scene is not None:
            for name in _SCENE_EVENTS:
                event = getattr(slicer.vtkMRMLScene, name)
                self._observed.append(observe(self, scene, event, "_scene_changed"))
        asked, self._asked = self._asked, None
        self._list()
        wanted = self._node_of(asked) if asked else None
        if wanted is None and not self.property("noneEnabled") and self._nodes:
            wanted = self._nodes[0]
        self._make_current(wanted)
        self.setEnabled(scene is not None)

    def _scene_changed(self, _scene: Any, _event: str) -> None:
        if not self._scene.IsBatchProcessing():
            self.refresh()

    def refresh(self) -> None:
        """List the scene's nodes anew, and choose another where the current one is gone."""
        before, was_row = self._nodes, self._row_of(self._current)
        self._list()
        added = [n for n in self._nodes if all(n is not b for b in before)]
        if self._current is not None and not any(n is self._current for n in self._nodes):
            rows = ([None] if self.property("noneEnabled") else []) + self._nodes
            self._make_current(rows[min(was_row, len(rows) - 1)] if rows else None)
        elif self._current is None and not before and self._nodes and self._picks_first():
            self._make_current(self._nodes[0])
        else:
            self._show()
        for node in added:
            self.fire("nodeAdded", node)

    def _picks_first(self) -> bool:
        offers = ("addEnabled", "removeEnabled", "editEnabled", "renameEnabled", "noneEnabled")
        return not any(self.property(name) for name in offers)

    def _row_of(self, node: Any) -> int:
        rows = ([None] if self.property("noneEnabled") else []) + self._nodes
        return next((at for at, found in enumerate(rows) if found is node), -1)

    def _list(self) -> None:
        self._nodes = []
        if self._scene is not None:
            every = self._scene.GetNodes()
            self._nodes = [
                every.GetItemAsObject(at)
                for at in range(every.GetNumberOfItems())
                if self._accepts(every.GetItemAsObject(at))
            ]
        listed = {node.GetID() for node in self._nodes}
        for gone in set(self._named) - listed:
            self._named.pop(gone)()
        for node in self._nodes:
            if node.GetID() not in self._named:
                event = vtk.vtkCommand.ModifiedEvent
                self._named[node.GetID()] = observe(self, node, event, "_node_changed")

    def _accepts(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self.property("showHidden"):
            return False
        if not self._types:
            return True
        for kind in self._types:
            exact = self.property("showChildNodeTypes") or node.GetClassName() == kind
            if not node.IsA(kind) or not exact:
                continue
            if any(node.IsA(hidden) for hidden in self.property("hideChildNodeTypes")):
                return False
            name, value = self._attributes.get(kind, (None, None))
            if name is None:
                return True
            has = node.GetAttribute(name)
            return has is not None and (value is None or str(value) == has)
        return False

    def _node_changed(self, _node: Any, _event: str) -> None:
        if self._attributes:
            self.refresh()
        else:
            self._show()

    def _show(self) -> None:
        names = [self.property("noneDisplay")] if self.property("noneEnabled") else []
        names += [node.GetName() or "" for node in self._nodes]
        if [self._combo.itemText(i) for i in range(self._combo.count())] != names:
            self._combo.clear()
            self._combo.addItems(names)
        self._combo.setPlaceholderText("" if self._types == [] else "Select a node")
        self._combo.setCurrentIndex(self._row_of(self._current))

    def _make_current(self, node: Any) -> None:
        changed = node is not self._current
        self._current = node
        self._show()
        if changed:
            self.fire("currentNodeChanged", node)
            self.fire("currentNodeIDChanged", node.GetID() if node is not None else "")

    def _chosen(self, row: int) -> None:
        at = row - 1 if self.property("noneEnabled") else row
        node = self._nodes[at] if 0 <= at < len(self._nodes) else None
        self._make_current(node)
        self.fire("nodeActivated", node)

    def _node_of(self, wanted: Any) -> Any:
        node_id = wanted if isinstance(wanted, str) else wanted.GetID()
        return next((n for n in self._nodes if n.GetID() == node_id), None)

    def currentNode(self) -> Any:
        return self._current

    def setCurrentNode(self, node: Any) -> None:
        if isinstance(node, str):
            raise TypeError("setCurrentNode wants a node; setCurrentNodeID takes an id")
        if self._scene is None:
            self._asked = node
            return
        self._make_current(self._node_of(node) if node is not None else None)

    def setCurrentNodeID(self, node_id: str) -> None:
        if self._scene is None:
            self._asked = node_id
            return
        self._make_current(self._node_of(node_id or ""))

    def _id(self) -> str:
        return self._current.GetID() if self._current is not None else ""

    def setCurrentNodeIndex(self, index: int) -> None:
        self._make_current(self._nodes[index] if 0 <= index < len(self._nodes) else None)

    def nodeCount(self) -> int:
        return len(self._nodes)

    def nodeFromIndex(self, index: int) -> Any:
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def addNode(self, kind: str = "") -> Any:
        kind = kind or (self._types[0] if self._types else "")
        if kind not in self._types:
            return None
        label = self._base_names.get(kind) or self._scene.GetTypeDisplayNameByClassName(kind)
        node = self._scene.AddNewNodeByClass(kind, self._scene.GenerateUniqueName(label or kind))
        if self.property("selectNodeUponCreation"):
            self._make_current(node)
        self.fire("nodeAddedByUser", node)
        return node

    def removeCurrentNode(self) -> None:
        self._scene.RemoveNode(self._current)

    def renameCurrentNode(self) -> None:
        if self._current is not None:
            name = dialogs.INPUT_DIALOGS["getText"](None, "Rename", "New name:")
            if name:
                self._current.SetName(name)
                self.fire("currentNodeRenamed", name)

    def editCurrentNode(self) -> None:
        self.fire("nodeAboutToBeEdited", self._current)

    def addAttribute(self, kind: str, name: str, value: Any = None) -> None:
        self._attributes[kind] = (name, value)
        self.refresh()

    def removeAttribute(self, kind: str, _name: str) -> None:
        self._attributes.pop(kind, None)
        self.refresh()

    def nodeTypeLabel(self, kind: str) -> str:
        known = self._scene.GetTypeDisplayNameByClassName(kind) if self._scene else ""
        return self._labels.get(kind) or known or "node"

    def setNodeTypeLabel(self, label: str, kind: str) -> None:
        self._labels[kind] = label

    def _set_types(self, types: Any) -> None:
        self._types = [kind for kind in types if kind]
        self.refresh()

    def _set_base_name(self, name: str) -> None:
        self._base_names = dict.fromkeys(self._types, name)

    nodeTypes = Property("QStringList", lambda s: list(s._types), _set_types)
    currentNodeID = Property(str, _id, setCurrentNodeID)
    noneEnabled = _flag("_none", False)
    addEnabled = _flag("_add", True)
    removeEnabled = _flag("_remove", True)
    editEnabled = _flag("_edit", False)
    renameEnabled = _flag("_rename", False)
    showHidden = _flag("_hidden", False)
    showChildNodeTypes = _flag("_children", True)
    hideChildNodeTypes = kept("QStringList", "hideChildNodeTypes", [])
    noneDisplay = kept(str, "noneDisplay", "None")
    selectNodeUponCreation = kept(bool, "selectNodeUponCreation", True)
    baseName = Property(str, lambda s: next(iter(s._base_names.values()), ""), _set_base_name)
    interactionNodeSingletonTag = kept(str, "interactionNodeSingletonTag", "")

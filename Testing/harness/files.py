"""Stand-in for Slicer's input and output: files through MRML's own storage and logics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from PySide6.QtCore import QObject

from Testing.harness import faults
from Testing.harness.links import SignalsOf
from Testing.harness.modules import stands_for

_TYPES = {
    ".mrml": "SceneFile",
    ".mrb": "SceneFile",
    ".seg.nrrd": "SegmentationFile",
    ".mrk.json": "MarkupsFile",
    ".fcsv": "MarkupsFile",
    ".nrrd": "VolumeFile",
    ".nhdr": "VolumeFile",
    ".nii": "VolumeFile",
    ".nii.gz": "VolumeFile",
    ".mha": "VolumeFile",
    ".mhd": "VolumeFile",
    ".dcm": "VolumeFile",
    ".txt": "TextFile",
    ".json": "TextFile",
}


@stands_for("slicer.qSlicerIOManager")
class Files(SignalsOf, QObject):
    """Loads and saves nodes and scenes."""

    OWN_SIGNALS = {"newFileLoaded(qSlicerIO::IOProperties)": None}

    def __init__(self, scene: Any, logic_of: Any) -> None:
        super().__init__()
        self._scene = scene
        self._logic_of = logic_of

    def fileType(self, name: str) -> str:
        for suffix in sorted(_TYPES, key=len, reverse=True):
            if str(name).lower().endswith(suffix):
                return _TYPES[suffix]
        return "NoFile"

    def loadNodes(
        self, kind: str, properties: Any, loaded: Any = None, messages: Any = None
    ) -> bool:
        path = str(properties["fileName"])
        if not Path(path).exists():
            if messages is not None:
                messages.AddMessage(slicer.vtkCommand.ErrorEvent, f"{path} does not exist")
            return False
        if kind == "SceneFile":
            return self._load_scene(path, bool(properties.get("clear", False)), messages)
        read = {
            "VolumeFile": self._volume,
            "SegmentationFile": self._segmentation,
            "MarkupsFile": self._markups,
        }.get(kind)
        if read is None:
            raise faults.StandInLacks(f"loading a file as '{kind}'")
        node = read(path, properties)
        if node is None:
            return False
        if loaded is not None:
            loaded.AddItem(node)
        return True

    def _volume(self, path: str, properties: Any) -> Any:
        name = properties.get("name") or Path(path).name.split(".")[0]
        options = (
            (1 if properties.get("labelmap") else 0)
            + 2
            + (4 if properties.get("singleFile") else 0)
        )
        node = self._logic_of("Volumes").AddArchetypeVolume(path, name, options)
        if node is not None and properties.get("show", True):
            logic = slicer.app.applicationLogic()
            logic.GetSelectionNode().SetActiveVolumeID(node.GetID())
            logic.PropagateVolumeSelection()
        return node

    def _segmentation(self, path: str, properties: Any) -> Any:
        logic = self._logic_of("Segmentations")
        node = logic.LoadSegmentationFromFile(path, True)
        if node is not None and properties.get("name"):
            node.SetName(properties["name"])
        return node

    def _markups(self, path: str, properties: Any) -> Any:
        node_id = self._logic_of("Markups").LoadMarkups(path, properties.get("name"))
        return self._scene.GetNodeByID(node_id) if node_id else None

    def _load_scene(self, path: str, clear: bool, messages: Any) -> bool:
        if path.endswith(".mrb"):
            return bool(self._scene.ReadFromMRB(path, clear, messages))
        self._scene.SetURL(path)
        return bool(self._scene.Connect(messages) if clear else self._scene.Import(messages))

    def loadScene(self, path: str, clear: bool = True) -> bool:
        return self._load_scene(path, clear, None)

    def fileWriterFileType(self, node: Any, _format: str = "") -> str:
        kinds = {
            "vtkMRMLVolumeNode": "VolumeFile",
            "vtkMRMLSegmentationNode": "SegmentationFile",
            "vtkMRMLMarkupsNode": "MarkupsFile",
        }
        return next((kind for name, kind in kinds.items() if node.IsA(name)), "NodeFile")

    def saveNodes(self, kind: str, properties: Any, messages: Any = None) -> bool:
        path = str(properties["fileName"])
        if kind == "SceneFile":
            return self.saveScene(path, None, messages)
        node = self._scene.GetNodeByID(properties["nodeID"])
        storage = node.GetStorageNode()
        if storage is None:
            node.AddDefaultStorageNode()
            storage = node.GetStorageNode()
        storage.SetFileName(path)
        if "useCompression" in properties:
            storage.SetUseCompression(properties["useCompression"])
        return bool(storage.WriteData(node))

    def saveScene(self, path: str, _screenshot: Any = None, messages: Any = None) -> bool:
        if path.endswith(".mrb"):
            return bool(self._scene.WriteToMRB(path, None, messages))
        if path.endswith(".mrml"):
            self._scene.SetRootDirectory(str(Path(path).parent))
            return bool(self._scene.Commit(path, messages))
        return bool(self._scene.SaveSceneToSlicerDataBundleDirectory(path, None, messages))

"""A scene of our own, outside the Slicer application; what any scene holds."""

from __future__ import annotations

from typing import Any

import slicer

__all__ = ["new_scene", "nodes_of_class", "remove_node"]


def new_scene() -> Any:
    """Return an empty vtkMRMLScene that knows every node class this package makes.

    The Markups logic registers how ROIs are stored, the Segmentations logic registers the
    conversions between a segment's representations; both write their registrations into
    the scene or into process-wide factories and need not outlive this function.
    """
    scene = slicer.vtkMRMLScene()
    application_logic = slicer.vtkSlicerApplicationLogic()
    application_logic.SetMRMLScene(scene)
    for logic_class in (slicer.vtkSlicerMarkupsLogic, slicer.vtkSlicerSegmentationsModuleLogic):
        logic = logic_class()
        logic.SetMRMLApplicationLogic(application_logic)
        logic.SetMRMLScene(scene)
    return scene


def nodes_of_class(scene: Any, class_name: str) -> list[Any]:
    """Return the nodes of a class, or of one derived from it.

    The collection that MRML makes for this is its caller's to release: one that is not keeps
    every node in it for ever, with all its voxels.
    """
    collection = scene.GetNodesByClass(class_name)
    collection.UnRegister(None)
    return list(collection)


def remove_node(node: Any) -> None:
    """Take a node of ours out of its scene, with the display and storage nodes it had alone.

    MRML leaves those behind, and the display of a volume holds on to its voxels.

    Args:
        node: a displayable node; nothing happens when it is in no scene.
    """
    scene = node.GetScene()
    if scene is None:
        return
    own = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    own += [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    scene.RemoveNode(node)
    references = range(scene.GetNumberOfNodeReferences())
    used = {scene.GetNthReferencedID(n) for n in references}
    for each in own:
        if each is not None and each.GetScene() is scene and each.GetID() not in used:
            scene.RemoveNode(each)

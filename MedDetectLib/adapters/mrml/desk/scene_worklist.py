"""The volumes of a scene as worklist items."""

from __future__ import annotations

from typing import Any

from MedDetectLib.adapters.mrml.scene import nodes_of_class
from MedDetectLib.adapters.mrml.volume_node import modality_of
from MedDetectLib.cases.worklist import WorkItem, key_of

__all__ = ["items_of_scene"]


def items_of_scene(scene: Any) -> tuple[WorkItem, ...]:
    """Return the images of a scene: scalar volumes with voxels, no label maps.

    Args:
        scene: the vtkMRMLScene.
    """
    items = []
    for node in nodes_of_class(scene, "vtkMRMLScalarVolumeNode"):
        if node.IsA("vtkMRMLLabelMapVolumeNode") or node.GetHideFromEditors():
            continue
        image = node.GetImageData()
        has_voxels = image is not None and image.GetNumberOfPoints() > 0
        is_grey = has_voxels and image.GetNumberOfScalarComponents() == 1
        trouble = "" if is_grey else "it has no voxels" if not has_voxels else "it is in colour"
        items.append(
            WorkItem(
                key_of("node", str(node.GetID())),
                "node",
                str(node.GetName() or node.GetID()),
                node=str(node.GetID()),
                modality=modality_of(node),
                trouble=trouble,
            )
        )
    return tuple(items)

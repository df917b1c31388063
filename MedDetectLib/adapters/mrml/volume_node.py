"""Between a scalar volume node and a `Volume`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import slicer.util

from MedDetectLib.adapters.mrml.placement import (
    array_from_matrix,
    matrix_from_array,
    to_world_matrix,
)
from MedDetectLib.adapters.plane_views import choose_display
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.quality import check_voxels
from MedDetectLib.core.volume import Volume

__all__ = ["volume_from_node", "volume_to_node", "volume_view"]

MODALITY_ATTRIBUTES = ("DICOM.Modality", "Modality")
HOUNSFIELD_UNIT = "[hnsf'U]"
"""UCUM code that Slicer's DICOM import gives the voxels of a CT."""


def volume_from_node(node: Any, accept: Collection[str] = ()) -> Volume:
    """Return a copy of a volume node's voxels, placed in world RAS.

    Args:
        node: vtkMRMLScalarVolumeNode; linear parent transforms are part of its place.
        accept: flaws of the voxels to let through with a note, see `check_voxels`.

    Raises:
        InputError: ``not-finite``, or what `volume_view` refuses.
    """
    view = volume_view(node)
    return check_voxels(replace(view, array=np.array(view.array)), accept)


def volume_view(node: Any) -> Volume:
    """Return a volume node's own voxels, not copied and not checked.

    Args:
        node: vtkMRMLScalarVolumeNode; linear parent transforms are part of its place.

    Raises:
        InputError: ``not-an-image`` (other node class, a label map), ``many-components``
            (colour, vectors), ``empty-volume``, ``nonlinear-transform``, or what `Geometry`
            refuses (a transform that shears the grid).
    """
    if node is None or not node.IsA("vtkMRMLScalarVolumeNode"):
        found = "nothing" if node is None else f"'{node.GetName()}', a {node.GetClassName()}"
        raise InputError("not-an-image", f"expected a scalar volume node, got {found}")
    name = node.GetName() or "volume"
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(
            "not-an-image", "it is a label map, not an image", where=name, todo="choose the image"
        )
    image = node.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0:
        raise InputError("empty-volume", "the volume node has no voxels", where=name)
    if image.GetNumberOfScalarComponents() != 1:
        raise InputError(
            "many-components",
            f"each voxel has {image.GetNumberOfScalarComponents()} values, expected one",
            where=name,
            todo="convert the volume to a scalar volume",
        )
    array = slicer.util.arrayFromVolume(node)
    k, j, i = array.shape
    matrix = to_world_matrix(node) @ _ijk_to_ras(node)
    return Volume(
        array=array,
        geometry=Geometry((k, j, i), matrix),
        modality=modality_of(node),
        name=name,
        source={"node": node.GetID() or ""},
    )


def volume_to_node(
    scene: Any,
    volume: Volume,
    name: str = "",
    window_level: tuple[float, float] | None = None,
) -> Any:
    """Add a volume to a scene.

    Args:
        scene: the vtkMRMLScene to add it to.
        volume: its geometry becomes the node's own; no transform is made.
        name: the node's name; the volume's own name if empty.
        window_level: (width, centre) in the voxels' unit; if None as in the report: lung or
            soft tissue for CT, else from a sample of the voxels.

    Returns:
        The new vtkMRMLScalarVolumeNode.
    """
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name or volume.name)
    slicer.util.updateVolumeFromArray(node, _as_vtk_can_hold(volume.array))
    node.SetIJKToRASMatrix(matrix_from_array(volume.geometry.ijk_to_ras))
    _keep_handedness(node)
    if volume.modality:
        node.SetAttribute(MODALITY_ATTRIBUTES[0], volume.modality)
    shown = choose_display(volume)
    _show(node, window_level or (shown.high - shown.low, (shown.low + shown.high) / 2))
    return node


def _show(node: Any, window_level: tuple[float, float]) -> None:
    """Give a volume its display node, with its grey levels set before it sees the voxels.

    Slicer's automatic ones read every voxel: a second for 512x512x300, in which nothing moves.
    """
    display = node.GetScene().AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(*window_level)
    if not display.GetColorNodeID():
        display.SetDefaultColorMap()
    node.SetAndObserveDisplayNodeID(display.GetID())


def _ijk_to_ras(node: Any) -> npt.NDArray[np.float64]:
    matrix = matrix_from_array(np.eye(4))
    node.GetIJKToRASMatrix(matrix)
    return array_from_matrix(matrix)


def _keep_handedness(node: Any) -> None:
    """Have the node saved and loaded on its own grid.

    Slicer otherwise turns the slices of a left-handed grid round when it loads them.
    """
    node.AddDefaultStorageNode()
    storage = node.GetStorageNode()
    if storage is not None:
        storage.SetForceRightHandedIJKCoordinateSystem(False)


def modality_of(node: Any) -> str:
    """Return the DICOM modality as far as the node tells, upper case."""
    for attribute in MODALITY_ATTRIBUTES:
        if value := node.GetAttribute(attribute):
            return str(value).strip().upper()
    if value := _in_hierarchy(node):
        return value.strip().upper()
    units = node.GetVoxelValueUnits()
    return "CT" if units is not None and units.GetCodeValue() == HOUNSFIELD_UNIT else ""


def _in_hierarchy(node: Any) -> str:
    """Return what Slicer's DICOM import keeps of a series: beside the node, not in it."""
    scene = node.GetScene()
    hierarchy = scene and scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    item = hierarchy.GetItemByDataNode(node) if hierarchy else 0
    return str(hierarchy.GetItemAttribute(item, MODALITY_ATTRIBUTES[0])) if item else ""


def _as_vtk_can_hold(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return contiguous native-endian voxels of a number type Slicer can show."""
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    elif array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        known = np.iinfo(np.int32)
        small = array.size == 0 or (array.min() >= known.min and array.max() <= known.max)
        array = array.astype(np.int32 if small else np.float64)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))

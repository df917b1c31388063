"""Findings as one editable segmentation node, one segment per finding."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk

from MedDetectLib.adapters.mrml.images import image_of_layer, oriented_image
from MedDetectLib.adapters.mrml.layers import plan_layers
from MedDetectLib.adapters.mrml.placement import (
    array_from_matrix,
    matrix_from_array,
    to_world_matrix,
)
from MedDetectLib.adapters.mrml.record import Record, read_record, write_record
from MedDetectLib.adapters.mrml.scene import remove_node
from MedDetectLib.adapters.mrml.segment_dress import dress
from MedDetectLib.adapters.mrml.segment_update import remove_findings, update_findings
from MedDetectLib.adapters.mrml.segment_voxels import LABELMAP, own_segments, read_segments
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.core.geometry import FloatArray, Geometry
from MedDetectLib.review.patches import Patch, all_patches

__all__ = [
    "ToShow",
    "findings_to_node",
    "grid_in_node",
    "node_in_steps",
    "record_of",
    "update_node",
]

SURFACE_METHOD = ("Conversion method", "1")
"""Closed surfaces by surface nets: one pass for all labels, where flying edges take one
pass each."""
SEGMENTS_A_STEP = 100
"""So many take some 50 ms."""


def findings_to_node(
    scene: Any, findings: Findings, volume_node: Any = None, name: str = ""
) -> Any:
    """Add findings to a scene as one segmentation node.

    Segment ids are finding ids. A finding with a mask is its mask; one without is its box,
    filled. Findings share one label image as far as they do not overlap.

    Args:
        scene: the vtkMRMLScene to add to.
        findings: in world RAS.
        volume_node: the volume they were found in; the segmentation takes its grid and its
            parent transform, so both move together. World coordinates if None.
        name: the node's name; made from the input's name if empty.

    Returns:
        The new vtkMRMLSegmentationNode, with a display node.

    Raises:
        InputError: ``other-grid`` when the findings do not lie on the volume's voxels,
            ``nonlinear-transform``.
    """
    grid_in_node(findings.geometry, volume_node)
    patches, unclaimed = all_patches(findings)
    shown = ToShow(findings, findings.items, patches, unclaimed, findings.label_map is not None)
    steps = node_in_steps(scene, shown, volume_node, name)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@dataclass(frozen=True, eq=False)
class ToShow:
    """Findings taken apart, so that nobody needs to walk over a whole label map.

    Args:
        about: knows grid, classes, provenance and notes.
        items: the findings.
        patches: the voxels of each by id: its mask, or its box filled.
        unclaimed: voxels of the label map that are of no finding, by value.
        has_label_map: whether there is one, be it empty.
    """

    about: Findings
    items: tuple[Finding, ...]
    patches: Mapping[str, Patch]
    unclaimed: Mapping[int, Patch]
    has_label_map: bool


def node_in_steps(
    scene: Any, shown: ToShow, volume_node: Any = None, name: str = ""
) -> Generator[float, None, Any]:
    """Do what `findings_to_node` does, in steps after which a window may be drawn.

    Yields how much is done, 0 to 1; the node is the generator's return value. Closed early,
    it leaves no node.
    """
    geometry = shown.about.geometry
    ijk_to_node = grid_in_node(geometry, volume_node)
    layers = plan_layers(shown.items, shown.patches)
    yield 0.1
    places: dict[str, tuple[Any, int]] = {}
    for layer in layers:
        image = image_of_layer(layer, ijk_to_node)
        places.update({item_id: (image, value) for item_id, value in layer.values.items()})
        yield 0.3
    node = _new_node(scene, shown.about, volume_node, name)
    segmentation = node.GetSegmentation()
    try:
        for done, item in enumerate(shown.items):
            if done % SEGMENTS_A_STEP == SEGMENTS_A_STEP - 1:
                yield 0.4 + 0.5 * done / len(shown.items)
            segment = slicer.vtkSegment()
            image, value = places.get(item.id, (_no_voxels(), 1))
            segment.SetLabelValue(value)
            segment.AddRepresentation(LABELMAP, image)
            dress(segment, item, shown.about)  # before it is in: nobody is told eleven times
            segmentation.AddSegment(segment, item.id)
        yield 0.9
        write_record(node, record_of(shown, ijk_to_node))
        yield 1.0
    except BaseException:
        remove_node(node)
        raise
    return node


def record_of(shown: ToShow, ijk_to_node: FloatArray) -> Record:
    """Return the record of findings that segments show."""
    items = [item.to_json() for item in shown.items]
    return Record(
        findings={**shown.about.to_json(), "findings": items},
        ijk_to_node=ijk_to_node,
        fingerprints={item_id: patch.fingerprint for item_id, patch in shown.patches.items()},
        has_label_map=shown.has_label_map,
        unclaimed={str(value): patch.to_json() for value, patch in shown.unclaimed.items()},
    )


def _new_node(scene: Any, about: Findings, volume_node: Any, name: str) -> Any:
    node = scene.AddNewNodeByClass(
        "vtkMRMLSegmentationNode", name or f"{about.provenance.input_name} findings"
    )
    node.CreateDefaultDisplayNodes()
    segmentation = node.GetSegmentation()
    segmentation.SetConversionParameter(*SURFACE_METHOD)
    if volume_node is None:
        _set_reference_grid(segmentation, about.geometry)
    else:
        # the transform first: the reference grid is taken in the segmentation's coordinates
        node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    return node


def update_node(node: Any, findings: Findings) -> None:
    """Bring a node made by `findings_to_node` in line with reviewed findings.

    Names, colours and tags are rewritten; voxels only where they differ; segments of
    findings that are gone are removed. Segments the user made are not touched.

    Args:
        node: vtkMRMLSegmentationNode.
        findings: on the same grid.

    Raises:
        InputError: ``not-findings``, ``other-grid``.
    """
    record = read_record(node)
    if record.shape_kji != findings.geometry.shape_kji:
        raise _other_grid(node, record.shape_kji, findings.geometry.shape_kji)
    present = read_segments(node, record).patches
    patches, unclaimed = all_patches(findings)
    gone = set(own_segments(node)) - {item.id for item in findings}
    were_modifying = node.StartModify()
    remove_findings(node, gone, present, record.ijk_to_node)
    drawn = [(item, patches.get(item.id)) for item in findings]
    update_findings(node, findings, drawn, present, record.ijk_to_node)
    shown = ToShow(findings, findings.items, patches, unclaimed, findings.label_map is not None)
    write_record(node, record_of(shown, record.ijk_to_node))
    node.EndModify(were_modifying)


def grid_in_node(geometry: Geometry, volume_node: Any) -> FloatArray:
    """Return the (4, 4) voxel-centre matrix in the coordinates of the node to be made."""
    if volume_node is None:
        return geometry.ijk_to_ras
    image = volume_node.GetImageData()
    i, j, k = (0, 0, 0) if image is None else image.GetDimensions()
    own = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(own)
    ijk_to_node = array_from_matrix(own)
    world = to_world_matrix(volume_node) @ ijk_to_node
    if (k, j, i) != geometry.shape_kji or not geometry.is_close(Geometry((k, j, i), world)):
        raise _other_grid(volume_node, (k, j, i), geometry.shape_kji)
    return ijk_to_node


def _other_grid(node: Any, found: tuple[int, int, int], wanted: tuple[int, int, int]) -> InputError:
    return InputError(
        "other-grid",
        f"the findings lie on a grid of {wanted} voxels, the node's is {found}"
        if found != wanted
        else "the findings and the node lie at different places",
        where=str(node.GetName()),
        todo="use the volume the findings were made from, under the same transform",
    )


def _set_reference_grid(segmentation: Any, geometry: Geometry) -> None:
    image = slicer.vtkOrientedImageData()
    k, j, i = geometry.shape_kji
    image.SetExtent(0, i - 1, 0, j - 1, 0, k - 1)
    image.SetImageToWorldMatrix(matrix_from_array(geometry.ijk_to_ras))
    converter = slicer.vtkSegmentationConverter
    segmentation.SetConversionParameter(
        converter.GetReferenceImageGeometryParameterName(), converter.SerializeImageGeometry(image)
    )


def _no_voxels() -> Any:
    return oriented_image(np.zeros((1, 1, 1), np.uint8), np.eye(4))

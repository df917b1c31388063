"""Findings as one editable segmentation node, one segment per finding."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from MedDetectLib.adapters.mrml.images import oriented_image
from MedDetectLib.adapters.mrml.layers import plan_layers
from MedDetectLib.adapters.mrml.placement import (
    array_from_matrix,
    matrix_from_array,
    to_world_matrix,
)
from MedDetectLib.adapters.mrml.record import Record, plain_json, read_record, write_record
from MedDetectLib.adapters.mrml.segment_voxels import (
    FINDING_ID_TAG,
    LABELMAP,
    own_segments,
    read_segments,
)
from MedDetectLib.cases.label_files import finding_title, terminology_entry
from MedDetectLib.core.errors import InputError, MedDetectError
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.core.geometry import FloatArray, Geometry
from MedDetectLib.review.patches import Patch, patches_of

__all__ = ["dress", "findings_to_node", "grid_in_node", "update_node"]

SURFACE_METHOD = ("Conversion method", "1")
"""Closed surfaces by surface nets: one pass for all labels, where flying edges take one
pass each."""


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
    ijk_to_node = grid_in_node(findings.geometry, volume_node)
    node = scene.AddNewNodeByClass(
        "vtkMRMLSegmentationNode", name or f"{findings.provenance.input_name} findings"
    )
    node.CreateDefaultDisplayNodes()
    segmentation = node.GetSegmentation()
    segmentation.SetConversionParameter(*SURFACE_METHOD)
    if volume_node is None:
        _set_reference_grid(segmentation, findings.geometry)
    else:
        # the transform first: the reference grid is taken in the segmentation's coordinates
        node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    patches = patches_of(findings)
    boxes = [(f.id, patches[f.id]) for f in findings if f.mask_value is None and f.id in patches]
    places: dict[str, tuple[Any, int]] = {}
    for layer in plan_layers(findings, boxes):
        image = oriented_image(layer.array, ijk_to_node)
        places.update({item_id: (image, value) for item_id, value in layer.values.items()})
    were_modifying = node.StartModify()
    for item in findings:
        _add_segment(segmentation, item, *places.get(item.id, (_no_voxels(), 1)))
        dress(segmentation.GetSegment(item.id), item, findings)
    write_record(node, Record.of(findings, ijk_to_node, patches))
    node.EndModify(were_modifying)
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
    wanted, present = patches_of(findings), read_segments(node, record).patches
    segmentation = node.GetSegmentation()
    were_modifying = node.StartModify()
    for segment_id in own_segments(node):
        if segment_id not in {item.id for item in findings}:
            segmentation.RemoveSegment(segment_id)
    for item in findings:
        patch = wanted.get(item.id)
        exists = segmentation.GetSegment(item.id) is not None
        if not exists or not _same(patch, present.get(item.id)):
            _redraw(node, item, patch, record.ijk_to_node)
        dress(segmentation.GetSegment(item.id), item, findings)
    write_record(node, Record.of(findings, record.ijk_to_node, wanted))
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


def _add_segment(segmentation: Any, item: Finding, image: Any, value: int) -> None:
    segment = slicer.vtkSegment()
    segment.SetLabelValue(value)
    segment.AddRepresentation(LABELMAP, image)
    segmentation.AddSegment(segment, item.id)


def _no_voxels() -> Any:
    return oriented_image(np.zeros((1, 1, 1), np.uint8), np.eye(4))


def _redraw(node: Any, item: Finding, patch: Patch | None, ijk_to_node: FloatArray) -> None:
    """Give a segment new voxels the way Slicer's own editor does, surfaces included."""
    segmentation = node.GetSegmentation()
    if segmentation.GetSegment(item.id) is None:
        _add_segment(segmentation, item, _no_voxels(), 1)
    if patch is None:
        segmentation.ClearSegment(item.id)
        return
    image = oriented_image(patch.mask.astype(np.uint8), ijk_to_node, patch.start_kji)
    if not slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        image, node, item.id
    ):
        raise MedDetectError("segment-not-drawn", f"segment {item.id} could not be redrawn")


def _same(wanted: Patch | None, present: Patch | None) -> bool:
    return present is None if wanted is None else wanted.is_same(present)


def dress(segment: Any, item: Finding, findings: Findings) -> None:
    """Write name, colour, terminology and tags."""
    label = findings.label_of(item)
    segment.SetName(finding_title(findings, item))
    segment.SetNameAutoGenerated(False)
    segment.SetColor(*(channel / 255.0 for channel in label.colour_rgb))
    segment.SetColorAutoGenerated(False)
    segment.SetTag(segment.GetTerminologyEntryTagName(), terminology_entry(label).replace("|", " "))
    provenance = findings.provenance
    tags = {
        FINDING_ID_TAG: item.id,
        "MedDetect.Label": str(item.label),
        "MedDetect.Score": repr(item.score),
        "MedDetect.State": item.state,
        "MedDetect.Model": f"{provenance.model} {provenance.model_version}".replace("|", " "),
        "MedDetect.Box": plain_json(list(item.box)),
        "MedDetect.HasMask": "0" if item.mask_value is None else "1",
    }
    for tag, value in tags.items():
        segment.SetTag(tag, value)

"""Benchmark rows: findings into a segmentation node, and closed surfaces of it.

The peer is Slicer's per-segment import: what
`slicer.util.updateSegmentBinaryLabelmapFromArray` does, on the same logic classes, which
outside the application are not reached through `slicer.modules`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from scipy import ndimage
from vtk.util.numpy_support import vtk_to_numpy

from MedDetectLib.adapters.mrml.scene import new_scene, nodes_of_class
from MedDetectLib.adapters.mrml.segment_voxels import LABELMAP
from MedDetectLib.adapters.mrml.segmentation import SURFACE_METHOD, findings_to_node
from MedDetectLib.adapters.mrml.volume_node import volume_to_node
from MedDetectLib.core.findings import Finding, Findings, Provenance
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.labels import Label
from MedDetectLib.core.measure import as_box
from MedDetectLib.core.volume import Volume
from MedDetectLib.evaluation.bench.comparison import Measured, Setting
from MedDetectLib.evaluation.bench.interleaved import interleaved

__all__ = ["made_findings", "measure_import", "measure_surfaces"]

_SURFACE: str = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()


def made_findings(labels: int, shape_kji: tuple[int, int, int]) -> Findings:
    """Return one blob per label, side by side, filling about a third of the grid."""
    rng = np.random.default_rng(labels)
    columns = int(np.ceil(np.sqrt(labels)))
    label_map = np.zeros(shape_kji, np.uint16)
    cell = np.array(shape_kji[1:]) / columns
    for value in range(1, labels + 1):
        row, column = divmod(value - 1, columns)
        centre = np.array([shape_kji[0] / 2, (row + 0.5) * cell[0], (column + 0.5) * cell[1]])
        radius = np.array([shape_kji[0] * 0.4, *(cell * rng.uniform(0.35, 0.48, 2))])
        low = np.maximum(0, np.floor(centre - radius)).astype(int)
        high = np.minimum(shape_kji, np.ceil(centre + radius).astype(int) + 1)
        index = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        inside = sum(((x - c) / r) ** 2 for x, c, r in zip(index, centre, radius, strict=True)) < 1
        label_map[tuple(slice(a, b) for a, b in zip(low, high, strict=True))][inside] = value
    names = tuple(Label(n, f"organ {n}", (n % 256, 90, 200)) for n in range(1, labels + 1))
    items = []
    for value, place in enumerate(ndimage.find_objects(label_map), start=1):
        box = as_box(np.array([p.start for p in place] + [p.stop for p in place], float))
        items.append(Finding(f"F{value}", value, 1.0, box, value, 10.0, 1.0))
    geometry = Geometry.from_axes(
        shape_kji, (2.0, 0.7, 0.7), (0.0, 0.0, 0.0), np.diag([-1.0, -1.0, 1.0])
    )
    made_by = Provenance("bench", "1.0.0", "0" * 64, "none", "f32", "cpu", "made", "0" * 64, "0")
    return Findings(geometry, names, tuple(items), label_map, made_by)


def measure_import(labels: int, name: str, setting: Setting) -> dict[str, Measured]:
    """Time both ways from a label map to a segmentation node with every segment in it."""
    findings = made_findings(labels, (6, 40, 40) if setting.quick else (150, 512, 512))
    scene = new_scene()
    geometry = findings.geometry
    volume_node = volume_to_node(
        scene, Volume(np.zeros(geometry.shape_kji, np.int16), geometry, modality="CT")
    )

    def afresh(make: Callable[[], Any]) -> Callable[[], Any]:
        def work() -> Any:
            for old in nodes_of_class(scene, "vtkMRMLSegmentationNode"):
                scene.RemoveNode(old)
            return make()

        return work

    def both() -> dict[str, Callable[[], Any]]:
        return {
            "ours": lambda: findings_to_node(scene, findings, volume_node),
            "baseline": lambda: per_segment_import(scene, findings, volume_node),
        }

    timed = interleaved(both(), setting.rounds(5 if labels < 50 else 3))
    same = all(holds(side.output, findings) for side in timed.values())
    filled = float((findings.label_map > 0).mean()) if findings.label_map is not None else 0.0
    detail = (
        f"ours {timed['ours']}, baseline {timed['baseline']}; {labels} labels on"
        f" {'x'.join(map(str, geometry.shape_kji))} voxels, {filled:.0%} of them labelled;"
        " every mask compared voxel by voxel"
    )
    ratio = timed["ours"].times_faster_than(timed["baseline"])
    return {name: Measured(ratio, same, detail)}


def per_segment_import(scene: Any, findings: Findings, volume_node: Any) -> Any:
    """Import one mask after another, as `updateSegmentBinaryLabelmapFromArray` does."""
    application, colours = slicer.vtkSlicerApplicationLogic(), slicer.vtkMRMLColorLogic()
    volumes = slicer.vtkSlicerVolumesLogic()
    segmentations = slicer.vtkSlicerSegmentationsModuleLogic()
    for logic in (application, colours):
        logic.SetMRMLScene(scene)
    application.SetModuleLogic("Colors", colours)  # the new volume's display asks for it
    for logic in (volumes, segmentations):
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "per segment")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    for item in findings:
        segment_id = node.GetSegmentation().AddEmptySegment(item.id, item.id)
        mask = findings.mask_of(item)
        assert mask is not None
        temporary = volumes.CreateAndAddLabelVolume(scene, volume_node, "__temp__")
        slicer.util.updateVolumeFromArray(temporary, mask.astype(np.uint8))
        ids = vtk.vtkStringArray()
        ids.InsertNextValue(segment_id)
        segmentations.ImportLabelmapToSegmentationNode(temporary, node, ids)
        scene.RemoveNode(temporary)
    return node


def holds(node: Any, findings: Findings) -> bool:
    """Whether every segment is exactly the mask of its finding."""
    label_map = findings.label_map
    assert label_map is not None
    counts = np.bincount(label_map.ravel())
    segmentation = node.GetSegmentation()
    for item in findings:
        segment = segmentation.GetSegment(item.id)
        if segment is None or item.mask_value is None:
            return False
        array, place = _voxels(segment.GetRepresentation(LABELMAP))
        mine = array == segment.GetLabelValue()
        if int(mine.sum()) != counts[item.mask_value]:
            return False
        if not np.array_equal(mine, label_map[place] == item.mask_value):
            return False
    return True


def measure_surfaces(name: str, setting: Setting) -> dict[str, Measured]:
    """Time closed surfaces of 25 segments by surface nets (ours) and by the default."""
    findings = made_findings(25, (6, 40, 40) if setting.quick else (150, 512, 512))
    scene = new_scene()
    node = findings_to_node(scene, findings)
    segmentation = node.GetSegmentation()

    def surfaces(method: str) -> Callable[[], list[float]]:
        def work() -> list[float]:
            segmentation.SetConversionParameter(SURFACE_METHOD[0], method)
            segmentation.RemoveRepresentation(_SURFACE)
            segmentation.CreateRepresentation(_SURFACE, True)
            return [
                _enclosed_ml(segmentation.GetSegment(item.id).GetRepresentation(_SURFACE))
                for item in findings
            ]

        return work

    timed = interleaved(
        {"ours": surfaces(SURFACE_METHOD[1]), "baseline": surfaces("0")}, setting.rounds(3)
    )
    ours, other = np.array(timed["ours"].output), np.array(timed["baseline"].output)
    off = float(np.abs(ours / other - 1).max())
    detail = (
        f"ours {timed['ours']}, baseline {timed['baseline']}; 25 labels; enclosed volumes differ"
        f" by {off:.2%} at most (smoothed surfaces of two methods, so within 2 %)"
    )
    ratio = timed["ours"].times_faster_than(timed["baseline"])
    return {name: Measured(ratio, setting.quick or off <= 0.02, detail)}


def _voxels(image: Any) -> tuple[npt.NDArray[Any], tuple[slice, slice, slice]]:
    """Return the voxels an oriented image holds and where on the grid they lie."""
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    values = vtk_to_numpy(image.GetPointData().GetScalars())
    place = slice(k0, k1 + 1), slice(j0, j1 + 1), slice(i0, i1 + 1)
    return values.reshape(k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1), place


def _enclosed_ml(surface: Any) -> float:
    mass = vtk.vtkMassProperties()
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputData(surface)
    mass.SetInputConnection(triangles.GetOutputPort())
    mass.Update()
    return float(mass.GetVolume()) / 1000

"""Small synthetic cases for the tests in this folder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import vtk
from hypothesis import strategies as st

from MedDetectLib.core.findings import Finding, Findings, Provenance
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.labels import Code, Label, Terminology
from MedDetectLib.core.measure import measure_box, measure_mask, tight_box
from MedDetectLib.core.notes import Note
from MedDetectLib.core.volume import Volume

LABELS = (
    Label(
        1,
        "nodule",
        (200, 30, 60),
        Terminology(
            Code("SCT", "49755003", "Morphologically abnormal structure"),
            Code("SCT", "27925004", "Nodule"),
            Code("SCT", "39607008", "Lung"),
        ),
    ),
    Label(4, "cyst; simple|thin", (10, 255, 0)),
)

PROVENANCE = Provenance(
    model="toy|model",
    model_version="1.2",
    model_sha256="ab" * 32,
    backend="onnxruntime",
    precision="fp32",
    device="cpu",
    input_name="CT chest; naïve 100%",
    input_sha256="cd" * 32,
    meddetect_version="0.1",
    seconds={"run": 0.1 + 0.2},
)


def rotation(x: float, y: float, z: float) -> np.ndarray[Any, Any]:
    cx, sx, cy, sy, cz, sz = np.cos(x), np.sin(x), np.cos(y), np.sin(y), np.cos(z), np.sin(z)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


GRIDS = {
    "identity": Geometry((9, 10, 11), np.eye(4)),
    "anisotropic": Geometry.from_axes((9, 10, 11), (3.5, 0.7, 0.68), (-120.3, 55.5, 900.25)),
    "oblique": Geometry.from_axes(
        (9, 10, 11), (2.5, 0.7, 0.9), (12.5, -200.125, 33.3), rotation(0.3, -0.5, 1.1)
    ),
    "flipped": Geometry.from_axes(
        (9, 10, 11), (2.0, 1.5, 1.0), (100.1, 80.2, -700.3), np.diag([-1.0, -1.0, 1.0])
    ),
    "left-handed": Geometry.from_axes(
        (9, 10, 11), (2.0, 1.5, 1.0), (1.1, 2.2, 3.3), rotation(0.1, 0.2, 0.3) @ np.diag([1, 1, -1])
    ),
    "permuted": Geometry.from_axes(
        (9, 10, 11), (1.1, 1.2, 1.3), (5, 6, 7), np.eye(3)[:, [1, 2, 0]] * [1, -1, 1]
    ),
}


def make_findings(geometry: Geometry, box_only: bool = False) -> Findings:
    """Three masks that touch, and two boxes that overlap a mask and each other."""
    label_map = np.zeros(geometry.shape_kji, np.uint16)
    label_map[1:4, 2:5, 2:6] = 7
    label_map[1:4, 5:7, 2:6] = 2
    label_map[3, 3, 3] = 2
    label_map[7, 8, 9] = 300
    items = []
    for number, (value, label, score) in enumerate(((7, 1, 0.97), (2, 4, 1 / 3), (300, 1, 0.2)), 1):
        mask = label_map == value
        size = measure_mask(mask, geometry)
        items.append(Finding(f"F{number}", label, score, tight_box(mask), value, *size))
    boxes = ((2.25, 2.5, 3.125, 6.5, 7.0, 8.75), (5.5, 6.1, 7.1, 8.2, 9.3, 9.9))
    for number, box in enumerate(boxes, 4):
        items.append(Finding(f"F{number}", 1, 0.1, box, None, *measure_box(box, geometry)))
    notes = (Note("fallback", "ran on the CPU; no GPU | 100%"),)
    if box_only:
        return Findings(geometry, LABELS, tuple(items[3:]), None, PROVENANCE, notes=notes)
    return Findings(geometry, LABELS, tuple(items), label_map, PROVENANCE, notes=notes)


def make_volume(geometry: Geometry) -> Volume:
    values = np.random.default_rng(7).integers(-1000, 1000, geometry.shape_kji).astype(np.int16)
    return Volume(values, geometry, "CT", "chest")


def assert_same(found: Findings, expected: Findings) -> None:
    assert found.to_json() == expected.to_json()
    assert np.array_equal(found.geometry.ijk_to_ras, expected.geometry.ijk_to_ras)
    if expected.label_map is None:
        assert found.label_map is None
    else:
        assert found.label_map is not None
        assert found.label_map.dtype == np.uint16
        assert found.label_map.tobytes() == expected.label_map.tobytes()


def with_state(findings: Findings, item_id: str, state: Any) -> Findings:
    items = tuple(replace(f, state=state) if f.id == item_id else f for f in findings)
    return replace(findings, items=items)


SIGNED_AXES = st.tuples(
    st.permutations(range(3)), st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)
).map(lambda drawn: np.eye(3)[:, drawn[0]] * drawn[1])
GEOMETRIES = st.builds(
    lambda shape, spacing, origin, angles, axes: Geometry.from_axes(
        shape, spacing, origin, rotation(*angles) @ axes
    ),
    st.tuples(*[st.integers(1, 7)] * 3).filter(lambda shape: max(shape) > 1),
    st.tuples(*[st.floats(0.2, 6.0)] * 3),
    st.tuples(*[st.floats(-900.0, 900.0)] * 3),
    st.tuples(*[st.floats(-3.0, 3.0)] * 3),
    SIGNED_AXES,
)


def random_findings(geometry: Geometry, rng: np.random.Generator, highest: int) -> Findings:
    """Random masks, some empty, some values claimed by nobody, and random boxes."""
    shape = geometry.shape_kji
    label_map = rng.integers(0, highest + 1, shape).astype(np.uint16)
    label_map[rng.random(shape) < 0.6] = 0
    items = []
    for value in {int(v) for v in rng.integers(1, highest + 1, 4)}:
        box = (0.0, 0.0, 0.0, *map(float, shape))
        items.append(Finding(f"M{value}", 1, float(rng.random()), box, value, 1.5, 0.25))
    for number in range(3):
        low = rng.random(3) * np.array(shape)
        box = tuple(np.concatenate([low, low + rng.random(3) * (np.array(shape) - low) + 1e-3]))
        sizes = measure_box(box, geometry)
        items.append(Finding(f"B{number}", 4, float(rng.random()), box, None, *sizes, "accepted"))
    return Findings(geometry, LABELS, tuple(items), label_map, PROVENANCE)


def bend(scene: Any, node: Any) -> None:
    """Put a node under a transform no matrix can describe."""
    places = [(0, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 9), (4, 4, 4)]
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetSourceLandmarks(_points(places))
    spline.SetTargetLandmarks(_points([*places[:4], (4, 4, 7)]))
    spline.SetBasisToR()
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", "bent")
    transform.SetAndObserveTransformToParent(spline)
    node.SetAndObserveTransformNodeID(transform.GetID())


def _points(places: list[tuple[int, int, int]]) -> Any:
    points = vtk.vtkPoints()
    for place in places:
        points.InsertNextPoint(place)
    return points

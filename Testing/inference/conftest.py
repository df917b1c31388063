"""Cards, models without a network, volumes with bright balls at known places."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest

pytest.importorskip("jsonschema")

from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference.backends.function import FunctionBackend
from MedDetectLib.inference.model import Model
from MedDetectLib.models.card_file import check_card

COLOUR = [200, 30, 30]
TASKS = {"voxel_scores": "segmentation", "boxes": "detection", "case_score": "classification"}
DIRECTIONS_48 = [
    np.eye(3)[:, list(order)] * signs
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
]


def build_card(
    *,
    labels=1,
    output=None,
    window=(8, 8, 8),
    overlap=0.5,
    blend="gaussian",
    pad_value=0.0,
    window_fields=None,
    channels=("CT",),
    operating_point=None,
    **spec,
):
    """A checked card; `spec` are fields of its input, `output` of its head."""
    output = {"head": "voxel_scores", **(output or {})}
    if output["head"] != "boxes":
        output = {"tensor": "scores", "activation": "softmax", **output}
    else:
        output.setdefault("merge", {"method": "nms", "iou": 0.3})
        if output.get("levels"):
            output = {"format": "anchors", "activation": "sigmoid", **output}
        else:
            names = {"boxes_tensor": "boxes", "scores_tensor": "scores", "labels_tensor": "labels"}
            output = {"format": "decoded", **names, **output}
    output["labels"] = [
        {"value": n + 1, "name": f"class {n + 1}", "colour_rgb": COLOUR} for n in range(labels)
    ]
    return check_card(
        copy.deepcopy(
            {
                "format": "meddetect.model/1",
                "name": "made-up",
                "version": "1.0.0",
                "task": TASKS[output["head"]],
                "weights": "model.onnx",
                "files": {"model.onnx": "0" * 64},
                "input": {
                    "tensor": "image",
                    "channels": [{"name": m or "any", **({"modality": m} if m else {})}
                                 for m in channels],
                    "window": {
                        "shape_kji": list(window),
                        "overlap": overlap,
                        "blend": blend,
                        "pad_value": pad_value,
                        **(window_fields or {}),
                    },
                    **spec,
                },
                "output": output,
                "operating_point": operating_point or {},
            }
        )
    )  # fmt: skip


def threshold_scores(batch):
    """What the threshold network answers: class 1 where the image is above one half."""
    return {"scores": np.concatenate([0.5 - batch, batch - 0.5], axis=1)}


def rotation(axis, angle):
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def grid_around(centre_ras_mm, size_mm, spacing_kji_mm, directions):
    """A grid with the given axes, of about `size_mm` a side, around a place."""
    shape = tuple(int(np.ceil(size_mm / mm)) for mm in spacing_kji_mm)
    plain = Geometry.from_axes(shape, spacing_kji_mm, (0, 0, 0), directions)
    middle = plain.edge_to_ras(np.array(shape) / 2)
    return Geometry.from_axes(shape, spacing_kji_mm, np.asarray(centre_ras_mm) - middle, directions)


def voxel_places(geometry):
    index = np.stack(
        np.meshgrid(*(np.arange(n) for n in geometry.shape_kji), indexing="ij"), axis=-1
    )
    return geometry.index_to_ras(index)


def balls(geometry, centres_and_radii):
    """1.0 inside the balls, 0.0 outside."""
    places = voxel_places(geometry)
    inside = np.zeros(geometry.shape_kji, bool)
    for centre, radius in centres_and_radii:
        inside |= np.linalg.norm(places - np.asarray(centre), axis=-1) <= radius
    return inside.astype(np.float32)


@pytest.fixture(scope="session")
def card_of():
    return build_card


@pytest.fixture(scope="session")
def model_of():
    """A model whose network is a Python function."""

    def build(function=threshold_scores, **changes):
        return Model(build_card(**changes), FunctionBackend(function))

    return build


@pytest.fixture(scope="session")
def directions_48():
    return DIRECTIONS_48


@pytest.fixture(scope="session")
def grid():
    return grid_around


@pytest.fixture(scope="session")
def places_of():
    return voxel_places


@pytest.fixture(scope="session")
def ball_volume():
    def build(geometry, centres_and_radii, modality="CT"):
        return Volume(balls(geometry, centres_and_radii), geometry, modality, "balls")

    return build


@pytest.fixture(scope="session")
def oblique():
    return rotation([1, 2, 3], 0.6)

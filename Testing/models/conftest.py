"""A good model card, and a folder with a model in it."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path

import pytest

WEIGHTS = b"not a network, but bytes with a fingerprint"
CARD = {
    "format": "meddetect.model/1",
    "name": "test-model",
    "version": "1.2.3",
    "parent": None,
    "title": "Test",
    "task": "segmentation",
    "weights": "model.onnx",
    "files": {"model.onnx": hashlib.sha256(WEIGHTS).hexdigest()},
    "input": {
        "tensor": "image",
        "channels": [{"name": "CT", "modality": "CT"}],
        "orientation": "RAS",
        "spacing_kji_mm": [2.0, 1.0, 1.0],
        "intensity": [{"step": "window", "preset": "lung"}],
        "window": {"shape_kji": [8, 16, 16], "overlap": 0.25},
    },
    "output": {
        "head": "voxel_scores",
        "tensor": "scores",
        "activation": "softmax",
        "labels": [
            {"value": 1, "name": "one", "colour_rgb": [255, 0, 0]},
            {"value": 2, "name": "two", "colour_rgb": [0, 255, 0]},
        ],
    },
    "operating_point": {"voxel_threshold": 0.4, "min_score": 0.5},
    "training_data": {"cases": 3},
    "metrics": {"dice": 0.9},
}
OUTPUTS = {
    "voxel_scores": {},
    "case_score": {"head": "case_score", "tensor": "s", "activation": "sigmoid"},
    "decoded": {
        "head": "boxes",
        "format": "decoded",
        "boxes_tensor": "b",
        "scores_tensor": "s",
        "labels_tensor": "l",
        "merge": {"method": "nms", "iou": 0.2},
    },
    "anchors": {
        "head": "boxes",
        "format": "anchors",
        "activation": "sigmoid",
        "levels": [
            {
                "scores_tensor": "s",
                "deltas_tensor": "d",
                "stride_kji": [1, 2, 2],
                "anchor_sizes_kji": [[2, 4.5, 4], [3, 3, 3]],
            }
        ],
        "merge": {"method": "wbf", "iou": 0.5},
    },
}


@pytest.fixture
def card_data():
    return copy.deepcopy(CARD)


@pytest.fixture
def card_with_head(card_data):
    """A card with another kind of output: voxel_scores, case_score, decoded, anchors."""

    def build(kind, **changes):
        if OUTPUTS[kind]:
            labels = card_data["output"]["labels"]
            card_data["output"] = {**copy.deepcopy(OUTPUTS[kind]), "labels": labels}
        card_data["output"].update(changes)
        tasks = {"boxes": "detection", "case_score": "classification"}
        card_data["task"] = tasks.get(card_data["output"]["head"], "segmentation")
        return card_data

    return build


@pytest.fixture
def put_model(card_data):
    """Write a model folder; changes replace top-level fields of the card."""

    def put(folder: Path, **changes) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(WEIGHTS)
        text = json.dumps({**card_data, **changes})
        (folder / "model.json").write_text(text, "utf-8")
        return folder

    return put

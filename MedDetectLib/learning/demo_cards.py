"""The two demo models: their cards, phantoms and seeds, in one place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from MedDetectLib.learning.phantoms import Phantom, brain_phantom, chest_phantom
from MedDetectLib.models.card import ModelCard
from MedDetectLib.models.card_file import check_card, sha256_of_file

__all__ = [
    "HELD_OUT_SEEDS",
    "TRAINING_SEEDS_FROM",
    "Task",
    "demo_card",
    "demo_card_data",
    "phantom_of",
    "write_demo_card",
]

Task = Literal["chest", "brain"]
TRAINING_SEEDS_FROM = 10_000
"""Phantoms with smaller seeds are never trained on."""
HELD_OUT_SEEDS = tuple(range(60, 80))
"""Phantoms the figures in the cards are measured on."""

_CATEGORY = {
    "scheme": "SCT",
    "value": "49755003",
    "meaning": "Morphologically Abnormal Structure",
}
_BASIS = (
    "chosen on phantoms between 20 and 59, which are neither trained on nor measured on: a"
    " lesion must reach min_score somewhere and then extends as far as voxel_threshold"
)
_TASKS: dict[str, dict[str, Any]] = {
    "chest": {
        "name": "demo-chest-ct",
        "title": "Demo: lung nodules in chest CT phantoms",
        "channel": {"name": "CT", "modality": "CT"},
        "intensity": [{"step": "window", "low": -1000, "high": 400}],
        "operating_point": {"voxel_threshold": 0.15, "min_score": 0.8, "basis": _BASIS},
        "label": {
            "value": 1,
            "name": "Nodule",
            "colour_rgb": [255, 196, 0],
            "terminology": {
                "category": _CATEGORY,
                "type": {"scheme": "SCT", "value": "27925004", "meaning": "Nodule"},
                "anatomic_region": {"scheme": "SCT", "value": "39607008", "meaning": "Lung"},
            },
        },
    },
    "brain": {
        "name": "demo-brain-mr",
        "title": "Demo: bright lesions in brain MR phantoms",
        "channel": {"name": "MR", "modality": "MR"},
        "intensity": [{"step": "percentile", "lower": 0.5, "upper": 99.5}],
        "operating_point": {"voxel_threshold": 0.1, "min_score": 0.75, "basis": _BASIS},
        "label": {
            "value": 1,
            "name": "Lesion",
            "colour_rgb": [230, 80, 60],
            "terminology": {
                "category": _CATEGORY,
                "type": {"scheme": "SCT", "value": "52988006", "meaning": "Lesion"},
                "anatomic_region": {"scheme": "SCT", "value": "12738006", "meaning": "Brain"},
            },
        },
    },
}


def demo_card_data(task: Task) -> dict[str, Any]:
    """Return the card of a demo model as plain data, without files and metrics."""
    kind = _TASKS[task]
    return {
        "format": "meddetect.model/1",
        "name": kind["name"],
        "version": "1.0.0",
        "parent": None,
        "title": kind["title"],
        "description": "A small 3-D residual U-Net trained on computed phantoms only.",
        "licence": "Apache-2.0",
        "intended_use": "Demonstration and tests of MedDetect. Not for clinical use:"
        " it has never seen a patient.",
        "task": "segmentation",
        "weights": "model.onnx",
        "files": {},
        "input": {
            "tensor": "image",
            "channels": [kind["channel"]],
            "orientation": "LPS",
            "spacing_kji_mm": [1.2, 1.2, 1.2],
            "anchor": "edges",
            "normalise": "after_resample",
            "intensity": kind["intensity"],
            "window": {"shape_kji": [96, 96, 96], "overlap": 0.25, "blend": "gaussian"},
        },
        "output": {
            "head": "voxel_scores",
            "tensor": "logits",
            "activation": "softmax",
            "labels": [kind["label"]],
        },
        "operating_point": kind["operating_point"],
    }


def demo_card(task: Task) -> ModelCard:
    """Return the card of a demo model as it stands before training."""
    data = demo_card_data(task)
    data["files"] = {"model.onnx": "0" * 64}
    return ModelCard.from_json(data)


def phantom_of(task: Task) -> Callable[..., Phantom]:
    """Return the function that makes this task's phantoms."""
    return chest_phantom if task == "chest" else brain_phantom


def write_demo_card(
    task: Task, folder: Path, training: dict[str, Any], metrics: dict[str, Any]
) -> None:
    """Write ``model.json`` beside the ``model.onnx`` of a folder.

    Args:
        task: which demo model.
        folder: where its network lies.
        training: what it was trained on and how.
        metrics: what was measured; empty before the measurement.

    Raises:
        ModelError: ``bad-card``.
    """
    data = demo_card_data(task)
    data["files"] = {"model.onnx": sha256_of_file(folder / "model.onnx")}
    data["training_data"], data["metrics"] = training, metrics
    check_card(data, folder)
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    (folder / "model.json").write_text(text, "utf-8")

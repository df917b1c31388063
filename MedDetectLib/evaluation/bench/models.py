"""Models made on the spot: a card from a few numbers, and a folder that holds one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from MedDetectLib.models.card import ModelCard
from MedDetectLib.models.card_file import CARD_NAME, check_card, sha256_of_file

__all__ = ["plain_card", "plain_card_data", "write_model"]

Triple = tuple[int, int, int]
Triple_mm = tuple[float, float, float]


def plain_card_data(
    name: str, *, labels: int, spacing_kji_mm: Triple_mm, window_kji: Triple, **fields: Any
) -> dict[str, Any]:
    """Return a segmentation card as plain data; `fields` go into its input.

    Args:
        name: the model's name.
        labels: how many, background not counted.
        spacing_kji_mm: the model's voxels.
        window_kji: the window in voxels.
        **fields: further fields of ``input``; ``window`` is merged into the one made here.
    """
    window = {"shape_kji": list(window_kji), "overlap": 0.5, **fields.pop("window", {})}
    named = [
        {"value": n, "name": f"class {n}", "colour_rgb": [n % 256, 255 - n % 256, 128]}
        for n in range(1, labels + 1)
    ]
    return {
        "format": "meddetect.model/1",
        "name": name,
        "version": "1.0.0",
        "task": "segmentation",
        "weights": "model.onnx",
        "files": {"model.onnx": "0" * 64},
        "input": {
            "tensor": "image",
            "channels": [{"name": "CT", "modality": "CT"}],
            "spacing_kji_mm": list(spacing_kji_mm),
            "window": window,
            **fields,
        },
        "output": {
            "head": "voxel_scores",
            "tensor": "logits",
            "activation": "softmax",
            "one_finding_per": "class",
            "labels": named,
        },
    }


def plain_card(name: str, **fields: Any) -> ModelCard:
    """Return the card of `plain_card_data`, checked."""
    return check_card(plain_card_data(name, **fields))


def write_model(folder: Path, data: dict[str, Any]) -> Path:
    """Write the card beside the ``model.onnx`` that lies in a folder; return the folder."""
    data = {**data, "files": {"model.onnx": sha256_of_file(folder / "model.onnx")}}
    check_card(data, folder)
    (folder / CARD_NAME).write_text(json.dumps(data), "utf-8")
    return folder

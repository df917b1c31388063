"""Models and volumes for the worker's tests, and a look at what a process leaves behind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from MedDetectLib import Geometry, Volume
from MedDetectLib.inference.worker.client import WorkerClient

SEGMENTS = Path("/dev/shm")
Make = Callable[..., WorkerClient]


def segments_of(pid: int) -> list[str]:
    """Names of shared arrays that a process owns and has not given back."""
    if not SEGMENTS.is_dir():
        return []
    return sorted(p.name for p in SEGMENTS.iterdir() if p.name.startswith(f"mdt_{pid}_"))


def children_of(pid: int) -> dict[int, str]:
    """Process ids and states of all descendants; a zombie is one too."""
    parents: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(folder.name)] = (int(fields[1]), fields[0])
    found: dict[int, str] = {}
    while True:
        new = {
            child: state
            for child, (parent, state) in parents.items()
            if (parent == pid or parent in found) and child not in found
        }
        if not new:
            return found
        found |= new


def make_model(folder: Path, level: float) -> Path:
    """Write a model whose network answers (level - x, x - level)."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, "k", "j", "i"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2, "k", "j", "i"])
    nodes = [
        helper.make_node("Sub", ["image", "level"], ["above"]),
        helper.make_node("Neg", ["above"], ["below"]),
        helper.make_node("Concat", ["below", "above"], ["logits"], axis=1),
    ]
    start = [helper.make_tensor("level", TensorProto.FLOAT, [1], [level])]
    graph = helper.make_graph(nodes, "above", [image], [logits], start)
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    network.ir_version = 9
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(network, folder / "model.onnx")
    write_card(folder, window=16)
    return folder


def write_card(folder: Path, window: int) -> None:
    """Write the card for the network that lies in `folder`."""
    card = {
        "format": "meddetect.model/1",
        "name": folder.name,
        "version": "1.0.0",
        "task": "segmentation",
        "weights": "model.onnx",
        "files": {"model.onnx": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()},
        "input": {
            "tensor": "image",
            "channels": [{"name": "CT", "modality": "CT"}],
            "orientation": "RAS",
            "spacing_kji_mm": [2.0, 1.5, 1.5],
            "window": {"shape_kji": [window] * 3, "overlap": 0.25},
        },
        "output": {
            "head": "voxel_scores",
            "tensor": "logits",
            "activation": "softmax",
            "labels": [{"value": 1, "name": "bright", "colour_rgb": [220, 60, 60]}],
        },
    }
    (folder / "model.json").write_text(json.dumps(card))


def oblique_volume(seed: int = 0, dtype: Any = np.int16, shape: Any = (20, 24, 28)) -> Volume:
    """Return noise with a bright ball, on a turned, anisotropic, left-handed grid."""
    random = np.random.default_rng(seed)
    array = random.normal(0, 20, shape)
    ball = sum((axis - n / 3) ** 2 for axis, n in zip(np.indices(shape), shape, strict=True)) < 25
    array[ball] += 300 + seed
    turn = 0.3
    directions = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, -1.0]]
    )
    geometry = Geometry.from_axes(shape, (2.5, 0.9, 0.8), (-31.7, 12.1, 103.3), directions)
    return Volume(array.astype(dtype), geometry, modality="CT", name=f"ball {seed}")


def make_slow_model(folder: Path) -> Path:
    """Write a model that computes for minutes in one window: many wide convolutions."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, "k", "j", "i"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2, "k", "j", "i"])
    wide = 96
    weights = [
        numpy_helper.from_array(np.full((wide, 1, 3, 3, 3), 1e-3, np.float32), "first"),
        numpy_helper.from_array(np.full((wide, wide, 3, 3, 3), 1e-4, np.float32), "again"),
        numpy_helper.from_array(np.full((2, wide, 1, 1, 1), 1e-3, np.float32), "last"),
    ]
    nodes = [helper.make_node("Conv", ["image", "first"], ["x0"], pads=[1] * 6)]
    nodes += [
        helper.make_node("Conv", [f"x{n}", "again"], [f"x{n + 1}"], pads=[1] * 6)
        for n in range(300)
    ]
    nodes.append(helper.make_node("Conv", ["x300", "last"], ["logits"]))
    graph = helper.make_graph(nodes, "slow", [image], [logits], weights)
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    network.ir_version = 9
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(network, folder / "model.onnx")
    write_card(folder, window=64)
    return folder

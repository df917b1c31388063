"""Models and volumes for the worker's tests, and a look at what a process leaves behind."""

from __future__ import annotations

import hashlib
import json
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from MedDetectLib import Geometry, Volume
from MedDetectLib.inference.worker.client import WorkerClient
from MedDetectLib.inference.worker.spares import Spares

Make = Callable[..., WorkerClient]
POOLS: weakref.WeakSet[Spares] = weakref.WeakSet()
"""All that live in this process: what lies in one is kept on purpose."""

_make_spares = Spares.__init__


def _make_and_enlist(self: Spares, **arguments: Any) -> None:
    _make_spares(self, **arguments)
    POOLS.add(self)


Spares.__init__ = _make_and_enlist  # type: ignore[method-assign]


def segments_of(pid: int) -> list[str]:
    """Descriptors of shared memory that a process holds, without what lies in a pool here."""
    kept = set()
    if pid == os.getpid():
        kept = {segment.address["name"] for pool in POOLS for segment in pool.kept}
    try:
        handles = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it has ended
        return []
    found = []
    for handle in handles:
        try:
            target = os.readlink(handle)
        except OSError:
            continue
        if target.startswith(("/memfd:mdt", "/dev/shm/")) and str(handle) not in kept:
            found.append(str(handle))
    return sorted(found)


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

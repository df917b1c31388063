"""The memory a run was planned to take, beside what it took in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from MedDetectLib.core.errors import MedDetectError
from MedDetectLib.core.memory import bytes_text
from MedDetectLib.core.volume import Volume
from MedDetectLib.evaluation.bench.comparison import Comparison, Measured, Promise, Setting
from MedDetectLib.evaluation.bench.models import plain_card_data, write_model
from MedDetectLib.evaluation.bench.whole_path import MODEL

__all__ = ["COMPARISONS", "write_levels_model"]

_NEAR_ENOUGH = 0.8
"""The smaller of estimate and peak over the larger: 25 % too much, or 20 % too little."""

_SCATTER = 24 << 20
"""What a process holds differs by so much from one start to the next."""


def write_levels_model(folder: Path, classes: int) -> Path:
    """Write a model that sorts voxels of -1000 to 1000 HU into so many levels, one class each.

    Of the lines c x - c^2 / 2 the highest at x is the one whose c is nearest to x.
    """
    from onnx import TensorProto, helper, numpy_helper, save

    level = np.arange(classes + 1, dtype=np.float32)
    weights = [
        numpy_helper.from_array((level * classes).reshape(-1, 1, 1, 1, 1), "slopes"),
        numpy_helper.from_array(-(level**2) / 2, "offsets"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, "k", "j", "i"])
    shape = ["n", classes + 1, "k", "j", "i"]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)
    conv = helper.make_node("Conv", ["image", "slopes", "offsets"], ["logits"])
    graph = helper.make_graph([conv], "levels", [image], [logits], weights)
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    save(network, str(folder / "model.onnx"))
    data = plain_card_data(
        "levels",
        labels=classes,
        spacing_kji_mm=(2.0, 2.0, 2.0),
        window_kji=(48, 64, 64),
        intensity=[{"step": "window", "low": -1000, "high": 1000}],
    )
    return write_model(folder, data)


def measure_plan(name: str, volume: Volume, model: str | Path) -> dict[str, Measured]:
    """Plan a run, then do it: freely, and with a third less for the scores if that is possible."""
    with tempfile.TemporaryDirectory(prefix="meddetect-bench-") as folder:
        scan = Path(folder) / "scan.npz"
        np.savez(scan, array=volume.array, ijk_to_ras=volume.geometry.ijk_to_ras)
        plan = _side("plan", scan, model)
        free = _side("run", scan, model)
        parts = plan["parts"]
        less = max(plan["estimate"] - parts["scores"] // 3, plan["least"] + _SCATTER)
        ceiling = plan["held"] + less
        tight = _side("run", scan, model, ceiling)
    estimate, measured = plan["estimate"], free["grown"]
    near = min(estimate, measured) / max(estimate, measured)
    told = "; ".join(tight["notes"]) or "nothing had to shrink"
    largest = ", ".join(f"{part} {bytes_text(size)}" for part, size in parts.items() if size)
    detail = (
        f"planned {bytes_text(estimate)} ({largest}, network {bytes_text(plan['network'])}),"
        f" peak {bytes_text(measured)} over Python and the volume: {estimate / measured - 1:+.0%},"
        f" allowed 25%; with less allowed: peak {bytes_text(tight['grown'])}"
        f" ({told}); {'x'.join(map(str, volume.array.shape))} voxels"
    )
    return {name: Measured(near, free["sha256"] == tight["sha256"], detail)}


def _side(do: str, scan: Path, model: str | Path, ceiling: int = 0) -> dict[str, Any]:
    """Return what `memory_side` says, in a process of its own."""
    module = "MedDetectLib.evaluation.bench.memory_side"
    command = [sys.executable, "-m", module, do, str(scan), str(model), str(ceiling)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["in silence"])[-1]
        raise MedDetectError("bench-side-died", f"a side of the benchmark ended: {said}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _demo(name: str, shape_kji: tuple[int, int, int], setting: Setting) -> dict[str, Measured]:
    return measure_plan(name, setting.chest(shape_kji), MODEL)


def _levels(name: str, classes: int, setting: Setting) -> dict[str, Measured]:
    with tempfile.TemporaryDirectory(prefix="meddetect-bench-") as folder:
        model = write_levels_model(Path(folder), classes)
        return measure_plan(name, setting.chest(), model)


def _row(name: str, what: str, measure: Any) -> Comparison:
    promise = Promise(f"memory/{name}", f"measured peak; {what}", _NEAR_ENOUGH)
    return Comparison((promise,), ("onnx",), partial(measure, promise.name))


COMPARISONS = (
    _row("plan-demo-chest-ct", MODEL, lambda name, s: _demo(name, (150, 512, 512), s)),
    _row("plan-demo-small", MODEL, lambda name, s: _demo(name, (60, 256, 256), s)),
    _row("plan-25-classes", "every voxel labelled", lambda name, s: _levels(name, 25, s)),
    _row("plan-105-classes", "every voxel labelled", lambda name, s: _levels(name, 105, s)),
)

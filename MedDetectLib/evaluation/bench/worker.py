"""What the worker costs beside `detect()` in one's own process: starting, and the way there."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.findings import Findings
from MedDetectLib.core.volume import Volume
from MedDetectLib.evaluation.bench.comparison import Comparison, Measured, Promise, Setting
from MedDetectLib.evaluation.bench.interleaved import Timed, interleaved, seconds_text
from MedDetectLib.evaluation.bench.models import plain_card_data, write_model
from MedDetectLib.evaluation.bench.whole_path import MODEL
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.model import load_model
from MedDetectLib.inference.worker.client import WorkerClient

__all__ = ["COMPARISONS", "write_bright_model"]

_START, _START_DEMO, _TRIP = "worker/second-run", "worker/second-run-demo", "worker/round-trip"
_ALLOWED_S = 0.150


def write_bright_model(folder: Path) -> Path:
    """Write a model that finds what is brighter than 500 HU: one subtraction per voxel."""
    from onnx import TensorProto, helper, save

    shape = ["n", 1, "k", "j", "i"]
    graph = helper.make_graph(
        [helper.make_node("Sub", ["image", "half"], ["logits"])],
        "bright",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        [helper.make_tensor("half", TensorProto.FLOAT, [1, 1, 1, 1, 1], [0.5])],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    save(network, str(folder / "model.onnx"))
    data = plain_card_data(
        "bright",
        labels=1,
        spacing_kji_mm=(4.0, 4.0, 4.0),
        window_kji=(96, 96, 96),
        intensity=[{"step": "window", "low": -1000, "high": 2000}],
    )
    data["output"]["activation"] = "sigmoid"
    return write_model(folder, data)


def measure_start(name: str, model: str | Path, setting: Setting) -> dict[str, Measured]:
    """Run a small volume twice through a worker that was not there before."""
    volume = setting.scan((32, 40, 40), (2.8, 2.8, 2.8))
    first: list[float] = []
    second: list[float] = []
    answers = []
    for _ in range(setting.rounds(5)):
        with WorkerClient(python=sys.executable) as client:
            for seconds in (first, second):
                start = time.perf_counter()
                answers.append(client.detect(volume, model))
                seconds.append(time.perf_counter() - start)
    cold, warm = Timed(tuple(first), answers[0]), Timed(tuple(second), answers[-1])
    detail = (
        f"cold {cold}: process, imports, reading and compiling the network, one window;"
        f" warm {warm}: {warm.median / cold.median:.1%} of the first"
    )
    return {name: Measured(cold.median / warm.median, _same(*answers), detail)}


def measure_trip(setting: Setting) -> dict[str, Measured]:
    """Send a large volume through the worker, and through `detect()` here."""
    half = setting.chest()
    count = 1 if setting.quick else 2
    geometry = half.geometry
    shape = (geometry.shape_kji[0] * count, *geometry.shape_kji[1:])
    volume = Volume(
        np.concatenate([half.array] * count),
        replace(geometry, shape_kji=shape),
        modality="CT",
        name="large",
    )
    with (
        tempfile.TemporaryDirectory(prefix="meddetect-bench-") as folder,
        WorkerClient(python=sys.executable) as client,
    ):
        model_folder = write_bright_model(Path(folder))
        with load_model(model_folder) as model:
            sides = {
                "here": lambda: detect(volume, model),
                "worker": lambda: client.detect(volume, model_folder),
            }
            timed = interleaved(sides, setting.rounds(9))
    here, worker = timed["here"], timed["worker"]
    pairs = zip(worker.seconds, here.seconds, strict=True)
    extra = statistics.median(a - b for a, b in pairs)
    spread = statistics.median(abs(a - here.median) for a in here.seconds)
    detail = (
        f"in-process {here}, through the worker {worker}; overhead {seconds_text(abs(extra))}"
        f"{' less' if extra < 0 else ''} (median of pairs; in-process rounds scatter by"
        f" {seconds_text(spread)}), allowed {seconds_text(_ALLOWED_S)};"
        f" {'x'.join(map(str, shape))} voxels, {volume.array.nbytes / 1e6:.0f} MB"
    )
    target = here.median / (here.median + _ALLOWED_S)
    ratio = here.median / (here.median + extra)
    return {_TRIP: Measured(ratio, _same(here.output, worker.output), detail, target)}


def _start_trivial(setting: Setting) -> dict[str, Measured]:
    with tempfile.TemporaryDirectory(prefix="meddetect-bench-") as folder:
        return measure_start(_START, write_bright_model(Path(folder)), setting)


def _same(*answers: Findings) -> bool:
    return all(
        answer.items == answers[0].items and np.array_equal(_voxels(answer), _voxels(answers[0]))
        for answer in answers
    )


def _voxels(findings: Findings) -> npt.NDArray[Any]:
    return np.zeros(0) if findings.label_map is None else findings.label_map


COMPARISONS = (
    Comparison(
        (Promise(_START, "the worker's first run, from nothing; trivial model", 20.0),),
        ("onnx",),
        _start_trivial,
    ),
    Comparison(
        (Promise(_START_DEMO, f"the worker's first run, from nothing; {MODEL}"),),
        (),
        lambda setting: measure_start(_START_DEMO, MODEL, setting),
    ),
    Comparison(
        (Promise(_TRIP, "detect() in one's own process, same trivial model"),),
        ("onnx",),
        measure_trip,
    ),
)

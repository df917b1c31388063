"""`detect()` as a whole, beside MONAI's transforms and sliding window on the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.findings import Findings
from MedDetectLib.evaluation.bench.comparison import Comparison, Measured, Promise, Setting
from MedDetectLib.evaluation.bench.interleaved import interleaved, seconds_text
from MedDetectLib.evaluation.bench.monai_path import monai_path
from MedDetectLib.evaluation.bench.onnx_in_torch import torch_network
from MedDetectLib.inference.backends.choose import open_backend
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.model import Model
from MedDetectLib.inference.windows import plan_windows
from MedDetectLib.models.card import ModelCard, OperatingPoint
from MedDetectLib.models.registry import find_model

__all__ = ["COMPARISONS", "demo_model", "dice", "stages"]

MODEL = "demo-chest-ct"
_BASELINE = (
    "MONAI transforms + SlidingWindowInferer (gaussian, same windows), torch f32, same weights"
)
_LEAST_DICE = {"f32": 0.999, "bf16": 0.998}
_LEAST_WHEN_QUICK = 0.99
"""A few hundred voxels are found in the tiny scan, so that two or three decide."""


def demo_model() -> tuple[Path, ModelCard]:
    """Return folder and card of the chest model, as MONAI runs it, taking every voxel.

    Grid and windows lie where MONAI puts them: a network answers a little differently when
    its windows start elsewhere, and neither answer is wrong. An operating point would hide
    small differences behind its thresholds.
    """
    folder, card = find_model(MODEL)
    window = replace(card.input.window, placement="stepped", floor=1e-3)
    spec = replace(card.input, anchor="first_centre", window=window)
    return folder, replace(card, input=spec, operating_point=OperatingPoint(max_findings=60_000))


def dice(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    """Return the Dice overlap of two masks; two empty ones agree fully."""
    total = int(one.sum()) + int(other.sum())
    return 2.0 * int((one & other).sum()) / total if total else 1.0


def stages(findings: Findings) -> str:
    """Return where the time of one run went, from its provenance."""
    seconds = findings.provenance.seconds
    return ", ".join(f"{name} {seconds_text(value)}" for name, value in seconds.items())


def _measure(precision: str, setting: Setting) -> dict[str, Measured]:
    volume = setting.chest()
    folder, card = demo_model()
    network = torch_network(folder / card.weights)
    with Model(card, open_backend(card, folder, "auto", precision)) as model:
        sides = {
            "ours": lambda: detect(volume, model),
            "baseline": monai_path(volume, card, network),
        }
        timed = interleaved(sides, setting.rounds(3))
        chosen = model.backend.choice
    findings, other = timed["ours"].output, timed["baseline"].output > 0
    mask = findings.label_map > 0
    overlap = dice(mask, other)
    windows = len(plan_windows(_model_shape(findings, card), card.input.window))
    detail = (
        f"ours {timed['ours']} on {chosen.backend.split(' (')[0]} {precision} ({stages(findings)}),"
        f" baseline {timed['baseline']}; {'x'.join(map(str, volume.array.shape))} voxels,"
        f" {windows} windows of {card.input.window.shape_kji[0]}^3, {card.name} {card.version},"
        f" {int(other.sum())} voxels found; Dice {overlap:.5f}"
    )
    ratio = timed["ours"].times_faster_than(timed["baseline"])
    least = _LEAST_WHEN_QUICK if setting.quick else _LEAST_DICE[precision]
    return {f"detect/monai-{precision}": Measured(ratio, overlap >= least, detail)}


def _model_shape(findings: Findings, card: ModelCard) -> tuple[int, int, int]:
    """Return the voxels of the model's grid; all axes have the same spacing."""
    own = findings.geometry
    turned = own.reoriented(own.axis_map_to(card.input.orientation or own.orientation))
    wanted = card.input.spacing_kji_mm or turned.spacing_kji_mm
    sizes = [
        round((n - 1) * old / new + 1)
        for n, old, new in zip(turned.shape_kji, turned.spacing_kji_mm, wanted, strict=True)
    ]
    return sizes[0], sizes[1], sizes[2]


def _comparison(precision: str, target: float) -> Comparison:
    return Comparison(
        (Promise(f"detect/monai-{precision}", _BASELINE, target),),
        ("monai", "torch", "onnx"),
        lambda setting: _measure(precision, setting),
    )


COMPARISONS = (_comparison("f32", 3.2), _comparison("bf16", 6.0))

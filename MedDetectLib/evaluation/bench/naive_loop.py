"""Our loop beside the one that most people write, on the same engine and the same windows."""

from __future__ import annotations

import numpy as np

from MedDetectLib.core.volume import Volume
from MedDetectLib.evaluation.bench.comparison import Comparison, Measured, Promise, Setting
from MedDetectLib.evaluation.bench.interleaved import interleaved
from MedDetectLib.evaluation.bench.whole_path import demo_model, stages
from MedDetectLib.inference.backends.choose import open_backend
from MedDetectLib.inference.decode import Decoded, findings_from_voxels
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.model import Model
from MedDetectLib.inference.prepare import prepare
from MedDetectLib.inference.resample import resample
from MedDetectLib.inference.windows import plan_windows

__all__ = ["COMPARISONS", "naive_detect"]

_NAME = "loop/onnxruntime"


def naive_detect(volume: Volume, model: Model) -> Decoded:
    """Find what `detect` finds, holding every score of every class of the whole volume.

    Preparing the volume and listing the findings is ours, so that only what lies between
    is compared: cut, run, weigh with a map made per window, add up, divide, interpolate
    every class to the volume's grid, softmax, argmax.
    """
    card = model.card
    prepared = prepare(volume, card)
    channels = len(card.labels) + 1
    total = np.zeros((channels, *prepared.shape_kji), np.float32)
    weight_sum = np.zeros(prepared.shape_kji, np.float32)
    for window in plan_windows(prepared.shape_kji, card.input.window):
        outputs = model.backend.run(window.cut(prepared.array))
        weights = window.weights()
        total[(slice(None), *window.inside)] += (
            outputs["logits"][0][(slice(None), *window.own)] * weights
        )
        weight_sum[window.inside] += weights
    total /= weight_sum
    logits = np.stack([resample(channel, prepared.back_kji) for channel in total])
    chances = np.exp(logits - logits.max(axis=0))
    chances /= chances.sum(axis=0)
    classes = logits.argmax(axis=0).astype(np.uint16)
    scores = np.where(classes > 0, chances.max(axis=0), 0)
    return findings_from_voxels(
        prepared.restore_array(classes), prepared.restore_array(scores), card, prepared.own
    )


def _measure(setting: Setting) -> dict[str, Measured]:
    volume = setting.chest()
    folder, card = demo_model()
    with Model(card, open_backend(card, folder, "onnxruntime")) as model:
        sides = {
            "ours": lambda: detect(volume, model),
            "baseline": lambda: naive_detect(volume, model),
        }
        timed = interleaved(sides, setting.rounds(3))
    findings, naive = timed["ours"].output, timed["baseline"].output
    differing = int((findings.label_map != naive.label_map).sum())
    most = 1e-3 * max(1, int((naive.label_map > 0).sum()))
    detail = (
        f"ours {timed['ours']} ({stages(findings)}), baseline {timed['baseline']};"
        f" {'x'.join(map(str, volume.array.shape))} voxels, {len(card.labels) + 1} classes;"
        f" {differing} voxels differ of {int((naive.label_map > 0).sum())} found"
    )
    ratio = timed["ours"].times_faster_than(timed["baseline"])
    return {_NAME: Measured(ratio, differing <= most, detail)}


COMPARISONS = (
    Comparison(
        (Promise(_NAME, "plain ONNX Runtime loop: full numpy accumulators, argmax over all"),),
        ("onnxruntime",),
        _measure,
    ),
)

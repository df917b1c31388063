"""Measure a demo model on held-out phantoms, through `detect` itself.

    python -m MedDetectLib.learning.evaluate_demo chest --model Resources/Models/demo-chest-ct

Prints one JSON object. With ``--write-card`` the figures go into the model's card.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from MedDetectLib.core.findings import Findings
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.model import load_model
from MedDetectLib.learning.demo_cards import HELD_OUT_SEEDS, Task, phantom_of, write_demo_card
from MedDetectLib.learning.phantoms import Phantom

__all__ = ["Hit", "ScanResult", "compare", "figures", "measure"]

SIZE_BINS_MM = (4, 6, 8, 12, 20, 30.01)
LEAST_IOU = 0.1


@dataclass(frozen=True)
class Hit:
    """One planted lesion: how large it is, and how well it was found (Dice, None if not)."""

    diameter_mm: float
    dice: float | None


@dataclass(frozen=True)
class ScanResult:
    """What came out for one phantom."""

    seed: int
    lesions: tuple[Hit, ...]
    false_positives: int


def compare(phantom: Phantom, findings: Findings) -> ScanResult:
    """Match findings with planted lesions.

    A finding hits the lesion it shares most voxels with if its centroid lies in that
    lesion or their intersection over union is at least 0.1; a finding that hits nothing
    is a false positive. Of several findings in one lesion the best Dice counts.
    """
    best: dict[int, float] = {}
    false_positives = 0
    for finding in findings:
        mask = findings.mask_of(finding)
        assert mask is not None
        shared = np.bincount(phantom.truth[mask], minlength=2)
        shared[0] = 0
        value = int(shared.argmax())
        lesion = phantom.truth == value
        both, size = int(shared[value]), int(np.count_nonzero(mask))
        other = int(np.count_nonzero(lesion))
        centre = tuple(np.rint(np.argwhere(mask).mean(axis=0)).astype(int))
        if both and (both / (size + other - both) >= LEAST_IOU or phantom.truth[centre] == value):
            best[value] = max(best.get(value, 0.0), 2 * both / (size + other))
        else:
            false_positives += 1
    lesions = tuple(Hit(one.diameter_mm, best.get(one.value)) for one in phantom.lesions)
    return ScanResult(int(phantom.volume.source["seed"]), lesions, false_positives)


def measure(task: Task, model: str | Path, seeds: Iterable[int]) -> list[ScanResult]:
    """Make the phantoms, find their lesions, and compare."""
    results = []
    with load_model(model) as loaded:
        for seed in seeds:
            phantom = phantom_of(task)(seed)
            result = compare(phantom, detect(phantom.volume, loaded))
            print(result, file=sys.stderr, flush=True)
            results.append(result)
    return results


def figures(results: Sequence[ScanResult]) -> dict[str, Any]:
    """Sum up: sensitivity, false positives per scan, Dice of hits, sensitivity by size."""
    lesions = [lesion for result in results for lesion in result.lesions]
    dices = [lesion.dice for lesion in lesions if lesion.dice is not None]
    by_size = {}
    for low, high in itertools.pairwise(SIZE_BINS_MM):
        some = [lesion for lesion in lesions if low <= lesion.diameter_mm < high]
        found = sum(lesion.dice is not None for lesion in some)
        by_size[f"{low:.0f}-{high:.0f} mm"] = {"lesions": len(some), "found": found}
    return {
        "sensitivity": round(len(dices) / max(1, len(lesions)), 4),
        "false_positives_per_scan": round(
            sum(result.false_positives for result in results) / max(1, len(results)), 4
        ),
        "mean_dice_of_hits": round(float(np.mean(dices)) if dices else 0.0, 4),
        "by_size": by_size,
        "n_scans": len(results),
        "n_lesions": len(lesions),
        "seeds": [result.seed for result in results],
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure a demo model on held-out phantoms.")
    parser.add_argument("task", choices=get_args(Task))
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(HELD_OUT_SEEDS))
    parser.add_argument("--write-card", action="store_true")
    args = parser.parse_args()
    result = figures(measure(args.task, args.model, args.seeds))
    print(json.dumps(result, indent=2))
    if args.write_card:
        training = json.loads((args.model / "model.json").read_text("utf-8"))["training_data"]
        write_demo_card(args.task, args.model, training, result)


if __name__ == "__main__":
    main()

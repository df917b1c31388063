"""Train a demo model on phantoms made on the fly.

    python -m MedDetectLib.learning.train_demo chest --out out/demo-chest-ct

Writes into the folder: `model.onnx` with its card, `log.jsonl`, and `model.pt`, the torch
weights with the optimiser's state, from which the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from MedDetectLib.inference.prepare import prepare
from MedDetectLib.inference.resample import resample, taps_between
from MedDetectLib.learning.demo_cards import (
    TRAINING_SEEDS_FROM,
    Task,
    demo_card,
    phantom_of,
    write_demo_card,
)
from MedDetectLib.learning.networks import ResidualUNet, export_onnx

__all__ = ["Options", "TrainingCase", "loss_of", "prepared_case", "train"]


@dataclass(frozen=True)
class Options:
    """Everything one may want to change, and why it is what it is."""

    steps: int = 1500  # about 15 minutes on two idle CPU cores
    seed: int = 0  # training phantoms start at 10000 + 1000 * seed
    patch: int = 48  # 72 mm: a nodule and enough vessels around it to tell them apart
    batch: int = 4  # the largest that keeps a step under a quarter second on two cores
    rate: float = 3e-3  # peak of AdamW's one-cycle; higher diverges in bfloat16
    warm_up: int = 100  # batch statistics need a few steps before the rate may be high
    decay: float = 1e-4  # the phantoms are endless, so hardly any is needed
    cases: int = 36  # phantoms kept in memory, as 16-bit floats
    first_cases: int = 6  # made before the first step
    new_case_every: int = 20  # steps; phantoms arrive while training runs
    lesions: tuple[int, int] = (8, 16)  # more than a patient has: a phantom takes seconds
    near_lesion: float = 0.65  # share of patches centred near a lesion, the rest anywhere
    small_lesion_weight: float = 4.0  # cap on how much more a small lesion counts
    threads: int = 2  # what a laptop spares


@dataclass(frozen=True, eq=False)
class TrainingCase:
    """One phantom on the model's grid.

    Args:
        image: (k, j, i) float16, prepared as the card says.
        truth: (k, j, i) bool.
        weight: (k, j, i) float16, how much each voxel counts.
        places: (n, 3) centres of lesions in voxels.
        odds: (n,) how often patches are cut near each of them; adds up to one.
    """

    image: npt.NDArray[np.float16]
    truth: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float16]
    places: npt.NDArray[np.float64]
    odds: npt.NDArray[np.float64]


def prepared_case(task: Task, seed: int, options: Options) -> TrainingCase:
    """Make a training phantom and bring it to the model's grid the way `detect` does.

    The truth takes the same road: linear interpolation, and a voxel belongs to a lesion
    when at least half of it does.
    """
    if seed < TRAINING_SEEDS_FROM:
        raise ValueError(f"phantom {seed} is held out, training seeds start at 10000")
    phantom = phantom_of(task)(seed, lesion_count=options.lesions, oblique=seed % 4 == 3)
    card = demo_card(task)
    prepared = prepare(phantom.volume, card)
    turned = np.ascontiguousarray(prepared.axes.apply(phantom.truth > 0), dtype=np.float32)
    there = taps_between(
        prepared.turned_shape_kji,
        prepared.shape_kji,
        [1 / s for s in prepared.step_kji],
        card.input.anchor,
    )
    truth = resample(turned, there) >= 0.5
    weight = np.ones(truth.shape, np.float16)
    places, odds = [], []
    for lesion in phantom.lesions:
        place = prepared.geometry.ras_to_index(lesion.centre_ras_mm)
        places.append(place)
        # A 9 mm lesion's voxels count once, a 4 mm lesion's up to four times, and it is
        # shown as much more often: small ones are what is missed.
        extra = float(np.clip((9.0 / lesion.diameter_mm) ** 2, 1, options.small_lesion_weight))
        odds.append(extra)
        reach = lesion.diameter_mm / 2 / min(prepared.geometry.spacing_kji_mm) + 2
        region = tuple(slice(max(0, int(p - reach)), int(p + reach) + 1) for p in place)
        part = weight[region]
        part[truth[region]] = np.maximum(part[truth[region]], np.float16(extra))
    image = prepared.array[0].astype(np.float16)
    return TrainingCase(
        image, truth, weight, np.array(places).reshape(-1, 3), np.array(odds) / sum(odds)
    )


def random_batch(
    cases: list[TrainingCase], rng: np.random.Generator, options: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut patches, flip them and change their grey values.

    Returns:
        images (N, 1, k, j, i) float32, truth (N, k, j, i) int64, weights (N, k, j, i).
    """
    images, truths, weights = [], [], []
    for _ in range(options.batch):
        case = cases[rng.integers(len(cases))]
        shape = np.array(case.image.shape)
        middle = rng.uniform(0, shape)
        if len(case.places) and rng.random() < options.near_lesion:
            wobble = rng.uniform(-0.4, 0.4, 3) * options.patch
            middle = case.places[rng.choice(len(case.places), p=case.odds)] + wobble
        start = np.clip(middle - options.patch / 2, 0, np.maximum(shape - options.patch, 0))
        region = tuple(slice(int(a), int(a) + options.patch) for a in start)
        flip = tuple(slice(None, None, int(rng.choice([1, -1]))) for _ in range(3))
        image = _fitted(case.image[region].astype(np.float32), options.patch)[flip]
        # Scanners differ in gain, offset and noise; so may the phantoms' neighbours.
        image = image * rng.uniform(0.9, 1.1) + rng.uniform(-0.03, 0.03)
        if rng.random() < 0.5:
            noise = rng.standard_normal(image.shape, dtype=np.float32)
            image = image + noise * np.float32(rng.uniform(0, 0.03))
        images.append(image.astype(np.float32))
        truths.append(_fitted(case.truth[region], options.patch)[flip])
        weights.append(_fitted(case.weight[region].astype(np.float32), options.patch)[flip])
    return (
        torch.from_numpy(np.ascontiguousarray(np.stack(images)[:, None])),
        torch.from_numpy(np.ascontiguousarray(np.stack(truths))).long(),
        torch.from_numpy(np.ascontiguousarray(np.stack(weights))),
    )


def _fitted(patch: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Pad a patch from a small volume with zeros, as inference does."""
    return np.pad(patch, [(0, size - n) for n in patch.shape])


def loss_of(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return cross-entropy plus Dice loss, both with weighted voxels.

    Args:
        logits: (N, 2, k, j, i).
        truth: (N, k, j, i), 0 or 1.
        weight: (N, k, j, i).
    """
    logits = logits.float()
    entropy = (functional.cross_entropy(logits, truth, reduction="none") * weight).mean()
    score = logits.softmax(1)[:, 1] * weight
    wanted = truth * weight
    overlap = (score * truth).sum()
    dice = (2 * overlap + 10) / (score.sum() + wanted.sum() + 10)
    return entropy + 1 - dice


def train(task: Task, out: Path, options: Options) -> list[float]:
    """Train, write the model into `out`, and return the loss of every step."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng([options.seed, 77])
    network = ResidualUNet()
    optimiser = torch.optim.AdamW(network.parameters(), options.rate, weight_decay=options.decay)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, first = out / "model.pt", 0
    legs: list[dict[str, Any]] = []
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(kept["network"])
        optimiser.load_state_dict(kept["optimiser"])
        first, legs = int(kept["step"]), list(kept.get("legs", []))
        rng = np.random.default_rng([options.seed, 77, first])
    first_seed = TRAINING_SEEDS_FROM + 1000 * options.seed + first // options.new_case_every
    next_seed = first_seed
    cases: list[TrainingCase] = []
    losses: list[float] = []
    started = time.perf_counter()
    network.train()
    for step in range(first, options.steps):
        while len(cases) < options.first_cases or (
            step % options.new_case_every == 0 and len(cases) < options.cases
        ):
            cases.append(prepared_case(task, next_seed, options))
            next_seed += 1
            if len(cases) >= options.first_cases:
                break
        for group in optimiser.param_groups:
            group["lr"] = _rate(step, options)
        image, truth, weight = random_batch(cases, rng, options)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(image)
        loss = loss_of(logits, truth, weight)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        if step % 25 == 24 or step + 1 == options.steps:
            line = {
                "step": step + 1,
                "loss": round(float(np.mean(losses[-25:])), 4),
                "cases": len(cases),
                "seconds": round(time.perf_counter() - started, 1),
            }
            print(json.dumps(line), flush=True)
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
        if step % 300 == 299 or step + 1 == options.steps:
            leg = {"to_step": step + 1, "seeds": [first_seed, next_seed - 1], **asdict(options)}
            state = {
                "network": network.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step + 1,
                "legs": [*legs, leg],
            }
            torch.save(state, checkpoint)
            export_onnx(network, out / "model.onnx")
            write_demo_card(task, out, _summary(task, [*legs, leg]), {})
    return losses


def _summary(task: Task, legs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the card says about the training: one leg per start of the program."""
    used = {seed for leg in legs for seed in range(leg["seeds"][0], leg["seeds"][1] + 1)}
    return {
        "source": f"{task} phantoms, computed (MedDetectLib.learning.phantoms); no patient data",
        "command": f"python -m MedDetectLib.learning.train_demo {task} --out DIR",
        "seeds": [min(used), max(used)],
        "cases": len(used),
        "steps": legs[-1]["to_step"],
        "legs": legs,
    }


def _rate(step: int, options: Options) -> float:
    """Warm up, then follow a cosine down to a hundredth."""
    if step < options.warm_up:
        return options.rate * (step + 1) / options.warm_up
    done = (step - options.warm_up) / max(1, options.steps - options.warm_up)
    return options.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train a demo model on phantoms.")
    parser.add_argument("task", choices=get_args(Task))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=Options.steps)
    parser.add_argument("--seed", type=int, default=Options.seed)
    parser.add_argument("--patch", type=int, default=Options.patch)
    parser.add_argument("--threads", type=int, default=Options.threads)
    args = parser.parse_args()
    options = Options(steps=args.steps, seed=args.seed, patch=args.patch, threads=args.threads)
    train(args.task, args.out, options)


if __name__ == "__main__":
    main()

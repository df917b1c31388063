"""`detect()` on a GPU: against half a second, MONAI with AMP, and nnU-Net's own predictor.

Without a GPU the rows say so.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from MedDetectLib.evaluation.bench.comparison import Comparison, Measured, Promise, Setting
from MedDetectLib.evaluation.bench.interleaved import Timed, interleaved
from MedDetectLib.evaluation.bench.models import plain_card_data, write_model
from MedDetectLib.evaluation.bench.monai_path import monai_path
from MedDetectLib.evaluation.bench.nnunet_network import Contest, write_our_model
from MedDetectLib.evaluation.bench.onnx_in_torch import torch_network
from MedDetectLib.evaluation.bench.side import Side
from MedDetectLib.evaluation.bench.unet_onnx import THIRTY_MILLION, write_unet
from MedDetectLib.inference.backends.gpu import find_gpu
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.model import load_model

__all__ = ["COMPARISONS", "Size", "write_large_model"]

_SECONDS = 0.5
_LEAST_AGREEMENT = 0.99
"""Of voxels with the label that float32 gives them. Weights are random, so many are ties."""
_CLASSES = 25
_SHAPE_KJI = (300, 512, 512)
_SPACING_KJI_MM = (1.0, 0.75, 0.75)
_DETECT = "gpu/detect-half-a-second"
_MONAI = "gpu/monai-amp"
_NNUNET = "gpu/nnunet-torch-25"


class Size:
    """How large everything is: as promised, or tiny."""

    def __init__(self, quick: bool = False) -> None:
        self.shape_kji = (24, 48, 48) if quick else _SHAPE_KJI
        self.patch = 16 if quick else 128
        self.features = (4, 8, 8) if quick else THIRTY_MILLION


def write_large_model(folder: Path, size: Size) -> int:
    """Write a U-Net of nnU-Net's default plan and its card; return its parameters."""
    parameters = write_unet(folder / "model.onnx", _CLASSES, size.features)
    data = plain_card_data(
        "unet-30m",
        labels=_CLASSES - 1,
        spacing_kji_mm=(1.5, 1.5, 1.5),
        window_kji=(size.patch,) * 3,
        window={"placement": "stepped", "floor": 1e-3},  # where MONAI puts them
        anchor="first_centre",
        orientation="RAS",
        intensity=[{"step": "window", "low": -1000, "high": 1000}],
    )
    write_model(folder, data)
    return parameters


def _agreement(one: npt.NDArray[np.generic], other: npt.NDArray[np.generic]) -> float:
    return float((one == other).mean())


def _against_monai(setting: Setting) -> dict[str, Measured]:
    find_gpu()
    import torch

    size = Size(setting.quick)
    volume = setting.scan(size.shape_kji, _SPACING_KJI_MM)
    with tempfile.TemporaryDirectory(prefix="meddetect-bench-") as name:
        folder = Path(name)
        parameters = write_large_model(folder, size)
        path = folder / "model.onnx"
        with load_model(folder, "auto", "f16") as model:
            amp = torch_network(path, "cuda:0", half=True)
            sides = {
                "ours": lambda: detect(volume, model).class_map(),
                "monai": monai_path(volume, model.card, amp, "cuda:0"),
            }
            timed = interleaved(sides, setting.rounds(5), warm_ups=2)
            stages = detect(volume, model).provenance
            chosen = model.backend.choice
        torch.backends.cudnn.allow_tf32 = False
        exact = monai_path(volume, model.card, torch_network(path, "cuda:0"), "cuda:0")()
    ours, theirs = timed["ours"], timed["monai"]
    agreement, other = _agreement(ours.output, exact), _agreement(theirs.output, exact)
    detail = (
        f"ours {ours} on {chosen.backend} {chosen.precision} ({stages.seconds}), MONAI {theirs};"
        f" {_size_text(size)}, {parameters / 1e6:.1f} M parameters, {_CLASSES} classes; voxels"
        f" with float32's label: ours {agreement:.3%}, MONAI with AMP {other:.3%}"
    )
    fine = agreement >= _LEAST_AGREEMENT
    return {
        _DETECT: Measured(_SECONDS / ours.median, fine, detail),
        _MONAI: Measured(ours.times_faster_than(theirs), fine, detail),
    }


def _against_nnunet(setting: Setting) -> dict[str, Measured]:
    find_gpu()
    import nnunetv2  # noqa: F401  (the sides need it; here only to say at once if it is missing)

    size = Size(setting.quick)
    contest = Contest(
        _CLASSES,
        size.shape_kji,
        _SPACING_KJI_MM,
        size.patch,
        tuple(size.features),
        resample_torch=True,
        device="cuda",
    )
    with tempfile.TemporaryDirectory(prefix="meddetect-bench-") as name:
        folder = Path(name)
        np.save(folder / "scan.npy", setting.scan(size.shape_kji, _SPACING_KJI_MM).array)
        (folder / "contest.json").write_text(json.dumps(contest.to_json()), "utf-8")
        write_our_model(contest, folder)
        given = [str(folder / "contest.json"), str(folder / "scan.npy"), name]
        module = "MedDetectLib.evaluation.bench.nnunet_side"
        with Side(module, ["ours", *given]) as us, Side(module, ["nnunet", *given]) as them:
            seconds = [(us.run(), them.run()) for _ in range(setting.rounds(5) + 2)][2:]
            ours = Timed(tuple(s for s, _ in seconds), us.save(folder / "ours.npy"))
            theirs = Timed(tuple(s for _, s in seconds), them.save(folder / "theirs.npy"))
    agreement = _agreement(ours.output, theirs.output)
    detail = (
        f"ours {ours}, nnU-Net {theirs}; {_size_text(size)}, {_CLASSES} classes, no mirroring,"
        f" both in float16; voxels with the same label {agreement:.3%}"
    )
    ratio = statistics.median(theirs.seconds) / statistics.median(ours.seconds)
    return {_NNUNET: Measured(ratio, agreement >= _LEAST_AGREEMENT, detail)}


def _size_text(size: Size) -> str:
    return f"{'x'.join(map(str, size.shape_kji))} voxels, windows of {size.patch}^3 at 1.5 mm"


COMPARISONS = (
    Comparison(
        (
            Promise(_DETECT, "half a second from volume to findings", 1.0),
            Promise(_MONAI, "MONAI transforms + SlidingWindowInferer on the GPU, AMP", 3.0),
        ),
        ("monai", "torch", "onnx"),
        _against_monai,
    ),
    Comparison(
        (Promise(_NNUNET, "nnunetv2 predictor on the GPU, resample_torch, same weights", 4.0),),
        ("nnunetv2", "dynamic_network_architectures", "torch", "onnxscript"),
        _against_nnunet,
    ),
)

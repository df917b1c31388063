"""`detect()` beside nnU-Net's own predictor on the same weights: time and peak memory."""

from __future__ import annotations

import functools
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.memory import bytes_text
from MedDetectLib.evaluation.bench.comparison import Comparison, Measured, Promise, Setting
from MedDetectLib.evaluation.bench.interleaved import Timed
from MedDetectLib.evaluation.bench.nnunet_network import Contest, write_our_model
from MedDetectLib.evaluation.bench.side import Side

__all__ = ["COMPARISONS"]

_MODULE = "MedDetectLib.evaluation.bench.nnunet_side"
_LEAST_AGREEMENT = 0.999
_LEAST_WHEN_QUICK = 0.97
"""nnU-Net centres a window's weights half a voxel beside its middle: in 16 voxels that tells."""


def measure(
    contest: Contest, setting: Setting, names: tuple[str, str], wanted_rounds: int = 3
) -> dict[str, Measured]:
    """Run both sides in turns; return time and memory under the two names."""
    import nnunetv2  # noqa: F401  (the sides need it; here only to say at once if it is missing)

    rounds = setting.rounds(wanted_rounds)
    with tempfile.TemporaryDirectory(prefix="meddetect-bench-") as folder:
        place = Path(folder)
        given = _laid_out(contest, setting, place)
        write_our_model(contest, place)
        with Side(_MODULE, ["ours", *given]) as us, Side(_MODULE, ["nnunet", *given]) as them:
            seconds = [(us.run(), them.run()) for _ in range(rounds + 1)][1:]
            ours = Timed(tuple(s for s, _ in seconds), us.save(place / "ours.npy"))
            other = Timed(tuple(s for _, s in seconds), them.save(place / "theirs.npy"))
            peaks = us.peak_bytes(), them.peak_bytes()
    right = _exact(replace(contest, resample_torch=True), setting)  # the quicker, alike
    agreement = float((ours.output == right).mean())
    as_shipped = float((ours.output == other.output).mean())
    theirs = float((other.output == right).mean())
    classes = len(np.unique(right))
    what = (
        f"{'x'.join(map(str, contest.shape_kji))} voxels, {contest.classes} classes ({classes}"
        f" occur), PlainConvUNet {contest.features}, windows {contest.patch}^3 at 1.5 mm, no"
        f" mirroring; voxels with the label of nnU-Net adding up in float32: ours {agreement:.3%},"
        f" nnU-Net as shipped (float16) {theirs:.3%}; ours against it {as_shipped:.3%}"
    )
    # Judged against float32 sums: with random weights a few voxels in a thousand are ties up
    # to rounding, and nnU-Net's float16 sums decide those by chance.
    fine = agreement >= (_LEAST_WHEN_QUICK if setting.quick else _LEAST_AGREEMENT)
    time = Measured(
        statistics.median(other.seconds) / statistics.median(ours.seconds),
        fine,
        f"ours {ours}, nnU-Net {other}; {what}",
    )
    memory = Measured(
        peaks[1] / peaks[0],
        fine,
        f"peak of the process: ours {bytes_text(peaks[0])}, nnU-Net {bytes_text(peaks[1])}; {what}",
    )
    return {names[0]: time, names[1]: memory}


def _laid_out(contest: Contest, setting: Setting, place: Path) -> list[str]:
    """Write what a side reads; return its arguments."""
    scan = setting.scan(contest.shape_kji, contest.spacing_kji_mm).array
    np.save(place / "scan.npy", scan)
    (place / "contest.json").write_text(json.dumps(contest.to_json()), "utf-8")
    return [str(place / "contest.json"), str(place / "scan.npy"), str(place)]


@functools.lru_cache(maxsize=2)
def _exact(contest: Contest, setting: Setting) -> npt.NDArray[Any]:
    """Return nnU-Net's labels with its scores added up in float32; made once per contest."""
    with tempfile.TemporaryDirectory(prefix="meddetect-bench-") as folder:
        given = _laid_out(contest, setting, Path(folder))
        with Side(_MODULE, ["nnunet-f32", *given]) as side:
            side.run()
            return side.save(Path(folder) / "exact.npy")


def _comparison(
    classes: int, torch: bool, targets: tuple[float | None, float | None], rounds: int
) -> Comparison:
    kind = "torch" if torch else "default"
    names = f"nnunet/{kind}-{classes}", f"nnunet/{kind}-{classes}-memory"
    resampling = "resample_torch" if torch else "default export (scikit-image)"
    baseline = f"nnunetv2 predictor, {resampling}, linear, same weights"
    full = Contest(classes, resample_torch=torch)
    tiny = replace(full, shape_kji=(24, 36, 36), patch=16, features=(4, 8))

    return Comparison(
        tuple(Promise(n, baseline, t) for n, t in zip(names, targets, strict=True)),
        ("nnunetv2", "dynamic_network_architectures", "torch", "onnxscript"),
        lambda setting: measure(tiny if setting.quick else full, setting, names, rounds),
    )


COMPARISONS = (
    _comparison(25, False, (10.0, None), 3),
    _comparison(25, True, (3.0, None), 3),
    _comparison(105, False, (None, 5.0), 1),  # asked about for its memory; a round takes minutes
    _comparison(105, True, (None, 5.0), 1),
)

"""Resampling and normalising a CT, beside scipy, SimpleITK and MONAI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.geometry import GridAnchor
from MedDetectLib.core.volume import Volume
from MedDetectLib.evaluation.bench.comparison import Comparison, Measured, Promise, Setting
from MedDetectLib.evaluation.bench.interleaved import interleaved
from MedDetectLib.evaluation.bench.models import plain_card
from MedDetectLib.inference.prepare import Prepared, prepare
from MedDetectLib.models.card import IntensityWindow, ModelCard

__all__ = ["COMPARISONS"]

Image = npt.NDArray[np.float32]
Baseline = Callable[[Volume, Prepared], Callable[[], Image]]
"""Set up outside the clock, then do the work within it; returns [k, j, i] in [0, 1]."""

_LOW, _HIGH = -1000.0, 400.0
_TOLERANCE = 1e-3


def resampling_card(anchor: GridAnchor) -> ModelCard:
    """Return a card that wants 1.5 mm voxels and a lung window."""
    card = plain_card(
        "resampling", labels=1, spacing_kji_mm=(1.5, 1.5, 1.5), window_kji=(96, 96, 96)
    )
    window = IntensityWindow(_LOW, _HIGH)
    return replace(card, input=replace(card.input, anchor=anchor, intensity=(window,)))


def scipy_zoom(volume: Volume, wanted: Prepared) -> Callable[[], Image]:
    """`scipy.ndimage.zoom`, order 1, on pixel edges as our card asks."""
    from scipy import ndimage

    sizes = zip(wanted.shape_kji, volume.array.shape, strict=True)
    factors = [new / old for new, old in sizes]

    def work() -> Image:
        image = ndimage.zoom(
            volume.array, factors, np.float32, order=1, mode="nearest", grid_mode=True
        )
        image -= np.float32(_LOW)
        image *= np.float32(1 / (_HIGH - _LOW))
        return np.asarray(np.clip(image, 0, 1, out=image))

    return work


def simpleitk_filters(volume: Volume, wanted: Prepared) -> Callable[[], Image]:
    """`ResampleImageFilter`, linear, then `IntensityWindowingImageFilter`; all threads."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(volume.array)
    image.SetSpacing([float(mm) for mm in volume.geometry.spacing_kji_mm[::-1]])
    new_mm = wanted.geometry.spacing_kji_mm[::-1]
    # the same outer edges: the first centre lies half a new voxel inside them
    first = [(new - old) / 2 for new, old in zip(new_mm, image.GetSpacing(), strict=True)]
    resampler = SimpleITK.ResampleImageFilter()
    resampler.SetInterpolator(SimpleITK.sitkLinear)
    resampler.SetSize([int(n) for n in wanted.shape_kji[::-1]])
    resampler.SetOutputSpacing([float(mm) for mm in new_mm])
    resampler.SetOutputOrigin([float(mm) for mm in first])
    resampler.SetOutputPixelType(SimpleITK.sitkFloat32)
    last: list[Any] = []  # owns the memory that the array returned looks into

    def work() -> Image:
        last[:] = [SimpleITK.IntensityWindowing(resampler.Execute(image), _LOW, _HIGH, 0.0, 1.0)]
        return np.asarray(SimpleITK.GetArrayViewFromImage(last[0]))

    return work


def monai_transforms(volume: Volume, wanted: Prepared) -> Callable[[], Image]:
    """`Spacing`, bilinear, in float32 (half the time of its default), `ScaleIntensityRange`."""
    import torch
    from monai.data import MetaTensor
    from monai.transforms import Compose, ScaleIntensityRange, Spacing

    affine = torch.diag(torch.tensor([*volume.geometry.spacing_kji_mm, 1.0], dtype=torch.float64))
    given = MetaTensor(torch.from_numpy(volume.array)[None], affine=affine)
    mm = wanted.geometry.spacing_kji_mm
    transforms: Any = Compose(
        [
            Spacing(mm, mode="bilinear", padding_mode="border", dtype=torch.float32),
            ScaleIntensityRange(_LOW, _HIGH, 0.0, 1.0, clip=True),
        ]
    )
    return lambda: np.asarray(transforms(given)[0])


def _measure(
    name: str, baseline: Baseline, anchor: GridAnchor, setting: Setting
) -> dict[str, Measured]:
    volume = setting.chest()
    card = resampling_card(anchor)
    wanted = prepare(volume, card)
    sides = {"ours": lambda: prepare(volume, card), "baseline": baseline(volume, wanted)}
    timed = interleaved(sides, setting.rounds(7))
    ours, other = timed["ours"].output.array[0], timed["baseline"].output
    same = ours.shape == other.shape
    error = float(np.abs(ours - other).max()) if same else float("inf")
    detail = (
        f"ours {timed['ours']}, baseline {timed['baseline']}; int16 {_size(volume)}"
        f" -> {'x'.join(map(str, wanted.shape_kji))} voxels of 1.5 mm, then"
        f" [{_LOW:g}, {_HIGH:g}] HU to [0, 1]; largest difference {error:.1e}"
    )
    ratio = timed["ours"].times_faster_than(timed["baseline"])
    return {name: Measured(ratio, error <= _TOLERANCE, detail)}


def _size(volume: Volume) -> str:
    voxels = "x".join(map(str, volume.array.shape))
    mm = " x ".join(f"{mm:.2f}" for mm in volume.geometry.spacing_kji_mm)
    return f"{voxels} voxels of {mm} mm"


def _against(
    peer: str,
    baseline: Baseline,
    anchor: GridAnchor,
    text: str,
    target: float | None,
    packages: tuple[str, ...],
) -> Comparison:
    name = f"resample/{peer}"
    return Comparison(
        (Promise(name, text, target),),
        packages,
        lambda setting: _measure(name, baseline, anchor, setting),
    )


COMPARISONS = (
    _against("scipy", scipy_zoom, "edges", "scipy.ndimage.zoom order 1", 8.0, ("scipy",)),
    _against(
        "simpleitk",
        simpleitk_filters,
        "edges",
        "SimpleITK ResampleImageFilter linear, all threads",
        3.0,
        ("SimpleITK",),
    ),
    _against(
        "monai",
        monai_transforms,
        "first_centre",
        "MONAI Spacing bilinear (float32) + ScaleIntensityRange",
        None,
        ("monai", "torch"),
    ),
)

"""The whole of `detect()` as a MONAI user writes it: transforms, sliding window, inversion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.volume import Volume
from MedDetectLib.models.card import IntensityWindow, ModelCard

__all__ = ["monai_path"]

Classes = npt.NDArray[np.uint8]


def monai_path(
    volume: Volume, card: ModelCard, network: Any, device: str = "cpu"
) -> Callable[[], Classes]:
    """Return the work: voxels in, [k, j, i] classes on the volume's own grid out.

    Arrays stay [k, j, i]; the affine says so. Resampling computes in float32 both ways,
    which takes MONAI half the time of its default float64.

    Args:
        volume: a CT.
        card: of a softmax network with an intensity window and a spacing.
        network: a callable on torch tensors.
        device: where everything is done, from the first transform to the last.
    """
    import torch
    from monai.data import MetaTensor
    from monai.inferers import SlidingWindowInferer
    from monai.transforms import Compose, Orientationd, ScaleIntensityRanged, Spacingd
    from monai.transforms.post.dictionary import Invertd

    spec, window = card.input, card.input.window
    (intensity,) = spec.intensity
    assert isinstance(intensity, IntensityWindow)
    columns = volume.geometry.ijk_to_ras[:, [2, 1, 0, 3]]  # the first index is k
    axes = (spec.orientation or volume.geometry.orientation)[::-1]
    transforms: Any = Compose(
        [
            Orientationd("image", axcodes=axes, labels=None),
            Spacingd(
                "image",
                pixdim=spec.spacing_kji_mm,
                mode="bilinear",
                padding_mode="border",
                dtype=torch.float32,
            ),
            ScaleIntensityRanged("image", intensity.low, intensity.high, 0.0, 1.0, clip=True),
        ]
    )
    inferer: Any = SlidingWindowInferer(
        window.shape_kji,
        sw_batch_size=1,
        overlap=window.overlap,
        mode="gaussian",
        sigma_scale=window.sigma,
        cval=window.pad_value,
    )
    invert: Any = Invertd(
        "logits", transforms, orig_keys="image", nearest_interp=False, to_tensor=True
    )

    def work() -> Classes:
        voxels = torch.from_numpy(volume.array)[None].to(device)
        given = MetaTensor(voxels, affine=torch.tensor(columns))
        with torch.inference_mode():
            data = transforms({"image": given})
            data["logits"] = inferer(data["image"][None], network)[0]
            logits = invert(data)["logits"]
            return np.asarray(logits.argmax(0).to(torch.uint8).cpu())

    return work

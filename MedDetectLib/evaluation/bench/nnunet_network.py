"""A network by nnU-Net's own plans, with random weights, for nnU-Net and for us."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from MedDetectLib.evaluation.bench.models import plain_card_data, write_model

__all__ = ["Contest", "dataset_json", "plans", "random_network", "write_our_model"]

_CLIP = (-1000.0, 1000.0)
_MEAN, _SPREAD = -400.0, 450.0


@dataclass(frozen=True)
class Contest:
    """What both sides are asked to do.

    Args:
        classes: background included.
        shape_kji: voxels of the scan.
        spacing_kji_mm: its spacing.
        patch: side of the cubic window, in voxels of 1.5 mm.
        features: channels per stage of the network.
        resample_torch: whether nnU-Net resamples with torch instead of scikit-image.
        device: ``"cpu"`` in float32, or ``"cuda"`` in float16.
    """

    classes: int
    shape_kji: tuple[int, int, int] = (160, 256, 256)
    spacing_kji_mm: tuple[float, float, float] = (1.5, 0.75, 0.75)
    patch: int = 64
    features: tuple[int, ...] = (16, 32, 64, 128, 160)
    resample_torch: bool = False
    device: str = "cpu"

    def to_json(self) -> dict[str, Any]:
        """Return plain data under the field names."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Contest:
        """Rebuild what `to_json` returned."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        return cls(**values)


def plans(contest: Contest) -> dict[str, Any]:
    """Return nnU-Net plans: its defaults, but image and scores resampled linearly.

    nnU-Net's default for the image is cubic, which our cards do not offer; linear is the
    faster of the two, so the change is in its favour.
    """
    linear: dict[str, Any] = {"force_separate_z": False}
    if contest.resample_torch:
        function = "resample_torch_fornnunet"
    else:
        function = "resample_data_or_seg_to_shape"
        linear = {**linear, "order": 1, "order_z": 0}
    configuration = {
        "data_identifier": "bench_3d",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [contest.patch] * 3,
        "median_image_size_in_voxels": [160, 160, 160],
        "spacing": [1.5, 1.5, 1.5],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": function,
        "resampling_fn_data_kwargs": {"is_seg": False, **linear},
        "resampling_fn_seg": function,
        "resampling_fn_seg_kwargs": {"is_seg": True, **linear},
        "resampling_fn_probabilities": function,
        "resampling_fn_probabilities_kwargs": {"is_seg": False, **linear},
        "batch_dice": False,
        "architecture": _architecture(contest),
    }
    low, high = _CLIP
    return {
        "dataset_name": "Dataset999_Bench",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(contest.spacing_kji_mm),
        "original_median_shape_after_transp": list(contest.shape_kji),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {"mean": _MEAN, "std": _SPREAD, "percentile_00_5": low, "percentile_99_5": high}
        },
    }


def _architecture(contest: Contest) -> dict[str, Any]:
    """Return the plans' description of a `PlainConvUNet`."""
    stages = len(contest.features)
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": list(contest.features),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def dataset_json(contest: Contest) -> dict[str, Any]:
    """Return what nnU-Net wants to know of a data set."""
    names = {f"class {n}": n for n in range(1, contest.classes)}
    return {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **names},
        "file_ending": ".nii.gz",
    }


def random_network(contest: Contest) -> Any:
    """Return nnU-Net's `PlainConvUNet` in evaluation mode; the same weights every time."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    given = _architecture(contest)
    torch.manual_seed(20)
    network = get_network_from_plans(
        given["network_class_name"],
        given["arch_kwargs"],
        given["_kw_requires_import"],
        1,
        contest.classes,
        deep_supervision=False,
    )
    return network.eval()


def write_our_model(contest: Contest, folder: Path) -> Path:
    """Export the network to ONNX, with a card that says what the plans say."""
    import torch

    low, high = _CLIP
    program = torch.onnx.export(
        random_network(contest),
        (torch.zeros(1, 1, *[contest.patch] * 3),),
        input_names=["image"],
        output_names=["logits"],
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    program.save(str(folder / "model.onnx"), external_data=False)
    data = plain_card_data(
        "nnunet-bench",
        labels=contest.classes - 1,
        spacing_kji_mm=(1.5, 1.5, 1.5),
        window_kji=(contest.patch,) * 3,
        window={"centre": "voxel"},
        normalise="before_resample",
        intensity=[
            {"step": "clip", "low": low, "high": high},
            {"step": "linear", "scale": 1 / _SPREAD, "offset": -_MEAN / _SPREAD},
        ],
    )
    return write_model(folder, data)

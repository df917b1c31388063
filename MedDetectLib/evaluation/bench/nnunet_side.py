"""Both sides of the comparison with nnU-Net, each run in a process of its own.

python -m MedDetectLib.evaluation.bench.nnunet_side SIDE CONTEST.json SCAN.npy MODEL

SIDE is ours, nnunet or nnunet-f32.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.evaluation.bench.nnunet_network import (
    Contest,
    dataset_json,
    plans,
    random_network,
)
from MedDetectLib.evaluation.bench.side import serve
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.model import load_model
from MedDetectLib.inference.parallel import core_count

Work = Callable[[], npt.NDArray[Any]]


def our_side(contest: Contest, scan: npt.NDArray[np.int16], model_folder: Path) -> Work:
    """`detect()`, and the class of every voxel from its findings."""
    geometry = Geometry.from_axes(
        contest.shape_kji, contest.spacing_kji_mm, (0.0, 0.0, 0.0), np.diag([-1.0, -1.0, 1.0])
    )
    volume = Volume(scan, geometry, modality="CT")
    model = load_model(model_folder, precision="f32" if contest.device == "cpu" else "f16")
    return lambda: detect(volume, model).class_map()


def nnunet_side(contest: Contest, scan: npt.NDArray[np.int16], model_folder: Path) -> Work:
    """`nnUNetPredictor.predict_single_npy_array` on all cores, without mirroring."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(name, str(model_folder))  # it warns where they are not set
    os.environ.setdefault("nnUNet_def_n_proc", str(core_count()))
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    predictor = nnUNetPredictor(
        tile_step_size=0.5,
        use_gaussian=True,
        use_mirroring=False,
        perform_everything_on_device=contest.device != "cpu",
        device=torch.device(contest.device),
        allow_tqdm=False,
    )
    network = random_network(contest)
    manager = PlansManager(plans(contest))
    predictor.manual_initialization(
        network,
        manager,
        manager.get_configuration("3d_fullres"),
        [network.state_dict()],
        dataset_json(contest),
        "nnUNetTrainer",
        None,
    )
    given = scan[None].astype(np.float32)  # as its readers hand it over
    properties = {"spacing": list(contest.spacing_kji_mm)}
    return lambda: np.asarray(predictor.predict_single_npy_array(given, dict(properties)))


def exact_side(contest: Contest, scan: npt.NDArray[np.int16], model_folder: Path) -> Work:
    """Let the same predictor add scores up in float32 instead of float16.

    What the labels would be without rounding, to judge both answers by.
    """
    import torch

    torch.half = torch.float32
    return nnunet_side(contest, scan, model_folder)


def main() -> None:
    """Set one side up, then answer the parent."""
    side, contest_path, scan_path, model_folder = sys.argv[1:]
    contest = Contest.from_json(json.loads(Path(contest_path).read_text("utf-8")))
    scan = np.load(scan_path, allow_pickle=False)
    set_up = {"ours": our_side, "nnunet": nnunet_side, "nnunet-f32": exact_side}[side]
    serve(lambda: set_up(contest, scan, Path(model_folder)))


if __name__ == "__main__":
    main()

"""Make the sample scans that ship with MedDetect.

    python -m MedDetectLib.learning.make_samples --out Resources/SampleData

Each is one phantom no model was trained on, on a coarse grid so that the file stays small:
the scan (NIfTI), the map of its planted lesions (NRRD) and their list (JSON, RAS mm).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import get_args

from MedDetectLib.cases.lps import to_sitk
from MedDetectLib.learning.demo_cards import Task, demo_card_data, phantom_of
from MedDetectLib.learning.phantoms import Phantom

__all__ = ["SAMPLE_SEEDS", "make_sample", "sample_phantom"]

SAMPLE_SEEDS: dict[str, int] = {"chest": 102, "brain": 100}
"""Chosen for the variety of their lesions' sizes and kinds."""
_SPACING_KJI_MM = {"chest": (2.8, 2.0, 2.0), "brain": (2.0, 1.5, 1.5)}


def sample_phantom(task: Task) -> Phantom:
    """Return the phantom behind a sample scan."""
    return phantom_of(task)(
        SAMPLE_SEEDS[task], spacing_kji_mm=_SPACING_KJI_MM[task], lesion_count=(4, 6)
    )


def make_sample(task: Task, out: Path) -> Path:
    """Write one sample scan, its truth map and its lesion list; return the scan's path."""
    import SimpleITK

    phantom = sample_phantom(task)
    name = demo_card_data(task)["name"]
    out.mkdir(parents=True, exist_ok=True)
    scan = out / f"{name}.nii.gz"
    SimpleITK.WriteImage(to_sitk(phantom.volume), str(scan), True, 9)
    truth = to_sitk(phantom.truth, phantom.volume.geometry)
    SimpleITK.WriteImage(truth, str(out / f"{name}.truth.nrrd"), True, 9)
    listed = {
        "scan": scan.name,
        "phantom": task,
        "seed": SAMPLE_SEEDS[task],
        "frame": "RAS",
        "lesions": [
            {
                "value": lesion.value,
                "label": lesion.label,
                "centre_ras_mm": [round(c, 2) for c in lesion.centre_ras_mm],
                "diameter_mm": round(lesion.diameter_mm, 2),
                "box_kji_edges": list(lesion.box),
            }
            for lesion in phantom.lesions
        ],
    }
    (out / f"{name}.truth.json").write_text(json.dumps(listed, indent=2) + "\n", "utf-8")
    return scan


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Make the sample scans.")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    for task in get_args(Task):
        print(make_sample(task, args.out))


if __name__ == "__main__":
    main()

"""Boxes for detection: MONAI's datalist in world coordinates, and a COCO-like list."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from MedDetectLib.cases.lps import points_flipped
from MedDetectLib.cases.training.export_files import ExportFiles
from MedDetectLib.cases.training.selection import PARTS
from MedDetectLib.cases.training.truth import ExportCase
from MedDetectLib.core.findings import Finding
from MedDetectLib.core.geometry import Geometry

__all__ = ["CocoBoxes", "MonaiDetection", "straightened"]


class MonaiDetection:
    """``datalist.json`` as MONAI's detection tutorial reads it.

    ``box`` is cccwhd: centre x, y, z and extent along x, y, z in millimetres of LPS, as
    in LUNA16 (``gt_box_mode`` "cccwhd", ``affine_lps_to_ras=True``). ``label`` counts from
    0. Such a box has sides along the world's axes; those of an oblique image have not, so
    images are written on a straightened grid: same voxels, same spacing, axes turned to the
    nearest patient axes.
    """

    needs_masks = False
    one_modality = False

    def __init__(self, files: ExportFiles, numbers: dict[str, int]) -> None:
        self.files = files
        self.numbers = numbers
        self.items: dict[str, list[dict[str, Any]]] = {}

    @staticmethod
    def check_name(folder: Path) -> None:
        """Any name will do."""

    def add(self, case: ExportCase) -> None:
        """Write one case."""
        grid = straightened(case.geometry)
        image = self.files.image(f"images/{case.name}.nii.gz", case.volume.array, grid)
        self.items.setdefault(case.part, []).append(
            {
                "image": image,
                "box": _world_boxes(case.positives, grid),
                "label": [case.number_of(item) - 1 for item in case.positives],
                "hard_negative_box": _world_boxes(case.rejected, grid),
                "hard_negative_label": [case.number_of(item) - 1 for item in case.rejected],
                "case": case.name,
                "patient_group": case.patient_group,
                "straightened": grid is not case.geometry,
                "ijk_to_ras_mm": case.geometry.ijk_to_ras.tolist(),
            }
        )

    def finish(self) -> None:
        """Write ``datalist.json``."""
        self.files.json(
            "datalist.json",
            {
                "box_mode": "cccwhd",
                "box_world": "LPS",
                "box_unit": "mm",
                "labels": {str(n - 1): name for name, n in self.numbers.items()},
                **{part: self.items.get(part, []) for part in PARTS},
            },
        )


class CocoBoxes:
    """COCO's lists with a third axis, one file per part; boxes in voxels of the image file."""

    needs_masks = False
    one_modality = False
    info: dict[str, Any] = {  # noqa: RUF012 (never changed)
        "description": "reviewed cases of a MedDetect store",
        "dimensions": 3,
        "bbox": "[x, y, z, width, height, depth] in voxels along i, j, k of the image file",
        "bbox_origin": "the outer corner of the first voxel; voxel n spans n to n + 1",
        "ijk_to_ras_mm": "maps voxel centres (i, j, k, 1) to RAS mm; the first centre is 0, 0, 0,"
        " which is 0.5, 0.5, 0.5 in bbox coordinates",
        "hard_negatives": "what a model found and a reader rejected; no truth",
    }

    def __init__(self, files: ExportFiles, numbers: dict[str, int]) -> None:
        self.files = files
        self.numbers = numbers
        self.parts: dict[str, dict[str, list[dict[str, Any]]]] = {}

    @staticmethod
    def check_name(folder: Path) -> None:
        """Any name will do."""

    def add(self, case: ExportCase) -> None:
        """Write one case."""
        part = self.parts.setdefault(
            case.part, {"images": [], "annotations": [], "hard_negatives": []}
        )
        k, j, i = case.geometry.shape_kji
        number = len(part["images"]) + 1
        part["images"].append(
            {
                "id": number,
                "file_name": self.files.image(
                    f"images/{case.name}.nii.gz", case.volume.array, case.geometry
                ),
                "width": i,
                "height": j,
                "depth": k,
                "ijk_to_ras_mm": case.geometry.ijk_to_ras.tolist(),
                "spacing_ijk_mm": list(case.geometry.spacing_kji_mm[::-1]),
                "case": case.name,
                "patient_group": case.patient_group,
            }
        )
        for name, items in (("annotations", case.positives), ("hard_negatives", case.rejected)):
            for item in items:
                entry = _coco_box(case, item)
                part[name].append({"id": len(part[name]) + 1, "image_id": number, **entry})

    def finish(self) -> None:
        """Write ``instances_<part>.json``."""
        categories = [{"id": n, "name": name} for name, n in self.numbers.items()]
        for part, lists in self.parts.items():
            data = {"info": self.info, "licenses": [], "categories": categories, **lists}
            self.files.json(f"instances_{part}.json", data)


def straightened(geometry: Geometry) -> Geometry:
    """Return the grid with its axes turned to the nearest patient axes; itself if they are."""
    nearest = np.rint(geometry.directions_ras)
    letters = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    straight = np.zeros((3, 3))
    for column, letter in enumerate(geometry.orientation):
        row, sign = letters[letter]
        straight[row, column] = sign
    if np.array_equal(nearest, straight) and np.array_equal(straight, geometry.directions_ras):
        return geometry
    return Geometry.from_axes(
        geometry.shape_kji, geometry.spacing_kji_mm, geometry.origin_ras_mm, straight
    )


def _world_boxes(items: Iterable[Finding], grid: Geometry) -> list[list[float]]:
    """Return (N, 6) cccwhd in LPS mm of boxes on a grid along the patient's axes."""
    boxes = []
    for item in items:
        corners_lps = points_flipped(grid.box_corners_ras_mm(item.box))
        low, high = corners_lps.min(axis=0), corners_lps.max(axis=0)
        boxes.append([float(x) for x in (*((low + high) / 2), *(high - low))])
    return boxes


def _coco_box(case: ExportCase, item: Finding) -> dict[str, Any]:
    k0, j0, i0, k1, j1, i1 = item.box
    width, height, depth = i1 - i0, j1 - j0, k1 - k0
    return {
        "category_id": case.number_of(item),
        "bbox": [i0, j0, k0, width, height, depth],
        "volume": width * height * depth,
        "iscrowd": 0,
        "score": item.score,
    }

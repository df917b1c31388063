"""Label maps for segmentation: MONAI, nnU-Net v2, Medical Segmentation Decathlon."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from MedDetectLib.cases.training.export_files import ExportFiles
from MedDetectLib.cases.training.truth import ExportCase
from MedDetectLib.core.errors import InputError

__all__ = ["Decathlon", "MonaiDatalist", "NnUNetRaw"]

FOLDS = 5


class MonaiDatalist:
    """``datalist.json`` with ``images/`` and ``labels/``, see `monai.data`.

    Items hold texts only beside the two images, so that batches of any cases collate.
    """

    needs_masks = True
    one_modality = False
    images, labels, negatives = "images", "labels", "hard_negatives"

    def __init__(self, files: ExportFiles, numbers: dict[str, int]) -> None:
        self.files = files
        self.numbers = numbers
        self.items: dict[str, list[dict[str, Any]]] = {}
        self.hard: dict[str, list[dict[str, Any]]] = {}
        self.modality = ""

    @staticmethod
    def check_name(folder: Path) -> None:
        """Any name will do."""

    def add(self, case: ExportCase) -> None:
        """Write one case."""
        self.modality = case.volume.modality
        item = {
            "image": self._image(case),
            "label": self.files.image(self._label_name(case), case.label_map(), case.geometry),
        }
        item |= {
            "case": case.name,
            "patient_group": case.patient_group,
            "modality": case.volume.modality,
        }
        self.items.setdefault(case.part, []).append(item)
        self._add_hard(case)

    def finish(self) -> None:
        """Write what lists the cases."""
        self.files.json(
            "datalist.json",
            {
                "labels": {"0": "background", **{str(n): t for t, n in self.numbers.items()}},
                "numTraining": len(self.items.get("training", [])),
                "training": self.items.get("training", []),
                "validation": self.items.get("validation", []),
                "test": self.items.get("test", []),
            },
        )
        self._finish_hard()

    def _image(self, case: ExportCase) -> str:
        name = self._image_name(case)
        return self.files.image(name, case.volume.array, case.geometry)

    def _image_name(self, case: ExportCase) -> str:
        return f"{self.images}/{case.name}.nii.gz"

    def _label_name(self, case: ExportCase) -> str:
        return f"{self.labels}/{case.name}.nii.gz"

    def _add_hard(self, case: ExportCase) -> None:
        """Keep what was rejected beside the truth, where no framework takes it for truth."""
        if not case.rejected:
            return
        mask = case.rejected_map()
        name = f"{self.negatives}/{case.name}.nii.gz"
        if mask is not None:
            self.files.image(name, mask, case.geometry)
        self.hard[case.name] = [
            {
                "label": case.findings.label_of(item).name,
                "score": item.score,
                "box_edges_kji": list(item.box),
                "mask": name if item.mask_value is not None and mask is not None else None,
            }
            for item in case.rejected
        ]

    def _finish_hard(self) -> None:
        if self.hard:
            self.files.json("hard_negatives.json", {"hard_negatives": self.hard})


class Decathlon(MonaiDatalist):
    """The layout of the Medical Segmentation Decathlon; loads as any of its tasks."""

    one_modality = True
    images, labels, negatives = "imagesTr", "labelsTr", "hardNegativesTr"

    def finish(self) -> None:
        """Write ``dataset.json``."""
        self.files.json(
            "dataset.json",
            {
                "name": "MedDetect",
                "description": "reviewed cases of a MedDetect store",
                "tensorImageSize": "3D",
                "modality": {"0": self.modality or "image"},
                "labels": {"0": "background", **{str(n): t for t, n in self.numbers.items()}},
                "numTraining": len(self.items.get("training", [])),
                "numTest": len(self.items.get("test", [])),
                "training": self._pairs("training"),
                "validation": self._pairs("validation"),
                "test": [f"./{item['image']}" for item in self.items.get("test", [])],
            },
        )
        self._finish_hard()

    def _image_name(self, case: ExportCase) -> str:
        return f"{'imagesTs' if case.part == 'test' else 'imagesTr'}/{case.name}.nii.gz"

    def _label_name(self, case: ExportCase) -> str:
        return f"{'labelsTs' if case.part == 'test' else 'labelsTr'}/{case.name}.nii.gz"

    def _pairs(self, part: str) -> list[dict[str, str]]:
        return [
            {"image": f"./{item['image']}", "label": f"./{item['label']}"}
            for item in self.items.get(part, [])
        ]


class NnUNetRaw(Decathlon):
    """A raw data set of nnU-Net v2, with splits that keep each patient on one side.

    Its planner copies ``splits_final.json`` from the raw to the preprocessed folder.
    """

    @staticmethod
    def check_name(folder: Path) -> None:
        """Refuse a folder that nnU-Net would not find.

        Raises:
            InputError: ``bad-name``.
        """
        if not re.fullmatch(r"Dataset\d{3}_\w+", folder.name):
            raise InputError(
                "bad-name",
                f"nnU-Net finds no data set called '{folder.name}'",
                where=folder,
                todo="give a folder like nnUNet_raw/Dataset501_Nodules",
            )

    def finish(self) -> None:
        """Write ``dataset.json`` and ``splits_final.json``."""
        trained = [*self.items.get("training", []), *self.items.get("validation", [])]
        if not trained:
            raise InputError(
                "nothing-to-export",
                "nnU-Net needs a case to train on",
                todo="review cases of the training split, or export another one",
            )
        self.files.json(
            "dataset.json",
            {
                "channel_names": {"0": self.modality or "image"},
                "labels": {"background": 0, **self.numbers},
                "numTraining": len(trained),
                "file_ending": ".nii.gz",
                "name": "MedDetect",
                "description": "reviewed cases of a MedDetect store",
            },
        )
        if splits := self._splits():
            self.files.json("splits_final.json", splits)
        self._finish_hard()

    def _image_name(self, case: ExportCase) -> str:
        return super()._image_name(case).replace(".nii.gz", "_0000.nii.gz")

    def _splits(self) -> list[dict[str, list[str]]]:
        """Return folds by case name: the store's own split, else five that divide patients.

        Fewer than five patients make as many folds; one alone cannot be divided.
        """
        training, validation = self.items.get("training", []), self.items.get("validation", [])
        if training and validation:
            return [{"train": _names(training), "val": _names(validation)}]
        items = training or validation
        groups = sorted({item["patient_group"] for item in items})
        folds = min(FOLDS, len(groups))
        if folds < 2:
            return []
        return [
            {
                "train": _names(i for i in items if groups.index(i["patient_group"]) % folds != n),
                "val": _names(i for i in items if groups.index(i["patient_group"]) % folds == n),
            }
            for n in range(folds)
        ]


def _names(items: Any) -> list[str]:
    return [str(item["case"]) for item in items]

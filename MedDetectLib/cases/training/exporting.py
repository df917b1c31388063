"""A store's reviewed cases as one folder for one training framework.

report = export_training(store, "nnUNet_raw/Dataset501_Nodules", "nnunet")
report.left_out  # {"frozen": [...], "unreviewed": [...]}
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import MedDetectLib
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.cases.training.box_formats import CocoBoxes, MonaiDetection
from MedDetectLib.cases.training.export_files import ExportFiles
from MedDetectLib.cases.training.segmentation_formats import Decathlon, MonaiDatalist, NnUNetRaw
from MedDetectLib.cases.training.selection import PARTS, Chosen, Selection, Wanted, choose
from MedDetectLib.cases.training.truth import ExportCase, class_numbers, has_all_masks
from MedDetectLib.cases.whole_folder import check_free, whole_folder
from MedDetectLib.core.errors import InputError, StoreError

__all__ = ["FORMATS", "MANIFEST", "TrainingReport", "export_training"]

MANIFEST = "manifest.json"
DAMAGED = "damaged"


class TrainingFormat(Protocol):
    """What each format does with one case after the other."""

    needs_masks: bool
    one_modality: bool

    def __init__(self, files: ExportFiles, numbers: dict[str, int]) -> None: ...
    @staticmethod
    def check_name(folder: Path) -> None:
        """Refuse a folder name the framework would not find."""

    def add(self, case: ExportCase) -> None:
        """Write one case."""

    def finish(self) -> None:
        """Write what lists the cases."""


FORMATS: dict[str, type[TrainingFormat]] = {
    "monai": MonaiDatalist,
    "nnunet": NnUNetRaw,
    "msd": Decathlon,
    "monai-detection": MonaiDetection,
    "coco": CocoBoxes,
}


@dataclass(frozen=True)
class TrainingReport:
    """What was exported.

    Args:
        format: one of `FORMATS`.
        labels: class number by name, from 1.
        cases: how many per part.
        empty: how many of them hold no finding.
        unsettled: how many were read by several and not adjudicated; the newest counts.
        hard_negatives: rejected findings kept.
        left_out: ids of the cases that stayed out, by reason.
    """

    format: str
    labels: dict[str, int]
    cases: dict[str, int]
    empty: int
    unsettled: int
    hard_negatives: int
    left_out: dict[str, list[str]]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return dict(vars(self))


def export_training(
    store: CaseStore,
    folder: str | PathLike[str],
    name: str,
    wanted: Wanted | None = None,
    before_publishing: Callable[[Path], None] | None = None,
) -> TrainingReport:
    """Write the truth of reviewed cases with their images into a new folder.

    All of it is there, or nothing. Frozen cases never train: they stay out, or become a test
    set on request. The folder holds no patient id, no reader's name and no file name of
    before. Cases whose findings are boxes only stay out of segmentation formats
    (``no-mask``), those with voxels that are not numbers (``not-finite``) or with a file that is
    not what was written (``damaged``) out of all.

    Args:
        store: where from.
        folder: not there yet, or empty.
        name: one of `FORMATS`.
        wanted: which cases; all reviewed ones that may be trained with by default.
        before_publishing: looks at the finished folder under its temporary name; when it
            raises, nothing is published.

    Raises:
        InputError: ``bad-format``, ``bad-name``, ``nothing-to-export``, ``no-class``,
            ``unknown-class``, ``bad-label``, ``mixed-modalities``; ``frozen-case`` (77).
        StoreError: ``exists``, ``cannot-write``, ``disk-full`` (73); ``cannot-read``.
    """
    folder, wanted = Path(folder), wanted or Wanted()
    if name not in FORMATS:
        raise InputError("bad-format", f"'{name}' is none of {', '.join(FORMATS)}")
    kind = FORMATS[name]
    kind.check_name(folder)
    check_free(folder)
    selection = choose(store, wanted)
    _check_some(selection)
    if kind.one_modality:
        _check_one_modality(selection)
    if kind.needs_masks:
        _leave_out_boxes(store, selection)
    found = {label for chosen in selection.chosen for label in chosen.version.labels}
    numbers = class_numbers(wanted.labels, found)
    with whole_folder(folder) as made:
        files = ExportFiles(made)
        report = _write(store, selection, kind(files, numbers), name, numbers)
        files.json(MANIFEST, _manifest(selection, report, files))
        if before_publishing is not None:
            before_publishing(made)
    return report


def _write(
    store: CaseStore,
    selection: Selection,
    out: TrainingFormat,
    name: str,
    numbers: dict[str, int],
) -> TrainingReport:
    """Write case after case; those that cannot be used move to `Selection.left_out`."""
    empty = negatives = 0
    kept: list[Chosen] = []
    for chosen in selection.chosen:
        with _left_out_if_damaged(selection, chosen):
            volume = store.volume(chosen.row.id)
            findings = store.findings(chosen.row.id, chosen.version.number)
        if chosen.row.id in selection.left_out.get(DAMAGED, ()):
            continue
        case = ExportCase(chosen.name, chosen.part, chosen.patient_group, volume, findings, numbers)
        if case.volume.array.dtype.kind == "f" and not np.isfinite(case.volume.array).all():
            selection.leave_out("not-finite", chosen.row.id)
            continue
        out.add(case)
        kept.append(chosen)
        empty += not case.positives
        negatives += len(case.rejected)
    selection.chosen = kept
    _check_some(selection)
    out.finish()
    return TrainingReport(
        name,
        numbers,
        {part: sum(chosen.part == part for chosen in kept) for part in PARTS},
        empty,
        sum(chosen.row.status == "read-twice" for chosen in kept),
        negatives,
        selection.left_out,
    )


@contextlib.contextmanager
def _left_out_if_damaged(selection: Selection, chosen: Chosen) -> Iterator[None]:
    """Let one damaged file cost its case, and not the whole export."""
    try:
        yield
    except StoreError as error:
        if error.code != DAMAGED:
            raise
        selection.leave_out(DAMAGED, chosen.row.id)


def _leave_out_boxes(store: CaseStore, selection: Selection) -> None:
    """Take out cases with findings that have no voxels, before classes are numbered."""
    kept = []
    for chosen in selection.chosen:
        with _left_out_if_damaged(selection, chosen):
            if has_all_masks(store.findings(chosen.row.id, chosen.version.number)):
                kept.append(chosen)
            else:
                selection.leave_out("no-mask", chosen.row.id)
    selection.chosen = kept
    _check_some(selection)


def _check_some(selection: Selection) -> None:
    if not selection.chosen:
        counts = ", ".join(f"{len(ids)} {why}" for why, ids in selection.left_out.items())
        raise InputError(
            "nothing-to-export",
            f"no case can be exported ({counts or 'the store is empty'})",
            todo="review cases first, or see --split, --include-unreviewed, --frozen-as-test",
        )


def _check_one_modality(selection: Selection) -> None:
    found = sorted({chosen.row.modality or "unknown" for chosen in selection.chosen})
    if len(found) > 1:
        raise InputError(
            "mixed-modalities",
            f"the cases are {', '.join(found)}, this format holds one kind of image",
            todo="choose one with --modality",
        )


def _manifest(selection: Selection, report: TrainingReport, files: ExportFiles) -> dict[str, Any]:
    """Return what the folder was made of; nothing in it tells a patient or a reader."""
    return {
        "format": "meddetect.training-export/1",
        "meddetect": MedDetectLib.__version__,
        "report": report.to_json(),
        "cases": [
            {
                "case": chosen.row.id,
                "part": chosen.part,
                "patient_group": chosen.patient_group,
                "version": chosen.version.number,
                "kind": chosen.version.kind,
                "reviewed": chosen.reviewed,
                "truth_sha256": chosen.version.findings.sha256,
                "label_map_sha256": getattr(chosen.version.label_map, "sha256", None),
            }
            for chosen in selection.chosen
        ],
        "files": dict(sorted(files.written.items())),
    }

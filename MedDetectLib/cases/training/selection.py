"""Which cases go into a training export, as what, and why others stay out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.cases.store.exporting import is_reviewed, truth_of
from MedDetectLib.cases.store.queries import CaseFilter, CaseRow
from MedDetectLib.cases.store.records import VersionRecord
from MedDetectLib.cases.store.split import Split
from MedDetectLib.core.errors import InputError

__all__ = ["PARTS", "Chosen", "Part", "Selection", "Wanted", "choose"]

Part = Literal["training", "validation", "test"]
PARTS: tuple[Part, ...] = ("training", "validation", "test")
PART_OF: dict[Split, Part] = {"train": "training", "validation": "validation", "frozen": "test"}
NOT_ALLOWED = 77


@dataclass(frozen=True)
class Wanted:
    """What shall be exported.

    Args:
        splits: the patients' splits; frozen cases need `frozen_as_test` as well.
        cases: these ids only; none means all.
        modality: DICOM code; None for any.
        labels: the classes in the order of their numbers, from 1; none means those found in
            the exported cases, by name.
        include_unreviewed: take a model's findings for the truth where nobody read the case.
        frozen_as_test: add the frozen cases, as a test set of their own.
    """

    splits: tuple[Split, ...] = ("train", "validation")
    cases: tuple[str, ...] = ()
    modality: str | None = None
    labels: tuple[str, ...] = ()
    include_unreviewed: bool = False
    frozen_as_test: bool = False


@dataclass(frozen=True)
class Chosen:
    """One case and the version that is its truth.

    Args:
        row: the case.
        version: what is true of it.
        part: where it goes.
        reviewed: False when the truth is a model's.
        patient_group: equal for cases of one patient; the first of their case ids.
    """

    row: CaseRow
    version: VersionRecord
    part: Part
    reviewed: bool
    patient_group: str

    @property
    def name(self) -> str:
        """What its files are called; says nothing about the patient."""
        return f"case_{self.row.id}"


@dataclass
class Selection:
    """The cases to export, and ids of those that stay out, by reason."""

    chosen: list[Chosen] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, reason: str, case_id: str) -> None:
        """Note why a case is not exported."""
        self.left_out.setdefault(reason, []).append(case_id)


def choose(store: CaseStore, wanted: Wanted) -> Selection:
    """Decide for each case of a store.

    A case stays out as ``frozen``, ``other-split``, ``other-modality``, ``damaged``,
    ``nothing-said`` (no version) or ``unreviewed`` (a model's findings that nobody read).

    Raises:
        InputError: ``frozen-case`` (77) when a frozen case is asked for by name without
            `Wanted.frozen_as_test`; ``no-case``.
        StoreError: ``damaged``, ``cannot-read``.
    """
    selection = Selection()
    groups: dict[str, str] = {}
    for row in _rows(store, wanted):
        reason = _reason_against(row, wanted)
        if reason is not None:
            selection.leave_out(reason, row.id)
            continue
        versions = store.versions(row.id)
        version = truth_of(versions)
        if version is None:
            selection.leave_out("nothing-said", row.id)
            continue
        reviewed = is_reviewed(versions, version)
        if not reviewed and not wanted.include_unreviewed:
            selection.leave_out("unreviewed", row.id)
            continue
        group = groups.setdefault(row.patient, row.id)
        selection.chosen.append(Chosen(row, version, PART_OF[row.split], reviewed, group))
    return selection


def _rows(store: CaseStore, wanted: Wanted) -> Iterator[CaseRow]:
    """Yield the rows to decide about, in the order of import."""
    asked = set(wanted.cases)
    for case_id in wanted.cases:
        if store.case(case_id).split == "frozen" and not wanted.frozen_as_test:
            raise InputError(
                "frozen-case",
                f"case {case_id} is kept for testing and never trained on",
                todo="leave it out, or export the frozen cases as a test set (--frozen-as-test)",
                exit_code=NOT_ALLOWED,
            )
    for row in store.cases(CaseFilter()):
        if not asked or row.id in asked:
            yield row


def _reason_against(row: CaseRow, wanted: Wanted) -> str | None:
    """Return why a case stays out, as far as its row tells."""
    if row.status == "damaged":
        return "damaged"
    if row.split == "frozen":
        if not wanted.frozen_as_test:
            return "frozen"
    elif row.split not in wanted.splits:
        return "other-split"
    if wanted.modality is not None and row.modality != wanted.modality:
        return "other-modality"
    return None

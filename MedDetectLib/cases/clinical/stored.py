"""What a stored version says to the clinic: findings, who stands for them, who added which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from MedDetectLib.cases.clinical.identity import added_by
from MedDetectLib.cases.clinical.reader import Reader
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.cases.store.exporting import is_reviewed
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Findings

__all__ = ["StoredReading", "stored_reading"]


@dataclass(frozen=True)
class StoredReading:
    """One version of a case, as `export_clinical` takes it.

    Args:
        findings: what it says.
        reader: who signed it; None for a model's findings that nobody has read.
        added_by: who drew each finding that no model found, by finding id.
    """

    findings: Findings
    reader: Reader | None
    added_by: Mapping[str, str]


def stored_reading(
    store: CaseStore, case_id: str, number: int, organisation: str = ""
) -> StoredReading:
    """Return what a stored version says, the same whichever door asks.

    Args:
        store: where the case lies.
        case_id: in full.
        number: of the version.
        organisation: who answers for the signature.

    Raises:
        InputError: ``no-version``.
        StoreError: the version is damaged.
    """
    versions = store.versions(case_id)
    version = next((each for each in versions if each.number == number), None)
    if version is None:
        raise InputError(
            "no-version", f"there is no version {number} of this case", where=case_id,
            todo="see 'store show'",
        )  # fmt: skip
    reader = None
    if is_reviewed(versions, version):  # a model's findings that were restored nobody has read
        reader = Reader(version.author, version.signed, organisation)
    return StoredReading(store.findings(case_id, number), reader, added_by(store, case_id, number))

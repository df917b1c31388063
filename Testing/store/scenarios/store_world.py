"""What the crash scenarios share: a store with something in it, and what must always hold."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import store_samples as samples

from MedDetectLib.cases.store.case_store import CaseFilter, CaseStore, Saying

FIRST, SECOND = "P1", "P2"


def prepare_store(folder: Path) -> CaseStore:
    """One case with a model's findings and a review; a second one without anything."""
    store = CaseStore.open_or_create(folder / "store")
    case = store.import_volume(samples.volume(1), FIRST, samples.findings()).case
    store.add_version(case.id, samples.findings(1), Saying("review", "A", 1, act="before"))
    store.import_volume(samples.volume(2), SECOND)
    return store


def case_of(store: CaseStore, patient: str):
    (row,) = store.cases(CaseFilter(patient=patient))
    return row


def check_store(folder: Path, acknowledged: list[str]) -> CaseStore:
    """A next start: everything acknowledged is there and right, everything visible is whole.

    Acknowledged are ``"<patient>"`` for an import and ``"<patient> <act>"`` for a version. No
    repair is asked for; the next write works.
    """
    store = CaseStore(folder / "store", wait_s=5)
    report = store.verify(deep=True)
    assert report.problems == []
    assert report.index == []
    before = ["P1", "P2", "P1 before", *acknowledged]
    rows = {row.patient: row for row in store.cases()}
    for said in before:
        patient, _, act = said.partition(" ")
        assert patient in rows, f"{patient} was acknowledged and is gone"
        versions = store.versions(rows[patient].id)
        assert not act or act in [version.act for version in versions], f"{said} is gone"
    for row in rows.values():
        versions = store.versions(row.id)
        assert row.versions == len(versions), "the list is not as the folder"
        assert len({version.act for version in versions}) == len(versions), "stored twice"
        store.volume(row.id)
        for version in versions:
            store.findings(row.id, version.number)
    signed = store.add_version(rows["P1"].id, samples.findings(2), Saying("review", "next"))
    assert case_of(store, "P1").versions == signed.number
    return store

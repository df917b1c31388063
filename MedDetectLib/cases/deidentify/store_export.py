"""Exports of the case store that leave the house."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from MedDetectLib.cases.atomic import make_folder
from MedDetectLib.cases.deidentify.folder import Options, deidentify_folder
from MedDetectLib.cases.deidentify.identity import Identity
from MedDetectLib.cases.deidentify.key_file import check_outside, open_key
from MedDetectLib.cases.deidentify.our_json import identity_of_case
from MedDetectLib.cases.deidentify.proof import look_through, write_proof
from MedDetectLib.cases.durable import said_plainly, temporary_name
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.cases.store.records import VersionRecord
from MedDetectLib.cases.whole_folder import check_free
from MedDetectLib.core.errors import InputError

__all__ = ["export_deidentified", "proof_of_training"]

CASE_FILE = re.compile(r"case_([0-9a-f]{12})[._]")


def export_deidentified(
    store: CaseStore, case_id: str, out: Path, key_file: Path, number: int | None = None
) -> VersionRecord | None:
    """Write one version of a case without who the patient and the readers are.

    The case as it is lies meanwhile where the key is kept, for its owner only.

    Raises:
        InputError, StoreError: see `CaseStore.export` and `deidentify_folder`.
    """
    check_free(out)
    check_outside(key_file, out)
    kept = (
        key_file.absolute().parent
    )  # never beside the export: what a crash leaves tells who it is
    make_folder(kept)
    private = temporary_name(kept)
    with said_plainly(private):
        os.mkdir(private, 0o700)
    try:
        version = store.export(case_id, private / "case", number)
        deidentify_folder(private / "case", out, key_file, Options(whole=True))
    finally:
        shutil.rmtree(private, ignore_errors=True)
    return version


def proof_of_training(store: CaseStore, key_file: Path, out: Path) -> Callable[[Path], None]:
    """Return what looks through a finished training export before it is published.

    The export holds nothing of the patient by how it is made; this searches every byte of it
    for what the records know (patient, name, source, readers, comments): a case's files for
    its own, the lists for those of all cases. It writes the proof and, apart from it, the key
    from case to patient.

    Raises by what is returned:
        InputError: ``identity-remains`` (77), ``key-inside``, ``key-open``.
    """

    def look(made: Path) -> None:
        with open_key(key_file, out) as (key, save):
            names = {p.relative_to(made).as_posix(): p for p in made.rglob("*") if p.is_file()}
            everybody, by_case = Identity(), dict[str, Identity]()
            for case_id in {match[1] for name in names if (match := CASE_FILE.search(name))}:
                by_case[case_id] = _identity_of(store, case_id)
                everybody.update(by_case[case_id])
                key.cases[case_id] = store.case(case_id).patient
            for name, path in names.items():
                match = CASE_FILE.search(name)
                known = by_case[match[1]] if match else everybody
                if look_through(path.read_bytes(), known) or everybody.tokens_in(name):
                    raise InputError(
                        "identity-remains",
                        "a file of the export holds what tells the patient or a reader",
                        where=name,
                        todo="look for it in the class names",
                        exit_code=77,
                    )
            write_proof(made, _facts(names, everybody))
            save()

    return look


def _identity_of(store: CaseStore, case_id: str) -> Identity:
    """Return what the records of a case know of its patient and readers."""
    case = store.case(case_id)
    identity = identity_of_case(case.patient, case.name, case.source)
    for version in store.versions(case_id):
        if version.kind != "ai":
            identity.add_name(version.author)
        identity.add_text(version.comment)
    return identity


def _facts(names: dict[str, Path], identity: Identity) -> dict[str, object]:
    return {
        "options": {"dates": "removed", "accepted": []},
        "files": {name: {"kind": "training"} for name in sorted(names)},
        "actions": {},
        "coincidences": {},
        "set_aside": {},
        "checks": {
            "files_read_again": len(names),
            "values_looked_for": len(identity.texts) + len(identity.uids),
            "files_taken_back": 0,
            "found_in_what_is_left": 0,
        },
    }

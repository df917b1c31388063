"""Exports of the case store that leave the house."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from MedDetectLib.cases.deidentify.folder import Options, deidentify_folder
from MedDetectLib.cases.deidentify.identity import Identity
from MedDetectLib.cases.deidentify.key_file import open_key
from MedDetectLib.cases.deidentify.our_json import identity_of_case
from MedDetectLib.cases.deidentify.proof import look_through, write_proof
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.cases.store.durable import said_plainly, temporary_name
from MedDetectLib.cases.store.records import VersionRecord
from MedDetectLib.cases.whole_folder import check_free
from MedDetectLib.core.errors import InputError

__all__ = ["export_deidentified", "proof_of_training"]


def export_deidentified(
    store: CaseStore, case_id: str, out: Path, key_file: Path, number: int | None = None
) -> VersionRecord | None:
    """Write one version of a case without who the patient and the readers are.

    Raises:
        InputError, StoreError: see `CaseStore.export` and `deidentify_folder`.
    """
    check_free(out)
    between = temporary_name(out.absolute().parent)
    try:
        version = store.export(case_id, between, number)
        deidentify_folder(between, out, key_file, Options(whole=True))
    finally:
        with said_plainly(between):
            shutil.rmtree(between, ignore_errors=True)
    return version


def proof_of_training(store: CaseStore, key_file: Path, out: Path) -> Callable[[Path], None]:
    """Return what looks through a finished training export before it is published.

    The export holds nothing of the patient by how it is made; this reads every byte of it
    for what the records of all exported cases know (patient, name, source, readers,
    comments), and writes the proof and, apart from it, the key from case to patient.

    Raises by what is returned:
        InputError: ``identity-remains`` (77), ``key-inside``, ``key-open``.
    """

    def look(made: Path) -> None:
        with open_key(key_file, out) as (key, save):
            names = {p.relative_to(made).as_posix(): p for p in made.rglob("*") if p.is_file()}
            identity = Identity()
            exported = set()
            for row in store.cases():
                if any(row.id in name for name in names):
                    exported.add(row.id)
            for case_id in exported:
                case = store.case(case_id)
                key.cases[case_id] = case.patient
                identity.update(identity_of_case(case.patient, case.name, case.source))
                for version in store.versions(case_id):
                    if version.kind != "ai":
                        identity.add_name(version.author)
                    identity.add_text(version.comment)
            for name, path in names.items():
                if look_through(path.read_bytes() + name.encode(), identity):
                    raise InputError(
                        "identity-remains",
                        "a file of the export holds what tells the patient or a reader",
                        where=name,
                        todo="look for it in the class names",
                        exit_code=77,
                    )
            write_proof(made, _facts(made, names, identity))
            save()

    return look


def _facts(made: Path, names: dict[str, Path], identity: Identity) -> dict[str, object]:
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

"""One case as a plain folder that any program reads."""

from __future__ import annotations

import shutil
from pathlib import Path

from MedDetectLib.cases.durable import sync_file, write_inside
from MedDetectLib.cases.findings_files import write_findings
from MedDetectLib.cases.store.findings_blobs import read_findings_of
from MedDetectLib.cases.store.records import VersionRecord, sealed
from MedDetectLib.cases.store.store_folder import StoreFolder
from MedDetectLib.cases.whole_folder import whole_folder

__all__ = ["export_case", "is_reviewed", "truth_of"]


def truth_of(versions: tuple[VersionRecord, ...]) -> VersionRecord | None:
    """Return the version that speaks for a case: the newest of a person, else the newest."""
    of_people = [version for version in versions if version.kind != "ai"]
    speaking = of_people or list(versions)
    return speaking[-1] if speaking else None


def is_reviewed(versions: tuple[VersionRecord, ...], version: VersionRecord) -> bool:
    """Whether a person stands behind a version; a model's one restored is still a model's."""
    by_number = {each.number: each for each in versions}
    while version.kind == "restored" and version.of and version.of[0] in by_number:
        version = by_number[version.of[0]]
    return version.kind != "ai"


def export_case(
    store: StoreFolder, case_id: str, folder: Path, number: int | None = None
) -> VersionRecord | None:
    """Write image, segmentation, boxes and records of one version into a new folder.

    ``image.nrrd``, ``case.json``, ``version.json`` and what `write_findings` writes. All of it
    is there, or nothing.

    Args:
        store: where from.
        case_id: which case.
        folder: not there yet, or empty.
        number: which version; None for the newest of a person, else the newest.

    Returns:
        The version; None for a case about which nothing was said.

    Raises:
        InputError: ``no-case``, ``no-version``.
        StoreError: ``exists``, ``cannot-write``, ``disk-full`` (73); ``damaged``.
    """
    case = store.cases.case(case_id)
    if number is not None:
        version: VersionRecord | None = store.cases.version(case_id, number)
    else:
        version = truth_of(tuple(store.cases.versions(case_id)))
    image = store.blobs.check(case.image)
    findings = None if version is None else read_findings_of(store.blobs, version)
    with whole_folder(folder) as made:
        shutil.copyfile(image, made / "image.nrrd")
        sync_file(made / "image.nrrd")
        write_inside(made / "case.json", sealed(case.to_json()))
        if version is not None and findings is not None:
            write_inside(made / "version.json", sealed(version.to_json()))
            write_findings(findings, made)
    return version

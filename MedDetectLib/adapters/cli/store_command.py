"""`meddetect store`: cases on disk; import, list, show, compare, verify, export."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedDetectLib.adapters.cli.store_export_command import add_export

if TYPE_CHECKING:
    from MedDetectLib.cases.store.case_store import CaseStore
    from MedDetectLib.cases.store.queries import CaseFilter
    from MedDetectLib.cases.store.records import CaseRecord, VersionRecord

__all__ = ["add_to"]

STATUSES = ("imported", "detected", "reviewed", "read-twice", "adjudicated", "damaged")
SPLITS = ("train", "validation", "frozen")


def add_to(commands: Any, everywhere: argparse.ArgumentParser) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("store", help="keep images, findings and readings as cases")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--store", required=True, type=Path, metavar="DIR", help="the case store")
    parents = [everywhere, where]
    _add_import(actions, parents)
    _add_list(actions, parents)

    show = actions.add_parser("show", parents=parents, help="one case and its versions")
    show.add_argument("case", help="a case's id, or its beginning")
    show.add_argument(
        "--seen-by", metavar="READER", help="only what this reader may see before signing"
    )
    show.set_defaults(run=run_show)

    verify = actions.add_parser("verify", parents=parents, help="check every byte of a store")
    verify.add_argument(
        "--repair", action="store_true", help="make the index anew and remove crash leftovers"
    )
    verify.add_argument("--deep", action="store_true", help="also decode every image")
    verify.add_argument("--quick", action="store_true", help="compare sizes, read no image")
    verify.set_defaults(run=run_verify)

    add_export(actions, parents)

    for name, run, text in (
        ("diff", run_diff, "what changed between two versions"),
        ("agreement", run_agreement, "how far two versions agree: Dice, kappa, matches"),
    ):
        pair = actions.add_parser(name, parents=parents, help=text)
        pair.add_argument("case", help="a case's id, or its beginning")
        pair.add_argument("versions", nargs=2, type=int, metavar="VERSION")
        pair.set_defaults(run=run)

    restore = actions.add_parser("restore", parents=parents, help="make an old version the newest")
    restore.add_argument("case", help="a case's id, or its beginning")
    restore.add_argument("version", type=int)
    restore.add_argument("--author", required=True, help="who does it")
    restore.add_argument("--comment", default="", help="why")
    restore.set_defaults(run=run_restore)


def _add_import(actions: Any, parents: list[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("import", parents=parents, help="store an image as a case")
    parser.add_argument("path", type=Path, help="image file, or DICOM file or folder")
    parser.add_argument("--patient", required=True, metavar="ID", help="the patient's pseudonym")
    parser.add_argument("--findings", type=Path, metavar="DIR", help="what 'detect' wrote for it")
    parser.add_argument("--existing", action="store_true", help="go on with a case that has it")
    parser.add_argument("--series", help="which series (UID, or its end), or '#2' in a 4-D file")
    parser.add_argument("--accept", action="append", default=[], metavar="CODE",
                        help="accept one flaw of the image by its code")  # fmt: skip
    parser.add_argument("--modality", help="say what the image is (CT, MR) if it does not")
    parser.set_defaults(run=run_import)


def _add_list(actions: Any, parents: list[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("list", parents=parents, help="the cases, in order of import")
    parser.add_argument("--status", choices=STATUSES)
    parser.add_argument("--split", choices=SPLITS)
    parser.add_argument("--patient", metavar="ID")
    parser.add_argument("--modality")
    parser.add_argument("--label", help="a class name in the newest version")
    parser.add_argument(
        "--not-read-by",
        metavar="READER",
        help="cases this reader has not read; not what others found in them",
    )
    parser.add_argument("--limit", type=int, help="at most so many; 1 gives the next case")
    parser.set_defaults(run=run_list)


def run_import(options: argparse.Namespace) -> int:
    """Read an image, with findings where given, and store it; a missing store is made."""
    from MedDetectLib.cases.findings_files import read_findings
    from MedDetectLib.cases.image_files import read_volume
    from MedDetectLib.cases.store.case_store import CaseStore

    volume = read_volume(
        options.path, series=options.series, accept=options.accept, modality=options.modality
    )
    findings = read_findings(options.findings) if options.findings else None
    store = CaseStore.open_or_create(options.store)
    imported = store.import_volume(volume, options.patient, findings, existing_ok=options.existing)
    case = imported.case
    if options.json:
        print(json.dumps({**_case_json(store, case), "is_new": imported.is_new}, indent=2))
        return 0
    said = "imported as" if imported.is_new else "is already"
    print(f"{volume.name} {said} case {case.id}, patient {case.patient}, split {case.split}")
    for note in case.notes:
        print(f"note[{note.code}]: {note.text}")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print the cases of a kind; `--json` prints a list, one case a line."""
    rows = _open(options).cases(_filter(options))
    if options.json:
        _print_list(row.to_json() for row in rows)
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("case", no_wrap=True)  # to be copied
    for name in ("patient", "split", "status", "versions", "findings", "labels", "imported"):
        table.add_column(name)
    for row in rows:
        table.add_row(
            row.id, row.patient, row.split, row.status, str(row.versions),
            "hidden" if row.findings is None else str(row.findings),
            ", ".join(row.labels), row.imported[:16].replace("T", " "),
        )  # fmt: skip
    Console().print(table)
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Print a case and what was said about it."""
    store = _open(options)
    case = store.case(store.full_id(options.case))
    if options.json:
        print(json.dumps(_case_json(store, case, options.seen_by), indent=2))
        return 0
    size = "x".join(str(n) for n in case.geometry.shape_kji[::-1])
    print(f"case {case.id}: {case.name}, {case.modality or 'unknown modality'}, {size} voxels")
    print(f"patient {case.patient}, split {case.split} ({case.split_reason})")
    print(f"imported {case.imported}")
    for note in case.notes:
        print(f"note[{note.code}]: {note.text}")
    for version in store.versions(case.id, seen_by=options.seen_by):
        print(_version_line(version))
    return 0


def run_verify(options: argparse.Namespace) -> int:
    """Check a store; the exit code is 74 when something is not as it was written."""
    report = _open(options).verify(repair=options.repair, deep=options.deep, quick=options.quick)
    if options.json:
        print(json.dumps(report.to_json(), indent=2))
    else:
        for line in report.problems:
            print(line)
        for line in report.index:
            print(f"index: {line}")
        print(f"{report.cases} cases, {report.versions} versions, {report.blobs} files checked:")
        print(f"{len(report.problems)} damaged, {len(report.leftovers)} leftovers of crashes")
        if report.index_rebuilt:
            print(f"index made anew, {report.removed} leftovers removed")
    return 0 if report.is_good else 74


def run_diff(options: argparse.Namespace) -> int:
    """Print what changed from one version to another."""
    store = _open(options)
    found = store.diff(store.full_id(options.case), *options.versions)
    if options.json:
        print(json.dumps(found.to_json(), indent=2))
        return 0
    for word, names in (("added", found.added), ("removed", found.removed)):
        for name in names:
            print(f"{name}: {word}")
    for change in found.changed:
        said = [f"{key} {old} -> {new}" for key, (old, new) in change.fields.items()]
        if change.voxels_added or change.voxels_removed:
            said.append(f"voxels +{change.voxels_added} -{change.voxels_removed}")
        print(f"{change.id}: {'; '.join(said)}")
    if found.is_empty:
        print("no difference")
    return 0


def run_agreement(options: argparse.Namespace) -> int:
    """Print how far two versions of a case agree."""
    store = _open(options)
    found = store.agreement(store.full_id(options.case), *options.versions)
    if options.json:
        print(json.dumps(found.to_json(), indent=2))
        return 0
    print(f"Dice {found.dice:.3f}, kappa of voxels {found.kappa_voxels:.3f}, F1 {found.f1:.3f}")
    if found.kappa_labels is not None:
        print(f"kappa of the labels of {len(found.matches)} matches {found.kappa_labels:.3f}")
    for match in found.matches:
        note = "" if match.same_label else ", other label"
        print(f"{match.first} = {match.second}: IoU {match.iou:.3f}{note}")
    for which, names in (("first", found.only_first), ("second", found.only_second)):
        if names:
            print(f"only the {which}: {', '.join(names)}")
    return 0


def run_restore(options: argparse.Namespace) -> int:
    """Append an old version again as the newest."""
    store = _open(options)
    version = store.restore(
        store.full_id(options.case), options.version, options.author, comment=options.comment
    )
    print(json.dumps(version.to_json(), indent=2) if options.json else _version_line(version))
    return 0


def _open(options: argparse.Namespace) -> CaseStore:
    from MedDetectLib.cases.store.case_store import CaseStore

    return CaseStore(options.store)


def _filter(options: argparse.Namespace) -> CaseFilter:
    from MedDetectLib.cases.store.queries import CaseFilter

    return CaseFilter(
        status=options.status, split=options.split, patient=options.patient,
        modality=options.modality, label=options.label, not_read_by=options.not_read_by,
        limit=options.limit,
    )  # fmt: skip


def _case_json(store: CaseStore, case: CaseRecord, seen_by: str | None = None) -> dict[str, Any]:
    versions = [version.to_json() for version in store.versions(case.id, seen_by=seen_by)]
    return {**case.to_json(), "versions": versions}


def _version_line(version: VersionRecord) -> str:
    parts = [
        f"  {version.number:3d}  {version.kind:<11} {version.signed[:16].replace('T', ' ')}",
        f"{version.author}, {version.count} findings",
        "blinded" if version.blinded else "",
        f"of {', '.join(map(str, version.of))}" if version.of else "",
        version.comment,
    ]
    return "; ".join(part for part in parts if part)


def _print_list(rows: Iterator[dict[str, Any]]) -> None:
    """Print a JSON list without holding it."""
    opening = "[\n "
    for row in rows:
        sys.stdout.write(opening + json.dumps(row))
        opening = ",\n "
    print("[]" if opening == "[\n " else "\n]")

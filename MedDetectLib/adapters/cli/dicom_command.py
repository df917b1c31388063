"""`meddetect dicom`: findings out as SEG and SR, references in, and a PACS on either side."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedDetectLib.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from MedDetectLib.cases.clinical.pacs import Level, Pacs, Query
    from MedDetectLib.cases.clinical.reader import Reader
    from MedDetectLib.cases.store.records import VersionRecord
    from MedDetectLib.core.findings import Findings

__all__ = ["add_to"]

BAD_DATA = 65
PASSWORD, TOKEN = "MEDDETECT_DICOMWEB_PASSWORD", "MEDDETECT_DICOMWEB_TOKEN"


def add_to(commands: Any, everywhere: argparse.ArgumentParser) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("dicom", help="DICOM SEG and SR out, references in, PACS")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    accepting = argparse.ArgumentParser(add_help=False)
    accepting.add_argument("--accept", action="append", default=[], metavar="CODE",
                           help="accept one flaw by its code")  # fmt: skip
    accepting.add_argument("--choose", metavar="UID", help="which series (UID, or its end), or"
                           " which volume of it ('UID#2')")  # fmt: skip
    _add_check(actions, [everywhere, accepting])
    _add_export(actions, [everywhere, accepting])
    _add_import(actions, [everywhere, accepting])
    _add_pacs(actions, everywhere)


def _add_check(actions: Any, parents: list[argparse.ArgumentParser]) -> None:
    check = actions.add_parser(
        "check", parents=parents, help="list everything a series lacks for SEG and SR"
    )
    check.add_argument("series", type=Path, metavar="SERIES", help="DICOM folder or file")
    check.set_defaults(run=run_check)


def _add_export(actions: Any, parents: list[argparse.ArgumentParser]) -> None:
    export = actions.add_parser("export", parents=parents, help="write findings as SEG and SR")
    export.add_argument("--series", required=True, type=Path, metavar="FOLDER",
                        help="the source images")  # fmt: skip
    export.add_argument("--out", required=True, type=Path, metavar="DIR")
    what = export.add_mutually_exclusive_group(required=True)
    what.add_argument("--findings", type=Path, metavar="DIR", help="what 'detect' wrote")
    what.add_argument("--store", type=Path, metavar="DIR", help="a case store, with --case")
    export.add_argument("--case", metavar="ID", help="a case's id, or its beginning")
    export.add_argument("--version", type=int, help="which one (default: a person's newest)")
    export.add_argument("--reader", metavar="NAME", help="who stands for --findings: Doe^Jane")
    export.add_argument("--signed", metavar="TIME", help="when the reader signed (ISO 8601)")
    export.add_argument("--organisation", default="", help="who answers for the signature; makes"
                        " the report VERIFIED")  # fmt: skip
    export.add_argument("--include-rejected", action="store_true", help="rejected findings too")
    export.set_defaults(run=run_export)


def _add_import(actions: Any, parents: list[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "import", parents=parents, help="read a SEG or RTSTRUCT as reference labels"
    )
    parser.add_argument("reference", type=Path, metavar="SEG_OR_RTSTRUCT")
    parser.add_argument("--series", required=True, type=Path, metavar="FOLDER",
                        help="the images it was drawn on")  # fmt: skip
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, metavar="DIR", help="write a folder of findings")
    where.add_argument("--store", type=Path, metavar="DIR", help="store image and labels")
    parser.add_argument("--patient", metavar="ID", help="the patient's pseudonym, for --store")
    parser.add_argument("--author", help="who drew it, for --store (default: what it says)")
    parser.add_argument(
        "--threshold", type=float, default=0.5, help="share from which a fractional voxel counts"
    )
    parser.set_defaults(run=run_import)


def _add_pacs(actions: Any, everywhere: argparse.ArgumentParser) -> None:
    address = argparse.ArgumentParser(add_help=False)
    where = address.add_mutually_exclusive_group(required=True)
    where.add_argument("--to", "--from", dest="to", default="", metavar="HOST:PORT/AET",
                       help="by C-STORE, C-FIND and C-GET")  # fmt: skip
    where.add_argument("--web", default="", metavar="URL", help="by DICOMweb")
    address.add_argument("--calling", default="MEDDETECT", metavar="AET", help="our own AE title")
    address.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS")
    address.add_argument("--user", help=f"for DICOMweb; the password is taken from ${PASSWORD}")
    address.add_argument("--token-file", type=Path, metavar="FILE",
                         help=f"for DICOMweb: a bearer token (default: ${TOKEN})")  # fmt: skip
    address.add_argument("--ca", type=Path, metavar="FILE",
                         help="for DICOMweb: certificates to trust (PEM)")  # fmt: skip
    address.add_argument("--client-cert", type=Path, metavar="FILE",
                         help="for DICOMweb: our own certificate and key (PEM)")  # fmt: skip
    push = actions.add_parser("push", parents=[everywhere, address], help="send objects to a PACS")
    push.add_argument("files", nargs="+", type=Path, metavar="DIR", help="folders or files")
    push.set_defaults(run=run_push)

    wanted = argparse.ArgumentParser(add_help=False)
    for name in ("study", "series", "instance"):
        wanted.add_argument(f"--{name}", default="", metavar="UID")
    query = actions.add_parser("query", parents=[everywhere, address, wanted],
                               help="ask what a PACS has")  # fmt: skip
    query.add_argument("--level", choices=("study", "series", "instance"), default="series")
    query.add_argument("--patient", default="", metavar="ID")
    query.add_argument("--modality", default="")
    query.set_defaults(run=run_query)
    fetch = actions.add_parser("fetch", parents=[everywhere, address, wanted],
                               help="bring objects here from a PACS")  # fmt: skip
    fetch.add_argument("--out", required=True, type=Path, metavar="DIR")
    fetch.set_defaults(run=run_fetch)


def run_check(options: argparse.Namespace) -> int:
    """Print what is missing; the exit code is 65 when something blocks."""
    from MedDetectLib.cases.clinical.preflight import grouped, preflight

    problems = preflight(options.series, series=options.choose, accept=options.accept)
    if options.json:
        print(json.dumps([problem.to_json() for problem in problems], indent=2))
    else:
        for problem, files in grouped(problems):
            more = f" (and {files - 1} more files)" if files > 1 else ""
            print(f"{problem}{more}")
        if not problems:
            print("nothing is missing: SEG and SR can be made of it")
    return BAD_DATA if any(problem.blocks for problem in problems) else 0


def run_export(options: argparse.Namespace) -> int:
    """Write seg.dcm and sr.dcm."""
    from MedDetectLib.cases.clinical.export import export_clinical

    findings, reader, authors = _what_is_exported(options)
    made = export_clinical(
        findings, options.series, options.out, reader=reader, series=options.choose,
        accept=options.accept, include_rejected=options.include_rejected, added_by=authors,
    )  # fmt: skip
    if options.json:
        print(json.dumps(made.to_json(), indent=2, default=vars))
        return 0
    for path in made.files:
        print(path)
    for note in made.notes:
        print(f"note[{note.code}]: {note.text}")
    return 0


def _what_is_exported(
    options: argparse.Namespace,
) -> tuple[Findings, Reader | None, Mapping[str, str] | None]:
    """Return the findings, who stands for them, and who added which, where it is known."""
    from MedDetectLib.cases.clinical.reader import Reader
    from MedDetectLib.cases.clinical.stored import stored_reading
    from MedDetectLib.cases.findings_files import read_findings
    from MedDetectLib.cases.store.case_store import CaseStore
    from MedDetectLib.cases.store.exporting import truth_of

    if options.findings:
        reader = None
        if options.reader:
            reader = Reader(options.reader, options.signed or "", options.organisation)
        elif options.signed or options.organisation:
            raise InputError("no-reader", "a signature needs a name", todo="give --reader")
        return read_findings(options.findings), reader, None
    if not options.case:
        raise InputError("no-case", "which case is not said", todo="give --case ID")
    if options.reader or options.signed:
        raise InputError("no-reader", "who signed a stored case is in the store",
                         todo="leave out --reader and --signed")  # fmt: skip
    store = CaseStore(options.store)
    case_id = store.full_id(options.case)
    versions = store.versions(case_id)
    number = options.version
    if number is None:
        truth = truth_of(versions)
        if truth is None:
            raise InputError("no-version", "nothing of the kind was said about this case",
                             where=case_id, todo="see 'store show'")  # fmt: skip
        number = truth.number
        _say_if_unsettled(versions, number)
    said = stored_reading(store, case_id, number, options.organisation)
    return said.findings, said.reader, said.added_by


def _say_if_unsettled(versions: tuple[VersionRecord, ...], number: int) -> None:
    """Say which of several readings goes out when nobody has settled them."""
    from MedDetectLib.cases.store.index_schema import said_by, status_of

    status, readers = status_of(said_by(versions))
    if status == "read-twice":
        print(
            f"note[unsettled]: read by {', '.join(readers)} and not settled; version {number},"
            " the newest reading, is exported",
            file=sys.stderr,
        )


def run_import(options: argparse.Namespace) -> int:
    """Read reference labels and keep them."""
    from MedDetectLib.cases.clinical.reference import REFERENCE_ACCEPTABLE, read_reference
    from MedDetectLib.cases.findings_files import write_findings
    from MedDetectLib.cases.image_files import read_volume

    if options.store and not options.patient:
        raise InputError("no-patient", "whose image it is is not said", todo="give --patient ID")
    own = [code for code in options.accept if code in REFERENCE_ACCEPTABLE]
    others = [code for code in options.accept if code not in REFERENCE_ACCEPTABLE]
    volume = read_volume(options.series, series=options.choose, accept=others)
    reference = read_reference(options.reference, volume, accept=own, threshold=options.threshold)
    findings = reference.findings()
    said: dict[str, Any] = {"labels": [label.name for label in findings.labels]}
    if options.out:
        said["file"] = str(write_findings(findings, options.out))
    else:
        from MedDetectLib.cases.store.case_store import CaseStore, Saying

        store = CaseStore.open_or_create(options.store)
        case = store.import_volume(volume, options.patient, existing_ok=True).case
        act = reference.uid
        if any(note.code == "fractional" for note in reference.notes):
            act += f" from {options.threshold:g}"  # the same object says other things then
        saying = Saying("review", options.author or reference.made_by, act=act,
                        comment=f"reference {reference.uid}")  # fmt: skip
        version = store.add_version(case.id, findings, saying)
        said |= {"case": case.id, "version": version.number}
    said["notes"] = [dict(vars(note)) for note in findings.notes]
    if options.json:
        print(json.dumps(said, indent=2))
        return 0
    where = said.get("file") or f"case {said['case']}, version {said['version']}"
    print(f"{len(findings)} reference labels ({', '.join(said['labels'])}): {where}")
    for note in findings.notes:
        print(f"note[{note.code}]: {note.text}")
    return 0


def run_push(options: argparse.Namespace) -> int:
    """Send objects."""
    from MedDetectLib.cases.clinical.pacs import dicom_files

    sent = _pacs(options).push(dicom_files(options.files))
    if options.json:
        data = {"stored": [str(path) for path in sent.files], "warnings": sent.warnings}
        print(json.dumps(data, indent=2))
        return 0
    for name, text in sent.warnings.items():
        print(f"warning: {name}: {text}", file=sys.stderr)
    print(f"{len(sent.files)} objects stored at {options.to or options.web}")
    return 0


def run_query(options: argparse.Namespace) -> int:
    """Print what a PACS has."""
    found = _pacs(options).find(_query(options))
    if options.json:
        print(json.dumps([dict(vars(one)) for one in found], indent=2))
        return 0
    for one in found:
        uid = one.instance or one.series or one.study
        print(f"{one.modality or '-':4} {uid}  {one.description}  patient {one.patient or '?'}")
    return 0


def run_fetch(options: argparse.Namespace) -> int:
    """Bring objects here."""
    written = _pacs(options).fetch(_query(options), options.out)
    if options.json:
        print(json.dumps([str(path) for path in written], indent=2))
    else:
        print(f"{len(written)} objects in {options.out}")
    return 0


def _query(options: argparse.Namespace) -> Query:
    from MedDetectLib.cases.clinical.pacs import Query

    level: Level = "instance" if options.instance else "series" if options.series else "study"
    level = getattr(options, "level", level)
    return Query(
        level, getattr(options, "patient", ""), options.study, options.series, options.instance,
        getattr(options, "modality", ""),
    )  # fmt: skip


def _pacs(options: argparse.Namespace) -> Pacs:
    from MedDetectLib.cases.clinical.pacs import open_pacs

    login = (options.user, os.environ.get(PASSWORD, "")) if options.user else None
    return open_pacs(
        to=options.to, web=options.web, calling=options.calling, timeout_s=options.timeout,
        login=login, token=_token(options), ca=options.ca, client_cert=options.client_cert,
    )  # fmt: skip


def _token(options: argparse.Namespace) -> str:
    """Return the bearer token of a file or of the environment; neither is in the process list."""
    if options.token_file is None:
        return os.environ.get(TOKEN, "").strip()
    try:
        return str(options.token_file.read_text(encoding="utf-8").strip())
    except (OSError, ValueError) as error:
        raise InputError(
            "no-file", "the token cannot be read", where=options.token_file, todo="check the file"
        ) from error

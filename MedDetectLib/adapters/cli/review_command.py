"""`meddetect review`: a review session from the shell; begin, list, sign, export.

What is done to findings in between is in `review_acts_command`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedDetectLib.adapters.cli.review_acts_command import add_acts
from MedDetectLib.core.errors import InputError, StoreError

if TYPE_CHECKING:
    from MedDetectLib.cases.store.case_store import CaseStore
    from MedDetectLib.cases.store.records import VersionRecord
    from MedDetectLib.core.findings import Finding
    from MedDetectLib.core.labels import Label
    from MedDetectLib.review.case_note import CaseNote
    from MedDetectLib.review.history import Signature
    from MedDetectLib.review.session import ReviewSession

__all__ = ["add_to"]

NOT_ALLOWED = 77


def add_to(commands: Any, everywhere: argparse.ArgumentParser) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser(
        "review",
        help="review findings without a window: accept, correct, sign",
        description="A review keeps every act in its folder as soon as it is done. It is of a"
        " folder that 'detect' wrote, or of a case of a case store; the signature of the latter"
        " becomes a version of the case.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _add_start(actions, everywhere)
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("session", type=Path, metavar="SESSION", help="the review's folder")
    parents = [everywhere, where]
    whole = argparse.ArgumentParser(add_help=False)
    whole.add_argument("--up-to-damage", action="store_true",
                       help="of a damaged journal: what is before the damage")  # fmt: skip
    looking = [*parents, whole]
    for name, run, text in (
        ("list", run_list, "the findings as they stand"),
        ("history", run_history, "everything that was done"),
    ):
        actions.add_parser(name, parents=looking, help=text).set_defaults(run=run)
    add_acts(actions, parents)
    sign = actions.add_parser(
        "sign", parents=parents, help="freeze the review, and store it with its case",
        description="Sign the findings as they stand. Of a case the signature becomes a version"
        " in its store, once: after a crash repeat the same command.",
    )  # fmt: skip
    sign.add_argument("--reader", required=True, metavar="NAME", help="who signs")
    sign.add_argument("--comment", default="", help="what goes with it")
    sign.add_argument("--store", type=Path, metavar="DIR", help="where the store lies now")
    sign.set_defaults(run=run_sign)
    export = actions.add_parser("export", parents=looking, help="the findings as a plain folder")
    export.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder")
    export.set_defaults(run=run_export)


def _add_start(actions: Any, everywhere: argparse.ArgumentParser) -> None:
    start = actions.add_parser("start", parents=[everywhere], help="begin a review")
    start.add_argument("--session", required=True, type=Path, metavar="DIR", help="a new folder")
    of = start.add_mutually_exclusive_group(required=True)
    of.add_argument("--result", type=Path, metavar="DIR", help="what 'detect' wrote")
    of.add_argument("--store", type=Path, metavar="DIR", help="a case store")
    start.add_argument("--case", metavar="ID", help="store: which case, or its id's beginning")
    start.add_argument("--reader", metavar="NAME", help="store: who reads")
    start.add_argument("--blinded", action="store_true",
                       help="store: keep other readers' work from this one")  # fmt: skip
    start.add_argument("--settles", nargs="+", type=int, default=[], metavar="VERSION",
                       help="store: the readings to settle; starts from the first")  # fmt: skip
    start.add_argument("--label", dest="labels", action="append", default=[], metavar="NAME",
                       help="store: a class, where no model was; may be repeated")  # fmt: skip
    start.set_defaults(run=run_start)


def run_start(options: argparse.Namespace) -> int:
    """Begin a review of a result, or of a case."""
    session = _of_result(options) if options.result else _of_case(options)
    with session:
        if options.json:
            print(json.dumps(_about(session), indent=2))
        else:
            print(f"{len(session.items)} findings under review in {session.folder}")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print the findings; `--json` prints a list."""
    with _looked_at(options) as session:
        rows = [_row(session, item) for item in session.items]
        signature, notes = session.signature, session.notes
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "state", "label", "score", "mm", "mL", "centre RAS mm", "mask")
    for row in rows:
        centre = " ".join(f"{n:.1f}" for n in row["centre_ras_mm"])
        table.add_row(
            row["id"], row["state"], row["label_name"], f"{row['score']:.2f}",
            f"{row['diameter_mm']:.1f}", f"{row['volume_ml']:.2f}", centre,
            "yes" if row["has_mask"] else "box",
        )  # fmt: skip
    Console().print(table)
    if signature is not None:
        print(f"signed by {signature.reviewer}, {signature.time}")
    for note in notes:
        print(f"note[{note.code}]: {note.text}")
    return 0


def run_history(options: argparse.Namespace) -> int:
    """Print every act, and how much work each finding was."""
    with _looked_at(options) as session:
        data = {
            **_about(session),
            "acts": [
                {"seq": e.seq, "time": e.time, "text": e.text, **e.act} for e in session.history
            ],
            "effort": {key: dict(vars(effort)) for key, effort in session.effort.items()},
            "signatures": [dict(vars(each)) for each in session.signatures],
            "notes": [{"code": note.code, "text": note.text} for note in session.notes],
        }
    if options.json:
        print(json.dumps(data, indent=2))
        return 0
    for act in data["acts"]:
        print(f"{act['seq']:4d}  {act['time'][:19].replace('T', ' ')}  {act['text']}")
    for note in data["notes"]:
        print(f"note[{note['code']}]: {note['text']}")
    return 0


def run_sign(options: argparse.Namespace) -> int:
    """Sign, and store the signature with its case; safe to repeat."""
    from MedDetectLib.cases.store.case_store import CaseStore
    from MedDetectLib.review.acts import Sign
    from MedDetectLib.review.case_note import read_note
    from MedDetectLib.review.case_signing import not_built_on, signed, store_signed
    from MedDetectLib.review.session import ReviewSession

    with ReviewSession.open(options.session) as session:
        note = read_note(session.folder)
        store: CaseStore | None = None
        reader = options.reader.strip()
        if note is not None:
            _check_reader(note, reader)
            store = CaseStore(options.store or note.store)
        if session.signature is None:
            session.do(Sign(reader, options.comment))
        else:
            _check_same(session, session.signature, reader, options.comment)
        version: VersionRecord | None = None
        missed: tuple[VersionRecord, ...] = ()
        if store is not None and note is not None:
            version = store_signed(store, signed(session, note))
            missed = not_built_on(store, note, version)
        _print_signed(options, session, version, missed)
    return 0


def run_export(options: argparse.Namespace) -> int:
    """Write the findings, and how they came about, into a new folder: all of it or nothing."""
    from MedDetectLib.cases.durable import write_inside
    from MedDetectLib.cases.findings_files import write_findings
    from MedDetectLib.cases.whole_folder import whole_folder
    from MedDetectLib.review.case_signing import details_of

    with _looked_at(options) as session, whole_folder(options.out) as made:
        write_findings(session.findings, made)
        said = {**_about(session), **details_of(session)}
        write_inside(made / "review.json", json.dumps(said, indent=1).encode("utf-8"))
        count = len(session.items)
    if options.json:
        files = sorted(path.name for path in options.out.iterdir())
        print(json.dumps({"folder": str(options.out), "findings": count, "files": files}, indent=2))
    else:
        print(f"{count} findings in {options.out}")
    return 0


def _of_result(options: argparse.Namespace) -> ReviewSession:
    from MedDetectLib.cases.findings_files import read_findings
    from MedDetectLib.review.session import ReviewSession

    given = {
        "--case": options.case, "--reader": options.reader, "--blinded": options.blinded,
        "--settles": options.settles, "--label": options.labels,
    }  # fmt: skip
    if extra := [name for name, value in given.items() if value]:
        raise InputError(
            "not-of-a-case", f"{extra[0]} goes with --store, not with --result",
            todo="leave it out, or review a case of a store",
        )  # fmt: skip
    findings = read_findings(options.result)
    return ReviewSession.start(
        options.session, findings, volume_sha256=findings.provenance.input_sha256,
        about={"result": str(options.result.absolute())},
    )  # fmt: skip


def _of_case(options: argparse.Namespace) -> ReviewSession:
    from MedDetectLib.cases.store.case_store import CaseStore
    from MedDetectLib.review.case_reading import begin_session, start_case

    if not (options.case and options.reader):
        raise InputError("no-case-given", "--store needs --case and --reader", todo="give both")
    store = CaseStore(options.store)
    start = start_case(
        store, store.full_id(options.case), options.reader, blinded=options.blinded,
        settles=tuple(options.settles), labels=_labels(options.labels),
    )  # fmt: skip
    return begin_session(store, start, options.session)


def _labels(names: list[str]) -> tuple[Label, ...]:
    """Return classes of one's own, numbered from 1, each in a colour of its own."""
    import colorsys

    from MedDetectLib.core.labels import Label

    labels = []
    for number, name in enumerate(dict.fromkeys(names), 1):
        hue = number * 0.618034 % 1.0  # the golden ratio: neighbours differ however many there are
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.7, 0.9))
        labels.append(Label(number, name, (red, green, blue)))
    return tuple(labels)


def _looked_at(options: argparse.Namespace) -> ReviewSession:
    """Open the review beside whoever writes to it."""
    from MedDetectLib.review.session import ReviewSession

    return ReviewSession.open(options.session, read_only=True, up_to_damage=options.up_to_damage)


def _about(session: ReviewSession) -> dict[str, Any]:
    from MedDetectLib.review.case_note import read_note

    note, signature = read_note(session.folder), session.signature
    return {
        "session": str(session.folder),
        "started": str(session.header["started"]),
        "case": None if note is None else note.to_json(),
        "signature": None if signature is None else dict(vars(signature)),
        "findings": len(session.items),
    }


def _row(session: ReviewSession, item: Finding) -> dict[str, Any]:
    geometry = session.about.geometry
    return {
        **item.to_json(),
        "label_name": session.about.label_of(item).name,
        "has_mask": item.mask_value is not None,
        "centre_ras_mm": [float(n) for n in geometry.box_centre_ras_mm(item.box)],
        "size_kji_mm": [float(n) for n in geometry.box_size_kji_mm(item.box)],
    }


def _check_reader(note: CaseNote, reader: str) -> None:
    """Refuse a signature in another name than that under which the case was read."""
    if reader != note.reader:
        raise InputError(
            "other-reader", f"{note.reader} read this case, not {reader or 'nobody'}",
            where=note.case, todo="sign in that name, or start a review of your own",
        )  # fmt: skip


def _check_same(session: ReviewSession, signature: Signature, reader: str, comment: str) -> None:
    """Take a repeated signature for the one that is there; refuse another one."""
    if signature.reviewer != reader or comment not in ("", signature.comment):
        raise StoreError(
            "signed", f"this review is signed by {signature.reviewer}", where=session.folder,
            todo="reopen it first", exit_code=NOT_ALLOWED,
        )  # fmt: skip


def _print_signed(
    options: argparse.Namespace,
    session: ReviewSession,
    version: VersionRecord | None,
    missed: tuple[VersionRecord, ...],
) -> None:
    signature = session.signature
    if options.json:
        said: dict[str, Any] = {"signature": dict(vars(signature)) if signature else None}
        said["not_built_on"] = [other.number for other in missed]
        print(json.dumps({**said, "version": version.to_json() if version else None}, indent=2))
        return
    by = signature.reviewer if signature else ""
    kept = f", version {version.number} of case {version.case}" if version else ""
    print(f"signed by {by}{kept}")
    for other in missed:
        print(f"note[not-built-on]: {other.author} signed version {other.number} meanwhile;"
              f" what it corrects is not in this one, see 'store diff'")  # fmt: skip

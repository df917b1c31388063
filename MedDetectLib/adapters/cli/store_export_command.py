"""`meddetect store export`: one case as a plain folder, or many for a training framework."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedDetectLib.core.errors import InputError

if TYPE_CHECKING:
    from MedDetectLib.cases.store.case_store import CaseStore
    from MedDetectLib.cases.training.exporting import TrainingReport

__all__ = ["add_export"]

PLAIN = "plain"
FORMATS = (PLAIN, "monai", "nnunet", "msd", "monai-detection", "coco")


def add_export(actions: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add ``export`` to the actions of ``store``."""
    parser = actions.add_parser(
        "export", parents=parents, help="one case as a plain folder, or many for training"
    )
    parser.add_argument("case", nargs="?", help="a case's id, or its beginning (plain)")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder")
    parser.add_argument("--format", choices=FORMATS, default=PLAIN, help="(default: plain)")
    parser.add_argument("--version", type=int, help="plain: which one (default: a person's newest)")
    parser.add_argument("--case", dest="cases", action="append", default=[], metavar="ID",
                        help="training: only this case; may be repeated")  # fmt: skip
    parser.add_argument("--split", choices=("train", "validation"),
                        help="training: only this split (default: both)")  # fmt: skip
    parser.add_argument("--modality", help="training: only images of this kind")
    parser.add_argument("--label", dest="labels", action="append", default=[], metavar="NAME",
                        help="training: the classes in order (default: those found)")  # fmt: skip
    parser.add_argument("--include-unreviewed", action="store_true",
                        help="training: also what only a model has said")  # fmt: skip
    parser.add_argument("--frozen-as-test", action="store_true",
                        help="training: add the frozen cases as a test set")  # fmt: skip
    parser.add_argument("--deidentify", action="store_true",
                        help="prove that nothing in the folder tells who it is")  # fmt: skip
    parser.add_argument("--uid-map", type=Path, metavar="FILE",
                        help="where the key is kept, outside the folder")  # fmt: skip
    parser.set_defaults(run=run_export)


def run_export(options: argparse.Namespace) -> int:
    """Export, print what was written and what was left out."""
    from MedDetectLib.cases.store.case_store import CaseStore

    store = CaseStore(options.store)
    if options.deidentify != (options.uid_map is not None):
        raise InputError(
            "no-uid-map",
            "--deidentify and --uid-map belong together",
            todo="give both: the file that keeps the key, outside the export",
        )
    return _plain(store, options) if options.format == PLAIN else _training(store, options)


def _plain(store: CaseStore, options: argparse.Namespace) -> int:
    """Write one version of a case, with its image, into a new folder."""
    given = {
        "--split": options.split, "--modality": options.modality, "--label": options.labels,
        "--include-unreviewed": options.include_unreviewed,
        "--frozen-as-test": options.frozen_as_test,
    }  # fmt: skip
    if extra := [name for name, value in given.items() if value]:
        raise InputError(
            "training-only", f"{extra[0]} belongs to an export for training",
            todo="leave it out, or choose a --format",
        )  # fmt: skip
    asked = [*([options.case] if options.case else []), *options.cases]
    if len(asked) != 1:
        raise InputError(
            "one-case", "a plain export takes one case", todo="name it, or choose a --format"
        )
    case_id = store.full_id(asked[0])
    if options.deidentify:
        from MedDetectLib.cases.deidentify.store_export import export_deidentified

        version = export_deidentified(store, case_id, options.out, options.uid_map, options.version)
    else:
        version = store.export(case_id, options.out, options.version)
    files = sorted(
        path.relative_to(options.out).as_posix()
        for path in options.out.rglob("*")
        if path.is_file()
    )
    if options.json:
        number = version.number if version else None
        data = {"case": case_id, "version": number, "folder": str(options.out), "files": files}
        print(json.dumps(data, indent=2))
    else:
        print(f"case {case_id} in {options.out}: {', '.join(files)}")
    return 0


def _training(store: CaseStore, options: argparse.Namespace) -> int:
    """Write the truth of many cases for a training framework."""
    if options.version is not None:
        raise InputError(
            "plain-only", "--version belongs to a plain export",
            todo="leave it out: the newest version of a person is what a case teaches",
        )  # fmt: skip
    from MedDetectLib.cases.training.exporting import export_training
    from MedDetectLib.cases.training.selection import Wanted

    asked = [*([options.case] if options.case else []), *options.cases]
    wanted = Wanted(
        splits=(options.split,) if options.split else ("train", "validation"),
        cases=tuple(store.full_id(text) for text in asked),
        modality=options.modality,
        labels=tuple(options.labels),
        include_unreviewed=options.include_unreviewed,
        frozen_as_test=options.frozen_as_test,
    )
    check = None
    if options.deidentify:
        from MedDetectLib.cases.deidentify.store_export import proof_of_training

        check = proof_of_training(store, options.uid_map, options.out)
    report = export_training(store, options.out, options.format, wanted, check)
    if options.json:
        print(json.dumps({**report.to_json(), "folder": str(options.out)}, indent=2))
    else:
        _print(report, options.out)
    return 0


def _print(report: TrainingReport, folder: Path) -> None:
    parts = ", ".join(f"{count} {part}" for part, count in report.cases.items() if count)
    print(f"{parts} in {folder}: {', '.join(report.labels)}")
    print(f"{report.empty} without findings, {report.hard_negatives} rejected findings kept aside")
    if report.unsettled:
        print(f"{report.unsettled} read by several and not settled: the newest reading counts")
    for reason, ids in sorted(report.left_out.items()):
        print(f"left out, {reason}: {len(ids)}")

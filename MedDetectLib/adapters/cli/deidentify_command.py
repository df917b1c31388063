"""`meddetect deidentify`: a folder without who the patient is, with a proof."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

__all__ = ["add_to"]


def add_to(commands: Any, everywhere: argparse.ArgumentParser) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser(
        "deidentify", parents=[everywhere], help="take out of files who the patient is"
    )
    parser.add_argument("source", type=Path, help="a folder, or one file; it is not changed")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder")
    parser.add_argument("--uid-map", required=True, type=Path, metavar="FILE",
                        help="who became whom; stays here, readable by you only")  # fmt: skip
    parser.add_argument("--dates", choices=("remove", "shift"), default="remove",
                        help="shift moves all dates of a patient by the same days")  # fmt: skip
    parser.add_argument("--accept", action="append", default=[], metavar="REASON",
                        help="let files leave that were set aside for this reason")  # fmt: skip
    parser.add_argument("--quarantine", type=Path, metavar="DIR",
                        help="copy what was set aside into this new folder")  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """De-identify and print what left and what was set aside."""
    from MedDetectLib.cases.deidentify.folder import Options, deidentify_folder
    from MedDetectLib.cases.deidentify.suspicion import REASONS

    how = Options(options.dates == "shift", frozenset(options.accept), options.quarantine)
    proof = deidentify_folder(options.source, options.out, options.uid_map, how)
    if options.json:
        print(json.dumps(proof.data, indent=2))
        return 0
    print(f"{proof.files} files in {options.out}, with proof.json; the key is {options.uid_map}")
    for reason, count in proof.set_aside.items():
        print(f"set aside, {reason}: {count} ({REASONS[reason]})")
    for keyword, count in proof.data["coincidences"].items():
        print(f"look at {keyword}: in {count} files it equals a removed value")
    return 0

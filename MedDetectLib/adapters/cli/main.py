"""`meddetect`: parse, run one command, turn errors into one line and an exit code.

Exit codes: 0 done, 2 wrong usage, 65 bad data, 69 engine or device lost, 70 our bug,
73 cannot create, 74 cannot write, 75 busy, 78 bad model or configuration, 130 stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence

from MedDetectLib import __version__
from MedDetectLib.adapters.cli import (
    batch_command,
    bench_command,
    deidentify_command,
    demo_command,
    detect_command,
    dicom_command,
    doctor_command,
    environment_command,
    models_command,
    review_command,
    store_command,
)
from MedDetectLib.core.errors import Cancelled, MedDetectError, StoreError

__all__ = ["main"]

_COMMANDS = (
    demo_command,
    detect_command,
    batch_command,
    models_command,
    review_command,
    store_command,
    dicom_command,
    deidentify_command,
    bench_command,
    environment_command,
    doctor_command,
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="meddetect",
        description="Find, review and correct findings in CT and MRI volumes.",
        epilog="Research software; not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"meddetect {__version__}")
    everywhere = argparse.ArgumentParser(add_help=False)
    everywhere.add_argument("--json", action="store_true", help="print the result as JSON")
    everywhere.add_argument("--debug", action="store_true", help="show where an error arose")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_to(commands, everywhere)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; prints errors as one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # odd file names stay printable
    options = build_parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except MedDetectError as error:
        return _fail(error, options)
    except KeyboardInterrupt:
        return _fail(Cancelled(), options)
    except MemoryError as error:
        lack = MedDetectError(
            "out-of-memory",
            "there is not enough memory for this run",
            todo="close other programs, or run it on a larger machine",
            exit_code=69,
        )
        lack.__cause__ = error
        return _fail(lack, options)
    except OSError as error:
        what = error.strerror or str(error)
        failure = StoreError("io", what, where=str(error.filename or ""), todo="check the path")
        failure.__cause__ = error
        return _fail(failure, options)
    except Exception as error:
        bug = MedDetectError(
            "bug",
            f"{type(error).__name__}: {error}",
            todo="run again with --debug and report what it prints",
        )
        bug.__cause__ = error
        return _fail(bug, options)


def _fail(error: MedDetectError, options: argparse.Namespace) -> int:
    if options.debug:
        traceback.print_exception(error)
    if options.json:
        fields = {"code": error.code, "what": error.what, "where": error.where, "todo": error.todo}
        print(json.dumps({"error": {**fields, "exit_code": error.exit_code}}))
    print(error, file=sys.stderr)
    return error.exit_code

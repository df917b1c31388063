"""`meddetect environment`: the folder of packages Slicer's worker runs with."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from MedDetectLib.adapters.environment import EngineEnvironment, Installation

__all__ = ["add_to"]

NOT_READY = 78


def add_to(commands: Any, everywhere: argparse.ArgumentParser) -> None:
    """Add this command and its verbs to the parser."""
    parser = commands.add_parser(
        "environment",
        help="install, check or remove the packages Slicer's worker runs with",
        description="The worker's packages lie in a folder of their own; nothing of Slicer's"
        " is touched. Without a network: 'download' on a machine of the same kind that has"
        " one, carry the folder over, 'install --wheels' it.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--folder",
        type=Path,
        help="the environment (default: MEDDETECT_ENVIRONMENT, or the user's)",
    )
    common.add_argument(
        "--python", help="the Python that runs in it, PythonSlicer for Slicer (default: this one)"
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    shared = [everywhere, common]

    status = verbs.add_parser("status", parents=shared, help="say what is installed")
    status.add_argument("--deep", action="store_true", help="check every file's size")
    status.set_defaults(run=_status)

    install = verbs.add_parser("install", parents=shared, help="install, or repair")
    install.add_argument("--wheels", type=Path, help="take packages from this folder only")
    install.set_defaults(run=_install)

    download = verbs.add_parser("download", parents=shared, help="collect wheels in a folder")
    download.add_argument("--wheels", type=Path, required=True, help="where to")
    download.set_defaults(run=_download)

    remove = verbs.add_parser("remove", parents=shared, help="delete it")
    remove.set_defaults(run=_remove)


def _environment(options: argparse.Namespace) -> EngineEnvironment:
    from MedDetectLib.adapters.environment import EngineEnvironment
    from MedDetectLib.adapters.environment.engine_environment import tag_of

    tag = tag_of(options.python) if options.python else None
    return EngineEnvironment(options.folder, options.python, tag)


def _status(options: argparse.Namespace) -> int:
    status = _environment(options).status(deep=options.deep)
    if options.json:
        plain = {
            "state": status.state,
            "detail": status.detail,
            "packages": dict(status.packages),
            "folder": None if status.folder is None else str(status.folder),
        }
        print(json.dumps(plain, indent=2))
    else:
        print(f"{status.state}: {status.detail}")
        for name, version in sorted(status.packages.items()):
            print(f"  {name} {version}")
    return 0 if status.ready else NOT_READY


def _install(options: argparse.Namespace) -> int:
    environment = _environment(options)
    _attend(environment.begin_install(options.wheels))
    return _status(argparse.Namespace(**{**vars(options), "deep": False}))


def _download(options: argparse.Namespace) -> int:
    _attend(_environment(options).begin_download(options.wheels))
    wheels = sorted(path.name for path in options.wheels.glob("*.whl"))
    if options.json:
        print(json.dumps({"folder": str(options.wheels), "wheels": wheels}, indent=2))
    else:
        print(f"{len(wheels)} wheels in {options.wheels}")
    return 0


def _remove(options: argparse.Namespace) -> int:
    environment = _environment(options)
    environment.remove()
    if options.json:
        print(json.dumps({"removed": str(environment.folder)}))
    else:
        print(f"nothing is installed in {environment.folder} any more")
    return 0


def _attend(installation: Installation) -> None:
    """Show what pip says until it has ended; raise what went wrong."""
    shown = 0
    try:
        while True:
            ended = installation.poll()
            if installation.stage != "check":  # the check's answer is for programs
                for line in installation.lines[shown:]:
                    print(line, file=sys.stderr)
            shown = len(installation.lines)
            if ended:
                break
            time.sleep(0.05)
    finally:
        installation.cancel()
    if installation.error is not None:
        raise installation.error

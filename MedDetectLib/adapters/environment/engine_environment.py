"""Where the worker's packages lie, what is there, and how to put them there."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from MedDetectLib.adapters.environment.installation import CURRENT, Installation, remove_all
from MedDetectLib.adapters.environment.needed import Needed, needed_packages
from MedDetectLib.cases.atomic import make_folder
from MedDetectLib.core.errors import StoreError

__all__ = ["EngineEnvironment", "Status", "default_folder"]

_ANSWERS_WITHIN_S = 60.0


@dataclass(frozen=True)
class Status:
    """What an environment is like.

    Args:
        state: ``ready``; ``missing``: nothing installed; ``damaged``: files or packages are
            gone; ``outdated``: this MedDetect needs other packages; ``other-python``: made
            for a Python that is not the one in use, as after an update of Slicer.
        detail: the same for a person, in one line.
        packages: name -> installed version.
        folder: where they lie, None if nowhere.
    """

    state: str
    detail: str
    packages: Mapping[str, str]
    folder: Path | None

    @property
    def ready(self) -> bool:
        """Whether the worker can run in it."""
        return self.state == "ready"


class EngineEnvironment:
    """A folder that holds the worker's packages.

    Args:
        folder: made when something is installed.
        python: the Python that will run in it: in Slicer ``PythonSlicer``, else this one.
        tag: what packages must fit, see `tag_of`; that of the Python running now if None,
            which inside Slicer is that of ``PythonSlicer``.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        python: str | None = None,
        tag: str | None = None,
    ) -> None:
        self.folder = Path(folder or default_folder()).absolute()
        self.python = python or sys.executable
        self._tag = tag

    @property
    def packages(self) -> tuple[Path, ...]:
        """What to give `WorkerClient` as `packages`: one folder, or none if nothing is there."""
        current = self._current()
        return () if current is None else (current / "packages",)

    def status(self, *, deep: bool = False) -> Status:
        """Look at what is installed.

        Args:
            deep: also compare every file with the size its package recorded; some seconds.
        """
        current = self._current()
        if current is None:
            return Status("missing", f"nothing is installed in {self.folder}", {}, None)
        made = _manifest(current)
        if made is None:
            return Status("damaged", f"{current} has no readable record", {}, current)
        tag = self._tag or python_tag()
        if made.get("python") != tag:
            detail = f"installed for Python {made.get('python')}, in use is {tag}"
            return Status("other-python", detail, {}, current)
        found = _installed(current / "packages")
        versions = {name: each.version for name, each in found.items()}
        return self._judged(current, found, versions, made, deep)

    def begin_install(self, wheel_folder: str | os.PathLike[str] | None = None) -> Installation:
        """Start installing, or installing anew; the one in use stays until that has succeeded.

        Args:
            wheel_folder: take packages from there and from nowhere else, see
                `begin_download`; None for the package index pip is set up for.

        Raises:
            StoreError: ``cannot-write`` (73), ``busy`` (75) when another installation runs,
                ``no-pip`` when this Python has no pip, ``no-wheels``.
        """
        source = _wheel_source(wheel_folder)
        make_folder(self.folder)
        requirements = [str(need) for need in needed_packages()]
        arguments = ["--upgrade", "--no-compile", *source, *requirements]
        return Installation.begin(self.folder, self.python, arguments, self._tag or python_tag())

    def begin_download(self, wheel_folder: str | os.PathLike[str]) -> Installation:
        """Start collecting wheels, for `begin_install` on a machine without a network.

        They fit machines of this kind: the same system, processor and Python.

        Raises:
            StoreError: as `begin_install`.
        """
        target = Path(wheel_folder).absolute()
        make_folder(target)
        requirements = [str(need) for need in needed_packages()]
        return Installation.download(self.folder, self.python, target, requirements)

    def remove(self) -> None:
        """Delete everything that was installed; what else lies in the folder stays.

        Raises:
            StoreError: ``cannot-remove`` when files are in use, ``busy`` (75) while something
                is being installed, ``cannot-write``.
        """
        try:
            remove_all(self.folder)
        except OSError as error:
            raise StoreError(
                "cannot-remove",
                f"{error.strerror or error}",
                where=str(error.filename or self.folder),
                todo="end programs that use MedDetect's worker, then try again",
            ) from error

    def _current(self) -> Path | None:
        try:
            name = json.loads((self.folder / CURRENT).read_text("utf-8"))["folder"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        folder = self.folder / str(name)
        return folder if folder.parent == self.folder and folder.is_dir() else None

    def _judged(
        self,
        current: Path,
        found: Mapping[str, metadata.PathDistribution],
        versions: Mapping[str, str],
        made: Mapping[str, Any],
        deep: bool,
    ) -> Status:
        """Compare what is there with what was installed, and with what is needed now."""
        gone = sorted(set(made.get("packages", {})) - set(versions))
        broken = gone or (_with_lost_files(found) if deep else [])
        if broken:
            return Status("damaged", f"lost or broken: {', '.join(broken)}", versions, current)
        lacking = [str(need) for need in needed_packages() if not need.met_by(versions)]
        if lacking:
            detail = f"this version of MedDetect needs {', '.join(lacking)}"
            return Status("outdated", detail, versions, current)
        detail = f"{len(versions)} packages in {current / 'packages'}"
        return Status("ready", detail, versions, current)


def default_folder() -> Path:
    """Return where the environment lies unless told otherwise.

    ``MEDDETECT_ENVIRONMENT`` if set, else the place for programs' data of this user.
    """
    told = os.environ.get("MEDDETECT_ENVIRONMENT")
    if told:
        return Path(told)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "MedDetect" / "environment"


def python_tag() -> str:
    """Return what compiled packages must fit: implementation, version, platform."""
    version = ".".join(platform.python_version_tuple()[:2])
    return f"{platform.python_implementation()} {version} {sysconfig.get_platform()}"


def tag_of(python: str) -> str:
    """Return `python_tag` of another Python, which is started for it.

    Raises:
        StoreError: ``no-python`` when it cannot be started or does not answer.
    """
    ask = (
        "import platform as p, sysconfig as s;"
        "print(p.python_implementation(), '.'.join(p.python_version_tuple()[:2]), s.get_platform())"
    )
    try:
        said = subprocess.run(
            [python, "-c", ask], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_ANSWERS_WITHIN_S, check=True,
        ).stdout.split("\n")  # fmt: skip
        return next(line.strip() for line in reversed(said) if line.strip())
    except (OSError, subprocess.SubprocessError, StopIteration) as error:
        why = getattr(error, "strerror", None) or "it does not say which Python it is"
        raise StoreError(
            "no-python", f"cannot be started ({why})", where=python,
            todo="install Slicer again, or name another Python",
        ) from error  # fmt: skip


def _wheel_source(wheel_folder: str | os.PathLike[str] | None) -> list[str]:
    if wheel_folder is None:
        return []
    folder = Path(wheel_folder).absolute()
    if not folder.is_dir() or not any(folder.glob("*.whl")):
        raise StoreError(
            "no-wheels",
            "there are no wheels in it",
            where=folder,
            todo="fill it with 'meddetect environment download' on a machine with a network",
        )
    return ["--no-index", "--find-links", str(folder)]


def _manifest(folder: Path) -> Mapping[str, Any] | None:
    try:
        made = json.loads((folder / "environment.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return made if isinstance(made, dict) else None


def _installed(packages: Path) -> dict[str, metadata.PathDistribution]:
    """Return the packages of a folder by normalised name."""
    found = {}
    for info in packages.glob("*.dist-info"):
        one = metadata.PathDistribution(info)
        try:
            name = one.metadata["Name"]
        except (OSError, KeyError):
            continue
        if name:
            found[Needed.normalised(name)] = one
    return found


def _with_lost_files(found: Mapping[str, metadata.PathDistribution]) -> list[str]:
    """Return the packages of which a file is missing or of another size than recorded."""
    broken = []
    for name, package in found.items():
        for file in package.files or ():
            if ".." in file.parts:  # scripts, which pip puts elsewhere with --target
                continue
            try:
                size = os.stat(file.locate()).st_size
            except OSError:
                size = -1
            if size < 0 or (file.size is not None and size != file.size):
                broken.append(name)
                break
    return sorted(broken)

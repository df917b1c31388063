"""The stand-in's `slicer.packaging`: checks are real, nothing is ever installed.

What would have been installed is in `asked`. As in Slicer, `pip_ensure` asks the user
first, and does nothing in testing mode.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

asked: list[list[str]] = []
"""Every list of requirements that an installation was asked for."""


def load_requirements(path: str | Path) -> list[Any]:
    """Return the requirements in a requirements.txt; comments and pip's options are skipped."""
    from packaging.requirements import Requirement

    lines = (line.split(" #")[0].strip() for line in Path(path).read_text("utf-8").splitlines())
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


def load_pyproject_dependencies(path: str | Path) -> list[Any]:
    """Return the dependencies a pyproject.toml declares."""
    from packaging.requirements import Requirement

    project = tomllib.loads(Path(path).read_text("utf-8"))["project"]
    return [Requirement(text) for text in project.get("dependencies", [])]


def _parsed(given: Any) -> list[Any]:
    from packaging.requirements import InvalidRequirement, Requirement

    if isinstance(given, Requirement):
        return [given]
    if isinstance(given, str):
        try:
            return [Requirement(given)]
        except InvalidRequirement:
            return [Requirement(text) for text in given.split()]
    if isinstance(given, list):
        return [Requirement(one) if isinstance(one, str) else one for one in given]
    raise TypeError(f"requirements must be a text, a Requirement or a list, not {given!r}")


def pip_check(req: Any, _seen: Any = None) -> bool:
    """Whether what is required is installed here."""
    return all(_installed(one) for one in _parsed(req))


def _installed(requirement: Any) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        return version(requirement.name) in requirement.specifier
    except PackageNotFoundError:
        return False


def isPipInstallInProgress() -> bool:
    """Whether an installation runs: never here."""
    return False


def pip_ensure(
    requirements: Any,
    constraints: str | Path | None = None,
    skip_packages: list[str] | None = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> list[str] | None:
    """Ask for what is missing to be installed.

    Raises:
        RuntimeError: the user said no.
    """
    missing = [one for one in _parsed(requirements) if not _installed(one)]
    if not missing or (skip_in_testing and slicer.app.testingEnabled()):
        return None
    if prompt_install:
        text = f"{len(missing)} Python package(s) need to be installed. Continue?"
        names = "\n".join(f"- {one}" for one in missing)
        if not slicer.util.confirmOkCancelDisplay(text, requester, detailedText=names):
            raise RuntimeError("User declined package installation")
    return pip_install([str(one) for one in missing], constraints, None, skip_packages)


def pip_install(
    requirements: str | list[str],
    constraints: str | Path | None = None,
    no_deps_requirements: str | list[str] | None = None,
    skip_packages: list[str] | None = None,
    blocking: bool = True,
    show_progress: bool = True,
    requester: str | None = None,
    logCallback: Callable[[str], None] | None = None,
    completedCallback: Callable[[int], None] | None = None,
) -> list[str] | None:
    """Note what would be installed into Slicer's own Python."""
    asked.append([requirements] if isinstance(requirements, str) else list(requirements))
    if completedCallback is not None:
        completedCallback(0)
    return [] if skip_packages else None


def pip_uninstall(
    requirements: str | list[str],
    blocking: bool = True,
    logCallback: Callable[[str], None] | None = None,
    completedCallback: Callable[[int], None] | None = None,
) -> None:
    """Note what would be removed."""
    asked.append(["uninstall", str(requirements)])
    if completedCallback is not None:
        completedCallback(0)

"""The environment the worker starts in: Slicer's launcher must not reach into it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["worker_environment"]

_LAUNCHER_SETS = (
    "PATH",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "DYLD_LIBRARY_PATH",
    "DYLD_FRAMEWORK_PATH",
    "QT_PLUGIN_PATH",
    "SSL_CERT_FILE",
)
"""What Slicer's launcher changes besides Python's own variables."""


def worker_environment(
    environment: Mapping[str, str], packages: Sequence[str | os.PathLike[str]] = ()
) -> dict[str, str]:
    """Return the environment for a worker started from a process with `environment`.

    - Variables that steer Python itself are dropped.
    - What Slicer's launcher changed is put back: it keeps the values it found as
      ``APPLAUNCHER_0_<name>`` (ctkAppLauncherEnvironment).
    - Folders inside ``SLICER_HOME`` are taken out of search paths whatever put them there.
    - PYTHONPATH is this library's parent folder, and `packages` after it.

    Args:
        environment: usually ``os.environ``.
        packages: folders with the packages the worker needs, if its Python has them not.
    """
    launched = "APPLAUNCHER_LEVEL" in environment
    slicer_home = environment.get("SLICER_HOME", "")
    clean = {}
    for name, value in environment.items():
        if name.upper().startswith(("PYTHON", "__PYVENV", "APPLAUNCHER_")):
            continue
        if name.upper() in _LAUNCHER_SETS:
            if launched:
                value = environment.get(f"APPLAUNCHER_0_{name}", "")
            value = _outside(value, slicer_home)
            if not value:
                continue
        clean[name] = value
    library = Path(__file__).resolve().parents[3]
    clean["PYTHONPATH"] = os.pathsep.join([str(library), *(os.fspath(p) for p in packages)])
    clean["PYTHONUTF8"] = "1"
    return clean


def _outside(search_path: str, folder: str) -> str:
    """Return the entries of a search path that do not lie in `folder`."""
    if not folder:
        return search_path
    home = os.path.normcase(os.path.realpath(folder))
    kept = []
    for entry in search_path.split(os.pathsep):
        place = os.path.normcase(os.path.realpath(entry)) if entry else ""
        if place != home and not place.startswith(home + os.sep):
            kept.append(entry)
    return os.pathsep.join(kept)

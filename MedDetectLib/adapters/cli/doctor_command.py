"""`meddetect doctor`: what is installed, what works, and what to do about the rest."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from MedDetectLib import __version__
from MedDetectLib.core.errors import MedDetectError

__all__ = ["add_to"]

_PACKAGES: dict[str, tuple[str, str]] = {
    "numpy": ("everything", "pip install meddetect"),
    "scipy": ("connected components", "pip install 'meddetect[run]'"),
    "SimpleITK": ("NIfTI, NRRD and MetaImage files", "pip install 'meddetect[run]'"),
    "pydicom": ("DICOM", "pip install 'meddetect[run]'"),
    "pylibjpeg-libjpeg": ("JPEG and JPEG-LS DICOM", "pip install 'meddetect[run]'"),
    "pylibjpeg-openjpeg": ("JPEG 2000 DICOM", "pip install 'meddetect[run]'"),
    "jsonschema": ("model cards", "pip install 'meddetect[run]'"),
    "onnxruntime": ("running networks", "pip install 'meddetect[run]'"),
    "openvino": ("running networks faster", "pip install 'meddetect[run]'"),
    "highdicom": ("DICOM SEG and SR", "pip install 'meddetect[run]'"),
    "matplotlib": ("pictures", "pip install 'meddetect[run]'"),
    "rich": ("tables and progress bars", "pip install 'meddetect[run]'"),
    "slicer-core": ("scene.mrb outside Slicer", "pip install 'meddetect[scene]'"),
}
_OPTIONAL = {"slicer-core"}


@dataclass(frozen=True)
class Check:
    """One thing looked at: how it went, and what to do if it went badly."""

    name: str
    ok: bool
    detail: str
    todo: str = ""
    required: bool = True


def add_to(commands: Any, everywhere: argparse.ArgumentParser) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser(
        "doctor",
        parents=[everywhere],
        help="say what is installed and what works",
        description="Check the installation. Exits with 78 if something needed is broken.",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look at everything, print it, and fail if something needed does not work."""
    checks = [*_packages(), *_models(), *_backends(), *_memory(), _environment()]
    healthy = all(check.ok for check in checks if check.required)
    if options.json:
        rows = [asdict(check) for check in checks]
        print(json.dumps({"healthy": healthy, "machine": _machine(), "checks": rows}, indent=2))
    else:
        for name, value in _machine().items():
            print(f"{name:>12}: {value}")
        for check in checks:
            mark = "ok  " if check.ok else "FAIL" if check.required else "-   "
            todo = f"; {check.todo}" if check.todo and not check.ok else ""
            print(f"{mark} {check.name}: {check.detail}{todo}")
    return 0 if healthy else 78


def _machine() -> dict[str, str]:
    from MedDetectLib.core.memory import available_bytes, bytes_text, total_bytes

    total = total_bytes()
    return {
        "meddetect": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "cores": str(os.cpu_count()),
        "free memory": bytes_text(available_bytes())
        + (f" of {bytes_text(total)}" if total else ""),
    }


def _packages() -> list[Check]:
    checks = []
    for name, (purpose, todo) in _PACKAGES.items():
        required = name not in _OPTIONAL
        try:
            checks.append(Check(name, True, f"{metadata.version(name)} ({purpose})"))
        except metadata.PackageNotFoundError:
            checks.append(Check(name, False, f"missing ({purpose})", todo, required))
    return checks


def _models() -> list[Check]:
    from MedDetectLib.models.registry import list_models

    checks = []
    for entry in list_models():
        if entry.card is None:
            checks.append(Check(f"model {entry.folder.name}", False, str(entry.error)))
        else:
            name = f"model {entry.card.name}"
            checks.append(
                Check(name, True, f"{entry.card.version}, every file is as its card says")
            )
    if not checks:
        checks.append(Check("models", False, "none found", "reinstall MedDetect"))
    return checks


def _backends() -> list[Check]:
    """Run a small input through a real network on every engine."""
    from MedDetectLib.inference.backends.choose import BACKENDS
    from MedDetectLib.inference.memory_plan import warm
    from MedDetectLib.inference.model import load_model

    checks = []
    for name, engine in BACKENDS.items():
        try:
            with load_model("demo-chest-ct", name) as model:
                warm(model)
                where = f"ran {model.card.name} on the {model.backend.choice.device}"
            checks.append(Check(f"backend {name}", True, f"{engine.version()} {where}"))
        except MedDetectError as error:
            # an engine that comes with MedDetect works; others need not be there
            required = name in _PACKAGES
            checks.append(Check(f"backend {name}", False, str(error), required=required))
        except (RuntimeError, OSError) as error:  # of the engine's own: the rest is looked at
            said = f"{type(error).__name__}: {error}"
            checks.append(Check(f"backend {name}", False, said, required=name in _PACKAGES))
    if not any(check.ok for check in checks):
        todo = "pip install 'meddetect[run]'"
        checks.append(Check("a backend", False, "no engine can run a network here", todo))
    return checks


def _environment() -> Check:
    """Say what Slicer's worker would run with; nothing here needs it."""
    from MedDetectLib.adapters.environment import EngineEnvironment

    status = EngineEnvironment().status()
    return Check(
        "Slicer's environment",
        status.ready,
        f"{status.state}: {status.detail}",
        "only for Slicer: 'Set up the engine' in its panel, or 'meddetect environment install'",
        required=False,
    )


def _memory() -> list[Check]:
    """Plan a large CT with every model, the network itself not counted."""
    from MedDetectLib.core.geometry import Geometry
    from MedDetectLib.core.memory import bytes_text
    from MedDetectLib.inference.memory_plan import allowed_bytes, plan_memory
    from MedDetectLib.models.registry import list_models

    shape, spacing = (300, 512, 512), (1.25, 0.7, 0.7)
    geometry = Geometry.from_axes(shape, spacing)
    try:
        ceiling = allowed_bytes()
    except MedDetectError as error:
        return [Check("memory", False, str(error))]
    checks = []
    for entry in list_models():
        if entry.card is None:
            continue
        try:
            plan = plan_memory(entry.card, geometry, ceiling_bytes=ceiling)
        except MedDetectError as error:
            checks.append(Check(f"memory {entry.card.name}", False, str(error), required=False))
            continue
        text = f"{bytes_text(plan.added_bytes)} and its network for {'x'.join(map(str, shape))}"
        text += "".join(f"; {note.text}" for note in plan.notes)
        todo = "" if plan.fits else "free memory, or crop what you give it"
        checks.append(Check(f"memory {entry.card.name}", plan.fits, text, todo, required=False))
    return checks

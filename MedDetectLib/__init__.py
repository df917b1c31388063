"""MedDetect: find, correct, learn, prove, promote, on 3-D medical images.

    from MedDetectLib import detect, load_model, read_volume

    volume = read_volume("chest.nii.gz")
    with load_model("demo-chest-ct") as model:
        findings = detect(volume, model)

Importing this package costs numpy only; each name below loads its room when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from MedDetectLib.cases.image_files import read_volume as read_volume
    from MedDetectLib.core.findings import Finding as Finding
    from MedDetectLib.core.findings import Findings as Findings
    from MedDetectLib.core.geometry import Geometry as Geometry
    from MedDetectLib.core.volume import Volume as Volume
    from MedDetectLib.core.watch import Watch as Watch
    from MedDetectLib.inference.detect import detect as detect
    from MedDetectLib.inference.model import load_model as load_model

_HOMES = {
    "Finding": "core.findings",
    "Findings": "core.findings",
    "Geometry": "core.geometry",
    "Volume": "core.volume",
    "Watch": "core.watch",
    "detect": "inference.detect",
    "load_model": "inference.model",
    "read_volume": "cases.image_files",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'MedDetectLib' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"MedDetectLib.{_HOMES[name]}"), name)

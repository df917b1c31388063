"""The files of one export as they are written, with their fingerprints."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy.typing as npt

from MedDetectLib.cases.durable import write_inside
from MedDetectLib.cases.training.nifti_write import write_nifti
from MedDetectLib.core.geometry import Geometry

__all__ = ["ExportFiles"]


class ExportFiles:
    """Writes new files into a folder nobody reads yet, each flushed.

    Args:
        folder: where to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: dict[str, dict[str, Any]] = {}

    def image(self, name: str, array: npt.NDArray[Any], geometry: Geometry) -> str:
        """Write a [k, j, i] array as NIfTI under a name with slashes; return the name."""
        path = self._place(name)
        write_nifti(path, array, geometry)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.written[name] = {"sha256": digest, "bytes": path.stat().st_size}
        return name

    def json(self, name: str, data: Any) -> None:
        """Write indented JSON."""
        text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        raw = text.encode("utf-8")
        write_inside(self._place(name), raw)
        self.written[name] = {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}

    def _place(self, name: str) -> Path:
        path = self.folder.joinpath(*name.split("/"))
        os.makedirs(path.parent, exist_ok=True)
        return path

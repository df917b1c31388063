"""Findings as two content-addressed files, a JSON and a label map, and back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from MedDetectLib.cases.durable import write_all
from MedDetectLib.cases.store.blobs import Blobs, Staged
from MedDetectLib.cases.store.case_files import read_bytes
from MedDetectLib.cases.store.nrrd_blob import read_voxels, write_voxels
from MedDetectLib.cases.store.records import VersionRecord, damaged
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Findings
from MedDetectLib.core.geometry import Geometry

__all__ = ["StagedFindings", "check_grid", "read_findings_of", "staged_findings"]


@dataclass(frozen=True)
class StagedFindings:
    """Findings written to disk, not yet kept.

    Args:
        data: all but the voxels.
        label_map: the voxels, None without masks.
        count: findings that are not rejected.
        labels: their class names, each once, in the classes' order.
    """

    data: Staged
    label_map: Staged | None
    count: int
    labels: tuple[str, ...]

    def keep(self, blobs: Blobs) -> None:
        """Give both files their names; under the lease."""
        if self.label_map is not None:
            blobs.keep(self.label_map)
        blobs.keep(self.data)


@contextlib.contextmanager
def staged_findings(blobs: Blobs, findings: Findings) -> Iterator[StagedFindings]:
    """Write findings under temporary names; gone at the end unless kept."""
    text = json.dumps(
        findings.to_json(), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode("utf-8")
    held = {item.label for item in findings if item.state != "rejected"}
    count = sum(item.state != "rejected" for item in findings)
    labels = tuple(label.name for label in findings.labels if label.value in held)
    with contextlib.ExitStack() as stack:
        label_map: Staged | None = None
        if (voxels := findings.label_map) is not None:
            small: Any = voxels.astype(np.uint8) if voxels.max(initial=0) < 256 else voxels
            label_map = stack.enter_context(
                blobs.staged("nrrd", lambda file: write_voxels(file, small, findings.geometry))
            )
        data = stack.enter_context(blobs.staged("json", lambda file: write_all(file, text)))
        yield StagedFindings(data, label_map, count, labels)


def read_findings_of(blobs: Blobs, version: VersionRecord) -> Findings:
    """Return the findings of a version, after checking every byte of them.

    Raises:
        StoreError: ``damaged``, ``cannot-read``.
    """
    path = blobs.check(version.findings)
    label_map = None
    if version.label_map is not None:
        label_map, _ = read_voxels(blobs.check(version.label_map), "uint16")
    try:
        return Findings.from_json(json.loads(read_bytes(path)), label_map)
    except (InputError, ValueError) as error:
        raise damaged(path, f"it cannot be understood ({error})") from error


def check_grid(geometry: Geometry, findings: Findings, where: str) -> None:
    """Refuse findings that lie on another grid than the image.

    Raises:
        InputError: ``other-grid``.
    """
    if not geometry.is_close(findings.geometry):
        raise InputError(
            "other-grid",
            f"the findings lie on a grid of {findings.geometry.shape_kji}, the image on one of"
            f" {geometry.shape_kji}, or elsewhere in the patient",
            where=where,
            todo="give the findings of this very image",
        )

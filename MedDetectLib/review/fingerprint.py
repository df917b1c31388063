"""What a signature binds: one number for findings, voxels included."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np

from MedDetectLib.core.findings import Findings
from MedDetectLib.core.measure import as_box

__all__ = ["findings_sha256", "plain_findings"]


def plain_findings(findings: Findings) -> Findings:
    """Return the same findings in plain numbers, as they come back from a file.

    A score of 1 becomes 1.0 and a NumPy number a Python one.
    """
    items = tuple(
        replace(
            item,
            label=int(item.label),
            score=float(item.score),
            box=as_box(item.box),
            mask_value=None if item.mask_value is None else int(item.mask_value),
            diameter_mm=float(item.diameter_mm),
            volume_ml=float(item.volume_ml),
        )
        for item in findings
    )
    return replace(findings, items=items)


def findings_sha256(findings: Findings) -> str:
    """Return the SHA-256 of everything in findings, as 64 hex digits.

    Two that differ in a voxel, a place, a score, a state or a note differ; the number type
    in memory and the byte order do not count.
    """
    data = json.dumps(
        plain_findings(findings).to_json(),
        sort_keys=True,
        ensure_ascii=True,
        allow_nan=False,
        separators=(",", ":"),
    )
    digest = hashlib.sha256(data.encode("ascii") + b"\n")
    if findings.label_map is not None:
        digest.update(str(findings.label_map.shape).encode("ascii"))
        for k, plane in enumerate(findings.label_map):
            rows = np.flatnonzero(np.any(plane, axis=1))
            if len(rows):  # most planes of most volumes hold nothing
                filled = plane[rows[0] : rows[-1] + 1]
                digest.update(f"slice {k} from row {rows[0]}, {len(filled)} rows\n".encode("ascii"))
                digest.update(np.ascontiguousarray(filled, dtype="<u2").data)
    return digest.hexdigest()

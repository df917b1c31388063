"""Findings in a volume for export, and the validators DICOM objects must pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from MedDetectLib.cases.clinical.reader import Reader
from MedDetectLib.core.findings import Finding, Findings, Provenance
from MedDetectLib.core.labels import Code, Label, Terminology
from MedDetectLib.core.measure import measure_box, measure_mask, tight_box

NODULE = Label(
    1,
    "nodule",
    (255, 128, 0),
    Terminology(
        Code("SCT", "49755003", "Morphologically Abnormal Structure"),
        Code("SCT", "27925004", "Nodule"),
        Code("SCT", "39607008", "Lung"),
    ),
)
CYST = Label(2, "cyst", (0, 90, 200))
SIGNED = Reader("Doe^Jane", "2026-01-31T12:00:00Z")
VERIFIED = Reader("Doe^Jane", "2026-01-31T12:00:00Z", "General Hospital", "jdoe")


def findings_in(volume, *, masks=True, boxes=True, provenance=None):
    """Three masks (one a corner voxel), and two boxes that overlap them; one is rejected."""
    grid = volume.geometry
    k, j, i = grid.shape_kji
    label_map = np.zeros(grid.shape_kji, np.uint16)
    label_map[1:3, j // 4 : j // 3, i // 4 : i // 3] = 5
    label_map[k // 2 :, j // 2 : j // 2 + 5, i // 2 : i // 2 + 7] = 1
    label_map[0, 0, 0] = 9
    items = []
    if masks:
        for n, (value, label, state) in enumerate(
            [(5, 1, "accepted"), (1, 1, "edited"), (9, 2, "added")], 1
        ):
            mask = label_map == value
            sizes = measure_mask(mask, grid)
            items.append(Finding(f"F{n}", label, 1 / 3, tight_box(mask), value, *sizes, state))
    if boxes:
        box = (0.5, j / 4, i / 4 + 0.25, 3.0, j / 3, i / 3 + 0.75)
        for n, state in ((4, "new"), (5, "rejected")):
            items.append(Finding(f"F{n}", 2, 0.9, box, None, *measure_box(box, grid), state))
    made_by = provenance or Provenance(
        "lung", "1.2", "ab" * 32, "onnx", "fp32", "cpu", "scan", volume.sha256, "0.1.0"
    )
    return Findings(grid, (NODULE, CYST), tuple(items), label_map if masks else None, made_by)


def needs(program):
    """Skip where a program is not installed; `.ci` installs them all."""
    beside = Path(sys.executable).parent / program
    path = shutil.which(program) or (str(beside) if beside.is_file() else None)
    if path is None:
        pytest.skip(f"{program} is not installed (apt: dicom3tools pixelmed-apps; pip: dcmqi)")
    return path


def complaints_of_dciodvfy(path):
    """Return the errors of one object."""
    done = subprocess.run(
        [needs("dciodvfy"), str(path)], capture_output=True, text=True, check=False, timeout=120
    )
    said = done.stdout + done.stderr
    assert "Segmentation" in said or "SR" in said, said  # it knew what it looked at
    return [line for line in said.splitlines() if line.startswith("Error")]


def complaints_of_pixelmed(path):
    """Return the errors of one report; Java's limits on its style sheet are lifted."""
    limits = " ".join(
        f"-Djdk.xml.{name}=0"
        for name in ("xpathTotalOpLimit", "xpathExprOpLimit", "xpathExprGrpLimit")
    )
    done = subprocess.run(
        [needs("DicomSRValidator"), str(path)],
        env={**os.environ, "JAVA_TOOL_OPTIONS": f"{limits} -XX:TieredStopAtLevel=1"},
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "Found Root Template TID_1500" in said, said
    assert "IOD validation complete" in said, said
    return [line for line in said.splitlines() if line.startswith("Error")]

"""A small set of findings on an oblique, left-handed grid: masks, and boxes that overlap."""

from __future__ import annotations

import numpy as np

from MedDetectLib.core.findings import CaseScore, Finding, Findings, Provenance
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.labels import Code, Label, Terminology
from MedDetectLib.core.notes import Note

SHAPE = (8, 10, 12)
NODULE = Label(
    1,
    "nodule",
    (255, 128, 0),
    Terminology(
        Code("SCT", "49755003", "Morphologically Altered Structure"),
        Code("SCT", "27925004", "Nodule"),
    ),
)
CYST = Label(2, "cyst", (0, 90, 200))


def oblique(shape: tuple[int, int, int] = SHAPE, *, left_handed: bool = True) -> Geometry:
    turn, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    turn = turn * np.sign(np.linalg.det(turn))
    if left_handed:
        turn[:, 1] *= -1
    return Geometry.from_axes(shape, (3, 1.5, 0.7), (-31.4, 15.9, 26.5), turn)


def findings(*, masks: bool = True, boxes: bool = True) -> Findings:
    label_map = np.zeros(SHAPE, np.uint16)
    label_map[1:3, 2:4, 3:6] = 1
    label_map[5:7, 6:9, 2:4] = 7
    items = [
        Finding("F1", 1, 0.97, (1, 2, 3, 3, 4, 6), 1, 5.0, 0.1),
        Finding("F2", 1, 0.5, (1, 2, 3, 3, 5, 6.4), None, 6.0, 0.2, "accepted"),
        Finding("F3", 2, 0.25, (2, 3.4, 4, 5, 6, 8), None, 7.0, 0.3),
        Finding("F4", 2, 0.125, (5, 6, 2, 7, 9, 4), 7, 8.0, 0.4, "edited"),
    ]
    if not masks:
        items = [f for f in items if f.mask_value is None]
    if not boxes:
        items = [f for f in items if f.mask_value is not None]
    return Findings(
        oblique(),
        (NODULE, CYST),
        tuple(items),
        label_map if masks else None,
        Provenance("lung", "1.2", "0" * 64, "onnx", "fp32", "cpu", "scan", "1" * 64, "0.1.0"),
        (CaseScore(1, 0.75),),
        (Note("slice-gap", "one slice was missing"),),
    )

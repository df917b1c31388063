"""A small case: masks that touch, one in two pieces, boxes, and voxels of nobody."""

import json

import numpy as np

from MedDetectLib.core.findings import Finding, Findings, Provenance
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.labels import Label
from MedDetectLib.core.measure import measure_box, measure_mask, tight_box
from MedDetectLib.core.notes import Note
from MedDetectLib.review.patches import patch_from_mask

SHAPE = (9, 10, 11)
GRID = Geometry.from_axes(SHAPE, (2.5, 0.75, 0.5), (-12.5, 40.25, 7.0))
LABELS = (Label(1, "nodule", (200, 30, 60)), Label(4, "cyst", (10, 255, 0)))
MADE_BY = Provenance(
    "toy", "1.2", "ab" * 32, "onnxruntime", "fp32", "cpu", "scan", "cd" * 32, "0.1", {"run": 0.3}
)
BOXES = ((2.25, 2.5, 3.125, 6.5, 7.0, 8.75), (5.5, 6.1, 7.1, 8.2, 9.3, 9.9))


def made_findings(*, masks: bool = True) -> Findings:
    """F1 and F2 touch, F3 is two pieces, F4 and F5 are boxes; value 55 belongs to nobody."""
    label_map = np.zeros(SHAPE, np.uint16)
    label_map[1:4, 2:5, 2:6] = 7
    label_map[1:4, 5:7, 2:6] = 2
    label_map[7, 8, 9] = label_map[5, 1:3, 8] = 300
    label_map[0, 0, :3] = 55
    items = []
    for number, (value, label, score) in enumerate(((7, 1, 0.97), (2, 1, 1 / 3), (300, 4, 0.2)), 1):
        mask = label_map == value
        sizes = measure_mask(mask, GRID)
        items.append(Finding(f"F{number}", label, score, tight_box(mask), value, *sizes))
    for number, box in enumerate(BOXES, 4):
        items.append(Finding(f"F{number}", 1, 0.1, box, None, *measure_box(box, GRID)))
    notes = (Note("fallback", "ran on the CPU"),)
    if not masks:
        return Findings(GRID, LABELS, tuple(items[3:]), None, MADE_BY, notes=notes)
    return Findings(GRID, LABELS, tuple(items), label_map, MADE_BY, notes=notes)


def block(k, j, i):
    """Return the patch of a block of voxels, each argument being (first, last + 1)."""
    mask = np.zeros(SHAPE, bool)
    mask[slice(*k), slice(*j), slice(*i)] = True
    return patch_from_mask(mask)


def item(session, finding_id):
    return next(each for each in session.findings if each.id == finding_id)


def mask(session, finding_id):
    return session.findings.mask_of(item(session, finding_id))


def same(first: Findings, second: Findings) -> bool:
    """Whether two findings are equal to the last bit."""
    if json.dumps(first.to_json()) != json.dumps(second.to_json()):
        return False
    if first.label_map is None or second.label_map is None:
        return first.label_map is second.label_map
    return first.label_map.tobytes() == second.label_map.tobytes()


def told(session):
    """Everything a session knows, as plain data that can be compared."""
    findings = session.findings
    return {
        "findings": json.dumps(findings.to_json()),
        "voxels": None if findings.label_map is None else findings.label_map.tobytes(),
        "patches": {
            each.id: None if (p := session.patch_of(each.id)) is None else p.to_json()
            for each in findings
        },
        "history": [(e.seq, e.time, dict(e.act), e.effect.to_json()) for e in session.history],
        "comments": [e.seq for e in session.comments],
        "effort": dict(session.effort),
        "signatures": session.signatures,
        "signature": session.signature,
        "undoable": session.undoable and session.undoable.seq,
        "redoable": session.redoable and session.redoable.seq,
    }

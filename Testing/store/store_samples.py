"""Small volumes and findings to fill a store with, and a look at what is in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from MedDetectLib.core.findings import Finding, Findings, Provenance
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.labels import Label
from MedDetectLib.core.volume import Volume

SHAPE = (4, 6, 8)
NODULE, CYST = Label(1, "nodule", (255, 128, 0)), Label(2, "cyst", (0, 90, 200))
RAN = Provenance("lung", "1.2", "0" * 64, "onnx", "fp32", "cpu", "scan", "", "0.1.0")


def oblique(shape=SHAPE):
    """A turned, anisotropic, left-handed grid whose numbers have no short decimal form."""
    turn, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    turn = turn * np.sign(np.linalg.det(turn))
    turn[:, 1] *= -1
    return Geometry.from_axes(shape, (3.1, 1.0 / 3.0, 0.7), (-31.4, 15.9, 26.5), turn)


def volume(seed=0, shape=SHAPE, dtype=np.int16):
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 100, shape).astype(dtype)
    source = {"kind": "dicom", "series_uid": f"1.2.3.{seed}"}
    return Volume(array, oblique(shape), "CT", f"scan-{seed}", (), source)


def findings(shift=0, *, boxes=False, state="new", shape=SHAPE):
    """Two nodules with masks, the first moved by `shift` columns; with a cyst as a box."""
    label_map = np.zeros(shape, np.uint16)
    label_map[1:3, 2:4, 1 + shift : 4 + shift] = 1
    label_map[3, 5, 5:7] = 9
    items = [
        Finding("F1", 1, 0.9, (1, 2, 1 + shift, 3, 4, 4 + shift), 1, 5.0, 0.1, state),
        Finding("F2", 1, 0.5, (3, 5, 5, 4, 6, 7), 9, 6.0, 0.2),
    ]
    if boxes:
        items.append(Finding("F3", 2, 0.4, (0, 0, 0, 1, 1, 2), None, 2.0, 0.1))
    return Findings(oblique(shape), (NODULE, CYST), tuple(items), label_map, RAN)


def nothing_found():
    return Findings(oblique(), (NODULE,), (), np.zeros(SHAPE, np.uint16), RAN)


def same(first, second):
    """Whether two findings say the same, to the voxel."""
    one, two = first.label_map, second.label_map
    return first.to_json() == second.to_json() and (
        (one is None and two is None) or bool(np.array_equal(one, two))
    )


def signed(store, case_id, reader, shift=0, **options):
    """Let a reader sign something about a case."""
    reading = store.start_reading(case_id, reader, **options)
    return store.sign_reading(reading, replace(findings(shift)))

"""A case is computed and appears; another that had failed before appears anew."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from MedDetectLib.adapters.batch.cases import BatchCase
from MedDetectLib.adapters.batch.out_folder import OutFolder
from MedDetectLib.cases.findings_files import read_findings, write_findings
from MedDetectLib.core.findings import Finding, Findings, Provenance
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.labels import Label

SETTINGS = {"model": "m", "sha256": "0" * 64}
CASES = {"first": "1", "second": "2"}


def findings():
    geometry = Geometry.from_axes((4, 5, 6), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    mask = np.zeros((4, 5, 6), np.uint16)
    mask[1:3, 1:3, 1:3] = 1
    item = Finding("F1", 1, 0.5, (1.0, 1.0, 1.0, 3.0, 3.0, 3.0), 1, 4.0, 0.016)
    source = Provenance("m", "1", "0" * 64, "none", "f32", "cpu", "x", "0" * 64, "0")
    return Findings(geometry, (Label(1, "ball", (1, 2, 3)),), (item,), mask, source)


def digests():
    """The fingerprint of every file; the same findings give the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        write_findings(findings(), folder)
        return {path.name: sha256(path) for path in Path(folder).iterdir()}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


DIGESTS = digests()


def case_of(folder, name):
    os.utime(folder / f"{name}.txt", ns=(1, 1))  # what a power cut leaves is put together anew
    return BatchCase(name, (folder / f"{name}.txt",))


def prepare(folder):
    for name, text in CASES.items():
        (folder / f"{name}.txt").write_text(text)
    with OutFolder(folder / "out") as out:
        out.agree(SETTINGS)
        second = case_of(folder, "second")
        out.publish(second, status_of(second, "failed", []), None)


def status_of(case, state, files):
    return {"case": case.name, "signature": case.signature, "state": state, "files": files}


def act(folder, acknowledge):
    with OutFolder(folder / "out") as out:
        out.agree(SETTINGS)
        for name in CASES:
            case = case_of(folder, name)
            made = out.new_working_folder(case)
            write_findings(findings(), made)
            out.publish(case, status_of(case, "done", DIGESTS), made)
            acknowledge(name)


def check(folder, acknowledged):
    with OutFolder(folder / "out") as out:
        out.agree(SETTINGS)
        assert [path.name for path in (folder / "out" / ".working").iterdir()] == ["lock"]
        for name in CASES:
            place = out.place_of(case_of(folder, name))
            status = out.status_of(case_of(folder, name))
            assert name not in acknowledged or (status and status["state"] == "done")
            if place.exists():
                whole(place, json.loads((place / "status.json").read_text()))
        if out.status_of(case_of(folder, "first")) is None:
            act_again(out, folder)


def whole(place, status):
    """Whatever is under its name is complete."""
    for name, digest in dict(status["files"]).items():
        assert sha256(place / name) == digest, name
    if status["state"] == "done":
        assert len(read_findings(place).items) == 1


def act_again(out, folder):
    case = case_of(folder, "first")
    out.publish(case, status_of(case, "done", {}), None)
    assert out.status_of(case)["state"] == "done"

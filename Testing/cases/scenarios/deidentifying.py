"""A folder is de-identified; the result is whole or not there, and the key knows all of it."""

import hashlib
import json
import sys
from pathlib import Path

import pydicom

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from deidentify_samples import identified_series, raw_of

from MedDetectLib.cases.deidentify.folder import deidentify_folder


def prepare(folder):
    (folder / "in").mkdir()
    for n, image in enumerate(identified_series()[:2]):
        (folder / "in" / f"{n}.dcm").write_bytes(raw_of(image))
    deidentify_folder(folder / "in" / "0.dcm", folder / "earlier", folder / "key")


def act(folder, acknowledge):
    deidentify_folder(folder / "in", folder / "out", folder / "key")
    acknowledge("done")


def check(folder, acknowledged):
    out = folder / "out"
    if (folder / "key").exists():
        (folder / "key").chmod(0o600)  # a disk rebuilt after a power cut has no modes here
    assert out.is_dir() or not acknowledged, "the result was acknowledged and is gone"
    if not out.is_dir():
        deidentify_folder(folder / "in", out, folder / "key")
    said = json.loads((out / "proof.json").read_text())["files"]
    there = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert there == {*said, "proof.json"}
    assert len(said) == 2
    for name, file in said.items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == file["sha256"], name
    known = set(json.loads((folder / "key").read_text())["uids"].values())
    earlier = next((folder / "earlier").rglob("*.dcm"))
    for path in [*out.rglob("*.dcm"), earlier]:
        data = pydicom.dcmread(path)
        assert {data.SOPInstanceUID, data.StudyInstanceUID} <= known

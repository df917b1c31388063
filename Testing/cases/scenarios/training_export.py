"""A reviewed case is exported for training; the folder is whole or not there."""

import hashlib
import json
import sys
from pathlib import Path

import scipy.ndimage
import scipy.spatial  # noqa: F401
import SimpleITK  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from training_samples import samples

from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.cases.store.signing import Saying
from MedDetectLib.cases.store.split import Ratios
from MedDetectLib.cases.training.exporting import export_training


def prepare(folder):
    store = CaseStore.open_or_create(folder / "store", Ratios(1.0, 0.0, 0.0))
    case = store.import_volume(samples.volume(1), "P1").case
    store.add_version(case.id, samples.findings(), Saying("review", "A"))


def act(folder, acknowledge):
    export_training(CaseStore(folder / "store"), folder / "out" / "Dataset001_X", "nnunet")
    acknowledge("exported")


def check(folder, acknowledged):
    out = folder / "out" / "Dataset001_X"
    assert out.is_dir() or not acknowledged, "the export was acknowledged and is gone"
    if not out.is_dir():
        export_training(CaseStore(folder / "store"), out, "nnunet")
    said = json.loads((out / "manifest.json").read_text())["files"]
    there = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert there == {*said, "manifest.json"}
    assert len(there) == 4
    for name, file in said.items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == file["sha256"], name

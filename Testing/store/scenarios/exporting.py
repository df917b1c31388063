"""A reviewed case is exported."""

import scipy.ndimage
import scipy.spatial  # noqa: F401
import SimpleITK  # noqa: F401
from store_world import CaseStore, case_of, check_store, prepare_store, samples

from MedDetectLib.cases.findings_files import read_findings
from MedDetectLib.cases.image_files import read_volume


def prepare(folder):
    prepare_store(folder)


def act(folder, acknowledge):
    store = CaseStore(folder / "store")
    store.export(case_of(store, "P1").id, folder / "out" / "P1")
    acknowledge("P1")


def check(folder, acknowledged):
    store = check_store(folder, acknowledged)
    out = folder / "out" / "P1"
    assert out.is_dir() or not acknowledged, "the export was acknowledged and is gone"
    if out.is_dir():
        names = {path.name for path in out.iterdir()}
        assert {"image.nrrd", "case.json", "version.json", "findings.json"} <= names
        assert read_volume(out / "image.nrrd").sha256 == samples.volume(1).sha256
        found = read_findings(out)
        assert [item.id for item in found] == ["F1", "F2"]
    else:
        store.export(case_of(store, "P1").id, out)

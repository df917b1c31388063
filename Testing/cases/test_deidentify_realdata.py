"""Real scanners' series: nothing that names somebody is left, and they are read as before."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from deidentify_samples import everything

from MedDetectLib.cases.deidentify.folder import Options, deidentify_folder
from MedDetectLib.cases.image_files import list_series, read_volume
from MedDetectLib.core.errors import InputError

pytestmark = pytest.mark.realdata
PHASES = "mr_dce_4d_dicom/UCSF-BR-06_dce"
SERIES = [
    "ct_abdomen_dicom/CRLM-CT-1004", "ct_chest_rtstruct_small/ibsi1_phantom_dicom",
    "ct_tilt_phantom_dicom/philips_tilt_m18.5", "dicom_seg_sr_small/dcmqi_seg",
    "dicom_seg_sr_small/dcmqi_sr_example", "geometry_small/d2n_geometry_noise_pixels",
    "geometry_small/slicer_cthead_64", "mr_enhanced_multiframe/nema_BRTUM_flair_t2_t1_t1gd",
    "mr_enhanced_multiframe/siemens_xa10_4d", "mr_dce_4d_dicom/UCSF-BR-06_seg",
]  # fmt: skip
NAMES = ("PatientName", "ReferringPhysicianName", "OperatorsName", "PhysiciansOfRecord",
         "PerformingPhysicianName", "PatientID", "AccessionNumber", "InstitutionName",
         "InstitutionAddress", "StationName", "DeviceSerialNumber", "StudyID")  # fmt: skip


def originals(folder):
    """What tells who it is, collected without the code under test."""
    words, terms = set(), set()
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        for element in data.iterall():
            values = element.value if element.VM > 1 else [element.value]
            for value in values if element.VR not in ("SQ", "OB", "OW", "UN") else ():
                text = str(value).strip().lower()
                if element.VR in ("DA", "DT"):
                    words.add(text[:8])
                elif element.VR == "UI" and not text.startswith("1.2.840.10008."):
                    if not re.search("Class|CodingScheme|Mapping", element.keyword):
                        words.add(text)
                elif element.keyword in NAMES:
                    words.add(text)
                elif element.VR in ("CS", "IS", "DS"):
                    terms.add(text)
    return {word for word in words if len(word) > 5} - terms - {"unknown", "anonymous"}


def volumes(folder, uid_of=str):
    """Each series of a folder as voxels, matrix and modality, or the code it is refused by."""
    found = {}
    for info in list_series(folder):
        try:
            volume = read_volume(folder, series=uid_of(info.uid))
            found[info.uid] = (volume.array, volume.geometry.ijk_to_ras, volume.modality)
        except InputError as error:
            found[info.uid] = error.code
    return found


@pytest.fixture(scope="module")
def leaving(unpacked, tmp_path_factory):
    """De-identify an archive once; give the originals, the result and the proof."""
    done = {}

    def run(name, **options):
        known = (name, *options)
        if known not in done:
            folder, at = unpacked(name), tmp_path_factory.mktemp("leaving")
            proof = deidentify_folder(folder, at / "out", at / "key", Options(**options))
            done[known] = folder, at / "out", at / "key", proof
        return done[known]

    return run


@pytest.mark.parametrize("name", SERIES)
def test_a_real_series_leaves_without_anything_that_names_somebody(name, leaving):
    check_no_name(*leaving(name))


@pytest.mark.parametrize("name", [SERIES[1], SERIES[7]])
def test_a_real_series_with_shifted_dates_names_nobody_either(name, leaving):
    check_no_name(*leaving(name, shift_dates=True))


def check_no_name(folder, out, _, proof):
    looked_for = originals(folder)
    assert len(looked_for) > 2
    left = everything(out)
    assert [word for word in looked_for if stands_in(word.encode(), left)] == []
    assert proof.files > 0
    assert proof.data["checks"]["files_taken_back"] == 0
    assert set(proof.set_aside) <= {"picture", "unknown-kind", "structured-content"}


def stands_in(word, data):
    return word in data and re.search(rb"(?<![0-9a-z.])" + re.escape(word) + rb"(?![0-9a-z])", data)


@pytest.mark.parametrize("name", [*SERIES[:8], pytest.param(PHASES, marks=pytest.mark.slow)])
def test_a_real_series_is_read_as_before(name, leaving):
    folder, out, key, _ = leaving(name)
    before, after = volumes(folder), volumes(out)
    uids = json.loads(key.read_text())["uids"]
    assert set(after) == {uids.get(uid, uid) for uid in before}
    for uid, one in before.items():
        two = after[uids.get(uid, uid)]
        if isinstance(one, str):
            assert two == one
            continue
        np.testing.assert_array_equal(two[0], one[0])
        np.testing.assert_allclose(two[1], one[1], atol=1e-9)
        assert two[2] == one[2]


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
@pytest.mark.parametrize("name", SERIES)
def test_dciodvfy_finds_no_error_in_real_objects_that_was_not_there_before(name, leaving):
    folder, out, key, _ = leaving(name)
    run = json.loads(key.read_text())["runs"][0]
    of_series = {}
    for new, old in run["files"].items():
        of_series.setdefault(new.rsplit("/", 1)[0], (folder / old, out / new))
    for old, new in of_series.values():
        assert errors(new) - errors(old) == set()


def errors(path):
    """Kinds of error, without values and places in the file."""
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace")
    lines = (line for line in done.stderr.splitlines() if line.startswith("Error"))
    return {re.sub(r"<[^>]*$|<[^>]*>$", "", line).strip() for line in lines}

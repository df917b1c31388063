"""Other people's programs find no fault in what goes out, and read the same voxels in it."""

import subprocess

import highdicom
import numpy as np
import pytest
import SimpleITK
from clinical_samples import (
    SIGNED,
    VERIFIED,
    complaints_of_dciodvfy,
    complaints_of_pixelmed,
    findings_in,
    needs,
)
from made_dicom import series, write

from MedDetectLib.cases.clinical.export import export_clinical
from MedDetectLib.cases.clinical.grid_match import match_voxels
from MedDetectLib.cases.image_files import list_series, read_volume
from MedDetectLib.cases.lps import from_sitk
from MedDetectLib.core.findings import CaseScore

REAL = {
    "abdomen CT": ("ct_abdomen_dicom/CRLM-CT-1004", "", "", ()),
    "small head CT": ("geometry_small/slicer_cthead_64", "", "", ("no-frame-of-reference",)),
    "breast MR, phase 2": ("mr_dce_4d_dicom/UCSF-BR-06_dce", "", "#2", ()),
    "enhanced MR": (
        "mr_enhanced_multiframe/nema_BRTUM_flair_t2_t1_t1gd", "", "8.1166546115.14677", ()),
    "enhanced MR, phase 3": ("mr_enhanced_multiframe/siemens_xa10_4d", "", "#3", ()),
    "tilted CT": ("ct_tilt_phantom_dicom/philips_tilt_m18.5", "", "", ("gantry-tilt",)),
    "liver CT": ("dicom_seg_sr_small/dcmqi_seg", "dcmqi_seg/ct-3slice", "", ()),
}  # fmt: skip


@pytest.fixture
def real(unpacked, tmp_path):
    """Export findings in a real series."""

    def export(name, **options):
        archive, inside, which, accept = REAL[name]
        folder = unpacked(archive) / inside
        uid = list_series(folder)[0].uid + which if which.startswith("#") else which or None
        flaws = [code for code in accept if code == "gantry-tilt"]
        volume = read_volume(folder, series=uid, accept=flaws)
        findings = findings_in(volume)
        out = tmp_path / "out"
        made = export_clinical(findings, folder, out, accept=accept, **options)
        return volume, findings, made

    return export


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL)
def test_dciodvfy_finds_no_error_and_dcmqi_reads_the_same_voxels(name, real, tmp_path):
    _, findings, made = real(name, reader=VERIFIED, include_rejected=True)
    for path in made.files:
        assert complaints_of_dciodvfy(path) == []
    by_highdicom(made.seg, findings)
    by_dcmqi(made.seg, findings, tmp_path / "dcmqi")


def by_highdicom(path, findings):
    """highdicom puts the segments where the findings' masks are."""
    seg = highdicom.seg.segread(path)
    for number, item in enumerate((f for f in findings if f.mask_value), 1):
        volume = seg.get_volume(segment_numbers=[number], combine_segments=True)
        mask = np.asarray(volume.array) > 0
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine  # its own world is LPS
        index_kji = np.argwhere(mask)
        places = index_kji @ affine[:3, :3].T + affine[:3, 3]
        at = findings.geometry.ras_to_index(places)
        assert np.abs(at - np.rint(at)).max() < 0.1
        back = np.zeros(findings.geometry.shape_kji, bool)
        back[tuple(np.rint(at).astype(int).T)] = True
        np.testing.assert_array_equal(back, findings.mask_of(item))


def by_dcmqi(path, findings, folder):
    """And so does dcmqi; SimpleITK reads what it writes."""
    program = needs("segimage2itkimage")
    folder.mkdir()
    done = subprocess.run(
        [program, "--inputDICOM", str(path), "--outputDirectory", str(folder), "-t", "nrrd"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for number, item in enumerate((f for f in findings if f.mask_value), 1):
        image = SimpleITK.ReadImage(str(folder / f"{number}.nrrd"))
        array, grid = from_sitk(image)
        back = match_voxels(grid, findings.geometry).to_source((array > 0).astype(np.uint16))
        np.testing.assert_array_equal(back > 0, findings.mask_of(item))


@pytest.mark.realdata
def test_pixelmed_finds_no_error_in_the_report_on_a_real_series(real):
    _, _, made = real("abdomen CT", reader=VERIFIED, include_rejected=True)
    assert complaints_of_pixelmed(made.sr) == []


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize("name", [name for name in REAL if name != "abdomen CT"])
def test_pixelmed_finds_no_error_in_the_reports_on_the_others(name, real):
    _, _, made = real(name, reader=SIGNED)
    assert complaints_of_pixelmed(made.sr) == []


@pytest.mark.slow
@pytest.mark.parametrize("case_scores", [(), (CaseScore(1, 0.75),)])
def test_pixelmed_finds_no_error_in_a_report_without_findings(case_scores, tmp_path):
    from dataclasses import replace

    folder = write(tmp_path / "ct", series(4))
    findings = replace(
        findings_in(read_volume(folder)), items=(), label_map=None, case_scores=case_scores
    )
    made = export_clinical(findings, folder, tmp_path / "out", reader=SIGNED)
    assert complaints_of_pixelmed(made.sr) == []


@pytest.mark.parametrize("shown", ["nothing", "boxes", "scores", "scores and masks"])
def test_dciodvfy_finds_no_error_in_reports_of_every_kind(shown, tmp_path):
    from dataclasses import replace

    folder = write(tmp_path / "ct", series(4, StudyDate="20260101", StudyTime="101500"))
    volume = read_volume(folder)
    findings = findings_in(volume, masks="masks" in shown)
    if shown in ("nothing", "scores"):
        findings = replace(findings, items=())
    if "scores" in shown:
        findings = replace(findings, case_scores=(CaseScore(1, 0.75), CaseScore(2, 0.1)))
    made = export_clinical(findings, folder, tmp_path / "out")
    assert (made.seg is not None) == ("masks" in shown)
    for path in made.files:
        assert complaints_of_dciodvfy(path) == []

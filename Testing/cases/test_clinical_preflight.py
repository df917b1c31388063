"""Everything a series lacks is said at once, and nothing is written before."""

import pytest
from clinical_samples import findings_in
from made_dicom import enhanced, series, write

from MedDetectLib.cases.clinical.export import export_clinical
from MedDetectLib.cases.clinical.preflight import COPIED, grouped, preflight
from MedDetectLib.cases.image_files import read_volume
from MedDetectLib.core.errors import InputError

COMPLETE = {
    "PatientBirthDate": "19700101", "PatientSex": "F", "StudyDate": "20260101",
    "StudyTime": "101500", "AccessionNumber": "A1", "StudyID": "S1",
    "ReferringPhysicianName": "Who^Doctor",
}  # fmt: skip


def keywords(problems, *, blocks):
    return {problem.keyword for problem in problems if problem.blocks is blocks}


def test_a_complete_series_has_no_problem(tmp_path):
    assert preflight(write(tmp_path / "ct", series(4, **COMPLETE))) == []


def test_what_may_be_empty_is_listed_and_does_not_block(tmp_path):
    folder = write(tmp_path / "ct", series(3))
    problems = preflight(folder)
    assert keywords(problems, blocks=False) == set(COMPLETE)
    assert keywords(problems, blocks=True) == set()
    assert len(problems) == 3 * len(COMPLETE)
    made = export_clinical(findings_in(read_volume(folder)), folder, tmp_path / "out")
    assert {note.text.split()[0] for note in made.notes if note.code == "written-empty"} == set(
        COMPLETE
    )


BAD = {
    "FrameOfReferenceUID": None, "PatientSex": "female", "StudyDate": "1.1.2026",
    "AccessionNumber": "A" * 17, "StudyInstanceUID": "1.2.x",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Invalid value")
@pytest.mark.filterwarnings("ignore:The value length")
def test_every_fault_of_every_file_is_listed_before_anything_is_written(tmp_path):
    images = series(4, **{**COMPLETE, **BAD})
    images[2].SOPInstanceUID = images[1].SOPInstanceUID
    folder = write(tmp_path / "ct", images)
    problems = preflight(folder)
    blocking = [problem for problem in problems if problem.blocks]
    assert keywords(problems, blocks=True) == {*BAD, "SOPInstanceUID"}
    assert len(blocking) == 4 * len(BAD) + 1
    assert {problem.file for problem in problems} == set(folder.iterdir())
    assert all(problem.tag and problem.todo for problem in blocking)
    tags = {problem.keyword: problem.tag for problem in blocking}
    assert tags["FrameOfReferenceUID"] == "(0020,0052)"
    with pytest.raises(InputError) as caught:
        export_clinical(findings_in(read_volume(folder)), folder, tmp_path / "out")
    assert caught.value.code == "missing-tags"
    for keyword in BAD:
        assert keyword in caught.value.what
    assert not (tmp_path / "out").exists()


def test_problems_alike_are_one_line_with_the_number_of_files(tmp_path):
    folder = write(tmp_path / "ct", series(5, FrameOfReferenceUID=None, **COMPLETE))
    ((problem, files),) = grouped(preflight(folder))
    assert files == 5
    line = str(problem)
    assert "FrameOfReferenceUID (0020,0052) is missing" in line
    assert "no-frame-of-reference" in line
    assert "\n" not in line


def test_a_missing_frame_of_reference_is_made_up_on_request_and_always_the_same(tmp_path):
    import pydicom

    folder = write(tmp_path / "ct", series(4, FrameOfReferenceUID=None, **COMPLETE))
    accept = ["no-frame-of-reference"]
    assert keywords(preflight(folder, accept=accept), blocks=True) == set()
    findings = findings_in(read_volume(folder))
    uids = set()
    for name in ("one", "two"):
        made = export_clinical(findings, folder, tmp_path / name, accept=accept)
        assert "no-frame-of-reference" in [note.code for note in made.notes]
        uids.add(pydicom.dcmread(made.seg).FrameOfReferenceUID)
    assert len(uids) == 1


@pytest.mark.filterwarnings("ignore:Invalid value")
def test_values_that_are_no_dicom_are_left_out_on_request(tmp_path):
    import pydicom

    folder = write(tmp_path / "ct", series(4, **{**COMPLETE, "PatientSex": "X"}))
    findings = findings_in(read_volume(folder))
    made = export_clinical(findings, folder, tmp_path / "out", accept=["bad-values"])
    for path in made.files:
        assert pydicom.dcmread(path).PatientSex == ""


@pytest.mark.parametrize("keyword", [*COPIED, "StudyInstanceUID"])
def test_slices_that_disagree_about_patient_or_study_are_found(keyword, tmp_path):
    images = series(3, **COMPLETE)
    other = {
        "StudyInstanceUID": "1.2.4", "PatientSex": "M", "StudyDate": "20260102",
        "PatientBirthDate": "19700102", "StudyTime": "101501",
    }  # fmt: skip
    setattr(images[1], keyword, other.get(keyword, "Other"))
    problems = preflight(write(tmp_path / "ct", images))
    assert keyword in keywords(problems, blocks=True)


def test_a_series_that_is_no_volume_is_told_with_the_rest(tmp_path):
    images = series(5, shift=(0.0, 0.75), FrameOfReferenceUID=None)
    problems = preflight(write(tmp_path / "ct", images))
    codes = {problem.code for problem in problems}
    assert {"gantry-tilt", "no-frame-of-reference", "written-empty"} <= codes
    tilted = preflight(tmp_path / "ct", accept=["gantry-tilt", "no-frame-of-reference"])
    assert keywords(tilted, blocks=True) == set()


def test_frames_without_a_place_are_found_in_a_multi_frame_object(tmp_path):
    def spoil(data):
        del data.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence

    problems = preflight(write(tmp_path / "mr", [enhanced(1, 4, edit=spoil)]))
    assert "ImagePositionPatient" in keywords(problems, blocks=True)


def test_each_series_of_a_study_is_checked_or_the_one_that_is_named(tmp_path):
    folder = write(tmp_path / "study", series(3, **COMPLETE))
    write(folder, series(3, SeriesInstanceUID="1.2.9", FrameOfReferenceUID=None, **COMPLETE), "b")
    assert keywords(preflight(folder), blocks=True) == {"FrameOfReferenceUID"}
    assert preflight(folder, series="1.2.3.4") == []


def test_what_is_not_there_cannot_be_checked(tmp_path):
    (tmp_path / "empty").mkdir()
    for path, code in ((tmp_path / "gone", "no-file"), (tmp_path / "empty", "no-series")):
        with pytest.raises(InputError) as caught:
            preflight(path)
        assert caught.value.code == code


def test_one_series_without_a_place_does_not_hide_the_gap_in_another(tmp_path):
    folder = tmp_path / "study"
    write(folder / "a", series(3, ImagePositionPatient=None, SeriesInstanceUID="1.2.3.1"))
    gap = series(6, SeriesInstanceUID="1.2.3.2")
    write(folder / "b", [*gap[:2], *gap[3:]])
    assert {"no-position", "slice-gap"} <= {p.code for p in preflight(folder) if p.blocks}


def test_copies_of_slices_that_an_export_takes_once_do_not_block_the_check(tmp_path):
    folder = write(tmp_path / "ct", series(4))
    copied = next(folder.iterdir())
    (folder / "copy.dcm").write_bytes(copied.read_bytes())
    assert "duplicate-slice" in [p.code for p in preflight(folder) if p.blocks]
    accept = ["duplicate-slice"]
    assert [p.code for p in preflight(folder, accept=accept) if p.blocks] == []
    findings = findings_in(read_volume(folder, accept=accept))
    assert export_clinical(findings, folder, tmp_path / "out", accept=accept).seg.is_file()

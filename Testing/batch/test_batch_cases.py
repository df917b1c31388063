"""Which cases a folder or a list holds, and what they are called."""

import shutil

import pytest

from MedDetectLib.adapters.batch.cases import list_cases
from MedDetectLib.core.errors import InputError


def names(cases):
    return [case.name for case in cases]


def test_images_of_a_folder_and_those_below_are_cases(cases):
    folder = cases("b", "a", "deep/er/c")
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.nii").write_text("not ours")
    assert names(list_cases(folder)) == ["a", "b", "deep_er_c"]


@pytest.mark.realdata
def test_every_dicom_series_is_a_case(unpacked, tmp_path):
    shutil.copytree(unpacked("geometry_small/slicer_cthead_64"), tmp_path / "all" / "head")
    listed = list_cases(tmp_path / "all")
    assert len(listed) == 1
    assert listed[0].name.startswith("head")


def test_a_damaged_dicom_file_becomes_a_case_that_will_fail_and_not_one_that_is_missing(tmp_path):
    folder = tmp_path / "all" / "series"
    folder.mkdir(parents=True)
    (folder / "1.dcm").write_text("<html>not found</html>")
    assert names(list_cases(tmp_path / "all")) == ["series_1"]


def test_a_list_names_cases_their_series_and_channels(cases, tmp_path):
    cases("a", "b")
    table = tmp_path / "list.csv"
    table.write_text(
        "case,path,modality,comment\nPatient 1/x,cases/a.nii.gz;cases/b.nii.gz,MR,first\n"
        ",cases/a.nii.gz,,\n"
    )
    first, second = list_cases(table)
    assert (first.name, first.modality) == ("Patient_1_x", "MR")
    assert [path.name for path in first.paths] == ["a.nii.gz", "b.nii.gz"]
    assert (second.name, second.modality) == ("a", "")


def test_names_are_unique_also_where_case_does_not_count_and_stay_when_the_list_grows(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("path,case\nx/a.nii,A\ny/a.nii,a\ncon.nii,con\n../../etc.nii,..\n")
    before = list_cases(table)
    assert len({case.name.casefold() for case in before}) == 4
    assert not any(name.startswith(".") or "/" in name for name in names(before))
    assert names(before)[2] == "case-con"
    table.write_text("path,case\nx/a.nii,A\nnew.nii,new\ny/a.nii,a\n")
    assert list_cases(table)[2].name == before[1].name


@pytest.mark.parametrize(
    ("text", "code"),
    [("case\nx\n", "bad-table"), ("path,case\n ,x\n", "bad-table"), ("path\n", "no-cases")],
)
def test_a_bad_list_is_refused_in_one_line(tmp_path, text, code):
    table = tmp_path / "list.csv"
    table.write_text(text)
    with pytest.raises(InputError) as refused:
        list_cases(table)
    assert refused.value.code == code


def test_what_is_no_list_and_what_is_not_there_are_told_apart(cases, tmp_path):
    folder = cases("a")
    for path, code in ((folder / "a.nii.gz", "bad-table"), (tmp_path / "no", "no-file")):
        with pytest.raises(InputError) as refused:
            list_cases(path)
        assert refused.value.code == code
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as refused:
        list_cases(tmp_path / "empty")
    assert refused.value.code == "no-cases"


def test_a_changed_image_changes_its_signature(cases):
    folder = cases("a")
    before = list_cases(folder)[0].signature
    assert list_cases(folder)[0].signature == before
    (folder / "a.nii.gz").write_bytes(b"something else")
    assert list_cases(folder)[0].signature != before

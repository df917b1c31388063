"""Which cases a folder or a list holds, and what they are called."""

import os
import shutil
from pathlib import Path

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


@pytest.mark.parametrize(
    ("header", "text", "data"),
    [
        ("a.mhd", "ObjectType = Image\nElementDataFile = other.raw\n", "other.raw"),
        ("a.nhdr", "NRRD0004\ntype: short\ndata file: voxels/a.raw\n\n", "voxels/a.raw"),
        ("a.hdr", "analyze", "a.img"),
    ],
)
def test_changed_voxels_in_a_file_of_their_own_change_the_signature(tmp_path, header, text, data):
    (tmp_path / "voxels").mkdir()
    (tmp_path / header).write_text(text)
    (tmp_path / data).write_bytes(b"before")
    table = tmp_path / "list.csv"
    table.write_text(f"path\n{header}\n")
    before = list_cases(table)[0].signature
    (tmp_path / data).write_bytes(b"afterwards")
    assert list_cases(table)[0].signature != before


def test_an_image_of_the_same_name_and_size_elsewhere_is_another_case(tmp_path):
    table = tmp_path / "list.csv"
    for number in (1, 2):  # as an unpacked data set has them: one time for all
        path = tmp_path / f"patient{number}" / "image.nii"
        path.parent.mkdir()
        path.write_bytes(bytes([number]) * 400)
        os.utime(path, (0, 0))
    table.write_text("path\npatient1/image.nii\npatient2/image.nii\n")
    first, second = list_cases(table)
    table.write_text("path\npatient2/image.nii\n")
    (alone,) = list_cases(table)
    assert alone.name == first.name  # its folder holds the first patient's results
    assert alone.signature != first.signature
    assert alone.signature == second.signature


def test_names_and_signatures_do_not_depend_on_where_the_batch_is_started(
    cases, tmp_path, monkeypatch
):
    cases("x/a", "x_a")
    absolute = [(case.name, case.signature) for case in list_cases(tmp_path / "cases")]
    monkeypatch.chdir(tmp_path)
    assert [(case.name, case.signature) for case in list_cases(Path("cases"))] == absolute


def test_a_table_may_name_its_images_absolutely(cases, tmp_path):
    folder = cases("a", "b")
    table = tmp_path / "lists" / "list.csv"
    table.parent.mkdir()
    table.write_text(f"path\n{folder / 'a.nii.gz'}\n{folder / 'a.nii.gz'};../cases/b.nii.gz\n")
    one, two = list_cases(table)
    assert one.paths == (folder / "a.nii.gz",)
    assert [path.resolve() for path in two.paths] == [folder / "a.nii.gz", folder / "b.nii.gz"]

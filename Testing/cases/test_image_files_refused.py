"""Every bad file is refused with its code, exit 65, one line, and nothing written."""

import pytest
from bad_files import BAD
from made_files import good_array, nifti_bytes, put

from MedDetectLib.cases.image_files import ACCEPTABLE, read_volume
from MedDetectLib.core.errors import InputError

ACCEPTED = sorted(name for name, case in BAD.items() if case.accept)


def _listing(folder):
    return sorted((p.name, p.stat().st_size) for p in folder.iterdir())


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_file_is_refused_with_one_line_that_names_it_and_says_what_to_do(name, tmp_path):
    case = BAD[name]
    path = case.build(tmp_path)
    before = _listing(tmp_path)
    with pytest.raises(InputError) as caught:
        read_volume(path)
    error, line = caught.value, str(caught.value)
    assert error.code == case.code
    assert error.exit_code == 65
    assert "\n" not in line
    assert line.startswith(f"error[{case.code}]: ")
    assert str(path) in line
    assert case.words in line
    assert error.todo
    assert _listing(tmp_path) == before


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_acceptable_flaw_is_read_when_named_and_then_noted(name, tmp_path):
    case = BAD[name]
    volume = read_volume(case.build(tmp_path), accept=case.accept)
    assert [note.code for note in volume.notes if note.code in ACCEPTABLE] == list(case.accept)
    assert all("\n" not in note.text for note in volume.notes)


@pytest.mark.parametrize("name", sorted(set(BAD) - set(ACCEPTED)))
def test_what_cannot_be_accepted_is_refused_even_when_everything_is_accepted(name, tmp_path):
    case = BAD[name]
    with pytest.raises(InputError) as caught:
        read_volume(case.build(tmp_path), accept=ACCEPTABLE)
    assert caught.value.code == case.code


def test_every_acceptable_code_of_single_files_is_in_the_corpus():
    of_series = {"slice-gap", "duplicate-slice", "gantry-tilt"}
    assert {code for case in BAD.values() for code in case.accept} == ACCEPTABLE.keys() - of_series


def test_an_unknown_accept_code_is_refused_with_the_known_ones(tmp_path):
    path = put(tmp_path, "scan.nii", nifti_bytes(good_array()))
    with pytest.raises(InputError, match="slice-gap") as caught:
        read_volume(path, accept=["everything"])
    assert caught.value.code == "unknown-accept"


def test_an_accept_code_that_is_not_met_is_unused(tmp_path):
    path = put(tmp_path, "scan.nii", nifti_bytes(good_array()))
    assert read_volume(path, accept=ACCEPTABLE).notes == ()


def test_a_large_header_is_refused_before_the_voxels_are_looked_at(tmp_path):
    path = put(tmp_path, "scan.nii", nifti_bytes(good_array()))
    with pytest.raises(InputError) as caught:
        read_volume(path, memory_limit_bytes=100)
    assert caught.value.code == "too-large"

"""Whole files and folders: there or not, whatever fails, and said in one line."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from MedDetectLib.cases import atomic
from MedDetectLib.cases.durable import said_plainly, write_over
from MedDetectLib.cases.whole_folder import whole_folder
from MedDetectLib.core.errors import StoreError


def refuse(*arguments, **options):
    raise OSError(errno.EIO, "the disk is gone")


def test_what_failed_first_is_told_when_the_leftover_cannot_be_removed_either(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(ValueError, match="mine"), atomic.replacing(tmp_path / "a.txt"):
        raise ValueError("mine")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError) as caught:
        atomic.write_bytes(tmp_path / "a.txt", b"new")
    assert (caught.value.code, caught.value.exit_code) == ("cannot-write", 73)
    assert not (tmp_path / "a.txt").exists()


def test_a_temporary_name_keeps_its_suffixes_and_goes(tmp_path):
    with atomic.replacing(tmp_path / "scan.nii.gz") as made:
        assert made.name.startswith(".writing-")
        assert made.name.endswith(".nii.gz")
        made.write_bytes(b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii.gz"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no mask for new files")
def test_a_new_file_has_the_rights_that_others_get(tmp_path):
    before = os.umask(0o027)
    try:
        atomic.write_bytes(tmp_path / "ours", b"")
        (tmp_path / "plain").write_bytes(b"")
    finally:
        os.umask(before)
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_written_over_is_the_old_one_or_the_new_one(tmp_path, monkeypatch):
    path = tmp_path / "note"
    write_over(path, b"old")
    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", refuse)
        with pytest.raises(OSError, match="disk is gone"):
            write_over(path, b"new")
    assert path.read_bytes() == b"old"
    write_over(path, b"new")
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["note"]


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "disk-full"), (errno.EACCES, "cannot-write")]
)
def test_a_failing_call_is_said_in_the_words_of_who_made_it(tmp_path, number, code):
    with (
        pytest.raises(StoreError) as caught,
        said_plainly(tmp_path, "the review", verb="saved", again="the act"),
    ):
        raise OSError(number, "as the system says it")
    assert (caught.value.code, caught.value.exit_code) == (code, 73)
    assert caught.value.what == "the review could not be saved (as the system says it)"
    assert caught.value.todo.endswith("repeat the act")


def test_a_folder_that_cannot_be_listed_is_not_taken_for_flushed(tmp_path, monkeypatch):
    real = os.scandir

    def unlisted(path="."):
        if str(path).endswith("inner"):
            refuse()
        return real(path)

    def fill():
        with whole_folder(tmp_path / "out") as made:
            (made / "inner").mkdir()
            monkeypatch.setattr(os, "scandir", unlisted)

    with pytest.raises(StoreError, match="cannot-write"):
        fill()
    assert not (tmp_path / "out").exists()

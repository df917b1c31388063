"""Damage is found, the index heals, newer stores are left alone, exports are whole."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3

import pytest
import store_samples as samples

from MedDetectLib.cases.findings_files import read_findings
from MedDetectLib.cases.image_files import read_volume
from MedDetectLib.cases.store import verifying
from MedDetectLib.cases.store.case_store import CaseStore, Saying
from MedDetectLib.cases.store.records import sealed
from MedDetectLib.core.errors import InputError, StoreError


@pytest.fixture
def filled(store):
    for n in range(3):
        case = store.import_volume(samples.volume(n), f"P{n}", samples.findings(n)).case
        samples.signed(store, case.id, "A", 1)
    return store


def rows(store):
    return [row.to_json() for row in CaseStore(store.folder).cases()]


# --- the index is only a cache ---------------------------------------------------------


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scribble(path):
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xff" * 4096
    path.write_bytes(data)


def of_another_store(path):
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value='other' WHERE key='store'")


def of_another_layout(path):
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value='0' WHERE key='layout'")


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"nonsense" * 1000),
        cut, scribble, of_another_store, of_another_layout,
    ],
    ids=["missing", "empty", "nonsense", "cut", "scribble", "store", "layout"],
)  # fmt: skip
def test_whatever_happens_to_the_index_the_list_is_the_folder(filled, harm):
    before = rows(filled)
    harm(filled.folder / "index.sqlite")
    assert rows(filled) == before
    report = filled.verify(repair=True)
    assert report.is_good
    assert report.index_rebuilt
    assert rows(filled) == before


def test_an_index_of_which_any_one_page_is_broken_is_made_anew(filled):
    path, before = filled.folder / "index.sqlite", rows(filled)
    whole = path.read_bytes()

    def asked_with_broken(page, question):
        broken = bytearray(whole)
        broken[page * 4096 : page * 4096 + 200] = b"\xff" * 200
        path.write_bytes(broken)
        return question(CaseStore(filled.folder))

    pages = range(1, len(whole) // 4096)
    for page in pages:
        assert asked_with_broken(page, lambda store: [r.to_json() for r in store.cases()]) == before
        assert asked_with_broken(page, lambda store: store.count()) == 3
        assert asked_with_broken(page, lambda store: store.verify(quick=True).problems) == []
        known = asked_with_broken(
            page, lambda store: store.import_volume(samples.volume(1), "P1", existing_ok=True)
        )
        assert not known.is_new
    for page in pages:
        made = asked_with_broken(
            page, lambda store: store.restore(before[0]["id"], 1, "B", act="the same")
        )
        assert made.number == 3


@pytest.mark.parametrize("name", ["0001.json", "versions", "case"])
def test_what_gives_no_answer_for_a_moment_is_damaged_and_not_gone(filled, monkeypatch, name):
    before = rows(filled)
    case_id = before[1]["id"]
    place = filled.folder / "cases" / case_id
    silent = {"case": place, "versions": place / "versions"}.get(name, place / "versions" / name)
    real = os.stat

    def stat(path, *arguments, **options):
        if os.fspath(path).startswith(str(silent)):
            raise OSError(5, "Input/output error", str(path))
        return real(path, *arguments, **options)

    (filled.folder / "index.sqlite").unlink()
    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", stat)
        said = {row["id"]: row["status"] for row in rows(filled)}
        assert said == {row["id"]: "reviewed" for row in before} | {case_id: "damaged"}
        with pytest.raises(StoreError, match="Input/output error"):
            filled.truth(case_id)
    assert rows(filled) == before


def test_an_older_index_catches_up(filled):
    path = filled.folder / "index.sqlite"
    shutil.copy(path, filled.folder.parent / "old")
    filled.import_volume(samples.volume(9), "P9")
    before = rows(filled)
    shutil.copy(filled.folder.parent / "old", path)
    assert rows(filled) == before


@pytest.mark.parametrize("harm", ["missing", "cut", "other"])
def test_the_list_is_right_without_the_log(filled, harm):
    before = rows(filled)
    log = filled.folder / "changes.log"
    if harm == "missing":
        log.unlink()
    elif harm == "cut":
        cut(log)
    else:
        log.write_bytes(b"+ 000000000000\n" * 100)
    assert rows(filled) == before
    filled.import_volume(samples.volume(9), "P9")
    assert len(rows(filled)) == 4


def test_an_older_copy_of_a_case_that_was_put_back_is_signed_as_it_is(filled):
    case_id = rows(filled)[0]["id"]
    samples.signed(filled, case_id, "B", 2)
    (filled.folder / "cases" / case_id / "versions" / "0003.json").unlink()
    assert samples.signed(CaseStore(filled.folder), case_id, "C", 1).number == 3
    assert [version.author for version in filled.versions(case_id)] == ["lung 1.2", "A", "C"]
    assert filled.verify().is_good


def test_a_case_taken_out_by_hand_is_gone_after_a_repair(filled):
    row = next(filled.cases())
    shutil.rmtree(filled.folder / "cases" / row.id)
    report = filled.verify()
    assert any(row.id in line for line in report.index)
    assert filled.verify(repair=True).is_good
    assert filled.count() == 2


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_can_be_listed(filled):
    before = rows(filled)
    (filled.folder / "index.sqlite").unlink()
    filled.folder.chmod(0o500)
    try:
        assert rows(filled) == before
    finally:
        filled.folder.chmod(0o700)


def test_where_the_index_cannot_be_made_the_list_is_made_elsewhere(filled, monkeypatch):
    before = rows(filled)
    (filled.folder / "index.sqlite").unlink()
    (filled.folder / "index.sqlite").mkdir()
    assert rows(filled) == before


# --- what is damaged is named ----------------------------------------------------------


@pytest.mark.parametrize("name", ["case.json", "0001.json", "0002.json"])
def test_a_changed_record_is_named_and_does_not_hide_the_others(filled, name):
    path = sorted(filled.folder.rglob(name))[0]
    path.write_bytes(
        path.read_bytes().replace(b'"P', b'"Q').replace(b'"author": "', b'"author": "X')
    )
    report = filled.verify()
    assert not report.is_good
    assert len(report.problems) == 1
    assert path.name in report.problems[0]
    assert CaseStore(filled.folder).count() == 3
    repaired = filled.verify(repair=True)
    assert (repaired.is_good, repaired.removed) == (False, 0)


def test_a_changed_voxel_file_is_named_and_never_handed_out(filled):
    row = next(filled.cases())
    case = filled.case(row.id)
    path = filled.folder / "blobs" / case.image.name[:2] / case.image.name
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"):
        filled.volume(row.id)
    with pytest.raises(StoreError, match="damaged"):
        filled.export(row.id, filled.folder.parent / "out")
    assert not (filled.folder.parent / "out").exists()
    assert path.name in filled.verify().problems[0]
    assert filled.verify(quick=True).problems == []
    filled.import_volume(samples.volume(0), "P7")  # the same image again heals it
    assert filled.verify(deep=True).is_good


@pytest.mark.parametrize("name", ["0001.json", "0002.json"])
def test_a_version_that_was_taken_away_is_missed(filled, name):
    row = next(filled.cases())
    (filled.folder / "cases" / row.id / "versions" / name).unlink()
    report = filled.verify()
    if name == "0001.json":
        assert row.id in report.problems[0]
    else:
        assert row.id in report.index[0]  # the last one only the index remembers


def test_a_version_that_was_exchanged_for_another_cases_is_noticed(filled):
    one, two = list(filled.cases())[:2]
    folder = filled.folder / "cases"
    shutil.copy(folder / one.id / "versions/0002.json", folder / two.id / "versions/0002.json")
    assert len(filled.verify().problems) == 1


def test_a_case_that_was_damaged_and_restored_is_well_again(filled):
    row = next(filled.cases())
    path = filled.folder / "cases" / row.id / "versions" / "0002.json"
    good = path.read_bytes()
    path.write_bytes(b"{}")
    (filled.folder / "index.sqlite").unlink()
    assert next(r for r in rows(filled) if r["id"] == row.id)["status"] == "damaged"
    path.write_bytes(good)
    assert next(r for r in rows(filled) if r["id"] == row.id)["status"] == "reviewed"


def test_a_patient_in_two_splits_is_noticed(filled):
    path = next(filled.folder.rglob("case.json"))
    data = json.loads(path.read_bytes())
    other = {"train": "frozen"}.get(data["split"], "train")
    folder = filled.folder / "cases" / "0123456789ab"
    shutil.copytree(path.parent, folder)
    shutil.rmtree(folder / "versions")
    (folder / "versions").mkdir()
    (folder / "case.json").write_bytes(sealed({**data, "id": folder.name, "split": other}))
    assert "is in '" in filled.verify().problems[0]


def test_leftovers_of_crashes_are_harmless_reported_and_removed_by_a_repair(filled):
    unreferred = filled.folder / "blobs" / "ab" / f"{'ab' * 32}.json"
    unreferred.parent.mkdir(exist_ok=True)
    unreferred.write_bytes(b"x")
    old = filled.folder / "blobs" / ".writing-old"
    fresh = filled.folder / "blobs" / ".writing-fresh"
    old.write_bytes(b"x")
    fresh.write_bytes(b"x")
    os.utime(old, (0, 0))
    report = filled.verify()
    assert report.is_good
    assert sorted(report.leftovers) == sorted([f"blobs/ab/{unreferred.name}", "blobs/.writing-old"])
    assert filled.verify(repair=True).removed == 2
    assert (unreferred.exists(), old.exists(), fresh.exists()) == (False, False, True)


# --- stores of other programs ----------------------------------------------------------


def test_a_repair_removes_no_voxels_while_the_cases_are_not_back_yet(filled):
    (filled.folder / "cases").rename(filled.folder.parent / "cases")
    assert CaseStore(filled.folder).verify(repair=True).cases == 0
    (filled.folder / "cases").rmdir()
    (filled.folder.parent / "cases").rename(filled.folder / "cases")
    report = filled.verify(repair=True, deep=True)
    assert (report.is_good, report.cases, report.removed) == (True, 3, 0)


def test_files_that_writers_finish_meanwhile_do_not_disturb_a_check(filled, monkeypatch):
    going = filled.folder / "blobs" / ".writing-going"
    going.touch()
    real = verifying._entries

    def then_gone(folder):
        found = real(folder)
        going.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(verifying, "_entries", then_gone)
    assert filled.verify().is_good


def test_a_store_of_a_newer_program_is_read_and_never_written(filled):
    case = next(filled.cases())
    data = json.loads((filled.folder / "store.json").read_bytes())
    (filled.folder / "store.json").write_bytes(sealed({**data, "schema": 2}))
    before = {path: path.read_bytes() for path in filled.folder.rglob("*") if path.is_file()}
    newer = CaseStore(filled.folder)
    assert newer.is_read_only
    assert newer.count() == 3
    assert samples.same(newer.findings(case.id, 1), samples.findings(0))
    for write in (
        lambda: newer.import_volume(samples.volume(7), "P7"),
        lambda: newer.add_version(case.id, samples.findings(), Saying("review", "A")),
        lambda: newer.verify(repair=True),
    ):
        with pytest.raises(StoreError) as caught:
            write()
        assert (caught.value.code, caught.value.exit_code) == ("newer-store", 78)
    assert {p: p.read_bytes() for p in filled.folder.rglob("*") if p.is_file()} == before


def test_a_newer_store_that_cannot_be_understood_says_so(filled):
    (filled.folder / "store.json").write_text('{"format": "meddetect.store", "schema": 9}')
    with pytest.raises(StoreError, match="newer-store"):
        CaseStore(filled.folder)


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(InputError, match="no-store"):
        CaseStore(tmp_path)
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(StoreError, match="not-empty"):
        CaseStore.open_or_create(tmp_path)
    (tmp_path / "store.json").write_text("{}")
    with pytest.raises(StoreError, match="damaged"):
        CaseStore(tmp_path)


# --- exports ---------------------------------------------------------------------------


def test_an_export_reads_back_as_what_was_stored(filled):
    row = next(filled.cases())
    out = filled.folder.parent / "out"
    version = filled.export(row.id, out)
    assert version.kind == "review"
    back = read_volume(out / "image.nrrd")
    stored = filled.volume(row.id)
    assert back.array.tobytes() == stored.array.tobytes()
    assert back.geometry.ijk_to_ras.tobytes() == stored.geometry.ijk_to_ras.tobytes()
    assert samples.same(read_findings(out), filled.findings(row.id, 2))
    assert json.loads((out / "version.json").read_text())["number"] == 2
    filled.export(row.id, out.with_name("first"), 1)
    assert samples.same(read_findings(out.with_name("first")), filled.findings(row.id, 1))


def test_a_case_about_which_nothing_was_said_is_exported_as_its_image(store):
    case = store.import_volume(samples.volume(), "P1").case
    out = store.folder.parent / "out"
    assert store.export(case.id, out) is None
    assert {path.name for path in out.iterdir()} == {"image.nrrd", "case.json"}


def test_an_export_never_writes_into_what_is_there(filled):
    row = next(filled.cases())
    out = filled.folder.parent / "out"
    out.mkdir()
    filled.export(row.id, out)
    with pytest.raises(StoreError) as caught:
        filled.export(row.id, out)
    assert (caught.value.code, caught.value.exit_code) == ("exists", 73)

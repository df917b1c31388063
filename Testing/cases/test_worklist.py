"""Worklists: what is found, and who may take what."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from made_dicom import series, write

from MedDetectLib.cases.worklist import WorkItem, Worklist
from MedDetectLib.cases.worklist_sources import items_of_folder, items_of_table
from MedDetectLib.core.errors import InputError, StoreError

A, B = (WorkItem(key, "file", key) for key in ("a", "b"))


def listed(steps):
    work = Worklist()
    for found in steps:
        work.add(found)
    return list(work)


@pytest.fixture
def work(tmp_path):
    made = Worklist(tmp_path / "claims")
    made.add([A, B])
    return made


def test_a_claimed_item_is_nobody_elses_until_it_is_let_go(work):
    claim = work.claim(A, "Dr A")
    assert str(work.standing(A)) == "in work by Dr A"
    assert work.standing(A).is_ours
    with pytest.raises(StoreError, match="busy") as refused:
        work.claim(A, "Dr B")
    assert refused.value.exit_code == 75
    assert work.next("Dr B") is B
    assert work.next("Dr A") is A
    claim.release()
    assert work.standing(A).state == "new"


def test_what_is_done_stays_done_and_is_read_again_only_on_purpose(work):
    with work.claim(A, "Dr A") as claim:
        claim.done("case 7")
    assert (work.standing(A).state, work.standing(A).note) == ("done", "case 7")
    with pytest.raises(InputError, match="done"):
        work.claim(A, "Dr B")
    assert work.claim(A, "Dr B", again=True).is_held


def test_a_claim_taken_over_on_purpose_is_found_out_by_its_holder(work):
    first = work.claim(A, "Dr A")
    assert first.beat()
    second = work.claim(A, "Dr B", steal=True)
    assert not first.is_held
    assert not first.beat()
    first.done()
    first.release()
    assert second.is_held
    assert work.standing(A).who == "Dr B"


def test_a_silent_claim_ends_and_a_beaten_one_does_not(tmp_path):
    work = Worklist(tmp_path / "claims", expiry_s=60)
    work.add([A])
    claim = work.claim(A, "Dr A")
    (file,) = (tmp_path / "claims").glob("*.claim")
    long_ago = time.time() - 120
    os.utime(file, (long_ago, long_ago))
    assert work.standing(A).state == "new"
    assert claim.beat()
    assert work.standing(A).state == "in-work"


SCRIPT = """
import sys
from pathlib import Path
from MedDetectLib.cases.worklist import WorkItem, Worklist
from MedDetectLib.core.errors import StoreError
work, mine = Worklist(Path(sys.argv[1])), []
items = [WorkItem(f"i{n}", "file", str(n)) for n in range(30)]
work.add(items)
for item in items:
    try:
        work.claim(item, sys.argv[2])
        mine.append(item.key)
    except StoreError:
        pass
print(" ".join(mine), flush=True)
sys.stdin.read()
"""


def test_of_several_processes_one_gets_each_item_and_the_dead_hold_nothing(tmp_path):
    claims = tmp_path / "claims"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(claims), f"Dr {n}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for n in range(3)
    ]  # fmt: skip
    taken = [key for process in started for key in process.stdout.readline().split()]
    assert sorted(taken) == sorted(f"i{n}" for n in range(30))
    work = Worklist(claims)
    item = WorkItem("i0", "file", "0")
    work.add([item])
    assert work.standing(item).state == "in-work"
    for process in started:
        process.kill()
        process.communicate()
    assert work.standing(item).state == "new"


def test_claims_on_a_server_that_does_not_answer_are_one_clear_error(work, monkeypatch):
    with work.claim(work.items[0], "Dr A"):

        def stale(self, **_options):
            raise OSError(116, "Stale file handle", str(self))

        with monkeypatch.context() as patched:
            patched.setattr("pathlib.Path.stat", stale)
            for ask in (work.standings, lambda: work.claim(work.items[0], "Dr B")):
                with pytest.raises(StoreError, match="Stale file handle"):
                    ask()


def test_a_listing_that_stays_old_keeps_no_reader_waiting_for_long(work, monkeypatch):
    item = work.items[0]
    with work.claim(item, "Dr A") as claim:
        claim.release()
        monkeypatch.setattr(work._claims, "_newest", lambda key=None: {})
        monkeypatch.setattr("MedDetectLib.cases.claims.LONGEST_TRY_S", 0.2)
        (work._claims.folder / f"{item.key}.000001.claim").touch()
        with pytest.raises(StoreError, match="just now"):
            work.claim(item, "Dr B")


def test_the_list_of_one_person_needs_no_folder():
    work = Worklist()
    work.add([A, B])
    with work.claim(A, "me"):
        assert work.standing(A).state == "in-work"
    assert work.standing(A).state == "new"
    work.claim(A, "me").done()
    assert work.next("me") is B
    assert work.previous("me", B) is None
    assert work.neighbour(A, 1) is B
    assert work.neighbour(B, 1) is None


def test_a_folder_gives_its_images_and_nothing_else(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("in/a.nii.gz", "b.nrrd", "b.seg.nrrd", "c.png", "d.hdr", "d.img", "read.txt"):
        (tmp_path / name).write_bytes(b"x" * 200)
    items = listed(items_of_folder(tmp_path))
    assert [item.name for item in items] == ["b", "d", "a"]
    with pytest.raises(InputError, match="no-file"):
        list(items_of_folder(tmp_path / "nowhere"))


def test_a_table_is_read_relative_to_itself(tmp_path):
    (tmp_path / "a.nrrd").write_bytes(b"x")
    table = tmp_path / "list.csv"
    table.write_text("\ufeffPath;Patient;Ward\na.nrrd;P1;7\n\nnone.nrrd;P2;\n", "utf-8")
    first, second = listed(items_of_table(table))
    assert (first.path, first.patient, first.extra) == (tmp_path / "a.nrrd", "P1", {"ward": "7"})
    assert (first.trouble, second.trouble) == ("", "there is no such file")
    table.write_text("patient\nP1\n")
    with pytest.raises(InputError, match="no column 'path'"):
        list(items_of_table(table))
    table.write_text("path,patient\n,P1\n")
    with pytest.raises(InputError, match="line 2 has no path"):
        list(items_of_table(table))


def test_a_series_is_listed_once_without_its_pixels(tmp_path, monkeypatch):
    import pydicom

    write(tmp_path / "one", series())
    asked = []
    real = pydicom.dcmread
    monkeypatch.setattr(pydicom, "dcmread", lambda *a, **k: asked.append(k) or real(*a, **k))
    (item,) = listed(items_of_folder(tmp_path))
    assert (item.source, item.path, item.modality) == ("series", tmp_path / "one", "CT")
    assert asked
    assert all(options["stop_before_pixels"] for options in asked)

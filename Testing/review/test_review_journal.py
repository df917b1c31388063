"""The journal: what is torn is cut, what is damaged is named, and one writes at a time."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import time

import pytest
from review_samples import block, made_findings, told

from MedDetectLib.adapters.cli.main import main
from MedDetectLib.cases.findings_files import read_findings
from MedDetectLib.core.errors import StoreError
from MedDetectLib.review import session as session_file
from MedDetectLib.review.acts import Accept, AddBox, Comment, EditMask, Merge, Reject, Sign, Undo
from MedDetectLib.review.folder import read_journal
from MedDetectLib.review.journal import line_of
from MedDetectLib.review.session import ReviewSession


@pytest.fixture
def folder(session):
    """A closed review of four acts."""
    session.do(Accept("F1"))
    session.do(EditMask("F1", block((0, 4), (2, 5), (2, 6))))
    session.do(Comment("naïve 😀\nsecond line"))
    session.do(Reject("F4", "vessel"))
    session.close()
    return session.folder


def test_a_line_is_one_act_with_its_time_and_what_it_changed(folder):
    header, *lines = [json.loads(line) for line in (folder / "journal.jsonl").open("rb")]
    assert (header["format"], header["version"], header["volume_sha256"]) == (
        "meddetect.review", 1, "1" * 64,
    )  # fmt: skip
    assert [line["act"]["kind"] for line in lines] == ["accept", "edit-mask", "comment", "reject"]
    assert lines[0]["time"] == "2026-11-20T09:00:00.000Z"
    assert lines[0]["effect"]["items"]["F1"][1]["state"] == "accepted"
    assert lines[1]["effect"]["counts"] == {"F1": [12, 0]}


def test_a_last_line_cut_anywhere_is_an_act_that_never_was(folder):
    path = folder / "journal.jsonl"
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for length in range(start, len(whole)):
        path.write_bytes(whole[:length])
        journal = read_journal(folder)
        assert (len(journal.lines), journal.torn, journal.damage) == (3, length - start, "")
    with ReviewSession.open(folder) as session:
        assert len(session.history) == 3
        assert [note.code for note in session.notes] == ["torn-act"]
    assert path.read_bytes() == whole[:start]


def test_a_torn_act_is_followed_by_the_next_as_if_it_never_was(folder):
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"seq":5,"time":"2026')
    with ReviewSession.open(folder) as session:
        session.do(Accept("F2"))
    with ReviewSession.open(folder) as session:
        assert [entry.kind for entry in session.history][-1] == "accept"
        assert session.notes == ()


@pytest.mark.parametrize("spoil", [lambda b: b ^ 0x01, lambda b: 0x0A], ids=["bit", "newline"])
def test_any_byte_changed_is_refused_and_the_line_is_named(folder, spoil):
    path = folder / "journal.jsonl"
    whole = path.read_bytes()
    for place in range(len(whole)):
        if spoil(whole[place]) == whole[place]:
            continue
        data = bytearray(whole)
        data[place] = spoil(data[place])
        path.write_bytes(bytes(data))
        line = whole[:place].count(b"\n") + 1
        if line == 1:
            with pytest.raises(StoreError, match="not-a-session"):
                read_journal(folder)
            continue
        journal = read_journal(folder)
        assert journal.damage.startswith(f"line {line} "), place
        assert len(journal.lines) == line - 2
    with pytest.raises(StoreError, match=r"damaged-journal.*line 5 .*--up-to-damage"):
        ReviewSession.open(folder)
    with ReviewSession.open(folder, up_to_damage=True) as before:
        assert len(before.history) == 3
        assert before.read_only
        assert before.notes[0].code == "damaged-journal"


def test_a_last_line_that_the_disk_never_got_whole_is_cut(folder):
    path = folder / "journal.jsonl"
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for tail in (bytes(512), whole[start:-200] + bytes(200), bytes(40) + whole[start + 40 :]):
        path.write_bytes(whole[:start] + tail)
        with ReviewSession.open(folder) as session:
            assert len(session.history) == 3
        assert path.read_bytes() == whole[:start]


def test_lines_left_out_or_put_in_another_order_are_refused(folder):
    path = folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for wrong in (lines[:1] + lines[2:], [*lines[:2], lines[3], lines[2], lines[4]]):
        path.write_bytes(b"".join(wrong))
        with pytest.raises(StoreError, match="damaged-journal"):
            ReviewSession.open(folder)


def test_other_starting_findings_are_refused(folder):
    path = folder / "start" / "findings.json"
    path.write_text(path.read_text("utf-8").replace("0.97", "0.98"), "utf-8")
    with pytest.raises(StoreError, match="damaged-session"):
        ReviewSession.open(folder)
    (folder / "start" / "segmentation.seg.nrrd").unlink()
    with pytest.raises(StoreError, match="damaged-session"):
        ReviewSession.open(folder, read_only=True)


def test_large_changes_lie_in_files_named_by_their_content_which_is_checked(
    session, monkeypatch, clock
):
    monkeypatch.setattr(session_file, "LARGE", 10)
    session.do(EditMask("F1", block((0, 4), (2, 5), (2, 6))))
    session.do(Undo())
    session.close()
    (path,) = (session.folder / "voxels").iterdir()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    with ReviewSession.open(session.folder) as again:
        assert told(again) == told(session)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match="were changed"):
        ReviewSession.open(session.folder)
    path.unlink()
    with pytest.raises(StoreError, match="are missing"):
        ReviewSession.open(session.folder)


def test_what_was_done_before_voxels_that_are_lost_can_be_saved(
    session, monkeypatch, tmp_path, capsys
):
    session.do(Accept("F1"))
    monkeypatch.setattr(session_file, "LARGE", 10)
    session.do(EditMask("F1", block((0, 4), (2, 5), (2, 6))))
    session.do(Accept("F3"))
    session.close()
    next((session.folder / "voxels").iterdir()).unlink()
    export = ["review", "export", str(session.folder), "--out", str(tmp_path / "saved")]
    assert main(export) == 74
    assert "--up-to-damage" in capsys.readouterr().err
    assert main([*export, "--up-to-damage"]) == 0
    saved = {item.id: item.state for item in read_findings(tmp_path / "saved")}
    assert (saved["F1"], saved["F3"]) == ("accepted", "new")
    assert main(["review", "list", str(session.folder), "--up-to-damage"]) == 0
    assert "the last 2 acts are left out" in " ".join(capsys.readouterr().out.split())


def with_header(folder, **changed):
    """Rewrite the journal, hashes and all, under another header."""
    path = folder / "journal.jsonl"
    header, *lines = [json.loads(line) for line in path.open("rb")]
    data, digest = line_of({k: v for k, v in {**header, **changed}.items() if k != "hash"}, "")
    for line in lines:
        line.pop("hash")
        more, digest = line_of(line, digest)
        data += more
    path.write_bytes(data)


def test_a_newer_session_can_be_looked_at_where_it_says_so_and_never_written(folder):
    with_header(folder, version=2, readable_by=1)
    with ReviewSession.open(folder, read_only=True) as session:
        assert len(session.history) == 4
    with pytest.raises(StoreError) as caught:
        ReviewSession.open(folder)
    assert (caught.value.code, caught.value.exit_code) == ("newer-session", 77)
    with_header(folder, version=3, readable_by=2)
    with pytest.raises(StoreError, match="newer-session"):
        ReviewSession.open(folder, read_only=True)


def test_findings_that_are_not_those_signed_are_refused(session):
    session.do(Accept("F1"))
    session.do(Sign("Dr. One"))
    session.close()
    path = session.folder / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"accepted"', b'"rejected"'))
    with_header(session.folder)  # somebody took the trouble to make every hash right
    with pytest.raises(StoreError, match="not those that were signed"):
        ReviewSession.open(session.folder)


def test_a_second_writer_is_told_busy_and_may_look(session):
    session.do(Accept("F1"))
    with pytest.raises(StoreError) as caught:
        ReviewSession.open(session.folder)
    assert (caught.value.code, caught.value.exit_code) == ("busy", 75)
    assert f"process {os.getpid()} " in str(caught.value)
    with ReviewSession.open(session.folder, read_only=True) as seen:
        assert told(seen) == told(session)
        with pytest.raises(StoreError) as caught:
            seen.do(Accept("F2"))
    assert (caught.value.code, caught.value.exit_code) == ("read-only", 77)


def test_a_writer_that_was_killed_leaves_no_lock(session):
    session.close()
    code = (
        "import sys, time\nfrom MedDetectLib.review.session import ReviewSession\n"
        "s = ReviewSession.open(sys.argv[1]); print('open', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, session.folder], stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreError, match=f"process {other.pid} "):
            ReviewSession.open(session.folder)
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    ReviewSession.open(session.folder).close()


def test_without_locks_a_dead_writer_is_known_by_its_process(session, monkeypatch):
    from MedDetectLib.review import one_writer

    session.close()
    lock = session.folder / "session.lock"

    def none_here(handle, place):
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(one_writer, "lock_byte", none_here)
    host = one_writer.socket.gethostname()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    lock.write_text(json.dumps({"pid": dead.pid, "host": host}))
    ReviewSession.open(session.folder).close()
    for owner in ({"pid": os.getpid(), "host": host}, {"pid": dead.pid, "host": "elsewhere"}):
        lock.write_text(json.dumps(owner))
        with pytest.raises(StoreError, match="busy"):
            ReviewSession.open(session.folder)


def test_starting_where_something_is_already_is_refused(session, tmp_path):
    with pytest.raises(StoreError, match="session-exists"):
        ReviewSession.start(session.folder, made_findings(), volume_sha256="")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="not-empty"):
        ReviewSession.start(tmp_path / "other", made_findings(), volume_sha256="")
    (tmp_path / "empty").mkdir()
    ReviewSession.start(tmp_path / "empty", made_findings(), volume_sha256="").close()
    with pytest.raises(StoreError, match="not-a-session"):
        ReviewSession.open(tmp_path / "other")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="not-empty"):
        ReviewSession.start(tmp_path / "file", made_findings(), volume_sha256="")
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == ["notes.txt"]


def test_a_start_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError) as caught:
        ReviewSession.start(tmp_path / "r", made_findings(), volume_sha256="")
    assert caught.value.exit_code == 73
    assert list(tmp_path.iterdir()) == []


def test_a_journal_somebody_else_wrote_to_is_not_written_any_more(session):
    session.do(Accept("F1"))
    with (session.folder / "journal.jsonl").open("ab") as file:
        file.write(b"x")
    with pytest.raises(StoreError, match="journal-changed"):
        session.do(Accept("F2"))
    assert len(session.history) == 1


def test_after_a_write_that_failed_the_session_goes_on(session, monkeypatch):
    real, broken = os.fsync, [True]

    def fsync(handle):
        if broken:
            broken.pop()
            raise OSError(errno.EIO, "the disk had a bad moment")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    before = told(session)
    with pytest.raises(StoreError) as caught:
        session.do(AddBox((0.0, 0.0, 0.0, 2.0, 2.0, 2.0), 1))
    assert (caught.value.code, caught.value.exit_code) == ("cannot-write", 73)
    assert told(session) == before
    session.do(Merge(("F1", "F2")))
    session.close()
    with ReviewSession.open(session.folder) as again:
        assert told(again) == told(session)


@pytest.mark.slow
def test_ten_thousand_acts_are_there_again_much_faster_than_they_were_done(session):
    masks = [block((0, 4), (2, 5), (2, n)) for n in (6, 7)]
    began = time.perf_counter()
    for n in range(10_000):
        session.do(EditMask("F1", masks[n % 2]))
    session.close()
    done = time.perf_counter()
    with ReviewSession.open(session.folder) as again:
        opened = time.perf_counter()
        assert len(again.history) == 10_000
        assert told(again)["findings"] == told(session)["findings"]
    assert opened - done < (done - began) / 2

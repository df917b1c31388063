"""What a panel or a store hears and reads from a session."""

import os
from dataclasses import replace

import numpy as np
import pytest
from review_samples import block, item, made_findings, same

from MedDetectLib.core.errors import StoreError
from MedDetectLib.review import session as session_module
from MedDetectLib.review.acts import (
    Accept,
    AddBox,
    Comment,
    EditMask,
    Focus,
    Merge,
    Reject,
    Reopen,
    Sign,
    Undo,
)
from MedDetectLib.review.fingerprint import findings_sha256
from MedDetectLib.review.session import ReviewSession


def test_listeners_hear_what_changed_after_it_is_kept(session):
    heard = []
    stop = session.subscribe(heard.append)
    session.do(Merge(("F1", "F2")))
    session.do(AddBox((0.0, 0.0, 0.0, 1.0, 1.0, 1.0), 1))
    session.do(Undo())
    session.do(Sign("Dr. One"))
    assert [(h.entry.kind, h.added, h.removed, h.signed) for h in heard] == [
        ("merge", (), ("F2",), False),
        ("add-box", ("F6",), (), False),
        ("undo", (), ("F6",), False),
        ("sign", (), (), True),
    ]
    assert set(heard[0].ids) == {"F1", "F2"}
    stop()
    stop()
    session.do(Reopen("Dr. One", "forgot one"))
    assert len(heard) == 4


def test_a_listener_that_raises_undoes_nothing_and_silences_nobody(session):
    heard = []

    def broken(changed):
        raise RuntimeError("a fault in the panel")

    session.subscribe(broken)
    session.subscribe(heard.append)
    with pytest.raises(RuntimeError, match="fault in the panel"):
        session.do(Accept("F1"))
    assert len(heard) == len(session.history) == 1
    assert item(session, "F1").state == "accepted"


def test_findings_handed_out_are_not_changed_by_later_acts(session):
    first = session.findings
    session.do(EditMask("F1", block((0, 9), (0, 9), (0, 9))))
    assert same(first, made_findings())
    with pytest.raises(ValueError, match="read-only"):
        session.findings.label_map[:] = 9


def test_the_findings_given_are_left_alone(tmp_path):
    given = made_findings()
    with ReviewSession.start(tmp_path / "r", given, volume_sha256="") as session:
        session.do(EditMask("F1", block((0, 9), (0, 9), (0, 9))))
    assert same(given, made_findings())


def test_time_in_focus_acts_and_voxels_are_counted_per_finding(session, clock):
    session.do(Focus("F1"))
    clock.wait(4)
    session.do(EditMask("F1", block((1, 4), (2, 6), (2, 6))))
    clock.wait(3)
    session.do(Focus("F3"))
    clock.wait(10)
    session.do(Focus(None))
    clock.wait(100)
    session.do(Reject("F3", "vessel"))
    first, second, third = (session.effort[key] for key in ("F1", "F2", "F3"))
    assert (first.seconds, first.acts, first.voxels_added, first.voxels_removed) == (7, 1, 12, 0)
    assert (second.seconds, second.acts, second.voxels_added, second.voxels_removed) == (
        0,
        1,
        0,
        12,
    )
    assert (third.seconds, third.acts) == (10, 1)
    session.do(Undo())
    assert session.effort["F3"].acts == 2


def test_time_while_the_session_was_closed_or_dead_is_nobodys(session, clock):
    session.do(Focus("F1"))
    clock.wait(5)
    session.do(Accept("F1"))
    session._file.close()  # as a crash leaves it: no word about the end of the focus
    session._writer.release()
    clock.wait(3600)
    with ReviewSession.open(session.folder, clock=clock) as again:
        again.do(Focus("F2"))
        clock.wait(2)
    assert again.effort["F1"].seconds == 5
    assert again.effort["F2"].seconds == 2
    with ReviewSession.open(session.folder, read_only=True) as seen:
        assert seen.effort == again.effort
    session._file = session._writer = None


def test_a_signed_review_is_frozen_until_it_is_reopened(session, clock):
    session.do(Accept("F1"))
    session.do(Sign("Dr. One", "two nodules"))
    signed = session.signature
    assert (signed.reviewer, signed.comment, signed.time) == (
        "Dr. One", "two nodules", "2026-11-20T09:00:00.000Z",
    )  # fmt: skip
    assert signed.findings_sha256 == findings_sha256(session.findings)
    for act in (Accept("F2"), Undo(), Focus("F1"), Sign("Dr. Two"), Comment("late")):
        with pytest.raises(StoreError) as caught:
            session.do(act)
        assert (caught.value.code, caught.value.exit_code) == ("signed", 77)
    clock.wait(60)
    session.do(Reopen("Dr. Two", "second look"))
    assert session.signature is None
    session.do(Undo())  # without limit: also past the signature
    session.do(Sign("Dr. Two"))
    assert [each.reviewer for each in session.signatures] == ["Dr. One", "Dr. Two"]
    session.do(Reopen("Dr. One", "typo"))
    with pytest.raises(StoreError, match="open already"):
        session.do(Reopen("Dr. One", "typo"))


def test_comments_stay_until_they_are_undone(session):
    session.do(Comment("spiculated", "F1"))
    session.do(Comment("poor breath hold"))
    assert [each.act["text"] for each in session.comments] == ["spiculated", "poor breath hold"]
    session.do(Undo())
    assert [each.text for each in session.comments] == ['comment F1 "spiculated"']


def test_a_closed_session_refuses_acts_and_closes_twice(session):
    session.close()
    session.close()
    with pytest.raises(StoreError, match="read-only"):
        session.do(Accept("F1"))


def test_what_the_store_gave_along_is_in_the_header(tmp_path):
    about = {"case": "c-17", "reader": 2, "blinded": True}
    with ReviewSession.start(
        tmp_path / "deep" / "er", made_findings(), volume_sha256="5" * 64, about=about
    ) as session:
        assert session.header["about"] == about
    with ReviewSession.open(session.folder, read_only=True) as again:
        assert again.header == session.header
        assert again.header["volume_sha256"] == "5" * 64


def test_the_fingerprint_knows_every_voxel_and_no_number_type():
    first = made_findings()
    prints = {findings_sha256(first)}
    for place in ((0, 0, 4), (0, 1, 4), (1, 0, 4), (8, 9, 10)):
        other = made_findings()
        other.label_map[place] = 7
        prints.add(findings_sha256(other))
    prints.add(findings_sha256(replace(first, notes=())))
    assert len(prints) == 6
    items = tuple(replace(each, score=np.float64(each.score)) for each in first)
    same_again = replace(first, items=items, label_map=np.asfortranarray(first.label_map))
    assert findings_sha256(same_again) == findings_sha256(first)


def test_a_fingerprint_is_made_once_and_anew_after_a_change(session, monkeypatch):
    made = []

    def counted(findings, real=findings_sha256):
        made.append(1)
        return real(findings)

    monkeypatch.setattr(session_module, "findings_sha256", counted)
    first = session.fingerprint()
    session.do(Focus("F1"))
    assert session.fingerprint() == first == findings_sha256(session.findings)
    assert len(made) == 1
    session.do(EditMask("F1", block((0, 2), (0, 2), (0, 2))))
    session.do(Sign("Dr. One"))
    assert len(made) == 2
    assert session.signature.findings_sha256 == findings_sha256(session.findings) != first


def test_a_fingerprint_taken_while_an_act_is_done_is_not_remembered(session, monkeypatch):
    def meanwhile(findings, real=findings_sha256):
        digest = real(findings)
        if session.undoable is None:
            session.do(Accept("F1"))
        return digest

    monkeypatch.setattr(session_module, "findings_sha256", meanwhile)
    session.fingerprint()
    session.do(Sign("Dr. One"))
    assert session.signature.findings_sha256 == findings_sha256(session.findings)


def test_a_session_that_could_not_follow_its_journal_loses_no_act(session, monkeypatch):
    session.do(Accept("F3"))
    session.do(Focus("F2"))

    def no_memory(*_args, **_kwargs):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(session._draft, "apply", no_memory)
        with pytest.raises(MemoryError):
            session.do(Reject("F2", "vessel"))
    with pytest.raises(StoreError, match="journal-changed"):
        session.do(Accept("F1"))  # would have been written under a number that is taken
    session.close()
    with ReviewSession.open(session.folder) as again:
        assert [e.kind for e in again.history] == ["accept", "focus", "reject"]
        again.do(Accept("F1"))
    assert item(ReviewSession.open(session.folder, read_only=True), "F2").state == "rejected"


def test_a_journal_that_cannot_even_be_looked_at_is_said_in_one_line(session, monkeypatch):
    def stale(_handle):
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as patched:
        patched.setattr("os.fstat", stale)
        with pytest.raises(StoreError, match="Stale file handle"):
            session.do(Accept("F1"))
    session.do(Accept("F1"))


def test_a_review_whose_files_close_badly_lets_the_next_one_write(session, monkeypatch):
    session.do(Accept("F1"))
    real = os.close

    def late_error(handle):
        real(handle)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("os.close", late_error)
        session.close()
    with ReviewSession.open(session.folder) as again:
        assert len(again.history) == 1

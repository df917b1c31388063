"""A review that a crash left with half an act is opened, gone on with, reopened and undone."""

import review_session as first
from review_samples import made_findings

from MedDetectLib.review.acts import Focus, Reject, Reopen, Sign, Split, Undo
from MedDetectLib.review.session import ReviewSession

ACTS = (
    Reopen("Dr. Two", "second look"),
    Focus("F3"),
    Split("F3"),
    Reject("F5", "vessel"),
    Undo(),
    Sign("Dr. Two"),
)
PAUSE = {"kind": "focus", "finding_id": None}
"""What closing adds, also after an act that failed."""


def prepare(folder) -> None:
    with ReviewSession.start(folder / "review", made_findings(), volume_sha256="1" * 64) as session:
        for each in first.ACTS:
            session.do(each)
    with (folder / "review" / "journal.jsonl").open("ab") as file:
        file.write(b'{"seq":7,"ti')


def act(folder, acknowledge) -> None:
    with ReviewSession.open(folder / "review") as session:
        for each in ACTS:
            session.do(each)
            acknowledge(first.session_hash(session))


def check(folder, acknowledged) -> None:
    with ReviewSession.open(folder / "review") as session:
        kinds = [each.kind for each in session.history if dict(each.act) != PAUSE]
        kept = len(kinds) - len(first.ACTS)
        assert len(acknowledged) <= kept <= len(acknowledged) + 1
        if kept == len(acknowledged) and kept:
            assert first.session_hash(session) == acknowledged[-1]
        for each in ACTS[kept:]:
            session.do(each)
        assert session.signature.reviewer == "Dr. Two"
        assert [each.id for each in session.findings] == ["F1", "F3", "F4", "F5", "F6"]

"""A review from its start to its signature, with a change that gets a file of its own."""

import json

import scipy.ndimage  # noqa: F401 (imported once, not in every fork)
import SimpleITK  # noqa: F401
from review_samples import block, made_findings

from MedDetectLib.review import session as session_file
from MedDetectLib.review.acts import Accept, EditMask, Merge, Redo, Sign, Undo
from MedDetectLib.review.session import ReviewSession

session_file.LARGE = 400  # a merge of these little masks is a large change already

ACTS = (
    EditMask("F1", block((1, 4), (2, 6), (2, 6))),
    Merge(("F1", "F2")),
    Undo(),
    Redo(),
    Accept("F4"),
    Sign("Dr. One", "done"),
)


def prepare(folder) -> None:
    pass


def act(folder, acknowledge) -> None:
    with ReviewSession.start(folder / "review", made_findings(), volume_sha256="1" * 64) as session:
        acknowledge("started")
        for each in ACTS:
            entry = session.do(each)
            acknowledge(json.dumps([entry.seq, session_hash(session)]))


def check(folder, acknowledged) -> None:
    if not (folder / "review" / "journal.jsonl").exists():
        assert acknowledged == []
        with ReviewSession.start(folder / "review", made_findings(), volume_sha256="1" * 64) as new:
            new.do(Accept("F4"))
        return
    with ReviewSession.open(folder / "review") as session:
        kept = len(session.history)
        promised = max(len(acknowledged) - 1, 0)
        assert promised <= kept <= promised + 1, (kept, promised)
        assert [e.kind for e in session.history] == [each.kind for each in ACTS[:kept]]
        if kept == promised and kept:
            assert session_hash(session) == json.loads(acknowledged[-1])[1]
        for each in ACTS[kept:]:
            session.do(each)
        assert session.signature is not None


def session_hash(session) -> str:
    return session_file.findings_sha256(session.findings)

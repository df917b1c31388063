"""Whatever was done in whatever order: undone, done again and reopened, it is the same."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from review_samples import SHAPE, made_findings, same, told

from MedDetectLib.core.errors import InputError, StoreError
from MedDetectLib.core.measure import tight_box
from MedDetectLib.review import session as session_file
from MedDetectLib.review.acts import (
    Accept,
    AddBox,
    AddMask,
    Comment,
    EditBox,
    EditMask,
    Focus,
    Merge,
    Plane,
    Redo,
    Reject,
    Relabel,
    Reopen,
    Sign,
    Split,
    Undo,
)
from MedDetectLib.review.patches import patch_from_mask
from MedDetectLib.review.session import ReviewSession

IDS = st.sampled_from([f"F{n}" for n in range(1, 9)])
OVERLAPS = st.sampled_from(["take", "take", "keep", "refuse"])
BOXES = st.tuples(
    *(st.floats(-1, n - 0.5) for n in SHAPE), *(st.floats(0.25, 6) for _ in SHAPE)
).map(lambda b: (*b[:3], *(low + size for low, size in zip(b[:3], b[3:], strict=True))))


@st.composite
def patches(draw):
    """Blocks with holes: some voxels of a window of the grid."""
    low = [draw(st.integers(0, n - 1)) for n in SHAPE]
    high = [draw(st.integers(a + 1, min(a + 5, n))) for a, n in zip(low, SHAPE, strict=True)]
    mask = np.zeros(SHAPE, bool)
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    size = [b - a for a, b in zip(low, high, strict=True)]
    seed, share = draw(st.integers(0, 99)), draw(st.sampled_from([0.2, 0.7, 1.0]))
    mask[window] = np.random.default_rng(seed).random(size) <= share
    mask[tuple(low)] = True
    return patch_from_mask(mask)


NUMBERS = st.tuples(*[st.floats(-20, 60)] * 3)
CUTS = st.one_of(
    st.none(),
    st.builds(Plane, NUMBERS, st.tuples(*[st.floats(-1, 1)] * 3)),
    st.lists(patches(), min_size=1, max_size=3).map(tuple),
)
LABELS = st.sampled_from([1, 4])
CHANGES = st.one_of(
    st.builds(Accept, IDS),
    st.builds(Reject, IDS, st.just("vessel")),
    st.builds(Relabel, IDS, LABELS),
    st.builds(EditMask, IDS, patches(), OVERLAPS),
    st.builds(EditMask, IDS, patches(), OVERLAPS),
    st.builds(EditBox, IDS, BOXES),
    st.builds(AddBox, BOXES, LABELS),
    st.builds(AddMask, patches(), LABELS, st.just(1.0), OVERLAPS),
    st.builds(Merge, st.lists(IDS, min_size=2, max_size=3).map(tuple), st.just(1)),
    st.builds(Split, IDS, CUTS),
    st.builds(Comment, st.just("hm"), st.one_of(st.none(), IDS)),
)
ANY = st.one_of(
    CHANGES,
    CHANGES,
    st.builds(Undo),
    st.builds(Redo),
    st.builds(Focus, st.one_of(st.none(), IDS)),
    st.builds(Sign, st.just("Dr. One")),
    st.builds(Reopen, st.just("Dr. One"), st.just("again")),
)
MANY = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def done(session, acts):
    """Do what can be done; what is refused changes nothing."""
    for act in acts:
        before = session.findings, len(session.history)
        try:
            session.do(act)
        except (InputError, StoreError):
            assert session.findings is before[0]
            assert len(session.history) == before[1]
        check_links(session)


def check_links(session):
    findings = session.findings
    for item in findings:
        mask = findings.mask_of(item)
        patch = session.patch_of(item.id)
        assert (mask is None) == (patch is None)
        if mask is not None:
            assert patch.is_same(patch_from_mask(mask))
            tight = np.array(tight_box(mask))
            # the model's own box may be smaller than its mask; an edited one never is
            if item.state in ("edited", "added"):
                box = np.array(item.box)
                assert (np.ceil(box[:3] - 0.5) <= tight[:3]).all() or (box[:3] <= tight[:3]).all()


@pytest.fixture(params=[1 << 16, 20], ids=["in-the-line", "in-files"])
def place(request, monkeypatch):
    monkeypatch.setattr(session_file, "LARGE", request.param)


def started(folder, masks=True):
    return ReviewSession.start(
        Path(folder) / "review", made_findings(masks=masks), volume_sha256="1" * 64
    )


@MANY
@given(acts=st.lists(CHANGES, max_size=12), masks=st.booleans())
def test_undoing_everything_gives_the_very_findings_of_the_start(acts, masks):
    with tempfile.TemporaryDirectory() as folder, started(folder, masks) as session:
        states = [session.findings]
        for act in acts:
            before = session.undoable
            done(session, [act])
            if session.undoable is not before:
                states.append(session.findings)
        for state in reversed(states[:-1]):
            session.do(Undo())
            assert same(session.findings, state)
        assert session.undoable is None
        assert same(session.findings, made_findings(masks=masks))
        assert session.comments == ()
        for state in states[1:]:
            session.do(Redo())
            assert same(session.findings, state)
        assert session.redoable is None


@settings(parent=MANY, suppress_health_check=[*HealthCheck])
@given(acts=st.lists(ANY, max_size=14), more=st.lists(ANY, max_size=4))
def test_a_reopened_session_is_the_one_that_was_left(place, acts, more):
    with tempfile.TemporaryDirectory() as folder:
        session = started(folder)
        done(session, acts)
        session.close()
        left = told(session)
        with ReviewSession.open(session.folder, read_only=True) as seen:
            assert told(seen) == left
        with ReviewSession.open(session.folder) as again:
            assert told(again) == left
            done(again, more)
        left = told(again)
        with ReviewSession.open(session.folder) as third:
            assert told(third) == left


@settings(parent=MANY, max_examples=20)
@given(acts=st.lists(CHANGES, min_size=4, max_size=10))
def test_undo_goes_on_where_it_stopped_after_every_reopening(acts):
    with tempfile.TemporaryDirectory() as folder:
        session = started(folder)
        done(session, acts)
        while session.undoable is not None:
            session.do(Undo())
            session.close()
            session = ReviewSession.open(session.folder)
        assert same(session.findings, made_findings())
        session.close()


def test_a_new_act_after_undo_makes_the_undone_ones_gone_for_good(session):
    session.do(Accept("F1"))
    session.do(Accept("F2"))
    session.do(Undo())
    session.do(Reject("F3", "artefact"))
    assert session.redoable is None
    with pytest.raises(InputError, match="nothing to redo"):
        session.do(Redo())
    assert [each.state for each in session.findings][:3] == ["accepted", "new", "rejected"]


def test_looking_at_a_finding_does_not_cost_the_redo(session):
    session.do(Accept("F1"))
    session.do(Undo())
    session.do(Focus("F2"))
    session.do(Redo())
    assert session.findings.items[0].state == "accepted"

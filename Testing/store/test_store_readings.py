"""Several readers, blinded; adjudication; old versions restored."""

from __future__ import annotations

import pytest
import store_samples as samples

from MedDetectLib.cases.store.case_store import CaseFilter, CaseStore, Reading
from MedDetectLib.core.errors import InputError


@pytest.fixture
def case(store):
    return store.import_volume(samples.volume(), "P1", samples.findings()).case


def test_a_blinded_second_reader_starts_from_the_model_and_sees_no_other_reader(store, case):
    samples.signed(store, case.id, "A", 2)
    reading = store.start_reading(case.id, "B", blinded=True)
    assert reading.start.number == 1
    assert samples.same(reading.findings, samples.findings())
    assert [v.kind for v in store.versions(case.id, seen_by="B")] == ["ai"]
    version = store.sign_reading(reading, samples.findings(1))
    assert (version.blinded, version.parent, version.number) == (True, 1, 3)
    assert [v.number for v in store.versions(case.id, seen_by="B")] == [1, 2, 3]


def test_without_a_models_findings_a_blinded_reader_starts_from_nothing(store):
    case = store.import_volume(samples.volume(), "P1").case
    samples.signed(store, case.id, "A")
    reading = store.start_reading(case.id, "B", blinded=True)
    assert reading.start is None
    assert store.sign_reading(reading, samples.findings()).parent is None


def test_an_open_second_reading_starts_from_the_newest_version(store, case):
    samples.signed(store, case.id, "A", 2)
    assert store.start_reading(case.id, "B").start.author == "A"


def test_a_blinded_reader_goes_on_from_their_own_work(store, case):
    samples.signed(store, case.id, "B", 1, blinded=True)
    samples.signed(store, case.id, "A", 2)
    assert store.start_reading(case.id, "B", blinded=True).start.number == 2


def test_a_reading_that_started_from_another_readers_work_is_not_blinded(store, case):
    other = samples.signed(store, case.id, "A", 2)
    cheated = Reading(case.id, "B", True, other, None)
    with pytest.raises(InputError, match="not-blinded"):
        store.sign_reading(cheated, samples.findings())


def test_a_reading_of_ones_own_that_began_with_another_readers_work_is_not_blinded(store, case):
    samples.signed(store, case.id, "A", 2)
    samples.signed(store, case.id, "B", 1)  # not blinded: begun with A's
    assert store.start_reading(case.id, "B", blinded=True).start.number == 1
    cheated = Reading(case.id, "B", True, store.versions(case.id)[2], None)
    with pytest.raises(InputError, match="not-blinded"):
        store.sign_reading(cheated, samples.findings())
    store.restore(case.id, 2, "C")
    assert store.start_reading(case.id, "C", blinded=True).start.number == 1
    store.restore(case.id, 1, "D")
    assert store.start_reading(case.id, "D", blinded=True).start.number == 5


def test_where_a_case_stands_follows_from_its_versions(store, case):
    def status():
        (row,) = store.cases()
        return row.status, row.readers

    assert status() == ("detected", 0)
    samples.signed(store, case.id, "A")
    samples.signed(store, case.id, "A", 1)
    assert status() == ("reviewed", 1)
    samples.signed(store, case.id, "B", 2, blinded=True)
    assert status() == ("read-twice", 2)
    store.adjudicate(case.id, samples.findings(1), "C", (3, 4))
    assert status() == ("adjudicated", 0)
    assert store.truth(case.id).author == "C"
    store.restore(case.id, 4, "D")  # B's reading again: it is B's
    assert status() == ("reviewed", 1)
    store.restore(case.id, 5, "D")
    assert status() == ("adjudicated", 0)
    samples.signed(store, case.id, "A")
    store.restore(case.id, 1, "D")  # the model's: nobody has read what speaks for the case now
    assert status() == ("detected", 0)
    store.restore(case.id, 9, "D")
    assert status() == ("detected", 0)
    assert [row.id for row in store.cases(CaseFilter(not_read_by="D"))] == []
    assert store.verify().is_good
    assert store.verify(repair=True).is_good
    assert status() == ("detected", 0)


def test_agreement_of_two_versions_is_told(store, case):
    one = samples.signed(store, case.id, "A", 0)
    two = samples.signed(store, case.id, "B", 1, blinded=True)
    found = store.agreement(case.id, one.number, two.number)
    # 12 voxels moved by one of three columns: 8 shared; 2 voxels the same
    assert found.dice == pytest.approx(2 * 10 / 28)
    assert [m.iou for m in found.matches] == pytest.approx([8 / 16, 1.0])


def test_only_a_third_person_may_settle_two_readings(store, case):
    samples.signed(store, case.id, "A")
    samples.signed(store, case.id, "A", 1)
    with pytest.raises(InputError, match="not-two-readings"):
        store.adjudicate(case.id, samples.findings(), "C", (2, 3))
    with pytest.raises(InputError, match="not-two-readings"):
        store.adjudicate(case.id, samples.findings(), "C", (1, 2))
    samples.signed(store, case.id, "B", 2)
    with pytest.raises(InputError, match="not-independent"):
        store.adjudicate(case.id, samples.findings(), "B", (3, 4))
    version = store.adjudicate(case.id, samples.findings(), "C", (3, 4), comment="as A")
    assert (version.kind, version.of, version.comment) == ("adjudicated", (3, 4), "as A")


def test_restoring_a_version_appends_what_it_said(store, case):
    samples.signed(store, case.id, "A", 2)
    version = store.restore(case.id, 1, "A")
    assert (version.number, version.kind, version.of) == (3, "restored", (1,))
    assert samples.same(store.findings(case.id, 3), store.findings(case.id, 1))
    assert store.diff(case.id, 1, 3).is_empty
    assert [change.id for change in store.diff(case.id, 2, 3).changed] == ["F1"]


def test_what_a_review_recorded_beside_is_kept_with_its_version(store, case):
    reading = store.start_reading(case.id, "A")
    details = {"effort": {"F1": {"seconds": 12.5, "voxels": 40}}, "reasons": {"F2": "vessel"}}
    version = store.sign_reading(reading, samples.findings(), details=details)
    assert store.versions(case.id)[version.number - 1].details == details
    samples.signed(store, case.id, "B")
    settled = store.adjudicate(case.id, samples.findings(), "C", (2, 3), details=details)
    assert store.versions(case.id)[settled.number - 1].details == details


def test_whether_somebody_may_settle_readings_is_said_before_the_work(store, case):
    samples.signed(store, case.id, "A")
    samples.signed(store, case.id, "B")
    assert store.check_adjudication(case.id, " C ", (2, 3)) == "C"
    for author, of, code in (
        ("B", (2, 3), "not-independent"),
        ("C", (2,), "not-two-readings"),
        ("C", (2, 9), "no-version"),
        (" ", (2, 3), "bad-name"),
    ):
        with pytest.raises(InputError, match=code):
            store.check_adjudication(case.id, author, of)
    assert len(store.versions(case.id)) == 3


def test_a_store_opened_again_for_another_thread_has_the_same_settings(store):
    one = CaseStore(store.folder, network=True, wait_s=0.25).reopened()
    assert one.folder == store.folder
    assert (one._store.network, one._store.wait_s) == (True, 0.25)


def test_a_case_is_found_by_the_beginning_of_its_id(store, case):
    assert store.full_id(case.id[:6]) == case.id
    assert store.full_id("zzz") == "zzz"

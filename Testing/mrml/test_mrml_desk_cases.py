"""A case of the store on the desk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from desk_samples import agree, volume_and_findings
from mrml_samples import GRIDS, LABELS

from MedDetectLib.adapters.mrml.desk.case_desk import CaseDesk
from MedDetectLib.adapters.mrml.desk.review_desk import ReviewDesk
from MedDetectLib.adapters.mrml.desk.scene_worklist import items_of_scene
from MedDetectLib.adapters.mrml.scene import new_scene
from MedDetectLib.adapters.mrml.volume_node import volume_to_node
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.core.errors import InputError, StoreError
from MedDetectLib.review.acts import Accept, Comment, Reject, Relabel, Reopen
from MedDetectLib.review.case_reading import sessions_of, take_in

GRID = GRIDS["oblique"]


@pytest.fixture
def store(tmp_path):
    return CaseStore.open_or_create(tmp_path / "store")


@pytest.fixture
def case(store):
    volume, findings = volume_and_findings(GRID)
    return take_in(store, volume, "P001", findings)


def test_a_reading_goes_from_the_store_to_the_desk_and_back(scene, store, case):
    with CaseDesk.begin(scene, store, case.id, "Dr A") as desk:
        assert desk.note.start == 1
        agree(desk.review)
        desk.review.select("F1")
        desk.review.do(Reject("F1", "vessel"))
        desk.review.do(Comment("odd", "F2"))
        version = desk.sign("one is a vessel")
        assert not desk.needs_storing
        assert desk.version == version
        assert (version.number, version.author, version.parent) == (2, "Dr A", 1)
        assert version.comment == "one is a vessel"
        assert version.details["reasons"] == {"F1": "vessel"}
        assert version.details["comments"] == [{"finding": "F2", "text": "odd"}]
        assert version.details["effort"]["F1"]["acts"] == 1
        assert store.findings(case.id, 2).to_json() == desk.review.findings.to_json()
    assert [note for _, note in sessions_of(store, case.id)] == [desk.note]


def test_the_image_comes_from_the_store_to_the_bit(scene, store, case):
    volume, _ = volume_and_findings(GRID)
    with CaseDesk.begin(scene, store, case.id, "Dr A") as desk:
        import slicer.util

        assert np.array_equal(slicer.util.arrayFromVolume(desk.review.volume_node), volume.array)


def test_taking_in_the_same_image_twice_is_one_case(store, case):
    volume, findings = volume_and_findings(GRID)
    assert take_in(store, volume, "P001", findings).id == case.id
    assert len(store.versions(case.id)) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_between_signature_and_store_is_made_good(scene, store, case, when, monkeypatch):
    desk = CaseDesk.begin(scene, store, case.id, "Dr A")
    desk.review.do(Accept("F1"))
    folder = desk.review.session.folder
    real = CaseStore.sign_reading

    def die(self, *args, **options):
        if when == "after":
            real(self, *args, **options)
        raise StoreError("cannot-write", "the network is gone")

    with monkeypatch.context() as broken:
        broken.setattr(CaseStore, "sign_reading", die)
        with pytest.raises(StoreError, match="network is gone"):
            desk.sign("fine")
    desk.close()
    with CaseDesk.resume(new_scene(), folder) as again:
        assert again.review.signature is not None
        assert again.needs_storing == (when == "before")
        version = again.store_signature()
        assert again.store_signature().number == version.number == 2
        assert (version.author, version.comment) == ("Dr A", "fine")
        assert not again.needs_storing
    assert len(store.versions(case.id)) == 2


def test_reopened_and_signed_again_it_is_another_version(scene, store, case):
    with CaseDesk.begin(scene, store, case.id, "Dr A") as desk:
        desk.sign()
        desk.review.do(Reopen("Dr A", "missed one"))
        assert not desk.needs_storing
        desk.review.do(Accept("F1"))
        assert desk.sign().number == 3


def test_a_blinded_reader_starts_from_the_model_and_sees_others_after_signing(scene, store, case):
    with CaseDesk.begin(scene, store, case.id, "Dr A") as first:
        first.review.do(Relabel("F1", 4))
        first.sign()
    with CaseDesk.begin(new_scene(), store, case.id, "Dr B", blinded=True) as second:
        assert second.note.start == 1
        assert [v.number for v in second.versions.all()] == [1]
        for look in (second.versions.show, lambda n: second.versions.diff(1, n)):
            with pytest.raises(InputError, match="not-to-be-seen"):
                look(2)
        assert second.versions.to_compare() is None
        second.review.do(Reject("F3", "vessel"))
        second.sign()
        assert second.versions.to_compare() == (2, 3)
        agreed = second.versions.agreement(2, 3)
        assert agreed.only_first == ("F3",)
        change = second.versions.diff(1, 2).changed[0]
        assert change.fields["label"] == ("nodule", "cyst; simple|thin")


def test_two_readings_are_settled_by_a_third(scene, store, case):
    for reader in ("Dr A", "Dr B"):
        with CaseDesk.begin(new_scene(), store, case.id, reader, blinded=True) as desk:
            desk.sign()
    with CaseDesk.begin(scene, store, case.id, "Dr C", settles=(2, 3)) as third:
        assert third.note.start == 2
        third.review.do(Accept("F2"))
        version = third.sign("agreed")
        assert (version.kind, version.of, version.author) == ("adjudicated", (2, 3), "Dr C")
        assert version.details["effort"]["F2"]["acts"] == 1
        assert third.store_signature().number == version.number


def test_another_version_is_shown_beside_the_review(scene, store, case):
    with CaseDesk.begin(scene, store, case.id, "Dr A") as desk:
        desk.review.do(Accept("F1"))
        node = desk.versions.show(1)
        assert desk.versions.show(1) is node
        assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2
        node.GetSegmentation().RemoveSegment("F2")
        assert desk.review.take_edits() == ()
        desk.versions.hide(1)
        assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
        with pytest.raises(InputError, match="no-version"):
            desk.versions.show(7)
        desk.versions.show(1)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_a_review_that_began_without_a_case_may_join_one(scene, store, tmp_path):
    volume, findings = volume_and_findings(GRID)
    review = ReviewDesk.begin(scene, volume_to_node(scene, volume), findings, tmp_path / "review")
    review.do(Accept("F1"))
    case = take_in(store, volume, "P002", findings)
    with CaseDesk.join(review, store, case.id, "Dr A") as desk:
        assert desk.note.start == 1
        assert desk.sign().number == 2
    with pytest.raises(InputError, match="no-case"):
        CaseDesk.join(review, store, "0" * 12, "Dr A")


def test_a_case_no_model_has_seen_is_read_with_given_classes(scene, store):
    volume, _ = volume_and_findings(GRID)
    case = take_in(store, volume, "P003")
    with pytest.raises(InputError, match="no-labels"):
        CaseDesk.begin(scene, store, case.id, "Dr A")
    with CaseDesk.begin(scene, store, case.id, "Dr A", labels=LABELS) as desk:
        new = desk.review.add_box_at(GRID.index_to_ras((4, 4, 4)), 1, 4.0)
        agree(desk.review)
        assert desk.sign().labels == ("nodule",)
        assert store.findings(case.id, 1).items[0].id == new


def test_a_session_of_no_case_says_so(scene, tmp_path):
    volume, findings = volume_and_findings(GRID)
    ReviewDesk.begin(scene, volume_to_node(scene, volume), findings, tmp_path / "review").close()
    with pytest.raises(InputError, match="no-case-note"):
        CaseDesk.resume(scene, tmp_path / "review")
    (tmp_path / "review" / "case.json").write_text('{"format": 3}')
    with pytest.raises(InputError, match="bad-case-note"):
        CaseDesk.resume(scene, tmp_path / "review")


def test_the_volumes_of_a_scene_are_a_worklist(scene):
    volume, _ = volume_and_findings(GRID)
    node = volume_to_node(scene, volume, "chest")
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    items = items_of_scene(scene)
    assert [(i.name, i.node, i.modality, i.trouble) for i in items] == [
        ("chest", node.GetID(), "CT", ""),
        ("empty", empty.GetID(), "", "it has no voxels"),
    ]


def test_a_review_of_another_image_on_the_same_grid_joins_no_case(scene, store, case, tmp_path):
    volume, findings = volume_and_findings(GRID)
    volume.array[0, 0, 0] += 1
    provenance = replace(findings.provenance, input_sha256=volume.sha256)
    node = volume_to_node(scene, volume)
    findings = replace(findings, provenance=provenance)
    review = ReviewDesk.begin(scene, node, findings, tmp_path / "review")
    with review, pytest.raises(InputError, match="other-volume"):
        CaseDesk.join(review, store, case.id, "Dr A")
    with pytest.raises(InputError, match="other-volume"):
        CaseDesk.begin(scene, store, case.id, "Dr A", volume_node=node)
    assert len(store.versions(case.id)) == 1

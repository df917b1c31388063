"""Importing images, adding versions, and reading them back."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import store_samples as samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from MedDetectLib.cases.store.case_store import CaseFilter, CaseStore, Ratios, Saying
from MedDetectLib.cases.store.split import SPLITS, drawn_split
from MedDetectLib.cases.worklist_sources import items_of_store
from MedDetectLib.core.errors import InputError, StoreError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume

KINDS = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
         "float16", "float32", "float64"]  # fmt: skip


def test_an_image_comes_back_with_every_bit_of_its_voxels_and_matrix(store):
    for n, kind in enumerate(KINDS):
        volume = samples.volume(n, dtype=kind)
        case = store.import_volume(volume, f"P{n}").case
        back = CaseStore(store.folder).volume(case.id)
        assert back.array.dtype == volume.array.dtype
        assert back.array.tobytes() == volume.array.tobytes()
        assert back.geometry.ijk_to_ras.tobytes() == volume.geometry.ijk_to_ras.tobytes()
        assert (back.modality, back.name, back.source) == ("CT", volume.name, volume.source)
        assert back.sha256 == volume.sha256 == case.volume_sha256


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.floats(-1e4, 1e4).map(lambda x: x + 0.0), min_size=3, max_size=3),
    st.lists(st.floats(0.05, 20), min_size=3, max_size=3),
    st.integers(0, 2**32 - 1),
)
def test_the_file_itself_holds_the_exact_matrix(tmp_path, origin, spacing, seed):
    from MedDetectLib.cases.image_files import read_volume
    from MedDetectLib.cases.store.nrrd_blob import write_voxels

    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    geometry = Geometry.from_axes((1, 2, 2), spacing, origin, turn)
    with (tmp_path / "image.nrrd").open("wb") as file:
        write_voxels(file.fileno(), np.arange(4, dtype=np.int16).reshape(1, 2, 2), geometry)
    back = read_volume(tmp_path / "image.nrrd")
    assert np.array_equal(back.geometry.ijk_to_ras, geometry.ijk_to_ras)


def test_findings_come_back_to_the_voxel(store):
    found = samples.findings(boxes=True)
    case = store.import_volume(samples.volume(), "P1", found).case
    assert samples.same(store.findings(case.id, 1), found)
    (version,) = store.versions(case.id)
    assert (version.kind, version.author, version.count) == ("ai", "lung 1.2", 3)
    assert version.labels == ("nodule", "cyst")


def test_an_image_reviewed_as_empty_is_a_case_too(store):
    case = store.import_volume(samples.volume(), "P1").case
    reading = store.start_reading(case.id, "A")
    assert reading.start is None
    store.sign_reading(reading, samples.nothing_found())
    (row,) = store.cases()
    assert (row.status, row.findings, row.versions) == ("reviewed", 0, 1)
    assert samples.same(store.findings(case.id, 1), samples.nothing_found())


def test_versions_only_ever_grow_and_each_names_the_one_before(store):
    case = store.import_volume(samples.volume(), "P1", samples.findings()).case
    first_bytes = next(store.folder.rglob("0001.json")).read_bytes()
    signed = samples.signed(store, case.id, "A", 1)
    assert (signed.number, signed.parent, signed.kind) == (2, 1, "review")
    one, two = store.versions(case.id)
    assert next(store.folder.rglob("0001.json")).read_bytes() == first_bytes
    assert two.previous_seal == json.loads(first_bytes)["seal"]
    assert (
        one.previous_seal == json.loads(next(store.folder.rglob("case.json")).read_bytes())["seal"]
    )


def test_equal_content_is_stored_once(store):
    case = store.import_volume(samples.volume(), "P1", samples.findings()).case
    before = sorted(store.folder.glob("blobs/*/*"))
    samples.signed(store, case.id, "A")
    assert sorted(store.folder.glob("blobs/*/*")) == before


def test_the_same_act_is_stored_once_however_often_it_is_repeated(store):
    case = store.import_volume(samples.volume(), "P1").case
    saying = Saying("review", "A", act="sign-77")
    first = store.add_version(case.id, samples.findings(), saying)
    assert store.add_version(case.id, samples.findings(), saying) == first
    assert len(store.versions(case.id)) == 1


def test_a_reader_who_missed_a_newer_version_is_told(store):
    case = store.import_volume(samples.volume(), "P1", samples.findings()).case
    samples.signed(store, case.id, "A")
    with pytest.raises(StoreError) as caught:
        store.add_version(case.id, samples.findings(), Saying("review", "B", expected=1))
    assert (caught.value.code, caught.value.exit_code) == ("conflict", 75)
    assert len(store.versions(case.id)) == 2


def test_findings_of_another_grid_are_refused(store):
    case = store.import_volume(samples.volume(), "P1").case
    with pytest.raises(InputError, match="other-grid"):
        store.add_version(case.id, samples.findings(shape=(4, 6, 9)), Saying("review", "A"))
    with pytest.raises(InputError, match="other-grid"):
        store.import_volume(samples.volume(1), "P1", samples.findings(shape=(4, 6, 9)))


def test_case_folders_do_not_tell_the_patient(store):
    case = store.import_volume(samples.volume(), "Mueller-1970").case
    assert not [p for p in store.folder.rglob("*") if "mueller" in p.name.lower()]
    assert case.patient == "Mueller-1970"


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 129, "a\0"])
def test_names_that_are_none_are_refused(store, name):
    with pytest.raises(InputError, match="bad-name"):
        store.import_volume(samples.volume(), name)


def test_unknown_cases_and_versions_are_named(store):
    for wrong in ("000000000000", "../../etc", "", "nonsense"):
        with pytest.raises(InputError, match="no-case"):
            store.case(wrong)
    case = store.import_volume(samples.volume(), "P1").case
    for number in (0, 1, -1):
        with pytest.raises(InputError, match="no-version"):
            store.findings(case.id, number)


# --- patients and splits ---------------------------------------------------------------


def test_a_patient_stays_in_the_split_of_the_first_import_even_when_ratios_change(tmp_path):
    store = CaseStore.open_or_create(tmp_path / "s", Ratios(0, 0, 1))
    assert store.import_volume(samples.volume(0), "P1").case.split == "frozen"
    rewrite_ratios(store.folder, {"train": 1.0, "validation": 0.0, "frozen": 0.0})
    again = CaseStore(tmp_path / "s")
    case = again.import_volume(samples.volume(1), "P1").case
    assert (case.split, case.split_reason) == ("frozen", "patient")
    assert again.import_volume(samples.volume(2), "P2").case.split == "train"


def rewrite_ratios(folder, ratios):
    from MedDetectLib.cases.store.records import sealed

    data = json.loads((folder / "store.json").read_bytes())
    data["split"]["ratios"] = ratios
    (folder / "store.json").write_bytes(sealed(data))


@given(st.text(min_size=1), st.text(min_size=1))
def test_the_draw_is_the_same_each_time(patient, salt):
    drawn = drawn_split(patient, salt, Ratios())
    assert drawn in SPLITS
    assert drawn == drawn_split(patient, salt, Ratios())


def test_patients_are_shared_out_as_the_ratios_say():
    drawn = [drawn_split(f"P{n}", "salt", Ratios(0.6, 0.3, 0.1)) for n in range(20000)]
    shares = [drawn.count(split) / len(drawn) for split in SPLITS]
    assert np.allclose(shares, [0.6, 0.3, 0.1], atol=0.015)


@pytest.mark.parametrize(
    "shares", [(0.5, 0.5, 0.5), (1.1, -0.1, 0), (0, 0, 0), (float("nan"), 0, 1)]
)
def test_ratios_that_do_not_add_up_are_refused(shares):
    with pytest.raises(InputError, match="bad-ratios"):
        Ratios(*shares)


# --- identical images ------------------------------------------------------------------


def test_the_same_image_of_the_same_patient_is_refused_and_its_case_named(store):
    case = store.import_volume(samples.volume(), "P1").case
    with pytest.raises(InputError, match="duplicate-image") as caught:
        store.import_volume(samples.volume(), "P1")
    assert case.id in str(caught.value)
    again = store.import_volume(samples.volume(), "P1", existing_ok=True)
    assert (again.case.id, again.is_new) == (case.id, False)
    assert store.count() == 1


def test_the_same_image_in_another_number_type_is_the_same(store):
    volume = samples.volume()
    store.import_volume(volume, "P1")
    as_float = Volume(volume.array.astype(np.float32), volume.geometry, "CT", "other name")
    with pytest.raises(InputError, match="duplicate-image"):
        store.import_volume(as_float, "P1")


def test_the_same_image_of_another_patient_is_flagged_and_joins_its_split(tmp_path):
    store = CaseStore.open_or_create(tmp_path / "s", Ratios(0, 0, 1))
    first = store.import_volume(samples.volume(), "P1").case
    rewrite_ratios(store.folder, {"train": 1.0, "validation": 0.0, "frozen": 0.0})
    store = CaseStore(tmp_path / "s")
    case = store.import_volume(samples.volume(), "P2").case
    assert (case.split, case.split_reason) == ("frozen", "same-image")
    assert case.same_image_as == (first.id,)
    assert [note.code for note in case.notes] == ["same-image"]
    assert case.image == first.image


def test_an_image_that_would_lie_in_two_splits_is_refused(tmp_path):
    store = CaseStore.open_or_create(tmp_path / "s", Ratios(0, 0, 1))
    store.import_volume(samples.volume(0), "P1")
    rewrite_ratios(store.folder, {"train": 1.0, "validation": 0.0, "frozen": 0.0})
    store = CaseStore(tmp_path / "s")
    store.import_volume(samples.volume(1), "P2")
    with pytest.raises(InputError, match="split-conflict"):
        store.import_volume(samples.volume(0), "P2")
    assert store.count() == 2


# --- lists -----------------------------------------------------------------------------


def test_lists_filter_by_everything_and_keep_the_order_of_import(store):
    ids = []
    for n in range(6):
        found = samples.findings(boxes=n == 3) if n % 2 else None
        ids.append(store.import_volume(samples.volume(n), f"P{n // 2}", found).case.id)
    samples.signed(store, ids[1], "A")
    assert [row.id for row in store.cases()] == ids
    assert [row.id for row in store.cases(CaseFilter(patient="P1"))] == ids[2:4]
    assert [row.id for row in store.cases(CaseFilter(status="imported"))] == ids[::2]
    assert [row.id for row in store.cases(CaseFilter(status="detected"))] == [ids[3], ids[5]]
    assert [row.id for row in store.cases(CaseFilter(label="cyst"))] == [ids[3]]
    assert [row.id for row in store.cases(CaseFilter(modality="MR"))] == []
    split = store.case(ids[0]).split
    rows = list(store.cases(CaseFilter(split=split, status="imported")))
    assert rows
    assert {row.split for row in rows} == {split}
    first = store.next_case(CaseFilter(status="imported"))
    assert first.id == ids[0]
    assert store.next_case(CaseFilter(status="imported", after=first)).id == ids[2]
    assert store.next_case(CaseFilter(status="adjudicated")) is None
    assert store.count(CaseFilter(label="nodule")) == 3


def test_the_next_case_for_a_second_reader_is_one_they_have_not_read(store):
    ids = [store.import_volume(samples.volume(n), "P", samples.findings()).case.id for n in (1, 2)]
    samples.signed(store, ids[0], "A")
    samples.signed(store, ids[1], "B")
    wanted = CaseFilter(status="reviewed", not_read_by="A")
    assert store.next_case(wanted).id == ids[1]


def test_a_name_is_the_same_however_its_letters_were_typed(store):
    composed, decomposed = "J\u00fcrgen", "Ju\u0308rgen "
    one = store.import_volume(samples.volume(1), composed, samples.findings()).case
    two = store.import_volume(samples.volume(2), decomposed, samples.findings()).case
    assert (one.patient, two.split_reason) == (two.patient, "patient")
    assert store.count(CaseFilter(patient=decomposed)) == 2
    samples.signed(store, one.id, composed)
    assert [row.id for row in store.cases(CaseFilter(not_read_by=decomposed))] == [two.id]
    assert len(store.versions(one.id, seen_by=decomposed)) == 2


def test_findings_of_another_patient_on_the_same_grid_are_refused(store):
    mine, other = samples.volume(1), samples.volume(2)
    found = samples.findings()
    found = replace(found, provenance=replace(found.provenance, input_sha256=other.sha256))
    for existing in (False, True):
        with pytest.raises(InputError, match="other-image"):
            store.import_volume(mine, "P1", found, existing_ok=existing)
        assert store.count() == existing
        store.import_volume(mine, "P1", existing_ok=True)
    several = replace(
        found,
        provenance=replace(found.provenance, input_sha256=f"{mine.sha256} {other.sha256}"),
    )
    assert len(store.versions(store.import_volume(mine, "P1", several, existing_ok=True).case.id))


def test_a_list_for_a_second_reader_does_not_tell_what_the_first_one_found(store):
    ids = [store.import_volume(samples.volume(n), "P", samples.findings()).case.id for n in (1, 2)]
    samples.signed(store, ids[0], "A")
    rows = {row.id: row for row in store.cases(CaseFilter(not_read_by="B"))}
    assert (rows[ids[0]].findings, rows[ids[0]].labels) == (None, ())
    assert (rows[ids[1]].findings, rows[ids[1]].labels) == (2, ("nodule",))
    ((first, second),) = items_of_store(store, CaseFilter(not_read_by="B"))
    assert (first.extra["findings"], second.extra["findings"]) == ("", "2")
    assert [row.findings for row in store.cases()] == [2, 2]


def test_pages_hold_every_case_once(store, monkeypatch):
    monkeypatch.setattr("MedDetectLib.cases.store.case_store.PAGE", 3)
    ids = [store.import_volume(samples.volume(n), f"P{n}").case.id for n in range(10)]
    assert [row.id for row in store.cases()] == ids
    assert [row.id for row in store.cases(CaseFilter(limit=4))] == ids[:4]


def test_importing_again_adds_the_findings_once(store):
    case = store.import_volume(samples.volume(), "P1", samples.findings()).case
    for found in (samples.findings(), samples.findings(1), samples.findings(1)):
        store.import_volume(samples.volume(), "P1", found, existing_ok=True)
    assert [version.kind for version in store.versions(case.id)] == ["ai", "ai"]
    assert samples.same(store.findings(case.id, 2), samples.findings(1))


def test_a_store_copied_without_its_empty_folders_goes_on(store):
    case = store.import_volume(samples.volume(), "P1").case
    for path in sorted(store.folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    for path in (store.folder / "locks").iterdir():
        path.unlink()
    (store.folder / "locks").rmdir()
    again = CaseStore(store.folder)
    assert again.verify().is_good
    assert samples.signed(again, case.id, "A").number == 1
    assert again.verify().is_good


def test_signing_flushes_the_case_that_somebody_else_may_have_left_unflushed(store, monkeypatch):
    from MedDetectLib.cases.store import signing

    case = store.import_volume(samples.volume(), "P1").case
    flushed = []
    monkeypatch.setattr(signing, "sync_folder", flushed.append)
    samples.signed(store, case.id, "A")
    assert store.folder / "cases" in flushed

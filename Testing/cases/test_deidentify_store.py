"""Exports of the case store that leave the house."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from training_samples import every_byte, samples

from MedDetectLib.adapters.cli.main import main
from MedDetectLib.cases.deidentify import store_export
from MedDetectLib.cases.deidentify.folder import deidentify_folder
from MedDetectLib.cases.findings_files import read_findings, write_findings
from MedDetectLib.cases.image_files import read_volume
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.cases.store.records import CaseRecord, VersionRecord, unsealed
from MedDetectLib.cases.store.signing import Saying
from MedDetectLib.cases.store.split import Ratios
from MedDetectLib.core.labels import Label
from MedDetectLib.core.notes import Note

SECRETS = (b"miller", b"josephine", b"jekyll", b"1.2.3.77.8", b"hyde park", b"scan-of")


@pytest.fixture
def store(tmp_path):
    """One reviewed case that tells who it is wherever a record can."""
    store = CaseStore.open_or_create(tmp_path / "store", Ratios(1.0, 0.0, 0.0))
    volume = replace(
        samples.volume(1),
        name="scan-of-Josephine",
        notes=(Note("slice-gap", "a gap in scan-of-Josephine"),),
        source={"kind": "dicom", "series_uid": "1.2.3.77.8", "path": "Miller/scan-of-Josephine"},
    )
    case = store.import_volume(volume, "Miller, Josephine").case
    found = samples.findings(boxes=True)
    found = replace(
        found,
        provenance=replace(found.provenance, input_name="scan-of-Josephine"),
        notes=(Note("fallback", "Josephine's scan ran on the CPU"),),
    )
    store.add_version(
        case.id, found,
        Saying("review", "Dr Jekyll", comment="phoned Miller, Hyde Park", act="jekyll-1",
               details={"why": "Josephine moved"}),
    )  # fmt: skip
    return store


@pytest.fixture
def say(store, tmp_path):
    root = str(store._store.root)

    def run(*arguments):
        return main(["store", "export", "--store", root, *map(str, arguments)])

    return run


def secrets_in(folder):
    data = every_byte(folder).lower()
    return [secret for secret in SECRETS if secret in data]


def test_a_plain_export_names_nobody_and_reads_back_to_the_voxel(store, say, tmp_path):
    (row,) = store.cases()
    out = tmp_path / "out"
    assert say(row.id[:6], "--out", tmp_path / "open") == 0
    assert len(secrets_in(tmp_path / "open")) == len(SECRETS)
    assert say(row.id[:6], "--out", out, "--deidentify", "--uid-map", tmp_path / "key") == 0
    assert secrets_in(out) == []
    assert read_volume(out / "image.nrrd").sha256 == store.volume(row.id).sha256
    before, after = store.findings(row.id, 1), read_findings(out)
    assert [item.to_json() for item in after] == [item.to_json() for item in before]
    assert (after.label_map == before.label_map).all()
    assert [note.code for note in after.notes] == ["fallback"]
    proof = json.loads((out / "proof.json").read_text())
    assert proof["checks"]["found_in_what_is_left"] == 0
    assert proof["set_aside"] == {}
    key = json.loads((tmp_path / "key").read_text())
    assert key["cases"] == {row.id: "Miller, Josephine"}
    case = unsealed((out / "case.json").read_bytes(), out, CaseRecord.from_json)
    assert case.source == {"series_uid": key["uids"]["1.2.3.77.8"]}
    version = unsealed((out / "version.json").read_bytes(), out, VersionRecord.from_json)
    assert version.author == key["readers"]["Dr Jekyll"]
    assert (version.comment, version.details, version.signed) == ("", {}, "")


def test_what_a_crash_leaves_of_an_export_does_not_lie_where_it_leaves_from(
    store, tmp_path, monkeypatch
):
    class Killed(BaseException):
        """Nobody tidies up after it."""

    def kill(source, *_arguments):
        assert source.parent.stat().st_mode & 0o777 == 0o700
        assert len(secrets_in(source)) == len(SECRETS)
        raise Killed

    (row,) = store.cases()
    out = tmp_path / "leaves" / "out"
    out.parent.mkdir()
    monkeypatch.setattr(store_export, "deidentify_folder", kill)
    monkeypatch.setattr(store_export.shutil, "rmtree", lambda *_a, **_k: None)
    with pytest.raises(Killed):
        store_export.export_deidentified(store, row.id, out, tmp_path / "keys" / "k.json")
    assert list(out.parent.rglob("*")) == []
    assert len(list((tmp_path / "keys").iterdir())) == 1


@pytest.mark.parametrize("name", ["monai-detection", "coco"])
def test_a_training_export_is_looked_through_and_the_key_tells_the_patients(
    name, store, say, tmp_path
):
    (row,) = store.cases()
    out, key = tmp_path / "out", tmp_path / "key"
    assert say("--format", name, "--out", out, "--deidentify", "--uid-map", key) == 0
    assert secrets_in(out) == []
    proof = json.loads((out / "proof.json").read_text())
    assert proof["checks"]["files_read_again"] == len(proof["files"]) > 2
    assert json.loads(key.read_text())["cases"] == {row.id: "Miller, Josephine"}


def test_a_class_named_after_the_patient_does_not_leave(store, say, tmp_path, capsys):
    (row,) = store.cases()
    found = samples.findings()
    named = replace(found, labels=(Label(1, "Josephine's nodule", (1, 2, 3)), found.labels[1]))
    store.add_version(row.id, named, Saying("review", "Dr Jekyll"))
    for arguments in (("--format", "coco"), (row.id,)):
        out = tmp_path / f"out-{len(arguments)}"
        code = say(*arguments, "--out", out, "--deidentify", "--uid-map", tmp_path / "key")
        assert code == 77
        assert not out.exists()
    assert "osephine" not in capsys.readouterr().err


def test_the_key_is_asked_for_and_does_not_go_into_the_export(store, say, tmp_path):
    (row,) = store.cases()
    out = tmp_path / "out"
    assert say(row.id, "--out", out, "--deidentify") == 65
    assert say(row.id, "--out", out, "--uid-map", tmp_path / "key") == 65
    for arguments in ((row.id,), ("--format", "coco")):
        assert say(*arguments, "--out", out, "--deidentify", "--uid-map", out / "key") == 77
    assert not out.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"store"}


def test_what_somebody_wrote_into_our_json_files_does_not_leave(tmp_path):
    """Fields that are not ours go; boxes that a person named are set aside."""
    write_findings(samples.findings(boxes=True), tmp_path / "in")
    for name in ("findings.json", "boxes.json"):
        data = json.loads((tmp_path / "in" / name).read_text())
        data["patient"] = "Wilhelmina"
        for item in data.get("findings") or data.get("boxes"):
            item["remark"] = "Wilhelmina"
        data.get("provenance", {})["operator"] = "Wilhelmina"
        (tmp_path / "in" / name).write_text(json.dumps(data))
    proof = deidentify_folder(tmp_path / "in", tmp_path / "out", tmp_path / "key")
    assert proof.set_aside == {}
    assert b"wilhelmina" not in every_byte(tmp_path / "out").lower()
    assert [i.to_json() for i in read_findings(tmp_path / "out")] == [
        i.to_json() for i in samples.findings(boxes=True)
    ]
    path = tmp_path / "in" / "boxes.mrk.json"
    for n, change in enumerate([{"description": "Wilhelmina's"}, {"remark": "Wilhelmina"}]):
        data = json.loads(path.read_text())
        data["markups"][0]["controlPoints"][0] |= change
        (tmp_path / "in" / "named.mrk.json").write_text(json.dumps(data))
        out = tmp_path / f"out-{n}"
        proof = deidentify_folder(tmp_path / "in", out, tmp_path / "key")
        assert proof.set_aside == {"unknown-kind": 1}
        assert b"wilhelmina" not in every_byte(out).lower()

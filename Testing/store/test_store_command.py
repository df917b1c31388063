"""`meddetect store` from end to end, as a person and as a program uses it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import SimpleITK as sitk
import store_samples as samples

from MedDetectLib.adapters.cli.main import main
from MedDetectLib.cases.findings_files import read_findings, write_findings
from MedDetectLib.cases.image_files import read_volume
from MedDetectLib.cases.lps import to_sitk
from MedDetectLib.cases.store.case_store import CaseStore


@pytest.fixture
def say(tmp_path, capsys):
    """Run a command on one store; return its exit code and what it printed."""

    def run(action, *arguments):
        capsys.readouterr()
        code = main(["store", action, *map(str, arguments), "--store", str(tmp_path / "s")])
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


@pytest.fixture
def scan(tmp_path):
    """An image file, with the findings of it beside."""
    path = tmp_path / "scan.nii.gz"
    sitk.WriteImage(to_sitk(samples.volume()), str(path))
    volume = read_volume(path)
    found = samples.findings()
    write_findings(replace(found, geometry=volume.geometry), tmp_path / "found")
    return path


def test_a_case_goes_in_is_listed_shown_and_comes_out(say, scan, tmp_path):
    code, out, _ = say("import", scan, "--patient", "P1", "--findings", tmp_path / "found")
    assert code == 0
    assert "imported as case" in out
    (row,) = json.loads(say("list", "--json")[1])
    assert (row["patient"], row["status"], row["labels"]) == ("P1", "detected", ["nodule"])
    shown = json.loads(say("show", row["id"][:6], "--json")[1])
    assert shown["id"] == row["id"]
    assert [version["kind"] for version in shown["versions"]] == ["ai"]
    assert "P1" in say("list")[1]
    assert row["id"] in say("list")[1]  # not broken over two lines, in a narrow window either
    assert "lung 1.2" in say("show", row["id"])[1]
    code, out, _ = say("export", row["id"], "--out", tmp_path / "out", "--json")
    assert json.loads(out)["version"] == 1
    assert read_volume(tmp_path / "out" / "image.nrrd").sha256 == read_volume(scan).sha256
    assert len(read_findings(tmp_path / "out")) == 2
    assert say("export", row["id"], "--out", tmp_path / "out")[0] == 73
    code, _, err = say("export", row["id"], "--out", tmp_path / "o2", "--label", "nodule")
    assert (code, err.split(":")[0]) == (65, "error[training-only]")  # not left out silently


def test_an_empty_list_is_a_json_list_and_filters_hold(say, scan):
    say("import", scan, "--patient", "P1")
    assert json.loads(say("list", "--json", "--status", "reviewed")[1]) == []
    assert len(json.loads(say("list", "--json", "--status", "imported", "--limit", "1")[1])) == 1


def test_the_same_image_twice_is_refused_unless_asked_for(say, scan):
    say("import", scan, "--patient", "P1")
    code, _, err = say("import", scan, "--patient", "P1")
    assert code == 65
    assert err.startswith("error[duplicate-image]: ")
    assert len(err.splitlines()) == 1
    code, out, _ = say("import", scan, "--patient", "P1", "--existing", "--json")
    assert (code, json.loads(out)["is_new"]) == (0, False)


def test_versions_are_compared_and_restored(say, scan, tmp_path):
    say("import", scan, "--patient", "P1", "--findings", tmp_path / "found")
    store = CaseStore(tmp_path / "s")
    (row,) = store.cases()
    reading = store.start_reading(row.id, "A")
    first = reading.findings.items[:1]
    label_map = reading.findings.label_map.copy()
    label_map[label_map == 9] = 0
    store.sign_reading(reading, replace(reading.findings, items=first, label_map=label_map))
    assert "F2: removed" in say("diff", row.id, 1, 2)[1]
    assert json.loads(say("diff", row.id, 1, 2, "--json")[1])["removed"] == ["F2"]
    agreement = json.loads(say("agreement", row.id, 1, 2, "--json")[1])
    assert agreement["f1"] == pytest.approx(2 / 3)
    told = say("agreement", row.id, 1, 2)[1]
    assert "only the first: F2" in told
    assert "kappa of the labels of 1 matches 1.000" in told
    assert say("restore", row.id, 1, "--author", "A")[0] == 0
    assert "no difference" in say("diff", row.id, 1, 3)[1]


def test_a_blinded_reader_is_shown_the_models_version_alone(say, scan, tmp_path):
    say("import", scan, "--patient", "P1", "--findings", tmp_path / "found")
    store = CaseStore(tmp_path / "s")
    case_id = next(store.cases()).id
    reading = store.start_reading(case_id, "Dr A")
    store.sign_reading(reading, store.findings(case_id, 1), comment="one is a vessel")
    for_b = json.loads(say("show", case_id, "--seen-by", "Dr B", "--json")[1])
    assert [version["kind"] for version in for_b["versions"]] == ["ai"]
    assert "vessel" not in say("show", case_id, "--seen-by", "Dr B")[1]
    assert "vessel" in say("show", case_id, "--seen-by", "Dr A")[1]
    assert "hidden" in say("list", "--not-read-by", "Dr B")[1]
    assert json.loads(say("list", "--not-read-by", "Dr B", "--json")[1])[0]["labels"] == []


def test_verify_says_what_is_damaged_and_how_it_ends(say, scan, tmp_path):
    say("import", scan, "--patient", "P1")
    code, out, _ = say("verify", "--deep")
    assert code == 0
    assert "0 damaged" in out
    blob = next((tmp_path / "s" / "blobs").glob("*/*.nrrd"))
    blob.write_bytes(blob.read_bytes()[:-1])
    code, out, _ = say("verify", "--json", "--repair")
    assert code == 74
    assert blob.name in json.loads(out)["problems"][0]


@pytest.mark.parametrize("action", [["list"], ["show", "x"], ["verify"]])
def test_what_is_no_store_is_refused_in_one_line(say, action):
    code, _, err = say(*action)
    assert code == 65
    assert err.startswith("error[no-store]: ")


def test_an_unknown_case_is_refused(say, scan):
    say("import", scan, "--patient", "P1")
    for action in (["show", "zzz"], ["export", "zzz", "--out", "x"]):
        code, _, err = say(*action)

        assert (code, err.split(":")[0]) == (65, "error[no-case]")

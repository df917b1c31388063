"""`meddetect dicom` at the console: answers, exit codes, one line per error."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pydicom
import pytest
from clinical_samples import findings_in
from made_dicom import series, write
from orthanc_server import free_ports

from MedDetectLib.adapters.cli.main import main
from MedDetectLib.cases.clinical.identity import added_by
from MedDetectLib.cases.findings_files import read_findings, write_findings
from MedDetectLib.cases.image_files import read_volume
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.cases.store.signing import Saying
from MedDetectLib.core.findings import Finding
from MedDetectLib.core.measure import measure_mask, tight_box


@pytest.fixture
def case(tmp_path):
    folder = write(tmp_path / "ct", series(4))
    write_findings(findings_in(read_volume(folder)), tmp_path / "found")
    return folder


def failing(capsys, *arguments):
    code = main(["dicom", *map(str, arguments)])
    (line,) = capsys.readouterr().err.strip().splitlines()
    return code, line


def test_check_lists_what_is_missing_and_the_exit_code_tells_whether_it_blocks(
    case, tmp_path, capsys
):
    assert main(["dicom", "check", str(case)]) == 0
    out = capsys.readouterr().out
    assert "note[written-empty]: PatientSex (0010,0040) is missing" in out
    assert "and 3 more files" in out
    bad = write(tmp_path / "bad", series(3, FrameOfReferenceUID=None))
    assert main(["dicom", "check", str(bad)]) == 65
    assert "problem[no-frame-of-reference]" in capsys.readouterr().out
    assert main(["dicom", "check", str(bad), "--accept", "no-frame-of-reference"]) == 0


def test_a_named_reader_is_in_the_report_and_a_time_signs_it(case, tmp_path, capsys):
    command = ["dicom", "export", "--findings", str(tmp_path / "found"), "--series", str(case)]
    command += ["--out", str(tmp_path / "out"), "--reader", "Doe^Jane"]
    assert main(command) == 0
    assert "sr.dcm" in capsys.readouterr().out
    assert pydicom.dcmread(tmp_path / "out" / "sr.dcm").CompletionFlag == "PARTIAL"
    assert main([*command, "--signed", "2026-01-31T12:00:00Z"]) == 0
    report = pydicom.dcmread(tmp_path / "out" / "sr.dcm")
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")


def test_a_stored_ai_result_is_exported_unsigned(case, tmp_path):
    store = CaseStore.open_or_create(tmp_path / "store")
    stored = store.import_volume(read_volume(case), "P1", read_findings(tmp_path / "found")).case
    command = ["dicom", "export", "--store", str(store.folder), "--case", stored.id]
    command += ["--series", str(case), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    report = pydicom.dcmread(tmp_path / "out" / "sr.dcm")
    assert (report.CompletionFlag, report.VerificationFlag) == ("PARTIAL", "UNVERIFIED")
    assert main([*command, "--version", "7"]) == 65


def test_a_reference_is_stored_once_however_often_it_is_imported(case, tmp_path, capsys):
    export = ["dicom", "export", "--findings", str(tmp_path / "found"), "--series", str(case)]
    assert main([*export, "--out", str(tmp_path / "out")]) == 0
    command = ["dicom", "import", str(tmp_path / "out" / "seg.dcm"), "--series", str(case)]
    command += ["--store", str(tmp_path / "store"), "--patient", "P1", "--author", "Expert"]
    capsys.readouterr()
    for _ in range(2):
        assert main([*command, "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["version"] == 1
        assert said["labels"] == ["nodule", "cyst"]
    store = CaseStore(tmp_path / "store")
    (version,) = store.versions(said["case"])
    assert (version.author, version.kind, version.count) == ("Expert", "review", 3)


def test_failures_are_one_line_with_the_right_exit_code(case, tmp_path, capsys):
    found, out = tmp_path / "found", tmp_path / "out"
    other = write(tmp_path / "other", series(4, seed=5))
    code, line = failing(capsys, "export", "--findings", found, "--series", other, "--out", out)
    assert (code, line.startswith("error[other-image]")) == (65, True)
    assert not out.exists()
    (port,) = free_ports(1)
    pytest.importorskip("pynetdicom")
    code, line = failing(capsys, "push", case, "--to", f"127.0.0.1:{port}/PACS")
    assert (code, line.startswith("error[pacs-unreachable]")) == (69, True)
    code, line = failing(capsys, "push", tmp_path / "found", "--web", "http://x")
    assert (code, line.startswith("error[no-file]")) == (65, True)
    code, line = failing(capsys, "import", next(case.iterdir()), "--series", case, "--store", out)
    assert (code, line.startswith("error[no-patient]")) == (65, True)
    blocked = tmp_path / "file"
    blocked.write_text("")
    code, line = failing(
        capsys, "export", "--findings", found, "--series", case, "--out", blocked / "out"
    )
    assert (code, line.startswith("error[cannot-write]")) == (73, True)


def test_what_one_reader_added_stays_theirs_whoever_takes_it_over(case, tmp_path, capsys):
    """A adds F9, B adds another F9; B then takes over A's and accepts it."""
    store = CaseStore.open_or_create(tmp_path / "store")
    found = read_findings(tmp_path / "found")
    found = replace(found, items=tuple(i for i in found if i.state != "added"))
    case_id = store.import_volume(read_volume(case), "P1", found).case.id

    def said(author, at, state, parent):
        label_map = found.label_map.copy()
        label_map[0, at : at + 2, 3:6] = 77
        mask = label_map == 77
        item = Finding("F9", 2, 1.0, tight_box(mask), 77,
                       *measure_mask(mask, found.geometry), state)  # fmt: skip
        new = replace(found, items=(*found.items, item), label_map=label_map)
        return store.add_version(case_id, new, Saying("review", author, parent=parent)).number

    versions = [said("A", 12, "added", 1), said("B", 20, "added", 1)]
    versions.append(said("B", 12, "accepted", versions[0]))
    tracking, drawn = [], []
    for number in versions:
        command = ["dicom", "export", "--store", str(store.folder), "--case", case_id, "--json"]
        command += ["--version", str(number), "--series", str(case), "--out", str(tmp_path / "o")]
        assert main(command) == 0
        made = json.loads(capsys.readouterr().out)
        tracking.append(made["tracking"])
        drawn.append(pydicom.dcmread(made["seg"]).SegmentSequence[-1].SegmentAlgorithmType)
    assert tracking[0]["F9"] == tracking[2]["F9"] != tracking[1]["F9"]
    assert len({each["F1"] for each in tracking}) == 1
    assert drawn == ["MANUAL"] * 3


def test_two_lesions_to_which_one_reader_gave_one_number_have_two_tracking_uids():
    """F9 of the first review was gone before the second gave that number again."""
    last = {"session": "s2"}

    def record(number, parent, details=None, kind="review", of=()):
        return SimpleNamespace(number=number, kind=kind, author="A", parent=parent, of=of,
                               details=details or {})  # fmt: skip

    holds = {1: (), 2: ("F9",), 3: (), 4: ("F9",), 5: ("F9",), 6: ("F9",), 7: ("F9",)}
    store = SimpleNamespace(
        versions=lambda _case: (
            record(1, None, kind="ai"), record(2, 1, {"session": "s1"}), record(3, 2),
            record(4, 3, last), record(5, 3, last),  # signed, reopened, signed again
            record(6, 5), record(7, 2, kind="restored", of=(2,)),
        ),
        findings=lambda _case, number: [
            SimpleNamespace(id=name, state="added") for name in holds[number]
        ],
    )  # fmt: skip
    who = {number: added_by(store, "case", number).get("F9") for number in holds}
    assert who[1] is who[3] is None
    assert who[2] == who[7] == "A"
    assert who[4] == who[5] == who[6] != "A"


def test_a_models_version_that_somebody_restored_is_not_signed_by_them(case, tmp_path, capsys):
    store = CaseStore.open_or_create(tmp_path / "store")
    stored = store.import_volume(read_volume(case), "P1", read_findings(tmp_path / "found")).case
    for reader in ("Doe^Jane", "Roe^Richard"):
        reading = store.start_reading(stored.id, reader, blinded=True)
        store.sign_reading(reading, reading.findings)
    command = ["dicom", "export", "--store", str(store.folder), "--case", stored.id]
    command += ["--series", str(case), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "note[unsettled]: read by Doe^Jane, Roe^Richard and not settled; version 3" in said
    assert pydicom.dcmread(tmp_path / "out" / "sr.dcm").CompletionFlag == "COMPLETE"
    store.restore(stored.id, 1, "Doe^Jane")
    assert main([*command, "--version", "4"]) == 0
    assert pydicom.dcmread(tmp_path / "out" / "sr.dcm").CompletionFlag == "PARTIAL"


@pytest.mark.parametrize("web", ["https://me:s3cret@pacs/dicom-web", "http://pacs/?key=s3cret"])
def test_an_address_with_a_password_in_it_is_refused_and_not_repeated(web, tmp_path, capsys):
    code, line = failing(capsys, "query", "--web", web)
    assert code == 65
    assert "bad-address" in line
    assert "s3cret" not in line


def test_a_token_is_read_from_a_file(tmp_path, capsys):
    code, line = failing(capsys, "query", "--web", "http://127.0.0.1:1", "--token-file",
                         tmp_path / "none")  # fmt: skip
    assert (code, "no-file" in line) == (65, True)
    (tmp_path / "token").write_text("s3cret\n")
    code, line = failing(capsys, "query", "--web", "http://127.0.0.1:1", "--token-file",
                         tmp_path / "token")  # fmt: skip
    assert (code, "s3cret" in line) == (69, False)

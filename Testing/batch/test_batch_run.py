"""A batch does every case once, whatever stops it, and says how each went."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from MedDetectLib.adapters.batch.cases import list_cases
from MedDetectLib.adapters.batch.out_folder import OutFolder
from MedDetectLib.adapters.batch.run import Batch, run_batch
from MedDetectLib.cases.findings_files import read_findings
from MedDetectLib.core.errors import Cancelled, ModelError, StoreError
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.model import load_model

ROOT = Path(__file__).parents[2]


def batch_of(folder, out, model, **options):
    options = {"scene": False, "backend": "onnxruntime", **options}
    return Batch(list_cases(folder), out, str(model), **options)


def states(outcome):
    return {status["case"]: status["state"] for status in outcome.statuses}


def lanes_alive(python):
    """Return processes whose command line has the lane of this test in it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes()
        except OSError:
            continue
        if str(python).encode() in words or b"strange_lane" in words:
            found.append(words)
    return found


def test_every_case_gets_its_folder_its_status_and_a_line_in_the_summary(cases, model, tmp_path):
    folder, out = cases("a", "deep/b"), tmp_path / "out"
    (folder / "broken.nii.gz").write_bytes(b"\x1f\x8b\x08 cut")
    seen = []
    outcome = run_batch(batch_of(folder, out, model, jobs=2), on_state=seen.append)
    assert states(outcome) == {"a": "done", "broken": "failed", "deep_b": "done"}
    assert outcome.exit_code == 65
    assert seen[-1].fraction == 1.0
    assert {path.name for path in (out / "cases").iterdir()} == {"a", "broken", "deep_b"}
    for name in ("a", "deep_b"):
        status = json.loads((out / "cases" / name / "status.json").read_text())
        assert status["result"]["findings"] == 1
        assert set(status["files"]) | {"status.json"} == {
            path.name for path in (out / "cases" / name).iterdir()
        }
    error = json.loads((out / "cases" / "broken" / "status.json").read_text())["error"]
    assert error["code"]
    assert "broken.nii.gz" in error["where"]
    with (out / "summary.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert rows["a"]["labels"] == "bright 1"
    assert rows["broken"]["error"] == error["code"]
    page = (out / "summary.html").read_text()
    assert "cases/deep_b/report.html" in page
    assert error["what"].split("'")[0] in page


def test_findings_are_those_of_detect_to_the_byte(cases, model, tmp_path):
    from MedDetectLib.cases.image_files import read_volume

    folder = cases("a")
    run_batch(batch_of(folder, tmp_path / "out", model))
    found = read_findings(tmp_path / "out" / "cases" / "a")
    with load_model(model, "onnxruntime") as engine:
        expected = detect(read_volume(folder / "a.nii.gz"), engine)
    assert found.items == expected.items
    assert found.label_map.tobytes() == expected.label_map.tobytes()


def test_a_second_run_leaves_finished_cases_alone_and_tries_failed_ones_again(
    cases, model, tmp_path
):
    folder, out = cases("a", "b"), tmp_path / "out"
    whole = (folder / "b.nii.gz").read_bytes()
    (folder / "b.nii.gz").write_bytes(whole[:50])
    assert run_batch(batch_of(folder, out, model)).exit_code == 65
    before = (out / "cases" / "a").stat()
    (folder / "b.nii.gz").write_bytes(whole)
    again = run_batch(batch_of(folder, out, model))
    assert (again.exit_code, again.skipped) == (0, 1)
    assert (out / "cases" / "a").stat().st_ino == before.st_ino
    assert states(again) == {"a": "done", "b": "done"}


def test_a_case_whose_image_changed_is_done_again(cases, model, tmp_path):
    folder, out = cases("a", "b"), tmp_path / "out"
    run_batch(batch_of(folder, out, model))
    (folder / "a.nii.gz").write_bytes((folder / "b.nii.gz").read_bytes())
    again = run_batch(batch_of(folder, out, model))
    assert again.skipped == 1
    assert len(read_findings(out / "cases" / "a").items) == 1
    assert [path.name for path in (out / ".working").iterdir()] == ["lock"]


def test_a_case_some_of_whose_results_were_taken_away_is_done_again(cases, model, tmp_path):
    folder, out = cases("a", "b"), tmp_path / "out"
    run_batch(batch_of(folder, out, model))
    (out / "cases" / "a" / "findings.json").unlink()
    assert run_batch(batch_of(folder, out, model)).skipped == 1
    assert len(read_findings(out / "cases" / "a").items) == 1


def test_results_of_two_models_never_mix(cases, model, bright_model, tmp_path):
    folder, out = cases("a"), tmp_path / "out"
    run_batch(batch_of(folder, out, model))
    with pytest.raises(StoreError) as refused:
        run_batch(batch_of(folder, out, bright_model(0.2)))
    assert (refused.value.code, refused.value.exit_code) == ("other-batch", 77)
    assert "sha256" in str(refused.value)
    with pytest.raises(StoreError):
        run_batch(batch_of(folder, out, model, modality="CT"))


def test_a_folder_with_something_else_in_it_is_not_touched(cases, model, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.doc").write_text("years of work")
    with pytest.raises(StoreError) as refused:
        run_batch(batch_of(cases("a"), out, model))
    assert refused.value.code == "exists"
    assert [path.name for path in out.iterdir()] == ["thesis.doc"]


def test_two_batches_into_one_folder_do_not_mix(cases, model, tmp_path):
    with OutFolder(tmp_path / "out"), pytest.raises(StoreError) as refused:
        run_batch(batch_of(cases("a"), tmp_path / "out", model))
    assert (refused.value.code, refused.value.exit_code) == ("busy", 75)


def test_a_model_that_is_not_there_is_said_before_any_case_is_tried(cases, tmp_path):
    with pytest.raises(ModelError):
        run_batch(batch_of(cases("a"), tmp_path / "out", "no-such-model"))
    assert not (tmp_path / "out" / "cases").exists()
    assert not (tmp_path / "out" / "summary.csv").exists()


def test_a_case_that_kills_its_process_fails_alone(cases, model, tmp_path, strange_python):
    python, _ = strange_python
    folder = cases("a", "crash", "odd", "z")
    outcome = run_batch(batch_of(folder, tmp_path / "out", model), python=python)
    assert states(outcome) == {"a": "done", "crash": "failed", "odd": "failed", "z": "done"}
    errors = {status["case"]: status["error"] for status in outcome.failed}
    assert errors["crash"]["code"] == "lane-lost"
    assert "SIGKILL" in errors["crash"]["what"]
    assert (errors["odd"]["code"], errors["odd"]["what"]) == ("bug", "ZeroDivisionError: odd file")
    assert outcome.exit_code == 65


def test_a_case_that_takes_too_long_fails_and_the_others_go_on(
    cases, model, tmp_path, strange_python
):
    python, _ = strange_python
    outcome = run_batch(
        batch_of(cases("a", "hang", "z"), tmp_path / "out", model, case_timeout_s=6.0),
        python=python,
    )
    assert states(outcome) == {"a": "done", "hang": "failed", "z": "done"}
    assert "took more than 6 s" in outcome.failed[0]["error"]["what"]
    assert [path.name for path in (tmp_path / "out" / ".working").iterdir()] == ["lock"]


def test_a_case_that_cannot_be_read_to_its_end_fails_and_the_others_go_on(
    cases, model, tmp_path, strange_python
):
    python, _ = strange_python
    outcome = run_batch(
        batch_of(cases("a", "stuck", "z"), tmp_path / "out", model, case_timeout_s=8.0),
        python=python,
    )
    assert states(outcome) == {"a": "done", "stuck": "failed", "z": "done"}
    assert "took more than 8 s" in outcome.failed[0]["error"]["what"]


def test_an_image_that_changes_while_its_case_runs_is_done_again(
    cases, model, tmp_path, strange_python
):
    python, log = strange_python
    folder, out = cases("slow-1"), tmp_path / "out"

    def change_once_read():
        if "computed" in log.read_text() and not (tmp_path / "changed").exists():
            (tmp_path / "changed").touch()
            os.utime(folder / "slow-1.nii.gz", (1, 1))
        return False

    run_batch(batch_of(folder, out, model), python=python, should_stop=change_once_read)
    assert (tmp_path / "changed").exists()
    assert run_batch(batch_of(folder, out, model)).skipped == 0
    assert run_batch(batch_of(folder, out, model)).skipped == 1


def test_the_next_case_is_read_while_the_current_one_runs(cases, model, tmp_path, strange_python):
    python, log = strange_python
    run_batch(batch_of(cases("slow-1", "slow-2"), tmp_path / "out", model), python=python)
    at = {}
    for line in log.read_text().splitlines():
        when, _, name, what = line.split()
        at[name, what] = float(when)
    assert at["slow-2", "read"] < at["slow-1", "written"]


def test_being_told_to_stop_leaves_whole_cases_and_a_summary(
    cases, model, tmp_path, strange_python
):
    python, log = strange_python
    folder, out = cases("a", "hang", "z"), tmp_path / "out"
    with pytest.raises(Cancelled):
        run_batch(
            batch_of(folder, out, model),
            python=python,
            should_stop=lambda: "hang computed" in log.read_text(),
        )
    assert [path.name for path in (out / "cases").iterdir()] == ["a"]
    with (out / "summary.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = {row["case"]: row["state"] for row in csv.DictReader(file)}
    assert rows == {"a": "done", "hang": "waiting", "z": "waiting"}
    assert lanes_alive(python) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    "stage", ["a read", "slow-1 read", "slow-1 computed", "slow-2 read", "slow-2 computed"]
)
def test_kill_9_at_any_stage_loses_no_finished_case_and_leaves_nothing_half_done(
    cases, model, tmp_path, strange_python, stage
):
    python, log = strange_python
    folder, out = cases("a", "slow-1", "slow-2"), tmp_path / "out"
    options = ["--model", str(model), "--out", str(out), "--no-scene", "--python", python]
    command = [sys.executable, "-m", "MedDetectLib", "batch", str(folder), *options]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    until = time.monotonic() + 60
    while stage not in log.read_text():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {path.name: path.stat().st_ino for path in (out / "cases").glob("*")}
    for name in finished:
        status = json.loads((out / "cases" / name / "status.json").read_text())
        assert status["state"] == "done"
        assert len(read_findings(out / "cases" / name).items) == 1
    while lanes_alive(python):
        assert time.monotonic() < until, "lanes outlived their batch"
        time.sleep(0.02)
    again = subprocess.run(
        [*command, "--json"], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["skipped"] == len(finished)
    for name, inode in finished.items():
        assert (out / "cases" / name).stat().st_ino == inode
    assert {path.name for path in (out / "cases").iterdir()} == {"a", "slow-1", "slow-2"}
    assert [path.name for path in (out / ".working").iterdir()] == ["lock"]


def test_whatever_goes_wrong_at_any_write_a_case_is_whole_or_not_there(strike_everywhere):
    strike_everywhere("finishing")


def test_the_command_says_which_case_failed_and_exits_with_its_code(cases, model, tmp_path):
    folder = cases("a")
    (folder / "broken.nii.gz").write_bytes(b"\x1f\x8b\x08 cut")
    options = ["--model", str(model), "--out", str(tmp_path / "out"), "--no-scene"]
    told = subprocess.run(
        [sys.executable, "-m", "MedDetectLib", "batch", str(folder), *options],
        capture_output=True, text=True, cwd=ROOT, timeout=120,
    )  # fmt: skip
    assert told.returncode == 65
    assert "1 of 2 cases done" in told.stdout
    assert "broken: error[" in told.stderr

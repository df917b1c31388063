"""`Slicer --no-main-window --python-script MedDetect/Scripts/batch.py -- ...`, in the stand-in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "MedDetect" / "Scripts" / "batch.py"

# Runs the script as Slicer does: in its own process, with its arguments, without a window.
# Whatever may only be imported in the worker's environment is noted.
DRIVER = f"""
import json, runpy, sys
from Testing.harness.running import slicer_running
script, report, *arguments = sys.argv[1:]
sys.argv = [script, *arguments]
codes = []
with slicer_running(main_window=False) as harness:
    import slicer
    slicer.util.exit = codes.append
    sys.path.insert(0, {str(ROOT / "MedDetect")!r})
    runpy.run_path(script, run_name="__main__")
heavy = {{"onnxruntime", "openvino", "torch", "monai", "matplotlib", "rich", "jsonschema"}}
open(report, "w").write(json.dumps([codes, sorted(heavy & set(sys.modules))]))
"""


@pytest.fixture
def run_script(tmp_path):
    def run(*arguments, **environment):
        report = tmp_path / "report.json"
        told = subprocess.run(
            [sys.executable, "-c", DRIVER, str(SCRIPT), str(report), *map(str, arguments)],
            capture_output=True, text=True, timeout=200, cwd=ROOT,
            env={**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT),
                 "MEDDETECT_ENVIRONMENT": str(tmp_path / "environment"), **environment},
        )  # fmt: skip
        assert report.is_file(), told.stderr
        codes, heavy = json.loads(report.read_text())
        return codes, heavy, told

    return run


@pytest.fixture
def case(tmp_path):
    array = np.zeros((20, 24, 22), np.float32)
    array[5:9, 6:10, 7:11] = 1.0
    path = tmp_path / "cases" / "a.nii.gz"
    path.parent.mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


def test_the_script_runs_cases_and_exits_with_the_commands_code(
    run_script, case, bright_model, tmp_path
):
    (case.parent / "broken.nii.gz").write_bytes(b"\x1f\x8b\x08 cut")
    model, out = bright_model(0.5), tmp_path / "out"
    codes, heavy, told = run_script("--", case.parent, "--model", model, "--out", out)
    assert codes == [65], told.stderr
    assert "1 of 2 cases done" in told.stdout
    status = json.loads((out / "cases" / "a" / "status.json").read_text())
    assert status["result"]["findings"] == 1
    assert heavy == [], "what Slicer does not ship was imported in its process"


def test_an_error_nobody_foresaw_ends_slicer_with_70_and_not_with_an_open_window():
    import runpy

    script = runpy.run_path(str(SCRIPT), run_name="script")
    script["exit_code"].__globals__["main"] = lambda _arguments: 1 / 0
    assert script["exit_code"]([]) == 70


def test_wrong_usage_ends_with_2_and_not_with_a_window(run_script):
    codes, _, told = run_script("--", "--no-such-option")
    assert codes == [2]
    assert "usage:" in told.stderr

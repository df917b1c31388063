"""The Slicer module as Slicer sees it: its self-test, its sample data, what loading it costs."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_self_test(harness, *, use_worker):
    harness.load_module()
    import slicer

    module = sys.modules["MedDetect"]
    module.MedDetectTest.useWorker = use_worker
    slicer.selfTests["MedDetect"](msec=0)


def test_the_modules_own_self_test_passes(slicer_harness):
    run_self_test(slicer_harness, use_worker=False)


def test_the_modules_own_self_test_passes_without_a_main_window():
    from Testing.harness.running import slicer_running

    with slicer_running(main_window=False, testing=True) as harness:
        run_self_test(harness, use_worker=False)


@pytest.mark.slow
def test_the_modules_own_self_test_passes_with_the_real_worker(slicer_harness):
    run_self_test(slicer_harness, use_worker=True)

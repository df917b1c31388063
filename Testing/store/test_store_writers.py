"""Several writers at once: every acknowledged act is there, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import store_samples as samples

from MedDetectLib.cases.store.case_store import CaseStore, Saying

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture
def quick_folder():
    """A folder in memory where there is one: locks are tried here, not the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def start(folder, name, operations):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])}
    return subprocess.Popen(
        [sys.executable, HERE / "writer.py", folder / "store", name, str(operations),
         folder / f"{name}.told"],
        env=environment,
    )  # fmt: skip


def told(folder):
    return [
        json.loads(line)
        for path in folder.glob("*.told")
        for line in path.read_text().splitlines()
        if line.endswith("]")
    ]


def check(folder):
    store = CaseStore(folder / "store")
    acts = told(folder)
    versions = {row.id: store.versions(row.id) for row in store.cases()}
    for case_id, numbered in versions.items():
        assert [version.number for version in numbered] == list(range(1, len(numbered) + 1))
        names = [version.act for version in numbered]
        assert len(set(names)) == len(names), f"an act of case {case_id} is stored twice"
    stored = {(c, v.act): v.number for c, numbered in versions.items() for v in numbered}
    for kind, case_id, act, *number in acts:
        if kind == "version":
            assert stored[case_id, act] == number[0], f"{act} was acknowledged and is gone"
        else:
            assert case_id in versions, f"the import {act} was acknowledged and is gone"
    report = store.verify()
    assert report.problems == []
    assert report.index == []
    return store, acts, stored


def run(folder, writers, operations):
    store = CaseStore.open_or_create(folder / "store")
    cases = [store.import_volume(samples.volume(n), f"P{n}").case.id for n in range(16)]
    running = [start(folder, f"W{n}", operations) for n in range(writers)]
    assert [process.wait() for process in running] == [0] * writers
    store, acts, stored = check(folder)
    assert len(acts) == writers * operations
    imports = sum(kind == "import" for kind, *_ in acts)
    assert len(stored) == len(acts) - imports
    assert store.count() == len(cases) + imports
    return len(acts)


def test_four_writers_lose_nothing_and_store_nothing_twice(quick_folder):
    assert run(quick_folder, 4, 60) == 240


@pytest.mark.slow
def test_eight_writers_of_five_thousand_operations_lose_nothing(quick_folder, record_property):
    started = time.monotonic()
    acknowledged = run(quick_folder, 8, 5000)
    seconds = time.monotonic() - started
    text = f"8 writers x 5000 operations: {acknowledged} of 40000 acknowledged, {seconds:.0f} s"
    record_property("writers table", text)
    assert acknowledged == 40000


def test_a_killed_writer_keeps_nobody_waiting(quick_folder):
    store = CaseStore.open_or_create(quick_folder / "store")
    cases = [store.import_volume(samples.volume(n), f"P{n}").case.id for n in range(4)]
    for n in range(4):
        process = start(quick_folder, f"W{n}", 100000)
        path = quick_folder / f"W{n}.told"
        while not path.exists() or path.stat().st_size < 300 * (n + 1):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        started = time.monotonic()
        store.add_version(cases[0], samples.findings(), Saying("review", "next", act=f"n{n}"))
        assert time.monotonic() - started < 5
    check(quick_folder)

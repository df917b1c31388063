"""Models, volumes and clients for the worker's tests, and the watch over what they leave."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from worker_samples import Make, children_of, make_model, segments_of

from MedDetectLib.inference.worker.client import Limits, WorkerClient

FAULTY = Path(__file__).with_name("faulty_worker.py")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """After every test: no process, no zombie, no shared memory of ours."""
    before = set(children_of(os.getpid()))
    yield
    until = time.monotonic() + 3.0
    while set(children_of(os.getpid())) - before and time.monotonic() < until:
        time.sleep(0.02)
    assert set(children_of(os.getpid())) - before == set()
    assert segments_of(os.getpid()) == []


@pytest.fixture(scope="session")
def threshold_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model that marks voxels above 100."""
    return make_model(tmp_path_factory.mktemp("models") / "above-100", 100.0)


@pytest.fixture(scope="module")
def client() -> Iterator[WorkerClient]:
    """Return a client of the real worker that a whole file of tests shares."""
    with WorkerClient(sys.executable) as shared:
        shared.ping()  # so that no test takes its process for one left behind
        yield shared


@pytest.fixture
def make_client() -> Iterator[Make]:
    """Return a maker of clients of the real worker; they are closed after the test."""
    clients: list[WorkerClient] = []

    def make(**options: Any) -> WorkerClient:
        clients.append(WorkerClient(sys.executable, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def make_faulty(make_client: Make) -> Make:
    """Return a maker of clients of the worker that fails on request: `backend` says how."""

    def make(**limits: float) -> WorkerClient:
        command = (sys.executable, "-P", str(FAULTY))
        return make_client(command=command, limits=Limits(**limits))

    return make

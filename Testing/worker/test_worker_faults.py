"""Whatever happens to the worker, the request says so, the client goes on, nothing is left."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest
from worker_samples import Make, children_of, oblique_volume, segments_of

from MedDetectLib import Watch
from MedDetectLib.core.errors import Cancelled, MedDetectError, WorkerFailed
from MedDetectLib.inference.worker.client import Limits, WorkerClient
from MedDetectLib.inference.worker.request import Request

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="faults planted by POSIX signals")

CANCEL_BOUND_S = 1.5
"""A cancel takes 1 s at most; half a second more for a box on which other work runs."""


def usable(client: WorkerClient, model: Path) -> bool:
    return len(client.detect(oblique_volume(), model, backend="ok")) > 0


def until_it_computes(request: Request) -> None:
    while request.progress is None or request.progress.stage != "detect":
        assert not request.poll()
        time.sleep(0.005)


# --- dying ----------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["kill", "kill-in-prepare"])
def test_a_killed_worker_fails_its_request_and_the_next_one_works(
    make_faulty: Make, threshold_model: Path, when: str
) -> None:
    client = make_faulty()
    with pytest.raises(WorkerFailed, match=r"SIGKILL.*memory") as died:
        client.detect(oblique_volume(), threshold_model, backend=when)
    assert died.value.code == "worker-died"
    assert segments_of(os.getpid()) == []
    assert usable(client, threshold_model)


def test_a_worker_killed_while_idle_costs_no_request(
    make_faulty: Make, threshold_model: Path
) -> None:
    client = make_faulty()
    for _ in range(3):
        assert usable(client, threshold_model)
        os.kill(client.ping().pid, signal.SIGKILL)
    assert usable(client, threshold_model)


def test_a_worker_that_dies_after_its_answer_costs_neither_it_nor_the_next(
    make_faulty: Make, threshold_model: Path
) -> None:
    client = make_faulty()
    assert len(client.detect(oblique_volume(), threshold_model, backend="kill-after 0.3")) > 0
    time.sleep(0.5)
    assert usable(client, threshold_model)


def test_last_words_and_exit_code_are_passed_on(make_faulty: Make, threshold_model: Path) -> None:
    client = make_faulty()
    with pytest.raises(WorkerFailed, match=r"exit code 3.*these are my last words"):
        client.detect(oblique_volume(), threshold_model, backend="exit 3")
    assert usable(client, threshold_model)


def test_only_the_request_in_hand_is_lost_with_the_worker(
    make_faulty: Make, threshold_model: Path
) -> None:
    client = make_faulty()
    hands = [
        client.submit(oblique_volume(), threshold_model, backend=backend)
        for backend in ("ok", "kill", "ok", "exit 9", "ok")
    ]
    ended = []
    for request in hands:
        try:
            ended.append(str(len(request.result()) > 0))
        except WorkerFailed as error:
            ended.append(error.code)
    assert ended == ["True", "worker-died", "True", "worker-died", "True"]


def test_what_the_worker_started_dies_with_it(make_faulty: Make, threshold_model: Path) -> None:
    before = set(children_of(os.getpid()))  # of earlier tests in this process
    client = make_faulty()
    request = client.submit(oblique_volume(), threshold_model, backend="child")
    until_it_computes(request)
    until = time.monotonic() + 5
    while len(children_of(os.getpid())) < len(before) + 3 and time.monotonic() < until:
        time.sleep(0.02)
    family = set(children_of(os.getpid())) - before
    assert len(family) == 3  # worker, guard, child
    os.kill(client.ping().pid, signal.SIGKILL)
    with pytest.raises(WorkerFailed):
        request.result()
    until = time.monotonic() + 2
    while any(map(is_alive, family)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(is_alive, family))


def test_a_worker_that_cannot_start_says_why() -> None:
    with WorkerClient("/no/such/python") as nowhere:
        for _ in range(2):
            with pytest.raises(WorkerFailed, match="no-python"):
                nowhere.models()
    with WorkerClient(command=(sys.executable, "-c", "import no_such_module")) as broken:
        for _ in range(2):
            with pytest.raises(WorkerFailed, match=r"worker-start.*no_such_module"):
                broken.models()
    sleeps = (sys.executable, "-c", "import time; time.sleep(60)")
    with WorkerClient(command=sleeps, limits=Limits(start_s=0.5)) as mute:
        with pytest.raises(WorkerFailed, match="worker-start"):
            mute.models()
        with pytest.raises(WorkerFailed, match="worker-start"):
            mute.ping()
    hello = {"event": "hello", "protocol": 0, "pid": 1, "meddetect": "0.0", "python": "3"}
    greets = f"import json, time; print(json.dumps({hello}), flush=True); time.sleep(60)"
    with (
        WorkerClient(command=(sys.executable, "-c", greets)) as old,
        pytest.raises(WorkerFailed, match="protocol-version"),
    ):
        old.models()


# --- hanging, memory, noise -----------------------------------------------------------


def test_a_worker_that_hangs_with_pythons_lock_is_found_out(
    make_faulty: Make, threshold_model: Path
) -> None:
    client = make_faulty(silence_s=2.0)
    with pytest.raises(WorkerFailed, match="no sign of life") as hung:
        client.detect(oblique_volume(), threshold_model, backend="hog 60")
    assert hung.value.code == "worker-hung"
    assert usable(client, threshold_model)


def test_a_slow_window_is_not_a_hang(make_faulty: Make, threshold_model: Path) -> None:
    small = oblique_volume(shape=(6, 7, 8))
    assert make_faulty(silence_s=1.5).detect(small, threshold_model, backend="sleep 2.5")


def test_a_stopped_worker_is_found_out(make_faulty: Make, threshold_model: Path) -> None:
    client = make_faulty(silence_s=2.0)
    assert usable(client, threshold_model)
    os.kill(client.ping().pid, signal.SIGSTOP)
    with pytest.raises(WorkerFailed, match="worker-hung"):
        usable(client, threshold_model)
    assert usable(client, threshold_model)


def test_too_little_memory_is_told_and_the_worker_lives(
    make_faulty: Make, threshold_model: Path
) -> None:
    client = make_faulty()
    assert usable(client, threshold_model)
    pid = client.ping().pid
    with pytest.raises(WorkerFailed) as lack:
        client.detect(oblique_volume(), threshold_model, backend="memory")
    assert lack.value.code == "out-of-memory"
    assert usable(client, threshold_model)
    assert client.ping().pid == pid


def test_chatter_on_standard_output_harms_nothing(make_faulty: Make, threshold_model: Path) -> None:
    client = make_faulty()
    assert usable(client, threshold_model)
    pid = client.ping().pid
    assert len(client.detect(oblique_volume(), threshold_model, backend="chatter")) > 0
    assert client.ping().pid == pid


@pytest.mark.parametrize("noise", ["garbage", "stranger"])
def test_nonsense_in_the_protocol_costs_the_worker_its_place(
    make_faulty: Make, threshold_model: Path, noise: str
) -> None:
    client = make_faulty()
    with pytest.raises(WorkerFailed) as failed:
        client.detect(oblique_volume(), threshold_model, backend=noise)
    assert failed.value.code == "protocol"
    assert usable(client, threshold_model)


@pytest.mark.parametrize(
    ("words", "code"), [(b'{"event":"heartbeat"}\n', "deadline"), (b"no end of a line", "protocol")]
)
def test_a_worker_that_never_stops_talking_holds_up_no_poll(
    threshold_model: Path, words: bytes, code: str
) -> None:
    hello = b'{"event":"hello","pid":1,"protocol":2,"meddetect":"0","python":"3"}\n'
    flood = f"import os\nos.write(1, {hello!r})\nwhile True: os.write(1, {words!r} * 2000)\n"
    with WorkerClient(command=(sys.executable, "-c", flood)) as client:
        request = client.submit(oblique_volume(), threshold_model, deadline_s=5.0)
        polls = 0
        while not request.poll():
            polls += 1
        with pytest.raises(WorkerFailed, match=code):
            request.result()
    assert polls > 5


def test_a_full_disk_is_told_as_what_keeps_the_worker_from_starting(
    threshold_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> object:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp")

    with WorkerClient() as client:
        with monkeypatch.context() as patched:
            patched.setattr(tempfile, "TemporaryFile", full)
            with pytest.raises(WorkerFailed, match="No space left on device; /tmp; free some"):
                client.detect(oblique_volume(), threshold_model)
        assert len(client.detect(oblique_volume(), threshold_model)) > 0


def test_a_deadline_ends_what_takes_too_long_queued_or_not(
    make_faulty: Make, threshold_model: Path
) -> None:
    client = make_faulty()
    assert usable(client, threshold_model)
    slow = client.submit(oblique_volume(), threshold_model, backend="sleep 30", deadline_s=0.6)
    queued = client.submit(oblique_volume(), threshold_model, backend="ok", deadline_s=0.3)
    start = time.monotonic()
    for request in (slow, queued):
        with pytest.raises(WorkerFailed) as late:
            request.result()
        assert late.value.code == "deadline"
    assert time.monotonic() - start < 0.6 + CANCEL_BOUND_S
    assert usable(client, threshold_model)


# --- cancelling -----------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["sleep 0.1", "sleep 60", "hog 60"])
def test_a_cancel_takes_a_second_whatever_the_worker_does(
    make_faulty: Make, threshold_model: Path, backend: str
) -> None:
    client = make_faulty()
    request = client.submit(oblique_volume(), threshold_model, backend=backend)
    until_it_computes(request)
    time.sleep(0.2)
    start = time.monotonic()
    request.cancel()
    with pytest.raises(Cancelled):
        request.result()
    assert time.monotonic() - start < CANCEL_BOUND_S
    assert segments_of(os.getpid()) == []
    assert usable(client, threshold_model)


def test_a_worker_that_obeys_stays_warm(make_faulty: Make, threshold_model: Path) -> None:
    client = make_faulty(cancel_s=10.0)
    assert usable(client, threshold_model)
    pid = client.ping().pid
    start = time.monotonic()
    watch = Watch(should_stop=lambda: time.monotonic() - start > 0.3)
    with pytest.raises(Cancelled):
        client.detect(oblique_volume(), threshold_model, watch=watch, backend="sleep 0.5")
    assert client.ping().pid == pid


def test_a_callback_that_raises_ends_its_request(make_faulty: Make, threshold_model: Path) -> None:
    client = make_faulty()

    def interrupt(_progress: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.detect(
            oblique_volume(), threshold_model, watch=Watch(interrupt), backend="sleep 0.1"
        )
    assert segments_of(os.getpid()) == []
    assert usable(client, threshold_model)


def test_a_storm_of_two_hundred_cancels(make_faulty: Make, threshold_model: Path) -> None:
    before = set(children_of(os.getpid()))  # of earlier tests in this process
    client = make_faulty()
    chance = random.Random(7)
    outcomes = {"done": 0, "cancelled": 0}
    for n in range(200):
        volume = oblique_volume(n % 5, shape=(8, 9, 10))
        backend = "sleep 60" if n % 50 == 49 else "sleep 0.003"
        request = client.submit(volume, threshold_model, backend=backend)
        pause = chance.choice([0.0, 0.0, 0.005, 0.02, 0.05])
        until = time.monotonic() + pause
        while time.monotonic() < until:
            request.poll()
            time.sleep(0.002)
        request.cancel()
        start = time.monotonic()
        try:
            assert request.result().provenance.input_sha256 == volume.sha256
            outcomes["done"] += 1
        except Cancelled:
            outcomes["cancelled"] += 1
        assert time.monotonic() - start < CANCEL_BOUND_S
        assert len(segments_of(os.getpid())) == 0
    assert outcomes["cancelled"] > 100
    assert usable(client, threshold_model)
    assert len(set(children_of(os.getpid())) - before) == 2  # one worker and its guard


def test_two_hundred_requests_queued_at_once_and_all_cancelled(
    make_faulty: Make, threshold_model: Path
) -> None:
    client = make_faulty()
    volume = oblique_volume(shape=(8, 9, 10))
    hands = [client.submit(volume, threshold_model, backend="sleep 0.05") for _ in range(200)]
    assert len(segments_of(os.getpid())) == 400
    start = time.monotonic()
    for request in reversed(hands):
        request.cancel()
    for request in hands:
        with pytest.raises(Cancelled):
            request.result()
    assert time.monotonic() - start < CANCEL_BOUND_S
    assert segments_of(os.getpid()) == []
    assert usable(client, threshold_model)


def test_two_hundred_requests_of_every_kind_leave_a_usable_client(
    make_faulty: Make, threshold_model: Path
) -> None:
    client = make_faulty(cancel_s=0.3)
    chance = random.Random(3)
    rare = {37: "kill", 81: "garbage", 118: "exit 4", 160: "memory", 190: "kill-in-prepare"}
    codes: dict[str, int] = {}
    for n in range(200):
        volume = oblique_volume(n % 7, shape=(8, 9, 10))
        backend = rare.get(n) or chance.choice(["ok", "ok", "chatter", "bug", "sleep 0.01"])
        request = client.submit(volume, threshold_model, backend=backend)
        if backend.startswith("sleep"):
            request.cancel()
        try:
            assert request.result().provenance.input_sha256 == volume.sha256
            code = "done"
        except MedDetectError as error:
            code = error.code
        codes[code] = codes.get(code, 0) + 1
    assert codes["worker-died"] == 3
    assert (codes["protocol"], codes["out-of-memory"]) == (1, 1)
    assert codes["done"] + codes["bug"] + codes["cancelled"] == 195
    assert usable(client, threshold_model)


# --- parents --------------------------------------------------------------------------

PARENT = """
    import sys, time, threading
    sys.path.insert(0, {tests!r})
    from worker_samples import oblique_volume
    from MedDetectLib.inference.worker.client import WorkerClient

    client = WorkerClient(command=(sys.executable, "-P", {faulty!r}))
    def work():
        request = client.submit(oblique_volume(), {model!r}, backend={backend!r})
        while request.progress is None or request.progress.stage != "detect":
            request.poll()
            time.sleep(0.01)
        print(client._conversation._worker.pid, flush=True)
    {start}
    {end}
"""


def parent_of_a_worker(model: Path, backend: str, start: str, end: str) -> subprocess.Popen:
    tests = Path(__file__).parent
    code = textwrap.dedent(PARENT).format(
        tests=str(tests),
        faulty=str(tests / "faulty_worker.py"),
        model=str(model),
        backend=backend,
        start=start,
        end=end,
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


IN_MAIN = "work()"
IN_THREAD = "thread = threading.Thread(target=work); thread.start(); thread.join()"


@pytest.mark.parametrize(
    ("backend", "start"),
    [("sleep 60", IN_MAIN), ("sleep 60", IN_THREAD), ("hog 60", IN_MAIN), ("child", IN_MAIN)],
)
def test_a_worker_dies_with_its_killed_parent_and_so_does_their_memory(
    threshold_model: Path, backend: str, start: str
) -> None:
    parent = parent_of_a_worker(threshold_model, backend, start, "time.sleep(60)")
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    family = [worker, *children_of(worker)]
    assert len(family) >= (3 if backend == "child" else 2)
    assert len(segments_of(parent.pid)) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 2.0
    while any(map(is_alive, family)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(is_alive, family))
    assert memory_with_names() == []  # nameless, it went with those who held it


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise ValueError", "del client"])
def test_a_program_that_just_ends_leaves_nothing(threshold_model: Path, end: str) -> None:
    parent = parent_of_a_worker(threshold_model, "sleep 60", IN_MAIN, end)
    worker = int(parent.communicate(timeout=30)[0])
    until = time.monotonic() + 2.0
    while is_alive(worker) and time.monotonic() < until:
        time.sleep(0.02)
    assert not is_alive(worker)
    assert memory_with_names() == []


def test_a_worker_outlives_the_thread_that_started_it(
    make_faulty: Make, threshold_model: Path
) -> None:
    import threading

    client = make_faulty()
    pids: list[int] = []
    thread = threading.Thread(target=lambda: pids.append(client.ping().pid))
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert client.ping().pid == pids[0]


def memory_with_names() -> list[str]:
    return [path.name for path in Path("/dev/shm").glob("mdt*")]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

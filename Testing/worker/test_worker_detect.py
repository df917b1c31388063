"""The worker answers as `detect()` in this process does, and tells how far it is."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worker_samples import (
    Make,
    make_model,
    make_slow_model,
    oblique_volume,
    segments_of,
    write_card,
)

from MedDetectLib import Findings, Geometry, Volume, Watch, detect, load_model
from MedDetectLib.core.errors import Cancelled, InputError, MedDetectError, ModelError, WorkerFailed
from MedDetectLib.core.watch import Progress
from MedDetectLib.evaluation.bench.memory import write_levels_model
from MedDetectLib.inference.worker import request as request_module
from MedDetectLib.inference.worker import segments
from MedDetectLib.inference.worker.client import Limits, WorkerClient
from MedDetectLib.inference.worker.protocol import PROTOCOL, error_to_json
from MedDetectLib.inference.worker.shared_arrays import SharedArray


def told(findings: Findings) -> str:
    """Return everything of findings but the time they took."""
    data = findings.to_json()
    del data["provenance"]["seconds"]
    return json.dumps(data, sort_keys=True)


def voxels(findings: Findings) -> bytes:
    assert findings.label_map is not None
    return findings.label_map.tobytes()


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "u1", "<f4", "<f8", "<i4"])
def test_findings_are_byte_identical_to_those_of_this_process(
    client: WorkerClient, threshold_model: Path, dtype: str
) -> None:
    volume = oblique_volume(3, dtype if dtype != "u1" else "<i2")
    if dtype == "u1":
        volume = type(volume)(
            np.clip(volume.array, 0, 255).astype("u1"), volume.geometry, "CT", "bytes"
        )
    with load_model(threshold_model) as model:
        here = detect(volume, model)
    there = client.detect(volume, str(threshold_model))
    assert len(here) > 0
    assert told(there) == told(here)
    assert voxels(there) == voxels(here)
    assert there.provenance.input_sha256 == volume.sha256


def test_a_view_that_is_not_contiguous_arrives_as_it_is(
    client: WorkerClient, threshold_model: Path
) -> None:
    volume = oblique_volume(1)
    turned = volume.reoriented(volume.geometry.axis_map_to("SLP"))
    assert not turned.array.flags.c_contiguous
    with load_model(threshold_model) as model:
        here = detect(turned, model)
    there = client.detect(turned, threshold_model)
    assert (told(there), voxels(there)) == (told(here), voxels(here))


def test_nothing_found_is_an_answer_too(client: WorkerClient, threshold_model: Path) -> None:
    volume = oblique_volume()
    empty = type(volume)(np.zeros_like(volume.array), volume.geometry, "CT")
    with load_model(threshold_model) as model:
        here = detect(empty, model)
    there = client.detect(empty, threshold_model)
    assert told(there) == told(here)
    assert (there.label_map is None) == (here.label_map is None)


def test_progress_names_stages_and_time_left(client: WorkerClient, threshold_model: Path) -> None:
    heard: list[Progress] = []
    mine = threading.get_ident()
    threads = set()

    def hear(progress: Progress) -> None:
        heard.append(progress)
        threads.add(threading.get_ident())

    client.detect(oblique_volume(), threshold_model, watch=Watch(hear))
    stages = list(dict.fromkeys(progress.stage for progress in heard))
    assert stages == ["open model", "prepare", "detect", "findings"]
    assert threads == {mine}
    last = [progress for progress in heard if progress.stage == "detect"][-1]
    assert last == Progress("detect", 1.0, 0.0)


def test_errors_come_back_as_what_they_were(client: WorkerClient, threshold_model: Path) -> None:
    volume = oblique_volume()
    other = type(volume)(volume.array, volume.geometry, modality="MR")
    with pytest.raises(InputError) as there:
        client.detect(other, threshold_model)
    with pytest.raises(InputError) as here, load_model(threshold_model) as model:
        detect(other, model)
    told_there, told_here = error_to_json(there.value), error_to_json(here.value)
    assert told_there == told_here
    with pytest.raises(ModelError, match="no-model"):
        client.detect(volume, "no such model")
    with pytest.raises(InputError, match="wrong-channels"):
        client.detect([volume, volume], threshold_model)
    with pytest.raises(InputError, match="wrong-channels"):
        client.detect([], threshold_model)
    with pytest.raises(MedDetectError, match="no-backend") as unknown:
        client.detect(volume, threshold_model, backend="abacus")
    assert unknown.value.exit_code == 69
    assert len(client.detect(volume, threshold_model)) > 0


def test_an_unexpected_exception_is_told_as_a_bug_and_the_worker_lives(
    make_faulty: Make, threshold_model: Path
) -> None:
    client = make_faulty()
    with pytest.raises(MedDetectError, match="ZeroDivisionError: planted") as bug:
        client.detect(oblique_volume(), threshold_model, backend="bug")
    assert (type(bug.value), bug.value.code) == (MedDetectError, "bug")
    pid = client.ping().pid
    client.detect(oblique_volume(), threshold_model, backend="ok")
    assert client.ping().pid == pid


def test_a_changed_model_is_read_again(client: WorkerClient, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "changing", 100.0)
    volume = oblique_volume()
    before = client.detect(volume, folder)
    make_model(folder, 1e6)
    after = client.detect(volume, folder)
    assert (len(before) > 0, len(after)) == (True, 0)
    assert before.provenance.model_sha256 != after.provenance.model_sha256
    (folder / "model.onnx").write_bytes(b"not what the card says")
    with pytest.raises(ModelError, match="changed-file"):
        client.detect(volume, folder)
    write_card(folder, window=16)
    with pytest.raises(ModelError, match="bad-network"):
        client.detect(volume, folder)


def test_models_are_described(
    make_client: Make, threshold_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.json").write_text("{}")
    monkeypatch.setenv("MEDDETECT_MODELS", f"{threshold_model}:{broken}")
    client = make_client()
    found = {model.name: model for model in client.models()}
    model = found[threshold_model.name]
    assert [label.name for label in model.labels] == ["bright"]
    assert [(c.name, c.modality) for c in model.channels] == [("CT", "CT")]
    assert (model.task, model.version, model.error) == ("segmentation", "1.0.0", "")
    assert "bad-card" in found["broken"].error
    assert len(client.detect(oblique_volume(), threshold_model.name)) > 0


def test_the_asynchronous_form_never_waits_and_calls_nobody_by_itself(
    make_faulty: Make, threshold_model: Path
) -> None:
    client = make_faulty()
    heard: list[Progress] = []
    request = client.submit(
        oblique_volume(), threshold_model, on_progress=heard.append, backend="sleep 0.01"
    )
    turns = 0
    longest = 0.0
    while True:
        start = time.perf_counter()
        done = request.poll()
        longest = max(longest, time.perf_counter() - start)
        if done:
            break
        turns += 1
        before = len(heard)
        time.sleep(0.02)
        assert len(heard) == before
    assert turns > 3
    assert longest < 1.0  # generous: a busy box; starting a process is the longest step
    assert heard
    assert len(request.result()) > 0
    assert request.result() is request.result()


# --- memory ---------------------------------------------------------------------------


def test_a_plan_is_made_in_the_worker_and_the_run_takes_no_more(
    client: WorkerClient, threshold_model: Path
) -> None:
    volume = big_volume()
    plan = client.plan(volume.geometry, threshold_model)
    assert plan.fits
    assert plan.held_bytes > volume.array.nbytes
    assert plan.added_bytes > volume.array.size / 3 * 4  # the image on the model's grid
    findings = client.detect(volume, threshold_model, max_memory_bytes=plan.peak_bytes * 2)
    assert findings.notes == ()


def test_a_ceiling_too_low_is_planned_as_such_and_refused_as_the_run(
    client: WorkerClient, threshold_model: Path
) -> None:
    volume = oblique_volume()
    plan = client.plan(volume.geometry, threshold_model, max_memory_bytes=1 << 20)
    assert not plan.fits
    assert plan.ceiling_bytes == 1 << 20
    with pytest.raises(InputError, match=r"not-enough-memory.*1\.0 MiB are allowed"):
        client.detect(volume, threshold_model, max_memory_bytes=1 << 20)
    assert segments_of(os.getpid()) == []
    assert len(client.detect(volume, threshold_model)) > 0


def test_a_plan_of_a_model_that_is_not_there_is_that_models_error(client: WorkerClient) -> None:
    with pytest.raises(ModelError, match="no-model"):
        client.plan(oblique_volume().geometry, "no such model")


def test_a_run_in_bands_through_the_worker_finds_the_same(
    make_client: Make, threshold_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    model = write_levels_model(tmp_path, 25)
    volume = big_volume((30, 300, 300))
    client = make_client()
    free = client.detect(volume, model)
    plan = client.plan(volume.geometry, model)
    ceiling = plan.peak_bytes - plan.parts["scores"] // 4
    tight = client.detect(volume, model, max_memory_bytes=ceiling)
    assert [note.code for note in tight.notes] == ["memory-shrunk"]
    assert [item.to_json() for item in tight] == [item.to_json() for item in free]
    assert voxels(tight) == voxels(free)


def test_empty_windows_are_left_out_when_asked_and_counted(
    client: WorkerClient, threshold_model: Path
) -> None:
    volume = big_volume((40, 128, 256))
    volume.array[:, :, 80:] = -100
    volume.array[:, 20:40, 20:40] = 400
    every = client.detect(volume, threshold_model)
    some = client.detect(volume, threshold_model, skip_empty=True)
    assert [note.code for note in some.notes] == ["empty-windows"]
    assert every.notes == ()
    assert voxels(some) == voxels(every)


# --- in pieces ------------------------------------------------------------------------


def big_volume(shape: tuple[int, int, int] = (40, 512, 512)) -> Volume:
    """Return 21 MB of noise, most slices of which hold something above 100."""
    array = np.random.default_rng(1).integers(-90, 90, shape, dtype=np.int16)
    array[2:-9, 100:140, 200:260] = 400
    return Volume(array, Geometry.from_axes(shape, (2.5, 0.75, 0.75)), "CT", "big")


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the bytes of each copy to or from shared memory are added."""
    counts: list[int] = []
    kind = type(segments.create(1))
    for name in ("write", "read"):
        original = getattr(kind, name)

        def counted(self: Any, offset: int, data: memoryview, original: Any = original) -> None:
            counts.append(data.nbytes)
            original(self, offset, data)

        monkeypatch.setattr(kind, name, counted)
    return counts


def test_no_poll_of_a_piecewise_request_copies_more_than_its_share(
    client: WorkerClient, threshold_model: Path, copied: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_module, "_SHARE_BYTES", 8 << 20)
    volume = big_volume()
    whole = client.detect(volume, threshold_model)
    copied.clear()
    request = client.submit(volume, threshold_model, piecewise=True)
    assert copied == []
    assert not request.filled
    most = 0
    in_all = 0
    done = False
    while not done:
        before_sent = not request.filled
        done = request.poll()
        most = max(most, sum(copied))
        in_all += sum(copied)
        copied.clear()
        assert before_sent or request.filled
        time.sleep(0.001)
    assert 0 < most <= 8 << 20
    findings = request.result()
    assert in_all >= volume.array.nbytes + 29 * 512 * 512 * 2
    assert in_all < volume.array.nbytes * 1.9  # empty slices of the label map stay at home
    assert (told(findings), voxels(findings)) == (told(whole), voxels(whole))
    assert segments_of(os.getpid()) == []


def test_a_piecewise_request_that_waits_for_its_voxels_holds_up_nobody(
    client: WorkerClient, threshold_model: Path
) -> None:
    slow = client.submit(big_volume(), threshold_model, piecewise=True)
    assert len(client.detect(oblique_volume(), threshold_model)) > 0
    assert not slow.filled
    assert len(slow.result()) > 0


@pytest.mark.parametrize("polls", [0, 1, 3])
def test_a_piecewise_request_is_cancelled_at_any_moment_and_leaves_nothing(
    client: WorkerClient,
    threshold_model: Path,
    polls: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_module, "_SHARE_BYTES", 4 << 20)
    request = client.submit(big_volume(), threshold_model, piecewise=True)
    for _ in range(polls):
        assert not request.poll()
    request.cancel()
    with pytest.raises(Cancelled):
        request.result()
    assert segments_of(os.getpid()) == []


def test_a_cancel_while_the_answer_is_being_copied_is_obeyed(
    client: WorkerClient, threshold_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_module, "_SHARE_BYTES", 4 << 20)
    request = client.submit(big_volume(), threshold_model, piecewise=True)
    while request._reading is None:
        assert not request.poll()
    request.cancel()
    with pytest.raises(Cancelled):
        request.result()
    assert segments_of(os.getpid()) == []


def test_lack_of_memory_while_voxels_are_copied_is_the_requests_own_error(
    client: WorkerClient, threshold_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, offset: int, data: memoryview) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(type(segments.create(1)), "write", full)
        request = client.submit(big_volume(), threshold_model, piecewise=True)
        with pytest.raises(WorkerFailed, match="no-shared-memory"):
            request.result()
        with pytest.raises(WorkerFailed, match="no-shared-memory"):
            client.submit(oblique_volume(), threshold_model)
    assert segments_of(os.getpid()) == []
    assert len(client.detect(oblique_volume(), threshold_model)) > 0


@pytest.mark.parametrize("error", [MemoryError(), ValueError("the node is gone")])
def test_a_volume_that_cannot_be_copied_to_its_end_is_never_sent(
    client: WorkerClient, threshold_model: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Even if somebody goes on polling: half of it would be an older image's voxels."""
    fill = SharedArray.fill

    def breaks_off(self: SharedArray, array: Any, spans: Any = None) -> Iterator[int]:
        yield next(fill(self, array, spans))
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(SharedArray, "fill", breaks_off)
        request = client.submit(big_volume(), threshold_model, piecewise=True)
        with pytest.raises(MedDetectError, match=r"out-of-memory|the node is gone"):
            request.result()
    assert not request.sent
    assert segments_of(os.getpid()) == []


@pytest.mark.parametrize("error", [MemoryError(), KeyError("findings")])
def test_an_answer_that_cannot_be_read_is_an_error_and_not_nothing(
    client: WorkerClient, threshold_model: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def unreadable(*_: Any) -> Any:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Findings, "from_json", unreadable)
        with pytest.raises(MedDetectError, match=r"out-of-memory|KeyError"):
            client.detect(oblique_volume(), threshold_model)
    assert segments_of(os.getpid()) == []
    assert len(client.detect(oblique_volume(), threshold_model)) > 0


@pytest.mark.slow
def test_no_poll_takes_long_for_a_large_ct(client: WorkerClient, tmp_path: Path) -> None:
    model = make_model(tmp_path / "above-100", 100.0)
    write_card(model, window=96)
    volume = big_volume((300, 512, 512))
    for _ in range(2):
        start = time.thread_time()
        request = client.submit(volume, model, piecewise=True)
        polls = [time.thread_time() - start]
        done = False
        while not done:
            start = time.thread_time()
            done = request.poll()
            polls.append(time.thread_time() - start)
            time.sleep(0.02)
        longest = sorted(polls)[-3:]
        print(f"{len(polls)} polls, the longest: {[f'{1e3 * s:.1f} ms' for s in longest]}")
        assert np.count_nonzero(request.result().label_map) > 0
        assert longest[0] < 0.05  # of the processor's time: others may be busy too
        del request


def test_the_shared_memory_of_one_request_serves_the_next_until_trimmed(
    make_client: Make, threshold_model: Path
) -> None:
    client = make_client()
    places = []
    for seed in range(3):
        request = client.submit(oblique_volume(seed), threshold_model)
        places.append(request.job.message["label_map"]["name"])
        first = request.result()
        assert any(voxels(first))
    assert len(set(places)) == 1
    assert len(client._spares.kept) == 2
    client.trim()
    assert client._spares.kept == ()
    client.detect(oblique_volume(), threshold_model)
    client.close()
    assert client._spares.kept == ()


def test_a_ping_is_answered_while_the_worker_computes(
    make_faulty: Make, threshold_model: Path
) -> None:
    client = make_faulty()
    request = client.submit(oblique_volume(), threshold_model, backend="sleep 30")
    while request.progress is None or request.progress.stage != "detect":
        request.poll()
        time.sleep(0.01)
    assert client.ping().protocol == PROTOCOL
    assert not request.done
    request.cancel()
    with pytest.raises(Cancelled):
        request.result()


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_engine_is_interrupted_in_the_middle_of_a_window_and_stays_warm(
    make_client: Make, tmp_path: Path, engine: str
) -> None:
    slow = make_slow_model(tmp_path / "slow")
    client = make_client(limits=Limits(cancel_s=60.0))  # obeys by itself, or fails here
    volume = oblique_volume(shape=(48, 96, 96))
    request = client.submit(volume, slow, backend=engine)
    while request.progress is None or request.progress.stage != "detect":
        request.poll()
        time.sleep(0.01)
    time.sleep(0.5)
    pid = client.ping().pid
    start = time.monotonic()
    request.cancel()
    with pytest.raises(Cancelled):
        request.result()
    assert time.monotonic() - start < 30.0  # in one layer, not in the minutes of all
    assert client.ping().pid == pid


def test_a_closed_client_says_so_and_unsettled_requests_are_cancelled(
    make_faulty: Make, threshold_model: Path
) -> None:
    client = make_faulty()
    running = client.submit(oblique_volume(), threshold_model, backend="sleep 30")
    queued = client.submit(oblique_volume(), threshold_model, backend="ok")
    client.close()
    client.close()
    for request in (running, queued):
        with pytest.raises(Cancelled):
            request.result()
    with pytest.raises(WorkerFailed, match="closed"):
        client.detect(oblique_volume(), threshold_model)


def test_a_client_that_is_forgotten_takes_its_worker_along(
    make_faulty: Make, threshold_model: Path
) -> None:
    client = WorkerClient()
    client.submit(oblique_volume(), threshold_model)
    client.ping()
    del client  # the fixture looks for what is left


def test_threads_that_share_a_client_get_their_own_answers(
    client: WorkerClient, threshold_model: Path
) -> None:
    wanted = {}
    with load_model(threshold_model) as model:
        for seed in range(4):
            wanted[seed] = told(detect(oblique_volume(seed), model))
    wrong: list[int] = []

    def ask(seed: int) -> None:
        for _ in range(6):
            if told(client.detect(oblique_volume(seed), threshold_model)) != wanted[seed]:
                wrong.append(seed)

    threads = [threading.Thread(target=ask, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_two_clients_have_two_workers_and_two_hundred_answers_find_their_askers(
    make_client: Make, threshold_model: Path
) -> None:
    one, two = make_client(), make_client()
    assert one.ping().pid != two.ping().pid
    requests = []
    for n in range(200):
        client = (one, two)[n % 2]
        volume = oblique_volume(n % 7, shape=(8, 9, 10))
        requests.append((volume.sha256, volume.name, client.submit(volume, threshold_model)))
    for sha256, name, request in requests:
        signed = request.result().provenance
        assert (signed.input_sha256, signed.input_name) == (sha256, name)

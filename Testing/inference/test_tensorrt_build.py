"""Engines of TensorRT for RTX, really built: it needs no GPU for that. And how they are kept."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from MedDetectLib.core.errors import BackendUnavailable, Cancelled, ModelError
from MedDetectLib.core.watch import Watch
from MedDetectLib.inference.backends import tensorrt
from MedDetectLib.inference.backends.choose import open_backend
from MedDetectLib.inference.backends.engine_cache import EngineCache, EngineKey, Entry
from MedDetectLib.inference.backends.gpu import Gpu, find_gpu
from MedDetectLib.inference.backends.onnx_half import halved
from MedDetectLib.inference.backends.tensorrt import plan_engine, ready_engine
from MedDetectLib.inference.backends.tensorrt_api import tensorrt_module
from MedDetectLib.inference.backends.tensorrt_build import STAGE, EngineOrder, build_engine

pytest.importorskip("onnx")

GPU = Gpu("NVIDIA RTX 4000 Ada", (8, 9), "580.65.06", 20 << 30)


@pytest.fixture(scope="module")
def rtx():
    try:
        return tensorrt_module("tensorrt_rtx")
    except BackendUnavailable as error:
        pytest.skip(error.what)


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    """A small U-Net with instance normalisation, as ONNX bytes."""
    from MedDetectLib.evaluation.bench.unet_onnx import write_unet

    path = tmp_path_factory.mktemp("unet") / "model.onnx"
    write_unet(path, 3, (8, 16))
    return path.read_bytes()


def order(network, **changes):
    fields = {"capability": (8, 9), "most": 2, "item_sizes": (1, 16, 16, 16), **changes}
    return EngineOrder(network, "image", **fields)


class Told:
    """A watch that keeps what it hears, and can be told to stop."""

    def __init__(self, stop=lambda: False):
        self.fractions = []
        self.watch = Watch(
            lambda p: self.fractions.append(p.fraction) if p.stage == STAGE else None, stop
        )


@pytest.mark.parametrize("capability", [(8, 0), (8, 6), (8, 9), (12, 0)])
def test_an_engine_is_built_for_a_gpu_that_is_not_here(rtx, unet, capability):
    told = Told()
    built = build_engine("tensorrt_rtx", order(unet, capability=capability), told.watch)
    assert len(built.engine) > 50_000
    assert built.timing == b""
    assert told.fractions[0] == 0.0
    assert told.fractions[-1] == 1.0
    assert told.fractions == sorted(told.fractions)
    assert told.watch.seconds[STAGE] > 0


def test_half_precision_comes_from_the_types_in_the_network(rtx, unet):
    """Turing has no float32 convolution in 3-D: what builds for it holds no such thing."""
    with pytest.raises(BackendUnavailable, match="FP32 3D convolution"):
        build_engine("tensorrt_rtx", order(unet, capability=(7, 5)))
    with pytest.raises(BackendUnavailable, match="FP32 3D convolution"):
        build_engine("tensorrt_rtx", order(halved(unet, "f16"), capability=(7, 5)))
    network = halved(unet, "f16", last_in_half=True)
    assert build_engine("tensorrt_rtx", order(network, capability=(7, 5))).engine


def test_bfloat16_builds_too(rtx, unet):
    assert build_engine("tensorrt_rtx", order(halved(unet, "bf16"), capability=(12, 0))).engine


def test_a_build_is_left_within_a_tenth_of_a_second(rtx, unet):
    """The builder's own steps may take seconds; nobody waits for them."""
    since = time.monotonic()
    asked = []

    def stop():
        if time.monotonic() - since > 0.05:
            asked.append(time.monotonic())
        return bool(asked)

    with pytest.raises(Cancelled):
        build_engine("tensorrt_rtx", order(halved(unet, "f16")), Told(stop).watch)
    assert time.monotonic() - asked[0] < 0.1
    # the one after it waits for the builder to be free, and is not disturbed
    assert build_engine("tensorrt_rtx", order(unet)).engine


def test_the_builder_itself_stops_at_its_next_step(rtx, unet):
    """Else every cancelled build would go on using the machine to its end."""

    def builders():
        return [t for t in threading.enumerate() if t.name == STAGE]

    with pytest.raises(Cancelled):
        build_engine("tensorrt_rtx", order(unet), Watch(should_stop=lambda: bool(builders())))
    deadline = time.monotonic() + 20
    while builders():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_build_leaves_other_threads_their_turn(rtx, unet):
    """The worker's heart must go on beating."""
    beats, done = [], threading.Event()

    def beat():
        while not done.wait(0.005):
            beats.append(time.monotonic())

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        build_engine("tensorrt_rtx", order(unet))
    finally:
        done.set()
        heart.join()
    assert max(np.diff(beats)) < 0.5


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"this is no network", "bad-network"), (b"", "bad-network"), (bytes(500), "bad-network")],
)
def test_what_is_no_network_is_refused(rtx, content, code):
    with pytest.raises(ModelError) as caught:
        build_engine("tensorrt_rtx", order(content))
    assert caught.value.code == code
    assert len(str(caught.value).splitlines()) == 1


def test_a_network_for_other_windows_or_with_another_input_is_refused(rtx, unet):
    with pytest.raises(ModelError, match="windows of"):
        build_engine("tensorrt_rtx", order(unet, item_sizes=(4, 16, 16, 16)))
    with pytest.raises(ModelError, match="no sole input 'picture'"):
        build_engine("tensorrt_rtx", replace(order(unet), input="picture"))


def test_an_operator_tensorrt_does_not_know_lets_auto_go_on_to_the_next_backend(rtx):
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Abracadabra", ["image"], ["logits"])],
        "g",
        [value("image", TensorProto.FLOAT, ["n", 1, 16, 16, 16])],
        [value("logits", TensorProto.FLOAT, ["n", 1, 16, 16, 16])],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(BackendUnavailable) as caught:
        build_engine("tensorrt_rtx", order(network.SerializeToString()))
    assert caught.value.code == "cannot-build"


def test_a_gpu_it_does_not_know_is_named(rtx, unet):
    with pytest.raises(BackendUnavailable, match=r"compute capability 3\.5"):
        build_engine("tensorrt_rtx", order(unet, capability=(3, 5)))


# --- kept engines --------------------------------------------------------------------------


def key(**changes):
    fields = {
        "network_sha256": "ab" * 32,
        "engine": "tensorrt_rtx 1.7",
        "gpu": GPU.name,
        "capability": "8.9",
        "driver": GPU.driver,
        "precision": "f16",
        "item_sizes": (1, 16, 16, 16),
        "most": 2,
        "refittable": False,
    }
    return EngineKey(**{**fields, **changes})


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "engines")


def test_a_kept_engine_comes_back_with_its_facts(cache):
    assert cache.get(key()) == (None, "")
    cache.put(Entry(key(), b"engine", {"parity": {"error": 1e-3}}))
    entry, remark = EngineCache(cache.folder).get(key())
    assert (entry.engine, entry.facts, remark) == (b"engine", {"parity": {"error": 1e-3}}, "")


@pytest.mark.parametrize(
    "change",
    [
        {"network_sha256": "cd" * 32},
        {"engine": "tensorrt_rtx 1.8"},
        {"gpu": "NVIDIA RTX 6000 Ada"},
        {"capability": "12.0"},
        {"driver": "580.65.07"},
        {"precision": "f32"},
        {"item_sizes": (1, 16, 16, 32)},
        {"most": 4},
        {"refittable": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_an_engine_depends_on_makes_it_another(cache, change):
    cache.put(Entry(key(), b"engine"))
    assert cache.get(key(**change)) == (None, "")


def damage(place, how):
    engine = next(place.glob("*.engine"))
    entry = place / "entry.json"
    told = json.loads(entry.read_text())
    if how == "bit flipped":
        engine.write_bytes(b"enginf")
    elif how == "cut":
        engine.write_bytes(b"eng")
    elif how == "engine gone":
        engine.unlink()
    elif how == "entry torn":
        entry.write_text(entry.read_text()[:40])
    elif how == "entry foreign":
        entry.write_text(json.dumps({"format": "somebody else's"}))
    elif how == "entry no object":
        entry.write_text("[]")
    else:
        told["key"]["driver"] = "1.0"
        entry.write_text(json.dumps(told))


HOW = ["bit flipped", "cut", "engine gone", "entry torn", "entry foreign", "entry no object",
       "entry moved"]  # fmt: skip


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_or_foreign_entry_is_never_used_and_says_so(cache, how):
    cache.put(Entry(key(), b"engine"))
    damage(cache.folder / key().digest, how)
    entry, remark = cache.get(key())
    assert entry is None
    assert "made anew" in remark
    cache.put(Entry(key(), b"engine"))
    assert cache.get(key())[0].engine == b"engine"


def write_many(folder, content):
    cache = EngineCache(folder)
    for _ in range(30):
        cache.put(Entry(key(), content * 1000, {"by": content.decode()}))


def test_two_processes_that_keep_the_same_engine_do_not_disturb_each_other(cache):
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write_many, args=(cache.folder, c)) for c in (b"a", b"b")]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        entry, remark = cache.get(key())
        assert remark == ""
        if entry is not None:
            assert entry.engine == entry.facts["by"].encode() * 1000
            seen.add(entry.facts["by"])
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen
    assert cache.get(key())[0] is not None


def test_engines_used_longest_ago_go_when_the_folder_is_full(tmp_path):
    import os

    cache = EngineCache(tmp_path, most_bytes=25_000)
    for n in range(3):
        cache.put(Entry(key(most=n), bytes(7000)))
        os.utime(tmp_path / key(most=n).digest / "entry.json", (1000 + n, 1000 + n))
    cache.get(key(most=0))  # used again
    cache.put(Entry(key(most=3), bytes(7000)))
    kept = [n for n in range(4) if cache.get(key(most=n))[0] is not None]
    assert kept == [0, 2, 3]


def test_an_engine_larger_than_the_ceiling_is_kept_while_it_is_the_newest(tmp_path):
    cache = EngineCache(tmp_path, most_bytes=100)
    cache.put(Entry(key(), bytes(7000)))
    assert cache.get(key())[0] is not None


def test_engines_no_entry_names_go_after_an_hour(cache):
    import os

    cache.put(Entry(key(), b"one"))
    place = cache.folder / key().digest
    (place / f"{'0' * 64}.engine").write_bytes(b"orphan")
    cache.trim()
    assert len(list(place.glob("*.engine"))) == 2
    os.utime(place / f"{'0' * 64}.engine", (1, 1))
    cache.trim()
    assert [p.read_bytes() for p in place.glob("*.engine")] == [b"one"]


def test_clearing_removes_everything_and_says_how_much(cache):
    cache.put(Entry(key(), bytes(5000)))
    cache.write_beside("runtime.cache", bytes(300), key())
    cache.write_beside("timing-x.cache", bytes(200))
    assert cache.clear() > 5500
    assert list(cache.folder.iterdir()) == []


# --- from a model to a kept engine ----------------------------------------------------------


@pytest.fixture
def model(tmp_path, unet, card_of):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(unet)
    card = card_of(labels=2, window=(16, 16, 16), output={"tensor": "logits"})
    return replace(card, files={"model.onnx": hashlib.sha256(unet).hexdigest()}), folder


@pytest.fixture
def for_this_gpu(monkeypatch):
    """TensorRT for RTX builds for the GPU at hand, of which there is none here."""
    calls = []

    def build(flavour, wanted, watch, timing):
        calls.append(wanted)
        return build_engine(flavour, replace(wanted, capability=GPU.capability), watch, timing)

    monkeypatch.setattr(tensorrt, "build_engine", build)
    return calls


def test_an_engine_is_built_once_and_then_kept(rtx, model, cache, for_this_gpu):
    plan = plan_engine(*model, "tensorrt_rtx", "f32", GPU)
    assert plan.key.network_sha256 == model[0].weights_sha256
    assert plan.key.engine == f"tensorrt_rtx {rtx.__version__}"
    entry, remarks = ready_engine("tensorrt_rtx", plan, cache)
    assert (entry.facts, remarks) == ({"made": "built"}, [])
    cache.put(entry)
    again, remarks = ready_engine("tensorrt_rtx", plan, cache)
    assert again.engine == entry.engine
    assert remarks == []
    assert len(for_this_gpu) == 1


def test_a_damaged_engine_is_built_again_with_a_remark(rtx, model, cache, for_this_gpu):
    plan = plan_engine(*model, "tensorrt_rtx", "f32", GPU)
    entry, _ = ready_engine("tensorrt_rtx", plan, cache)
    cache.put(entry)
    file = next((cache.folder / plan.key.digest).glob("*.engine"))
    file.write_bytes(file.read_bytes()[:-1])
    again, remarks = ready_engine("tensorrt_rtx", plan, cache)
    assert len(again.engine) == len(entry.engine)
    assert remarks == ["the kept engine is damaged and is made anew"]


def test_batches_are_as_large_as_the_scores_allow(card_of):
    def batch(labels, side):
        return tensorrt.largest_batch(card_of(labels=labels, window=(side,) * 3))

    assert batch(1, 96) == 4
    assert batch(24, 128) == 4
    assert batch(104, 128) == 1
    assert tensorrt.largest_batch(card_of(output={"head": "boxes"})) == 1


def test_a_changed_network_is_not_built(model):
    card, folder = model
    (folder / "model.onnx").write_bytes(b"another")
    with pytest.raises(ModelError, match="changed-file"):
        plan_engine(card, folder, "tensorrt_rtx", "f32", GPU)


# --- the GPU ---------------------------------------------------------------------------------


class FakeDriver:
    """What the driver's library answers, in C's manner: results go where pointers point."""

    def __init__(self, count=1, driver=b"580.65.06"):
        self._count, self._version = count, driver

    def cuInit(self, flags):  # noqa: N802
        return 0 if self._count else 100

    def cuDeviceGet(self, device, which):  # noqa: N802
        device._obj.value = which
        return 0

    def cuDeviceGetName(self, name, size, device):  # noqa: N802
        name.value = b"NVIDIA H200"

    def cuDeviceTotalMem_v2(self, memory, device):  # noqa: N802
        memory._obj.value = 141 << 30

    def cuDeviceGetAttribute(self, value, which, device):  # noqa: N802
        value._obj.value = {75: 9, 76: 0}[which]

    def cuDriverGetVersion(self, version):  # noqa: N802
        version._obj.value = 13020

    def nvmlInit_v2(self):  # noqa: N802
        return 0 if self._version else 1

    def nvmlSystemGetDriverVersion(self, text, size):  # noqa: N802
        text.value = self._version
        return 0

    def nvmlShutdown(self):  # noqa: N802
        pass


def test_the_driver_tells_what_gpu_there_is():
    assert find_gpu(lambda name: FakeDriver()) == Gpu("NVIDIA H200", (9, 0), "580.65.06", 141 << 30)
    assert find_gpu(lambda name: FakeDriver(driver=b"")).driver == "cuda 13.2"


def test_without_driver_or_gpu_the_way_out_is_named():
    def no_library(name):
        raise OSError(name)

    for load in (no_library, lambda name: FakeDriver(count=0)):
        with pytest.raises(BackendUnavailable) as caught:
            find_gpu(load)
        assert caught.value.code == "no-gpu"
        assert caught.value.todo


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_asked_for_without_a_gpu_it_says_what_is_missing(model, name):
    try:
        find_gpu()
    except BackendUnavailable:
        with pytest.raises(BackendUnavailable) as caught:
            open_backend(*model, name)
        assert caught.value.code in (f"no-{name}", "no-gpu")
    else:
        pytest.skip("there is a GPU here")

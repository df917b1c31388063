"""The order of calls in which an engine is run, with TensorRT and the GPU pretended.

What the calls do can only be seen on a GPU, see `test_gpu.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from MedDetectLib.core.errors import BackendUnavailable, ModelError
from MedDetectLib.inference.backends import tensorrt_run
from MedDetectLib.inference.backends.tensorrt_run import EngineNetwork


class Context:
    """Doubles its input, in whatever shape it was told last."""

    def __init__(self, engine):
        self.engine, self.scratch, self.shape, self.places = engine, None, None, {}
        self.launches = 0

    def set_device_memory(self, address, size):
        assert size >= self.engine.device_memory_size_v2
        self.scratch = address

    def set_input_shape(self, name, shape):
        self.shape = tuple(shape)
        return self.shape[0] <= 4

    def get_tensor_shape(self, name):
        return self.engine.sizes_of(self.shape)

    def set_tensor_address(self, name, address):
        self.places[name] = address

    def execute_async_v3(self, stream):
        count = int(np.prod(self.shape))
        self.launches += 1

        def at(name):
            memory = (ctypes.c_float * count).from_address(self.places[name])
            return np.frombuffer(memory, np.float32)

        at("scores")[:] = 2 * at("image")
        return not self.engine.fails


class Engine:
    """What `deserialize_cuda_engine` returns."""

    num_io_tensors, device_memory_size_v2 = 2, 1000

    def __init__(self, kind="f4", sizes_of=lambda shape: shape):
        self.kinds = {"image": "f4", "scores": kind}
        self.sizes_of, self.contexts, self.fails = sizes_of, [], False

    def get_tensor_name(self, n):
        return ("image", "scores")[n]

    def get_tensor_mode(self, name):
        return "in" if name == "image" else "out"

    def get_tensor_dtype(self, name):
        return self.kinds[name]

    def get_tensor_profile_shape(self, name, profile):
        return [(1, 1, 2, 2, 2), (4, 1, 2, 2, 2), (4, 1, 2, 2, 2)]

    def create_runtime_config(self):
        cache = SimpleNamespace(serialize=lambda: b"kernels", deserialize=lambda data: True)
        return SimpleNamespace(
            create_runtime_cache=lambda: cache, set_runtime_cache=lambda cache: True
        )

    def create_execution_context(self, how):
        self.contexts.append(Context(self))
        return self.contexts[-1]


class Graph:
    """Replays by asking the context again; a real one repeats what was recorded."""

    recording = None

    def replay(self):
        self.context.execute_async_v3(0)


@pytest.fixture
def gpu(monkeypatch):
    """Pretend TensorRT, and a torch whose GPU is the CPU."""

    @contextlib.contextmanager
    def record(graph, stream):
        before = [context.launches for context in made.engine.contexts]
        yield
        after = [context.launches for context in made.engine.contexts]
        changed = [n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
        graph.context = made.engine.contexts[changed[0]]
        made.recorded.append(graph.context.shape)

    def make(flavour="tensorrt", **changes):
        made.engine = Engine(**changes)
        return EngineNetwork(flavour, b"engine")

    made = SimpleNamespace(make=make, recorded=[])
    kinds = {"float32": "f4", "float16": "f2", "bfloat16": "b2", "int32": "i4", "int64": "i8"}
    trt = SimpleNamespace(
        **kinds,
        bool="b1",
        Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=lambda data: made.engine),
        TensorIOMode=SimpleNamespace(INPUT="in"),
        CudaGraphStrategy=SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole"),
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="ours"),
    )
    monkeypatch.setattr(tensorrt_run, "tensorrt_module", lambda flavour: trt)
    monkeypatch.setattr(tensorrt_run, "make_logger", lambda trt, errors: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    stream = SimpleNamespace(synchronize=lambda: None, cuda_stream=7)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", record)
    empty = torch.empty
    monkeypatch.setattr(
        torch, "empty", lambda sizes, dtype, device: empty(sizes, dtype=dtype, device="cpu")
    )
    return made


def windows(count):
    return torch.arange(count * 8, dtype=torch.float32).reshape(count, 1, 2, 2, 2)


def test_each_batch_size_is_recorded_in_a_context_of_its_own_with_shared_scratch(gpu):
    network = gpu.make()
    for count in (4, 4, 2, 4, 1, 2):
        assert torch.equal(network(windows(count))["scores"], 2 * windows(count))
    contexts = gpu.engine.contexts
    assert [context.shape[0] for context in contexts] == [4, 2, 1]
    assert [shape[0] for shape in gpu.recorded] == [4, 2, 1]
    assert len({context.scratch for context in contexts}) == 1
    assert network.kernels() == b""


def test_tensorrt_for_rtx_keeps_one_context_and_records_by_itself(gpu):
    network = gpu.make("tensorrt_rtx")
    for count in (4, 2, 4):
        assert torch.equal(network(windows(count))["scores"], 2 * windows(count))
    assert len(gpu.engine.contexts) == 1
    assert gpu.recorded == []
    assert network.kernels() == b"kernels"


def test_what_cannot_be_recorded_is_launched_each_time(gpu, monkeypatch):
    @contextlib.contextmanager
    def refuse(graph, stream):
        raise RuntimeError("operation not permitted when stream is capturing")
        yield

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    network = gpu.make()
    for count in (3, 1, 3):
        assert torch.equal(network(windows(count))["scores"], 2 * windows(count))


@pytest.mark.parametrize(
    "changes", [{"kind": "fp8"}, {"sizes_of": lambda shape: (-1, 6)}], ids=["type", "size"]
)
def test_an_answer_nobody_can_make_room_for_sends_auto_to_the_next_backend(gpu, changes):
    network = gpu.make(**changes)
    with pytest.raises(BackendUnavailable, match=r"cannot-run.*'scores'"):
        network(windows(1))


def test_a_launch_that_fails_is_the_networks_error(gpu):
    network = gpu.make()
    gpu.engine.fails = True
    with pytest.raises(ModelError, match="network-failed"):
        network(windows(1))


def test_an_input_that_is_not_float32_is_refused(gpu, monkeypatch):
    monkeypatch.setattr(Engine, "get_tensor_dtype", lambda self, name: "f2")
    with pytest.raises(ModelError, match="not float32"):
        gpu.make()

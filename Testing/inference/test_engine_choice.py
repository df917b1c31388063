"""Which backend is chosen, and that it says why; with engines that are pretended."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from MedDetectLib.core.errors import BackendUnavailable, Cancelled, ModelError
from MedDetectLib.core.watch import Watch
from MedDetectLib.inference.backends import choose
from MedDetectLib.inference.backends.base import Choice
from MedDetectLib.inference.backends.choose import BACKENDS, open_backend
from MedDetectLib.inference.backends.gpu import Gpu


class Pretended:
    device_network = None

    def __init__(self, key, place, precision, reason):
        self.choice = Choice(key, place, precision, reason)


@pytest.fixture
def machine(monkeypatch, card_of, tmp_path):
    """Open a network on a machine where some backends fail; with or without a GPU."""

    def build(*, gpu=True, failing=(), puzzled=()):
        def opener(key, place):
            def open_it(card, folder, precision, reason, watch):
                if f"{key} {place}" in puzzled:
                    raise ModelError("bad-network", f"{key} is not taught Abracadabra")
                if f"{key} {place}" in failing:
                    raise BackendUnavailable(f"no-{key}", f"{key} on {place} is broken")
                watch.check()
                return Pretended(key, place, precision, reason)

            return open_it

        def look():
            if not gpu:
                raise BackendUnavailable("no-gpu", "there is no NVIDIA driver here")
            return Gpu("GPU", (8, 9), "1", 1)

        fakes = {
            key: replace(
                engine,
                on_cpu=engine.on_cpu and opener(key, "cpu"),
                on_gpu=engine.on_gpu and opener(key, "gpu"),
            )
            for key, engine in BACKENDS.items()
        }
        monkeypatch.setattr(choose, "BACKENDS", fakes)
        monkeypatch.setattr(choose, "find_gpu", look)
        return lambda *asked, **more: open_backend(card_of(), tmp_path, *asked, **more).choice

    return build


ORDER = ["tensorrt gpu", "tensorrt_rtx gpu", "onnxruntime gpu", "torch gpu", "openvino cpu",
         "onnxruntime cpu", "torch cpu"]  # fmt: skip


@pytest.mark.parametrize("broken", range(len(ORDER)))
def test_auto_takes_the_first_that_works_and_names_those_before_it(machine, broken):
    choice = machine(failing=ORDER[:broken])()
    assert f"{choice.backend} {choice.device}" == ORDER[broken]
    assert choice.reason.startswith("auto: ")
    for failed in ORDER[:broken]:
        key, place = failed.split()
        assert f"{key} on {place} is broken" in choice.reason


def test_without_a_gpu_auto_says_so_and_loads_no_gpu_engine(machine):
    choice = machine(gpu=False, failing=["tensorrt gpu"])()
    assert (choice.backend, choice.device) == ("openvino", "cpu")
    assert choice.reason == "auto: openvino is the fastest here; there is no NVIDIA driver here"


def test_one_that_runs_on_both_takes_the_gpu_and_a_fallback_is_not_silent(machine):
    assert machine()("torch").device == "gpu"
    choice = machine(failing=["torch gpu"])("torch")
    assert choice.device == "cpu"
    assert choice.reason == "asked for; on the CPU, because torch on gpu is broken"


def test_asked_for_on_a_machine_without_gpu_is_simply_asked_for(machine):
    choice = machine(gpu=False, failing=["torch gpu"])("torch")
    assert (choice.device, choice.reason) == ("cpu", "asked for")


def test_half_precision_is_looked_for_where_it_exists(machine):
    assert machine()("auto", "f16").backend == "tensorrt"
    choice = machine(failing=["tensorrt gpu", "tensorrt_rtx gpu"])("auto", "f16")
    assert (choice.backend, choice.device) == ("torch", "gpu")
    assert machine(gpu=False)("auto", "bf16").backend == "openvino"
    with pytest.raises(BackendUnavailable, match="no NVIDIA driver"):
        machine(gpu=False)("auto", "f16")
    with pytest.raises(BackendUnavailable, match="no-precision"):
        machine()("onnxruntime", "f16")


@pytest.mark.parametrize("gpu", [True, False])
def test_a_network_that_one_engine_is_not_taught_goes_to_the_next_and_that_is_said(machine, gpu):
    places = ORDER[:4] if gpu else ["openvino cpu"]
    choice = machine(gpu=gpu, puzzled=places)()
    assert f"{choice.backend} {choice.device}" == ("openvino cpu" if gpu else "onnxruntime cpu")
    assert f"{places[-1].split()[0]} is not taught Abracadabra" in choice.reason
    with pytest.raises(ModelError, match="openvino is not taught"):
        machine(gpu=gpu, puzzled=["openvino cpu"])("openvino")


def test_a_network_that_no_engine_takes_is_refused_in_the_references_words(machine):
    with pytest.raises(ModelError, match="onnxruntime is not taught"):
        machine(puzzled=ORDER)()
    with pytest.raises(ModelError, match="openvino is not taught"):
        machine(failing=[*ORDER[:4], *ORDER[5:]], puzzled=["openvino cpu"])()


def test_a_network_openvino_cannot_take_runs_on_onnx_runtime(card_of, tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    value, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    graph = onnx.helper.make_graph(
        [node("Concat", ["image"] * 2, ["both"], axis=1), node("Bernoulli", ["both"], ["scores"])],
        "g",
        [value("image", 1, ["n", 1, 8, 8, 8])],
        [value("scores", 1, ["n", 2, 8, 8, 8])],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    network = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    (tmp_path / "model.onnx").write_bytes(network)
    card = replace(card_of(), files={"model.onnx": hashlib.sha256(network).hexdigest()})
    backend = open_backend(card, tmp_path)
    assert backend.choice.backend.startswith("onnxruntime")
    assert "openvino: cannot be loaded: Model wasn't fully converted" in backend.choice.reason


def test_when_nothing_works_the_way_to_the_cpu_is_named(machine):
    with pytest.raises(BackendUnavailable, match="openvino on cpu is broken"):
        machine(failing=ORDER)()


def test_a_stop_while_an_engine_is_built_is_a_stop_and_no_fallback(machine):
    with pytest.raises(Cancelled):
        machine()(watch=Watch(should_stop=lambda: True))


def test_torch_refuses_half_precision_on_the_cpu_and_an_operator_it_is_not_taught(
    card_of, tmp_path
):
    pytest.importorskip("torch")
    onnx = pytest.importorskip("onnx")
    from MedDetectLib.inference.backends.torch import TorchBackend
    from MedDetectLib.inference.backends.torch_graph import TorchGraph

    with pytest.raises(BackendUnavailable, match="no-precision"):
        TorchBackend(card_of(), tmp_path, "bf16", "asked for")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Abracadabra", ["image"], ["scores"])],
        "g",
        [value("image", 1, ["n", 1])],
        [value("scores", 1, ["n", 1])],
    )
    network = onnx.helper.make_model(graph).SerializeToString()
    with pytest.raises(ModelError, match="Abracadabra"):
        TorchGraph(network)

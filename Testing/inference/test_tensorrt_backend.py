"""The TensorRT backend around its engine, which needs a GPU and is pretended here.

What stays real: the network, its types, the cache on the disk, the parity check against
ONNX Runtime. What is pretended: building, and that the engine runs on a GPU.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

import torch

from MedDetectLib.core.errors import BackendUnavailable, ModelError
from MedDetectLib.inference.backends import tensorrt, tensorrt_refit
from MedDetectLib.inference.backends.engine_cache import EngineCache, Entry
from MedDetectLib.inference.backends.gpu import Gpu
from MedDetectLib.inference.backends.network_shape import NetworkShape
from MedDetectLib.inference.backends.onnx_graph import float_weights
from MedDetectLib.inference.backends.tensorrt import TensorRtBackend, plan_engine, ready_engine
from MedDetectLib.inference.backends.tensorrt_build import Built

GPU = Gpu("NVIDIA H200", (9, 0), "580.65.06", 141 << 30)


class PretendedEngine:
    """The "engine" is the ONNX file itself, run by torch on the CPU."""

    device, batch = "cpu", 2

    def __init__(self, flavour, engine, kernels=b""):
        from MedDetectLib.inference.backends.torch_graph import TorchGraph

        self._graph = TorchGraph(engine)
        self.inputs, self.outputs = self._graph.inputs, self._graph.outputs
        self.given_kernels = kernels

    def stream(self):
        return contextlib.nullcontext()

    def __call__(self, windows):
        assert len(windows) <= self.batch
        return self._graph(windows)

    def kernels(self):
        return b"compiled while running"


@pytest.fixture
def workshop(monkeypatch, tmp_path):
    """Pretend TensorRT is installed on a machine with a GPU; counts what is built."""
    log = SimpleNamespace(built=0, checked=0, spoil=lambda network: network)

    def build(flavour, order, watch, timing=b""):
        log.built += 1
        log.timing = timing
        return Built(log.spoil(order.network), b"what was learned")

    def reference(card, folder, real=tensorrt._reference):
        log.checked += 1
        return real(card, folder)

    monkeypatch.setenv("MEDDETECT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tensorrt, "version", lambda flavour: "11.0")
    monkeypatch.setattr(tensorrt, "find_gpu", lambda: GPU)
    monkeypatch.setattr(tensorrt, "_require_torch", lambda flavour: None)
    monkeypatch.setattr(tensorrt, "build_engine", build)
    monkeypatch.setattr(tensorrt, "EngineNetwork", PretendedEngine)
    monkeypatch.setattr(tensorrt, "_reference", reference)
    return log


def retrained(content):
    import onnx
    from onnx import numpy_helper

    network = onnx.load_from_string(content)
    for weight in network.graph.initializer:
        values = (numpy_helper.to_array(weight) * 1.05).astype(np.float32)
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    return network.SerializeToString()


@pytest.fixture
def model(tmp_path, card_of):
    """Make a model's card and folder."""
    from MedDetectLib.evaluation.bench.unet_onnx import write_unet

    def make(name="first", change=lambda content: content):
        folder = tmp_path / name
        folder.mkdir()
        write_unet(folder / "model.onnx", 3, (4, 8))
        content = change((folder / "model.onnx").read_bytes())
        (folder / "model.onnx").write_bytes(content)
        card = card_of(labels=2, window=(8, 8, 8), output={"tensor": "logits"})
        return replace(card, files={"model.onnx": hashlib.sha256(content).hexdigest()}), folder

    return make


def opened(model, precision="f32"):
    return TensorRtBackend("tensorrt", *model, precision, "asked for")


def only_entry(home):
    entries = list(EngineCache(home).facts())
    assert len(entries) == 1
    return entries[0]


@pytest.mark.parametrize("precision", ["f32", "f16", "bf16"])
def test_a_network_is_built_and_checked_once_and_kept(workshop, model, tmp_path, precision):
    made = model()
    first = opened(made, precision)
    batch = np.random.default_rng(0).standard_normal((5, 1, 8, 8, 8), np.float32)
    answer = first.run(batch)["logits"]
    assert answer.shape == (5, 3, 8, 8, 8)
    choice = first.choice
    assert choice.backend == "tensorrt 11.0"
    assert (choice.device, choice.precision, choice.reason) == ("cpu", precision, "asked for")
    first.close()
    first.close()
    with pytest.raises(ModelError):
        first.run(batch)
    again = opened(made, precision)
    assert (workshop.built, workshop.checked) == (1, 1)
    np.testing.assert_array_equal(again.run(batch)["logits"], answer)
    key, facts = only_entry(tmp_path / "home" / "engines")
    assert key["precision"] == precision
    assert facts["parity"]["error"] <= facts["parity"]["tolerance"]
    assert facts["parity"]["reference"].startswith("onnxruntime")


def test_what_was_compiled_and_learned_is_given_to_the_next(workshop, model):
    made = model()
    first = opened(made)
    assert first._network.given_kernels == b""
    assert workshop.timing == b""
    first.close()
    assert opened(made)._network.given_kernels == b"compiled while running"
    opened(model("second", lambda content: content.replace(b"unet", b"net2")))
    assert workshop.timing == b"what was learned"


def test_an_engine_that_answers_otherwise_is_refused_and_not_kept(workshop, model, tmp_path):
    workshop.spoil = retrained
    with pytest.raises(BackendUnavailable) as caught:
        opened(model())
    assert caught.value.code == "engine-differs"
    assert "tensorrt 11.0 differs from onnxruntime" in caught.value.what
    assert list(EngineCache(tmp_path / "home" / "engines").facts()) == []


def test_weights_in_a_file_of_their_own_are_part_of_what_an_engine_is_kept_for(
    workshop, model, tmp_path
):
    import onnx

    def spread_out(name, change):
        card, folder = model(name, change)
        network = onnx.load(folder / "model.onnx")
        (folder / "model.onnx").unlink()
        how = {"save_as_external_data": True, "location": "weights", "size_threshold": 0}
        onnx.save(network, folder / "model.onnx", **how)
        files = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
        }
        return replace(card, files=files), folder

    one, other = spread_out("one", lambda content: content), spread_out("other", retrained)
    assert one[0].files["model.onnx"] == other[0].files["model.onnx"]  # only the weights differ
    batch = np.random.default_rng(0).standard_normal((1, 1, 8, 8, 8), np.float32)
    answers = [opened(made, "f16").run(batch)["logits"] for made in (one, other)]
    assert workshop.built == 2
    assert np.abs(answers[0] - answers[1]).max() > 0.01


def test_a_disk_that_is_full_does_not_stop_the_run(workshop, model, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "engines").write_text("in the way")
    backend = opened(model())
    assert "could not be kept" in backend.choice.reason
    backend.close()


def test_the_network_of_the_device_is_the_engine(workshop, model):
    backend = opened(model())
    assert backend.device_network is backend._network
    backend.interrupt()
    backend.close()
    assert backend.device_network is None


# --- refit ------------------------------------------------------------------------------------


@pytest.fixture
def refits(monkeypatch):
    """Pretend the exchange of weights itself, which needs the GPU."""
    done = []

    def refit(flavour, engine, network, where=""):
        done.append(hashlib.sha256(engine).hexdigest())
        return network

    monkeypatch.setattr(tensorrt, "refit_engine", refit)
    return done


def test_fine_tuned_weights_go_into_the_parents_engine_and_are_checked(workshop, model, refits):
    parent, child = model(), model("child", retrained)
    opened(parent)
    backend = opened(child)
    assert (workshop.built, len(refits), workshop.checked) == (1, 1, 2)
    assert f"refitted from {parent[0].weights_sha256[:12]}" in backend.choice.reason
    opened(child)
    assert (workshop.built, len(refits), workshop.checked) == (1, 1, 2)


def test_another_network_is_built_and_not_refitted(workshop, model, refits):
    def sloped(content):
        import onnx

        network = onnx.load_from_string(content)
        next(n for n in network.graph.node if n.op_type == "LeakyRelu").attribute[0].f = 0.3
        return network.SerializeToString()

    opened(model())
    opened(model("other", sloped))
    assert (workshop.built, refits) == (2, [])


def test_an_engine_that_rejects_the_weights_is_built_with_a_remark(workshop, model, monkeypatch):
    def refuse(*_):
        raise BackendUnavailable("cannot-refit", "the engine rejects weight 'w'")

    monkeypatch.setattr(tensorrt, "refit_engine", refuse)
    opened(model())
    backend = opened(model("child", retrained))
    assert workshop.built == 2
    assert "refitting failed (the engine rejects weight 'w')" in backend.choice.reason


def test_a_refitted_engine_that_answers_otherwise_is_built_with_a_remark(
    workshop, model, monkeypatch
):
    monkeypatch.setattr(tensorrt, "refit_engine", lambda flavour, engine, network, where: engine)
    opened(model())
    child = model("child", retrained)
    backend = opened(child)
    assert workshop.built == 2
    assert "the engine was built anew, because tensorrt 11.0 differs" in backend.choice.reason
    assert opened(child).choice.reason == "asked for"  # and the right one is kept
    assert workshop.built == 2


def test_a_kept_engine_that_is_not_taken_any_more_is_built_anew(workshop, model, monkeypatch):
    made = model()
    opened(made)
    turned_away = []

    def refuse(flavour, engine, kernels=b""):
        if not turned_away:
            turned_away.append(engine)
            raise BackendUnavailable("bad-engine", "tensorrt does not take the engine: too old")
        return PretendedEngine(flavour, engine, kernels)

    monkeypatch.setattr(tensorrt, "EngineNetwork", refuse)
    backend = opened(made)
    assert (workshop.built, len(turned_away)) == (2, 1)
    assert "built anew, because tensorrt does not take the engine" in backend.choice.reason


def test_an_engine_just_built_that_is_not_taken_is_not_built_again(workshop, model, monkeypatch):
    def refuse(flavour, engine, kernels=b""):
        raise BackendUnavailable("bad-engine", "tensorrt does not take the engine")

    monkeypatch.setattr(tensorrt, "EngineNetwork", refuse)
    with pytest.raises(BackendUnavailable, match="bad-engine"):
        opened(model())
    assert workshop.built == 1


def test_a_plan_says_what_the_network_is_made_of(workshop, model):
    card, folder = model()
    plan = plan_engine(card, folder, "tensorrt", "f16", GPU)
    entry, _ = ready_engine("tensorrt", plan, EngineCache())
    assert isinstance(entry, Entry)
    assert NetworkShape.from_json(entry.facts["network"]) == NetworkShape.of(plan.order.network)
    assert plan.key.refittable


class PretendedRefitter:
    def __init__(self, wanted, rejects=()):
        self.wanted, self.rejects, self.given = wanted, rejects, {}

    def get_all_weights(self):
        return list(self.wanted)

    def get_weights_prototype(self, name):
        return SimpleNamespace(dtype="float", size=self.wanted[name])

    def set_named_weights(self, name, weights):
        self.given[name] = weights
        return name not in self.rejects

    def get_missing_weights(self):
        return [name for name in self.wanted if name not in self.given]


TRT = SimpleNamespace(Weights=lambda kind, address, size: (kind, address, size))


def test_every_weight_the_engine_asks_for_is_handed_over_by_name():
    weights = {"a": np.ones((2, 3), np.float32), "b": np.ones(4, np.float32), "c": np.ones(1)}
    refitter = PretendedRefitter({"a": 6, "b": 4})
    tensorrt_refit._give(TRT, refitter, weights, "")
    assert refitter.given["a"] == ("float", weights["a"].ctypes.data, 6)
    assert set(refitter.given) == {"a", "b"}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [({"a": 6, "z": 2}, "'z' is missing"), ({"a": 7}, "'a' has 6 values instead of 7")],
)
def test_weights_that_do_not_fit_the_engine_are_named_and_none_is_handed_over(wanted, said):
    refitter = PretendedRefitter(wanted)
    with pytest.raises(ModelError) as caught:
        tensorrt_refit._give(TRT, refitter, {"a": np.ones((2, 3), np.float32)}, "")
    assert said in caught.value.what
    assert refitter.given == {}


def test_a_weight_the_engine_rejects_is_named():
    refitter = PretendedRefitter({"a": 6}, rejects=("a",))
    with pytest.raises(BackendUnavailable, match="'a'"):
        tensorrt_refit._give(TRT, refitter, {"a": np.ones(6, np.float32)}, "")


def test_the_pretended_engine_is_the_real_network(model):
    _, folder = model()
    content = (folder / "model.onnx").read_bytes()
    engine = PretendedEngine("tensorrt", content)
    assert torch.isfinite(engine(torch.zeros(1, 1, 8, 8, 8))["logits"]).all()
    assert set(float_weights(content)) >= {"scores.weight", "scores.bias"}

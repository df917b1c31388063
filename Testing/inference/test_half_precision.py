"""Half precision by types in the ONNX file, parity, and weights that change places."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from onnx import TensorProto, helper, numpy_helper

from MedDetectLib.core.errors import BackendUnavailable, ModelError
from MedDetectLib.inference.backends.network_shape import NetworkShape
from MedDetectLib.inference.backends.onnx_graph import float_weights
from MedDetectLib.inference.backends.onnx_half import halved
from MedDetectLib.inference.backends.parity import TOLERANCE, measure_parity, require_parity

SIZES = (1, 16, 24, 32)


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    """A small U-Net with instance normalisation, as ONNX bytes."""
    from MedDetectLib.evaluation.bench.unet_onnx import write_unet

    path = tmp_path_factory.mktemp("unet") / "model.onnx"
    write_unet(path, 4, (8, 16, 24))
    return path.read_bytes()


def on_onnxruntime(network):
    import onnxruntime

    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda batch: dict(zip(names, session.run(None, {"image": batch}), strict=True))


def on_torch(network):
    torch = pytest.importorskip("torch")
    from MedDetectLib.inference.backends.torch_graph import TorchGraph

    graph = TorchGraph(network)
    return lambda batch: {n: v.numpy() for n, v in graph(torch.from_numpy(batch)).items()}


def parity_of(run, network, precision):
    return measure_parity(run, on_onnxruntime(network), SIZES, precision, "reference")


@pytest.mark.parametrize(
    ("precision", "engine"), [("f16", on_onnxruntime), ("f16", on_torch), ("bf16", on_torch)]
)
@pytest.mark.parametrize("last_in_half", [False, True])
def test_a_halved_network_answers_nearly_the_same(unet, precision, engine, last_in_half):
    network = halved(unet, precision, last_in_half=last_in_half)
    parity = parity_of(engine(network), unet, precision)
    assert 1e-6 < parity.error < TOLERANCE[precision] / 2
    require_parity(parity, "halved")
    onnx.checker.check_model(onnx.load_from_string(network), full_check=True)
    assert len(network) < 0.56 * len(unet) or precision == "bf16"


@pytest.mark.parametrize("precision", ["f16", "bf16"])
def test_what_is_computed_in_what_can_be_read_from_the_file(unet, precision):
    half = {"f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[precision]
    network = onnx.load_from_string(halved(unet, precision))
    typed = onnx.shape_inference.infer_shapes(network, strict_mode=True).graph
    types = {v.name: v.type.tensor_type.elem_type
             for v in (*typed.value_info, *typed.input, *typed.output)}  # fmt: skip
    assert types["image"] == types["logits"] == TensorProto.FLOAT
    by_kind = {}
    for node in typed.node:
        for name in node.output:
            by_kind.setdefault(node.op_type, set()).add(types[name])
    assert by_kind["InstanceNormalization"] == {TensorProto.FLOAT}
    assert by_kind["LeakyRelu"] == by_kind["Concat"] == {half}
    # TensorRT has no transposed convolution in bfloat16
    up = TensorProto.FLOAT if precision == "bf16" else half
    assert by_kind["ConvTranspose"] == {up}
    assert by_kind["Conv"] == {half, TensorProto.FLOAT}  # the last one
    last = next(node for node in typed.node if "logits" in node.output)
    assert (last.op_type, types[last.input[0]]) == ("Conv", TensorProto.FLOAT)


def test_whole_numbers_keep_their_type(tmp_path):
    """Shapes and axes are no values to be rounded."""
    weight = np.random.default_rng(0).normal(size=(4, 1, 3, 3, 3)).astype(np.float32)
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], pads=[1] * 6),
        helper.make_node("Resize", ["a", "", "scales"], ["b"], mode="nearest",
                         coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        helper.make_node("Slice", ["b", "starts", "ends", "axes"], ["c"]),
        helper.make_node("ReduceMean", ["c"], ["d"], axes=[2, 3, 4], keepdims=0),
        helper.make_node("Reshape", ["d", "sizes"], ["e"]),
        helper.make_node("Gemm", ["e", "g"], ["logits"]),
    ]  # fmt: skip
    numbers = {
        "w": weight,
        "scales": np.array([1, 1, 2, 2, 2], np.float32),
        "starts": np.array([1], np.int64),
        "ends": np.array([20], np.int64),
        "axes": np.array([2], np.int64),
        "sizes": np.array([-1, 4], np.int64),
        "g": np.eye(4, dtype=np.float32),
    }
    graph = helper.make_graph(
        nodes, "g", [value("image", 1, ["n", 1, *SIZES[1:]])], [value("logits", 1, ["n", 4])],
        [numpy_helper.from_array(v, n) for n, v in numbers.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    network = made.SerializeToString()
    half = halved(network, "f16")
    assert parity_of(on_onnxruntime(half), network, "f16").holds
    assert parity_of(on_torch(half), network, "f16").holds
    assert parity_of(on_torch(network), network, "f32").holds


def test_a_weight_too_large_for_half_is_refused_by_name(unet):
    network = onnx.load_from_string(unet)
    weight = next(w for w in network.graph.initializer if w.name == "up0.0.bias")
    weight.CopyFrom(numpy_helper.from_array(np.full(8, 70000.0, np.float32), "up0.0.bias"))
    with pytest.raises(ModelError, match=r"'up0\.0\.bias' reaches 70000"):
        halved(network.SerializeToString(), "f16")
    assert halved(network.SerializeToString(), "bf16")


def test_a_network_that_is_half_already_is_refused(unet):
    with pytest.raises(ModelError, match="not float32"):
        halved(halved(unet, "f16"), "f16")


# --- parity -------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["f32", "f16", "bf16"])
def test_an_engine_that_answers_something_else_is_refused_with_figures(unet, precision):
    right = on_onnxruntime(unet)
    allowed = TOLERANCE[precision]
    spread = right(np.random.default_rng(20).standard_normal((1, *SIZES), np.float32))["logits"]
    noise = np.random.default_rng(0).standard_normal(spread.shape) * spread.std()

    def off_by(share):
        return lambda batch: {"logits": right(batch)["logits"] + noise * share}

    require_parity(parity_of(off_by(0.9 * allowed), unet, precision), "an engine")
    with pytest.raises(BackendUnavailable) as caught:
        require_parity(parity_of(off_by(1.1 * allowed), unet, precision), "an engine")
    assert caught.value.code == "engine-differs"
    assert f"{allowed:g} is allowed" in caught.value.what
    assert "'logits'" in caught.value.what


@pytest.mark.parametrize(
    "wrong",
    [
        lambda right: np.where(right == right.max(), np.nan, right),
        lambda right: right[:, :1],
        lambda right: right[:, ::-1],
        lambda right: np.zeros_like(right),
        lambda right: np.roll(right, 1, -1),
    ],
    ids=["nan", "shape", "classes swapped", "zero", "shifted"],
)
def test_every_kind_of_wrong_answer_is_seen(unet, wrong):
    right = on_onnxruntime(unet)
    parity = parity_of(lambda batch: {"logits": wrong(right(batch)["logits"])}, unet, "bf16")
    assert not parity.holds
    assert parity.to_json()["output"] == "logits"


# --- the same network with other weights ------------------------------------------------------


def edited(network, edit):
    model = onnx.load_from_string(network)
    edit(model.graph)
    return model.SerializeToString()


def retrained(graph):
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight) * 1.01 + 0.001
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float32), weight.name))


def test_another_training_of_the_same_network_may_take_its_place(unet):
    mine = NetworkShape.of(unet)
    mine.require_same(NetworkShape.of(edited(unet, retrained)))
    NetworkShape.from_json(mine.to_json()).require_same(mine)
    half = NetworkShape.of(halved(unet, "f16"))
    half.require_same(NetworkShape.of(halved(edited(unet, retrained), "f16")))


def renamed(graph):
    for weight in graph.initializer:
        if weight.name == "down0.0.weight":
            weight.name = "encoder.weight"
    for node in graph.node:
        node.input[:] = ["encoder.weight" if n == "down0.0.weight" else n for n in node.input]


def reshaped(graph):
    for weight in graph.initializer:
        if weight.name == "scores.bias":
            weight.CopyFrom(numpy_helper.from_array(np.zeros(5, np.float32), weight.name))


def sloped(graph):
    node = next(n for n in graph.node if n.op_type == "LeakyRelu")
    node.attribute[0].f = 0.2


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (renamed, "'down0.0.weight' is missing, 'encoder.weight' is not known"),
        (reshaped, "'scores.bias' is float 5 instead of float 4"),
        (sloped, "the operators differ"),
    ],
    ids=["name", "shape", "setting"],
)
def test_another_network_is_refused_with_what_differs(unet, edit, said):
    with pytest.raises(ModelError) as caught:
        NetworkShape.of(unet).require_same(NetworkShape.of(edited(unet, edit)))
    assert caught.value.code == "another-network"
    assert said in caught.value.what


def test_a_long_list_of_differences_is_cut(unet, tmp_path):
    from MedDetectLib.evaluation.bench.unet_onnx import write_unet

    write_unet(tmp_path / "other.onnx", 4, (8, 16, 24, 32))
    with pytest.raises(ModelError, match=r"and \d+ more"):
        NetworkShape.of(unet).require_same(NetworkShape.of((tmp_path / "other.onnx").read_bytes()))


def test_weights_are_read_as_the_engine_wants_them(unet):
    weights = float_weights(unet)
    assert weights["down0.0.weight"].dtype == np.float32
    assert weights["down0.0.weight"].shape == (8, 1, 3, 3, 3)
    half = float_weights(halved(unet, "f16"))
    assert half["down0.0.weight.half"].dtype == np.float16
    brief = float_weights(halved(unet, "bf16"))["down0.0.weight.half"]
    assert brief.dtype == np.uint16
    back = (brief.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_allclose(back, weights["down0.0.weight"], rtol=2**-8)

"""Networks that torch runs operator by operator."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from MedDetectLib.core.errors import ModelError
from MedDetectLib.inference.backends.torch import TorchNetwork


def test_a_network_that_was_interrupted_takes_the_next_volume():
    def answers(windows, check):
        check()
        return {"scores": windows}

    network = TorchNetwork(answers, "cpu", "f32")
    windows = torch.zeros(1, 1, 2, 2, 2)
    with network.stream():
        network(windows)
        network.stopped = True
        with pytest.raises(ModelError, match="interrupted"):
            network(windows)
    with network.stream():  # the next volume that stays on the device
        assert np.asarray(network(windows)["scores"]).shape == (1, 1, 2, 2, 2)


PLACES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
ROUNDINGS = ("floor", "round_prefer_floor", "ceil", "round_prefer_ceil")


@pytest.mark.parametrize("shape", [(1, 2, 4, 5, 6), (1, 2, 1, 5, 6), (1, 1, 8, 7)])
@pytest.mark.parametrize("place", PLACES)
def test_a_resize_is_computed_as_onnx_runtime_does_or_refused(shape, place):
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    from MedDetectLib.inference.backends.torch_graph import TorchGraph

    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    axes = len(shape) - 2
    wishes = [{"scales": [1.0, 1.0, *[factor] * axes]} for factor in (2.0, 3.0, 4.0, 1.5, 0.5)]
    wishes += [{"sizes": [*shape[:2], *[size] * axes]} for size in (1, 7, 10)]
    wishes.append({"sizes": [*shape[:2], *(2 * size for size in shape[2:])]})
    wishes.append({"scales": [2.0] * axes, "axes": list(range(2, axes + 2))})
    ways = [{"mode": "linear"}, {"mode": "linear", "antialias": 1}]
    ways += [{"mode": "nearest", "nearest_mode": rounding} for rounding in ROUNDINGS]
    computed = 0
    for wish, way in itertools.product(wishes, ways):
        network = resize(onnx, shape, wish, {**way, "coordinate_transformation_mode": place})
        try:
            answer = TorchGraph(network)(torch.from_numpy(image))["scores"].numpy()
        except ModelError:
            continue
        session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        np.testing.assert_allclose(
            answer, session.run(None, {"image": image})[0], atol=1e-5, err_msg=f"{wish} {way}"
        )
        computed += 1
    assert computed > 0


def resize(onnx, shape, wish, fields):
    """A network of one Resize to some scales or sizes."""
    from onnx import TensorProto, helper

    given = ["image", "", "scales" if "scales" in wish else "", "sizes" if "sizes" in wish else ""]
    constants = [
        helper.make_tensor(name, kind, [len(wish[name])], wish[name])
        for name, kind in (("scales", TensorProto.FLOAT), ("sizes", TensorProto.INT64))
        if name in wish
    ]
    if "axes" in wish:
        fields = {**fields, "axes": wish["axes"]}
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Resize", given, ["scores"], **fields)],
        "g",
        [value("image", TensorProto.FLOAT, list(shape))],
        [value("scores", TensorProto.FLOAT, None)],
        constants,
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


FORMS = {
    "clip by fields": (10, "Clip", {"min": -0.5, "max": 0.5}, {}),
    "softmax of old": (11, "Softmax", {"axis": 1}, {}),
    "softmax": (13, "Softmax", {"axis": 1}, {}),
    "slice by fields": (9, "Slice", {"starts": [1], "ends": [4], "axes": [2]}, {}),
    "mean, uneven border": (
        19, "AveragePool",
        {"kernel_shape": [3] * 3, "strides": [2] * 3, "pads": [0, 0, 0, 1, 1, 1]}, {},
    ),
    "mean, even border": (
        19, "AveragePool", {"kernel_shape": [3] * 3, "strides": [2] * 3, "pads": [1] * 6}, {},
    ),
    "up to a size": (
        19, "ConvTranspose", {"strides": [2] * 3, "output_shape": [12, 14, 16]},
        {"weight": np.ones((2, 3, 3, 3, 3), np.float32)},
    ),
    "new last axes": (13, "Unsqueeze", {}, {"axes": np.array([-1, -3])}),
    "no axes left out": (13, "Squeeze", {}, {}),
    "mean of nothing": (18, "ReduceMean", {"noop_with_empty_axes": 1}, {}),
    "turned round": (13, "Transpose", {}, {}),
}  # fmt: skip
"""By name: operator set, operator, its fields, its further inputs."""


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_an_operator_is_computed_as_onnx_runtime_does_or_refused(name):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    from MedDetectLib.inference.backends.torch_graph import TorchGraph

    edition, kind, fields, more = FORMS[name]
    value, shape = helper.make_tensor_value_info, [1, 2, 6, 7, 8]
    graph = helper.make_graph(
        [helper.make_node(kind, ["image", *more], ["scores"], **fields)],
        "g",
        [value("image", TensorProto.FLOAT, shape)],
        [value("scores", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, other) for other, values in more.items()],
    )
    opset = [helper.make_opsetid("", edition)]
    network = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    try:
        answer = TorchGraph(network)(torch.from_numpy(image))["scores"].numpy()
    except ModelError:
        return
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(answer, session.run(None, {"image": image})[0], atol=1e-5)

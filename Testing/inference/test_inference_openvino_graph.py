"""Networks rewritten for OpenVINO answer as before."""

from __future__ import annotations

import numpy as np
import pytest

from MedDetectLib.inference.backends.openvino_graph import (
    as_plain_convolution,
    keep_first_weights,
    keep_scores,
    rewrite_upsampling,
    rounded_to_bfloat16,
)

openvino = pytest.importorskip("openvino")
ops = pytest.importorskip("openvino.opset13")


RANDOM = np.random.default_rng(7)
IMAGE = RANDOM.normal(size=(1, 3, 5, 6, 7)).astype(np.float32)


def transposed(kernel, stride, padding, bias=None, end="add"):
    image = ops.parameter(IMAGE.shape, np.float32, name="image")
    node = ops.convolution_backprop_data(
        image, ops.constant(kernel), [stride] * 3,
        pads_begin=[padding] * 3, pads_end=[padding] * 3, dilations=[1] * 3,
    )  # fmt: skip
    if bias is not None:
        node = ops.add(node, ops.constant(bias.reshape(1, -1, 1, 1, 1)))
    if end == "relu":
        node = ops.relu(node)
    return openvino.Model([ops.result(node)], [image], "network")


def answer(network, image=IMAGE, precision="f32"):
    settings = {"INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.Core().compile_model(network, "CPU", settings)
    return np.array(compiled([image])[0])


def kernel(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("bias", [None, kernel(2)])
@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(2, 2, 0), (4, 2, 1), (3, 3, 0), (6, 2, 2)]
)
def test_a_transposed_convolution_and_its_rewriting_answer_the_same(size, stride, padding, bias):
    weights = kernel(3, 2, size, size, size)
    expected = answer(transposed(weights, stride, padding, bias, "relu"))
    network = transposed(weights, stride, padding, bias, "relu")
    assert rewrite_upsampling(network) == 1
    kinds = [node.get_type_name() for node in network.get_ordered_ops()]
    assert "DepthToSpace" in kinds
    assert expected.shape == (1, 2, 5 * stride, 6 * stride, 7 * stride)
    np.testing.assert_allclose(answer(network), expected, atol=1e-4)


def test_a_tap_lies_where_the_drawing_says():
    """Stride 2, kernel 4, one voxel cut: output 2q sees taps 3 and 1, output 2q + 1 taps 2, 0."""
    line = np.zeros((1, 1, 4, 4, 4), np.float32)
    line[0, 0, :, 1, 1] = [10, 11, 12, 13]
    plain, before, after = as_plain_convolution(line, 2, 1)
    assert plain.shape == (8, 1, 3, 3, 3)
    assert (before, after) == ((1, 1, 1), (1, 1, 1))
    np.testing.assert_array_equal(plain[0, 0, :, 1, 1], [13, 11, 0])
    np.testing.assert_array_equal(plain[4, 0, :, 1, 1], [0, 12, 10])


@pytest.mark.parametrize(
    ("shape", "stride", "padding"),
    [((3, 16, 2, 2, 2), 2, 0), ((3, 2, 3, 3, 3), 2, 0), ((3, 2, 3, 3, 3), 1, 1)],
    ids=["wide", "output not a multiple", "stride 1"],
)
def test_other_transposed_convolutions_are_left_alone(shape, stride, padding):
    assert rewrite_upsampling(transposed(kernel(*shape), stride, padding)) == 0


def two_convolutions(first, last):
    image = ops.parameter((1, 1, 12, 12, 12), np.float32, name="image")
    node = ops.convolution(image, ops.constant(first), [2] * 3, [1] * 3, [1] * 3, [1] * 3)
    node = ops.relu(ops.add(node, ops.constant(np.ones((1, first.shape[0], 1, 1, 1), np.float32))))
    node = ops.convolution(node, ops.constant(last), [1] * 3, [0, 1, 1], [0, 1, 1], [1] * 3)
    node.output(0).set_names({"logits"})
    return openvino.Model([ops.result(node)], [image], "network")


def test_what_keeps_bfloat16_close_changes_nothing_in_float32():
    first, last = kernel(4, 1, 4, 4, 4), kernel(2, 4, 1, 3, 3)
    image = RANDOM.normal(size=(1, 1, 12, 12, 12)).astype(np.float32)
    network = two_convolutions(first, last)
    expected = answer(network, image)
    assert (keep_first_weights(network), keep_scores(network)) == (1, 1)
    assert network.output(0).get_any_name() == "logits"
    np.testing.assert_allclose(answer(network, image), expected, atol=1e-4)


def test_in_bfloat16_the_first_weights_no_longer_cost_accuracy():
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bfloat16")
    first, last = kernel(8, 1, 4, 4, 4), kernel(2, 8, 1, 3, 3)
    image = np.full((1, 1, 12, 12, 12), 0.75, np.float32)  # exact in bfloat16
    exact = answer(two_convolutions(first, last), image)
    plain = np.abs(answer(two_convolutions(first, last), image, "bf16") - exact).mean()
    network = two_convolutions(first, last)
    keep_first_weights(network)
    keep_scores(network)
    assert np.abs(answer(network, image, "bf16") - exact).mean() < 0.7 * plain


def test_rounding_to_bfloat16_keeps_eight_bits_and_goes_to_even():
    given = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-7, -3.14159], np.float32)
    expected = [1.0, 1.0, 1 + 2**-6, 1 + 2**-7, -3.140625]
    np.testing.assert_array_equal(rounded_to_bfloat16(given), np.float32(expected))

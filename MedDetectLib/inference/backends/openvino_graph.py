"""Networks written so that OpenVINO computes them faster, or closer, on a CPU.

**Upsampling.** With stride s every s-th voxel of a transposed convolution's output sees the
same taps of the kernel. So the output is s^3 plain convolutions of the input, one per phase,
laid beside each other: one convolution with s^3 times the channels, and a rearrangement.
The same sums are added up, only the taps a phase does not see are multiplied by zero.

**Weights on the image.** In bfloat16 it is the first convolution that costs accuracy: its
weights add up over an image that is far from zero nearly everywhere, so their rounding is
multiplied by large, always equal numbers. Its kernel is split into the nearest bfloat16 and
the rest, on an image given twice; later convolutions stay as they are.

**Scores.** Asked for bfloat16, OpenVINO leaves in float32 what follows the last convolution,
but not that convolution itself, which makes the scores. It does leave a transposed one, and
with stride 1 the two are the same thing.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "as_plain_convolution",
    "keep_first_weights",
    "keep_scores",
    "rewrite_upsampling",
    "rounded_to_bfloat16",
]

Kernel = npt.NDArray[np.float32]
Triple = tuple[int, int, int]

_NARROW = 16
"""Fewer output channels than fill a vector register leave OpenVINO's own kernel half idle."""


def as_plain_convolution(
    kernel: Kernel, stride: int, padding: int
) -> tuple[Kernel, Triple, Triple]:
    """Return kernel, padding before and padding after of the plain convolution.

    Its channels are (channel, phase k, phase j, phase i), as ONNX's DepthToSpace in CRD mode
    wants them.

    Args:
        kernel: (in, out, k, j, i) of a transposed convolution; its output is `stride` times
            as large as its input.
        stride: along every axis.
        padding: cut from every side of the output.
    """
    sizes = kernel.shape[2:]
    taps = [_taps(size, stride, padding) for size in sizes]
    low = [min(offset for _, _, offset in axis) for axis in taps]
    high = [max(offset for _, _, offset in axis) for axis in taps]
    shape = [top - bottom + 1 for bottom, top in zip(low, high, strict=True)]
    phases = np.zeros((kernel.shape[1], *[stride] * 3, kernel.shape[0], *shape), np.float32)
    for k, j, i in itertools.product(*taps):
        phase = tuple(tap[0] for tap in (k, j, i))
        place = tuple(tap[2] - least for tap, least in zip((k, j, i), low, strict=True))
        at: tuple[Any, ...] = (slice(None), *phase, slice(None), *place)
        phases[at] = kernel[:, :, k[1], j[1], i[1]].T
    plain = phases.reshape(-1, kernel.shape[0], *shape)
    before, after = [-bottom for bottom in low], list(high)
    return plain, (before[0], before[1], before[2]), (after[0], after[1], after[2])


def _taps(size: int, stride: int, padding: int) -> list[tuple[int, int, int]]:
    """Return, along one axis, (phase of the output, tap, offset of the input it is laid on)."""
    found = []
    for phase in range(stride):
        ahead, tap = divmod(phase + padding, stride)
        for back, each in enumerate(range(tap, size, stride)):
            found.append((phase, each, ahead - back))
    return found


def rewrite_upsampling(network: Any) -> int:
    """Replace an OpenVINO network's narrow transposed convolutions; return how many.

    Args:
        network: an `openvino.Model` of known shape; changed in place.
    """
    from openvino import opset13 as ops

    count = 0
    for node in network.get_ordered_ops():
        if node.get_type_name() != "ConvolutionBackpropData" or not _is_regular(node):
            continue
        kernel = node.input_value(1).get_node().data
        stride = int(node.get_attributes()["strides"][0])
        padding = int(node.get_attributes()["pads_begin"][0])
        plain, before, after = as_plain_convolution(kernel, stride, padding)
        wide = _convolved(ops, node.input_value(0), plain, before, after)
        last, bias = _bias_after(node, kernel.shape[1])
        if bias is not None:  # before the rearrangement it costs nothing
            repeated = np.repeat(bias, stride**3).reshape(1, -1, 1, 1, 1)
            wide = ops.add(wide, ops.constant(repeated))
        fine = ops.depth_to_space(wide, "depth_first", stride)
        fine.set_friendly_name(last.get_friendly_name())
        fine.output(0).set_names(last.output(0).get_names())
        last.output(0).replace(fine.output(0))
        count += 1
    return count


def _bias_after(node: Any, channels: int) -> tuple[Any, Kernel | None]:
    """Return the last node that belongs to a convolution, and its bias if it has one."""
    users = list(node.output(0).get_target_inputs())
    add = users[0].get_node() if len(users) == 1 else None
    if add is None or add.get_type_name() != "Add":
        return node, None
    other = add.input_value(1 - users[0].get_index()).get_node()
    if other.get_type_name() == "Reshape":
        other = other.input_value(0).get_node()
    if other.get_type_name() != "Constant" or other.data.size != channels:
        return node, None
    shape = add.input_value(1 - users[0].get_index()).get_shape()
    return (
        (add, other.data.reshape(-1)) if list(shape)[-4:] == [channels, 1, 1, 1] else (node, None)
    )


def keep_first_weights(network: Any) -> int:
    """Split the kernels that lie on the image, for bfloat16; return how many.

    Args:
        network: an `openvino.Model`; changed in place.
    """
    from openvino import opset13 as ops

    count = 0
    for node in network.get_ordered_ops():
        if node.get_type_name() != "Convolution" or not _is_constant(node.input_value(1)):
            continue
        image, kernel = node.input_value(0), node.input_value(1).get_node()
        if image.get_node().get_type_name() != "Parameter" or kernel.get_type_name() != "Constant":
            continue
        near = rounded_to_bfloat16(kernel.data)
        both = ops.constant(np.concatenate([near, kernel.data - near], axis=1))
        node.input(0).replace_source_output(ops.concat([image, image], 1).output(0))
        node.input(1).replace_source_output(both.output(0))
        count += 1
    if count:
        network.validate_nodes_and_infer_types()
    return count


def rounded_to_bfloat16(values: Kernel) -> Kernel:
    """Return the nearest numbers that bfloat16 holds, ties to even, as float32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    odd = (bits >> 16) & 1
    return ((bits + 0x7FFF + odd) & np.uint32(0xFFFF0000)).view(np.float32)


def keep_scores(network: Any) -> int:
    """Have an OpenVINO network's last convolutions computed in float32; return how many.

    Args:
        network: an `openvino.Model`; changed in place.
    """
    from openvino import opset13 as ops

    count = 0
    for result in network.get_results():
        node = result.input_value(0).get_node()
        while node.get_type_name() == "Add" and _is_constant(node.input_value(1)):
            node = node.input_value(0).get_node()
        if node.get_type_name() != "Convolution" or not _is_constant(node.input_value(1)):
            continue
        given = node.get_attributes()
        kernel = node.input_value(1).get_node()
        if len(kernel.get_output_shape(0)) != 5 or {*given["strides"], *given["dilations"]} != {1}:
            continue
        before, after = tuple(given["pads_begin"]), tuple(given["pads_end"])
        exact = _convolved(ops, node.input_value(0), kernel.data, before, after)
        exact.set_friendly_name(node.get_friendly_name())
        exact.output(0).set_names(node.output(0).get_names())
        node.output(0).replace(exact.output(0))
        count += 1
    return count


def _is_constant(value: Any) -> bool:
    node = value.get_node()
    if node.get_type_name() in ("Reshape", "Unsqueeze"):
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")


def _convolved(ops: Any, given: Any, kernel: Kernel, before: Triple, after: Triple) -> Any:
    """Return a plain convolution, spelled as a transposed one of stride 1; see above."""
    sizes = kernel.shape[2:]
    turned = np.ascontiguousarray(kernel[:, :, ::-1, ::-1, ::-1].swapaxes(0, 1))
    cut_before = [size - 1 - pad for size, pad in zip(sizes, before, strict=True)]
    cut_after = [size - 1 - pad for size, pad in zip(sizes, after, strict=True)]
    return ops.convolution_backprop_data(
        given,
        ops.constant(turned),
        [1] * 3,
        pads_begin=cut_before,
        pads_end=cut_after,
        dilations=[1] * 3,
    )


def _is_regular(node: Any) -> bool:
    """Whether the output is a whole multiple of the input, alike along three axes."""
    source = node.input_value(1).get_node()
    given = node.get_attributes()
    if node.get_input_size() != 2 or source.get_type_name() != "Constant":
        return False
    kernel = tuple(source.get_output_shape(0))
    strides, pads = set(given["strides"]), {*given["pads_begin"], *given["pads_end"]}
    if len(kernel) != 5 or kernel[1] >= _NARROW or len(strides) != 1 or len(pads) != 1:
        return False
    stride, padding = strides.pop(), pads.pop()
    return (
        stride > 1
        and all(size - 2 * padding == stride for size in kernel[2:])
        and not any(given["output_padding"])
        and set(given["dilations"]) == {1}
    )

"""ONNX operators in torch: (step, tensors, small constants as NumPy arrays) -> tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from MedDetectLib.core.errors import ModelError
from MedDetectLib.inference.backends.onnx_graph import Step

__all__ = ["OPERATORS"]

Values = list[Any]


def _known(step: Step, fixed: Values, place: int) -> Any:
    """Return an input that must be a constant of the file."""
    if fixed[place] is None:
        raise ModelError(
            "bad-network",
            f"torch is not taught {step.kind} where '{step.inputs[place]}' is computed",
            todo="use another backend",
        )
    return fixed[place]


def _convolve(step: Step, given: Values, _: Values) -> Values:
    from torch.nn import functional

    image, weight, *bias = given
    image, padding = _padded(step, image, weight.ndim - 2)
    run = (functional.conv1d, functional.conv2d, functional.conv3d)[weight.ndim - 3]
    return [
        run(
            image,
            weight,
            bias[0] if bias else None,
            step.fields.get("strides", 1),
            padding,
            step.fields.get("dilations", 1),
            step.fields.get("group", 1),
        )
    ]


def _convolve_back(step: Step, given: Values, _: Values) -> Values:
    from torch.nn import functional

    image, weight, *bias = given
    axes = weight.ndim - 2
    pads = step.fields.get("pads", [0] * 2 * axes)
    if step.fields.get("auto_pad", "NOTSET") != "NOTSET" or pads[:axes] != pads[axes:]:
        raise ModelError("bad-network", "torch has no uneven padding of ConvTranspose")
    if "output_shape" in step.fields:
        raise ModelError("bad-network", "torch is not taught output_shape of ConvTranspose")
    runs = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)
    return [
        runs[axes - 1](
            image,
            weight,
            bias[0] if bias else None,
            step.fields.get("strides", 1),
            pads[:axes],
            step.fields.get("output_padding", 0),
            step.fields.get("group", 1),
            step.fields.get("dilations", 1),
        )
    ]


def _padded(step: Step, image: Any, axes: int, value: float = 0.0) -> tuple[Any, Any]:
    """Return the image, padded here where the padding is uneven, and what is left to pad."""
    from torch.nn import functional

    if step.fields.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise ModelError("bad-network", f"torch is not taught auto_pad of {step.kind}")
    pads = list(step.fields.get("pads", [0] * 2 * axes))
    low, high = pads[:axes], pads[axes:]
    if low == high:
        return image, low
    both = [n for pair in zip(low[::-1], high[::-1], strict=True) for n in pair]
    return functional.pad(image, both, value=value), [0] * axes


def _pool(step: Step, given: Values, _: Values) -> Values:
    from torch.nn import functional

    size = step.fields["kernel_shape"]
    stride = step.fields.get("strides", [1] * len(size))
    ceil = bool(step.fields.get("ceil_mode", 0))
    if step.kind == "MaxPool":
        image, padding = _padded(step, given[0], len(size), -float("inf"))
        run: Any = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[
            len(size) - 1
        ]
        return [run(image, size, stride, padding, step.fields.get("dilations", 1), ceil)]
    image, padding = _padded(step, given[0], len(size))
    count_all = bool(step.fields.get("count_include_pad", 0))
    if image is not given[0] and not count_all:
        raise ModelError("bad-network", "torch has no uneven padding of AveragePool")
    run = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[len(size) - 1]
    return [run(image, size, stride, padding, ceil, count_all)]


def _instance_norm(step: Step, given: Values, _: Values) -> Values:
    from torch.nn import functional

    image, scale, shift = given
    return [
        functional.instance_norm(
            image, weight=scale, bias=shift, eps=step.fields.get("epsilon", 1e-5)
        )
    ]


def _batch_norm(step: Step, given: Values, _: Values) -> Values:
    from torch.nn import functional

    image, scale, shift, mean, variance = given
    return [
        functional.batch_norm(
            image, mean, variance, scale, shift, False, 0.0, step.fields.get("epsilon", 1e-5)
        )
    ]


def _layer_norm(step: Step, given: Values, _: Values) -> Values:
    from torch.nn import functional

    image, scale, *shift = given
    axis = step.fields.get("axis", -1) % image.ndim
    return [
        functional.layer_norm(
            image, image.shape[axis:], scale, shift[0] if shift else None,
            step.fields.get("epsilon", 1e-5),
        )
    ]  # fmt: skip


def _concat(step: Step, given: Values, _: Values) -> Values:
    import torch

    return [torch.cat(given, step.fields["axis"])]


_REPEATS = (
    ("asymmetric", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
)
"""The ways of enlarging by a whole factor in which each voxel is repeated, as torch does."""


def _resize(step: Step, given: Values, fixed: Values) -> Values:
    from torch.nn import functional

    image = given[0]
    mode = step.fields.get("mode", "nearest")
    place = step.fields.get("coordinate_transformation_mode", "half_pixel")
    odd = [name for name in ("antialias", "axes", "exclude_outside") if step.fields.get(name)]
    if odd:
        raise ModelError("bad-network", f"torch is not taught Resize with {', '.join(odd)}")
    axes = image.ndim - 2
    if len(given) > 3 and given[3] is not None:
        size = [int(n) for n in _known(step, fixed, 3)[2:]]
    else:
        scales = [float(s) for s in _known(step, fixed, 2 if len(given) > 2 else 1)[2:]]
        size = [round(n * s) for n, s in zip(image.shape[2:], scales, strict=True)]
        exact = zip(size, image.shape[2:], scales, strict=True)
        if not all(new > 0 and abs(new - old * s) < 1e-3 for new, old, s in exact):
            # torch would take the ratio of the sizes, ONNX takes the scale
            raise ModelError("bad-network", f"torch is not taught Resize by {scales}")
    if mode == "nearest":
        rounding = step.fields.get("nearest_mode", "round_prefer_floor")
        whole = all(new % old == 0 for new, old in zip(size, image.shape[2:], strict=True))
        if not whole or (place, rounding) not in _REPEATS:
            what = f"Resize nearest {place} {rounding} to {size}"
            raise ModelError("bad-network", f"torch is not taught {what}")
        return [functional.interpolate(image, size, mode="nearest")]
    if mode != "linear" or place not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        raise ModelError("bad-network", f"torch is not taught Resize {mode} {place}")
    one = any(new == 1 < old for new, old in zip(size, image.shape[2:], strict=True))
    if place == "pytorch_half_pixel" and one:
        raise ModelError("bad-network", "torch is not taught Resize to a single voxel")
    names = ("linear", "bilinear", "trilinear")
    align = place == "align_corners"
    return [functional.interpolate(image, size, mode=names[axes - 1], align_corners=align)]


def _mean(step: Step, given: Values, fixed: Values) -> Values:
    axes = _known(step, fixed, 1) if len(given) > 1 else step.fields.get("axes")
    if not (axes is None or len(axes)) or (
        axes is None and step.fields.get("noop_with_empty_axes")
    ):
        raise ModelError("bad-network", "torch is not taught ReduceMean over no axes")
    keep = bool(step.fields.get("keepdims", 1))
    every = range(given[0].ndim)
    return [given[0].mean([int(a) for a in (every if axes is None else axes)], keep)]


def _reshape(step: Step, given: Values, fixed: Values) -> Values:
    shape = [int(n) for n in _known(step, fixed, 1)]
    if not step.fields.get("allowzero", 0):
        shape = [given[0].shape[n] if size == 0 else size for n, size in enumerate(shape)]
    return [given[0].reshape(shape)]


def _gemm(step: Step, given: Values, _: Values) -> Values:
    a, b, *c = given
    a = a.T if step.fields.get("transA", 0) else a
    b = b.T if step.fields.get("transB", 0) else b
    product = (a @ b) * step.fields.get("alpha", 1.0)
    return [product + c[0] * step.fields.get("beta", 1.0) if c else product]


def _clip(step: Step, given: Values, _: Values) -> Values:
    low, high = (given[n] if len(given) > n else None for n in (1, 2))
    return [given[0].clamp(min=low, max=high)]


def _cast(step: Step, given: Values, _: Values) -> Values:
    import torch

    kinds = {
        1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16,
        11: torch.float64, 16: torch.bfloat16,
    }  # fmt: skip
    return [given[0].to(kinds[step.fields["to"]])]


def _flatten(step: Step, given: Values, _: Values) -> Values:
    axis = step.fields.get("axis", 1)
    first = int(np.prod(given[0].shape[:axis]))
    return [given[0].reshape(first, -1)]


def _slice(step: Step, given: Values, fixed: Values) -> Values:
    image, starts, ends = given[0], _known(step, fixed, 1), _known(step, fixed, 2)
    has = [len(given) > n and given[n] is not None for n in range(5)]
    axes = _known(step, fixed, 3) if has[3] else range(len(starts))
    steps = _known(step, fixed, 4) if has[4] else [1] * len(starts)
    for start, end, axis, step_size in zip(starts, ends, axes, steps, strict=True):
        if int(step_size) < 1:
            raise ModelError("bad-network", "torch has no slices that run backwards")
        index = [slice(None)] * image.ndim
        index[int(axis)] = slice(int(start), int(end), int(step_size))
        image = image[tuple(index)]
    return [image]


def _softmax(step: Step, given: Values, _: Values) -> Values:
    return [given[0].softmax(step.fields.get("axis", -1))]


def _leaky(step: Step, given: Values, _: Values) -> Values:
    from torch.nn import functional

    return [functional.leaky_relu(given[0], step.fields.get("alpha", 0.01))]


def _plain(function: Callable[..., Any]) -> Callable[[Step, Values, Values], Values]:
    return lambda step, given, fixed: [function(*given)]


def _axes(step: Step, fixed: Values) -> Sequence[int]:
    return [int(a) for a in (_known(step, fixed, 1) if len(fixed) > 1 else step.fields["axes"])]


def _unsqueeze(step: Step, given: Values, fixed: Values) -> Values:
    image = given[0]
    axes = _axes(step, fixed)
    for axis in sorted(axis % (image.ndim + len(axes)) for axis in axes):
        image = image.unsqueeze(axis)
    return [image]


def _transpose(step: Step, given: Values, _: Values) -> Values:
    order = step.fields.get("perm", list(range(given[0].ndim))[::-1])
    return [given[0].permute(*order)]


def _squeeze(step: Step, given: Values, fixed: Values) -> Values:
    return [given[0].squeeze(tuple(_axes(step, fixed)))]


OPERATORS: dict[str, Callable[[Step, Values, Values], Values]] = {
    "Add": _plain(lambda a, b: a + b),
    "AveragePool": _pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _convolve,
    "ConvTranspose": _convolve_back,
    "Div": _plain(lambda a, b: a / b if a.is_floating_point() else a.div(b, rounding_mode="trunc")),
    "Dropout": _plain(lambda image, *_: image),
    "Exp": _plain(lambda a: a.exp()),
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _plain(lambda a: a.mean(tuple(range(2, a.ndim)), True)),
    "Identity": _plain(lambda a: a),
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _leaky,
    "MatMul": _plain(lambda a, b: a @ b),
    "MaxPool": _pool,
    "Mul": _plain(lambda a, b: a * b),
    "PRelu": _plain(lambda a, slope: a.where(a >= 0, a * slope)),
    "Pow": _plain(lambda a, b: a**b),
    "ReduceMean": _mean,
    "Relu": _plain(lambda a: a.relu()),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": _plain(lambda a: a.sigmoid()),
    "Slice": _slice,
    "Softmax": _softmax,
    "Sqrt": _plain(lambda a: a.sqrt()),
    "Squeeze": _squeeze,
    "Sub": _plain(lambda a, b: a - b),
    "Tanh": _plain(lambda a: a.tanh()),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

"""A network in half precision, said by the types in its ONNX file.

TensorRT takes the types from the network: what is float16 there is computed in float16.
So half precision is made here, where everybody can see what is computed in what:

    image f32 -> [cast] -> convolutions, activations, joins in half
                        -> [cast] normalisations in f32 [cast] ->
                        -> [cast] last layer in f32 -> scores f32

Statistics of a normalisation add up millions of values, which ten bits of mantissa cannot;
the last layer decides between classes that may be close.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from MedDetectLib.core.errors import ModelError
from MedDetectLib.inference.backends.base import first_line
from MedDetectLib.inference.backends.onnx_graph import load_network

__all__ = ["Half", "half_named", "halved"]

Half = Literal["f16", "bf16"]

_IN_HALF = {
    "Add": None, "AveragePool": None, "Concat": None, "Conv": None, "ConvTranspose": None,
    "Div": None, "Dropout": (0,), "Elu": None, "Expand": (0,), "Flatten": None, "Gather": (0,),
    "Gelu": None, "Gemm": None, "HardSigmoid": None, "HardSwish": None, "Identity": None,
    "LeakyRelu": None, "MatMul": None, "MaxPool": None, "Mish": None, "Mul": None, "Neg": None,
    "PRelu": None, "Pad": (0, 2), "Relu": None, "Reshape": (0,), "Resize": (0,), "Slice": (0,),
    "Split": (0,), "Squeeze": (0,), "Sub": None, "Tile": (0,), "Transpose": None,
    "Unsqueeze": (0,), "Upsample": (0,),
}  # fmt: skip
"""Operators computed in half, and which of their inputs are values (None: all)."""

_NOT_IN = {"f16": frozenset[str](), "bf16": frozenset({"ConvTranspose"})}
"""Operators that stay in float32: TensorRT has no transposed convolution in bfloat16."""

_BF16_OPSET = 22
"""The first in which convolutions may be bfloat16."""

_LARGEST = {"f16": float(np.finfo(np.float16).max), "bf16": float(np.finfo(np.float32).max)}


def half_named(precision: str) -> Half:
    """Return the half precision of a name.

    Raises:
        ModelError: ``not-half``.
    """
    if precision == "f16":
        return "f16"
    if precision == "bf16":
        return "bf16"
    raise ModelError("not-half", f"'{precision}' is no half precision", todo="use f16 or bf16")


def halved(
    source: bytes | str, kind: Half, where: str | Path = "", *, last_in_half: bool = False
) -> bytes:
    """Return a float32 network with the types of half precision; inputs and outputs stay f32.

    Args:
        source: an ONNX file's content, or its path where it keeps weights in other files.
        kind: ``"f16"`` or ``"bf16"``.
        where: for error messages.
        last_in_half: compute the last layer in half too, for GPUs that have no float32
            convolution in three dimensions (Turing).

    Raises:
        ModelError: ``bad-network``; ``not-half`` when the network is not float32, or a weight
            is larger than float16 holds.
    """
    network = load_network(source, where)
    _check(network.graph, kind, where)
    if kind == "bf16":
        network = _newer(network, where)
    _Rewriter(network, kind, last_in_half).run()
    return bytes(network.SerializeToString())


def _check(graph: Any, kind: Half, where: str | Path) -> None:
    from onnx import TensorProto, numpy_helper

    others = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
    for value in (*graph.input, *graph.output, *graph.initializer):
        stated = value.type.tensor_type.elem_type if hasattr(value, "type") else value.data_type
        if stated in others:
            raise ModelError("not-half", f"'{value.name}' is not float32", where=where)
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        largest = float(np.abs(numpy_helper.to_array(weight)).max(initial=0.0))
        if not largest <= _LARGEST[kind]:
            raise ModelError(
                "not-half",
                f"weight '{weight.name}' reaches {largest:g}, {kind} ends at {_LARGEST[kind]:g}",
                where=where,
                todo="use bf16 or f32",
            )


def _newer(network: Any, where: str | Path) -> Any:
    """Return the network in an operator set that knows bfloat16."""
    from onnx import version_converter

    version = max(s.version for s in network.opset_import if s.domain in ("", "ai.onnx"))
    if version >= _BF16_OPSET:
        return network
    try:
        return version_converter.convert_version(network, _BF16_OPSET)
    except Exception as error:  # it raises plain RuntimeError for what it cannot convert
        raise ModelError(
            "not-half",
            f"cannot be brought from operator set {version} to {_BF16_OPSET}: {first_line(error)}",
            where=where,
            todo="use f16 or f32",
        ) from None


class _Rewriter:
    """Goes through the nodes once, and casts where the type changes hands."""

    def __init__(self, network: Any, kind: Half, last_in_half: bool) -> None:
        import onnx
        from onnx import TensorProto

        self._graph = network.graph
        self._last_in_half = last_in_half
        self._never = _NOT_IN[kind]
        self._half = TensorProto.FLOAT16 if kind == "f16" else TensorProto.BFLOAT16
        self._full = TensorProto.FLOAT
        inferred = onnx.shape_inference.infer_shapes(network).graph
        known = (*inferred.value_info, *inferred.input, *inferred.output)
        self._floats = {v.name for v in known if v.type.tensor_type.elem_type == self._full}
        self._weights = {w.name: w for w in self._graph.initializer}
        self._floats |= {w.name for w in self._graph.initializer if w.data_type == self._full}
        self._types: dict[str, int] = {}  # of values whose type is no longer float32
        self._casts: dict[tuple[str, int], str] = {}
        self._nodes: list[Any] = []

    def run(self) -> None:
        answers = {value.name for value in self._graph.output} & self._floats
        for node in self._graph.node:
            last = any(name in answers for name in node.output)
            places = _IN_HALF.get(node.op_type, ())
            able = node.op_type in _IN_HALF and node.op_type not in self._never
            half = able and (self._last_in_half or not last) and self._is_float(node, places)
            wanted = self._half if half else self._full
            for n, name in enumerate(node.input):
                if name in self._floats and (not half or places is None or n in places):
                    node.input[n] = self._as(name, wanted)
            self._nodes.append(node)
            if half:
                self._name_halves(node, answers)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        del self._graph.value_info[:]
        self._drop_unused()

    def _name_halves(self, node: Any, answers: set[str]) -> None:
        """Note what a node gives in half; what the network answers is cast back."""
        for n, name in enumerate(node.output):
            if name not in answers:
                self._types[name] = self._half
                continue
            node.output[n] = f"{name}.half"
            self._nodes.append(_cast(node.output[n], name, self._full))
            self._casts[name, self._half] = node.output[n]

    def _is_float(self, node: Any, places: tuple[int, ...] | None) -> bool:
        given = node.input if places is None else [node.input[n] for n in places[:1]]
        return all(name in self._floats for name in given if name)

    def _as(self, name: str, wanted: int) -> str:
        """Return the name under which a value is to be had in a type."""
        if self._types.get(name, self._full) == wanted:
            return name
        key = (name, wanted)
        if key not in self._casts:
            self._casts[key] = f"{name}.{'half' if wanted == self._half else 'full'}"
            if name in self._weights:
                self._graph.initializer.append(self._half_weight(name, self._casts[key]))
            else:
                self._nodes.append(_cast(name, self._casts[key], wanted))
        return self._casts[key]

    def _half_weight(self, name: str, new: str) -> Any:
        from onnx import helper, numpy_helper

        values = numpy_helper.to_array(self._weights[name])
        kind = helper.tensor_dtype_to_np_dtype(self._half)
        return numpy_helper.from_array(values.astype(kind), new)

    def _drop_unused(self) -> None:
        used = {name for node in self._nodes for name in node.input}
        used |= {value.name for value in self._graph.output}
        kept = [weight for weight in self._graph.initializer if weight.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)


def _cast(name: str, new: str, kind: int) -> Any:
    from onnx import helper

    return helper.make_node("Cast", [name], [new], f"cast {new}", to=kind)

"""What an ONNX file says, as plain values: for engines that do not read it themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import BackendUnavailable, ModelError
from MedDetectLib.inference.backends.base import first_line

__all__ = [
    "Graph",
    "Step",
    "float_weights",
    "load_network",
    "network_parts",
    "onnx_bytes",
    "onnx_package",
    "read_graph",
]


@dataclass(frozen=True)
class Step:
    """One operator: its kind, the values it takes ("" for one left out) and gives."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    fields: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Graph:
    """A network: steps in the order they can be done, and the weights by name.

    Args:
        inputs: names of what it is given.
        outputs: names of what it answers.
        steps: the operators.
        weights: constant values; NumPy has no bfloat16, such weights come as float32.
        bfloat16: names of the weights that are bfloat16 in the file.
        is_float32: whether the first input is.
        sizes: of the first input; None for one that may vary.
        operator_set: which edition of ONNX's operators is meant.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    weights: Mapping[str, npt.NDArray[Any]]
    bfloat16: frozenset[str] = frozenset()
    is_float32: bool = True
    sizes: tuple[int | None, ...] = ()
    operator_set: int = 0

    def takes(self, sizes: tuple[int, ...]) -> bool:
        """Whether the first input may have a shape."""
        return len(sizes) == len(self.sizes) and all(
            wanted in (None, size) for wanted, size in zip(self.sizes, sizes, strict=True)
        )


def onnx_package() -> Any:
    """Return the `onnx` package.

    Raises:
        BackendUnavailable: ``no-onnx``.
    """
    try:
        import onnx
    except ImportError as error:
        raise BackendUnavailable(
            "no-onnx",
            f"the onnx package cannot be loaded ({error})",
            todo="pip install onnx in the worker's environment",
        ) from None
    return onnx


def load_network(source: bytes | str, where: str | Path = "") -> Any:
    """Return the ONNX model in a file's content, or in a file with its weights beside it.

    Raises:
        ModelError: ``bad-network``.
    """
    onnx = onnx_package()
    try:
        network = onnx.load_from_string(source) if isinstance(source, bytes) else onnx.load(source)
    except Exception as error:  # protobuf raises kinds of its own
        raise ModelError(
            "bad-network", f"is no ONNX network: {first_line(error)}", where=where
        ) from None
    if not network.graph.output or not network.graph.input:
        raise ModelError(
            "bad-network", "is no ONNX network: it has no input or no output", where=where
        )
    return network


def onnx_bytes(source: bytes | str, where: str | Path = "") -> bytes:
    """Return the whole network as one piece, weights included.

    Raises:
        ModelError: ``bad-network``.
    """
    if isinstance(source, bytes):
        return source
    return bytes(load_network(source, where).SerializeToString())


def read_graph(source: bytes | str, where: str | Path = "") -> Graph:
    """Read a network.

    Raises:
        BackendUnavailable: ``no-onnx``.
        ModelError: ``bad-network``.
    """
    network = load_network(source, where)
    from onnx import TensorProto

    graph = network.graph
    edition = max(
        (s.version for s in network.opset_import if s.domain in ("", "ai.onnx")), default=0
    )
    weights = {weight.name: _values(weight) for weight in graph.initializer}
    steps = []
    for node in graph.node:
        fields = {attribute.name: _field(attribute) for attribute in node.attribute}
        if node.op_type == "Constant":
            weights[node.output[0]] = np.asarray(next(iter(fields.values())))
            continue
        steps.append(Step(node.op_type, tuple(node.input), tuple(node.output), fields))
    inputs = tuple(value.name for value in graph.input if value.name not in weights)
    outputs = tuple(value.name for value in graph.output)
    brief = {w.name for w in graph.initializer if w.data_type == TensorProto.BFLOAT16}
    given = next(v.type.tensor_type for v in graph.input if v.name in inputs[:1])
    sizes = tuple(d.dim_value if d.HasField("dim_value") else None for d in given.shape.dim)
    is_float32 = given.elem_type == TensorProto.FLOAT
    return Graph(
        inputs, outputs, tuple(steps), weights, frozenset(brief), is_float32, sizes, edition
    )


def _values(tensor: Any) -> npt.NDArray[Any]:
    from onnx import TensorProto, numpy_helper

    values = np.array(numpy_helper.to_array(tensor))  # its own memory: the file's is read-only
    return values.astype(np.float32) if tensor.data_type == TensorProto.BFLOAT16 else values


def _field(attribute: Any) -> Any:
    from onnx import AttributeProto, helper

    value = helper.get_attribute_value(attribute)
    if attribute.type == AttributeProto.TENSOR:
        return _values(value)
    return value.decode() if isinstance(value, bytes) else value


def network_parts(source: bytes | str, where: str | Path = "") -> tuple[dict[str, str], bytes]:
    """Return type and sizes of each float weight by name, and all the rest as bytes.

    Raises:
        BackendUnavailable: ``no-onnx``.
        ModelError: ``bad-network``.
    """
    network = load_network(source, where)
    from onnx import TensorProto

    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
    weights, rest = {}, []
    for weight in network.graph.initializer:
        if weight.data_type in floats and weight.dims:
            kind = TensorProto.DataType.Name(weight.data_type).lower()
            weights[weight.name] = f"{kind} {'x'.join(map(str, weight.dims))}"
        else:
            rest.append(weight)
    graph = network.graph
    told = [*graph.input, *graph.output, *sorted(rest, key=lambda w: str(w.name)), *graph.node]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]  # exporters write down source lines, which mean nothing
    return weights, b"".join(bytes(part.SerializeToString(deterministic=True)) for part in told)


def float_weights(source: bytes | str, where: str | Path = "") -> dict[str, npt.NDArray[Any]]:
    """Return the float weights by name; bfloat16 as its bits in uint16.

    Raises:
        BackendUnavailable: ``no-onnx``.
        ModelError: ``bad-network``.
    """
    network = load_network(source, where)
    from onnx import TensorProto, numpy_helper

    found = {}
    for weight in network.graph.initializer:
        values = np.array(numpy_helper.to_array(weight))
        if weight.data_type == TensorProto.BFLOAT16:
            found[weight.name] = values.view(np.uint16)
        elif values.dtype.kind == "f":
            found[weight.name] = values
    return found

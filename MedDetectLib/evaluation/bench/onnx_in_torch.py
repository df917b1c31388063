"""The network of an ONNX file as a torch module: the same weights for the peers.

It knows the operators of our own demo networks, with their normalisations already folded
into the convolutions, which spares the peer that work too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from MedDetectLib.core.errors import ModelError

__all__ = ["torch_network"]


def torch_network(path: Path) -> Any:
    """Return a callable (N, C, k, j, i) tensor -> tensor that computes what the file says.

    Raises:
        ModelError: ``bad-network`` for an operator it does not know.
    """
    import onnx
    import torch
    from onnx import helper, numpy_helper
    from torch.nn import functional

    graph = onnx.load(str(path)).graph
    weights = {w.name: torch.from_numpy(numpy_helper.to_array(w).copy()) for w in graph.initializer}
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = []
    for node in graph.node:
        fields = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type not in ("Conv", "ConvTranspose", "LeakyRelu", "Add"):
            raise ModelError("bad-network", f"operator {node.op_type} is not known", where=path)
        steps.append((node.op_type, list(node.input), node.output[0], fields))
    last_use = {name: n for n, (_, inputs, _, _) in enumerate(steps) for name in inputs}
    source, answer = graph.input[0].name, graph.output[0].name

    def apply(kind: str, given: list[Any], fields: dict[str, Any]) -> Any:
        if kind == "Add":
            return given[0] + given[1]
        if kind == "LeakyRelu":
            return functional.leaky_relu(given[0], fields["alpha"])
        folding = {"stride": fields["strides"], "padding": fields["pads"][:3]}
        if kind == "Conv":
            return functional.conv3d(*given, **folding)
        return functional.conv_transpose3d(*given, **folding)

    def run(image: Any) -> Any:
        values = {source: image}
        with torch.inference_mode():
            for n, (kind, inputs, output, fields) in enumerate(steps):
                given = [values[name] if name in values else weights[name] for name in inputs]
                values[output] = apply(kind, given, fields)
                for name in inputs:
                    if last_use[name] == n:
                        values.pop(name, None)  # as a torch module lets go of it
        return values[answer]

    return run

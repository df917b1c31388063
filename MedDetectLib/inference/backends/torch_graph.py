"""A network of an ONNX file, run by torch operator by operator.

For the torch backend, and for peers in the benchmark that want the same weights. It knows
the operators of convolutional networks for images; any other is named and refused.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from MedDetectLib.core.errors import ModelError
from MedDetectLib.inference.backends.onnx_graph import Graph, read_graph
from MedDetectLib.inference.backends.torch_operators import OPERATORS

__all__ = ["TorchGraph"]

_FEW = 16
_OLDEST = 11
"""Before this operator set, several operators had other inputs under the same name."""
_NEW_SOFTMAX = 13
"""Before this one, a softmax went over all axes from the one it names."""


class TorchGraph:
    """Call it with a tensor (N, C, [k,] j, i); it answers tensors by name.

    Args:
        source: an ONNX file's content, or its path.
        device: where the weights are put.
        where: for error messages.

    Raises:
        BackendUnavailable: ``no-onnx``.
        ModelError: ``bad-network`` for no network, or an operator that is not known here.
    """

    def __init__(self, source: bytes | str, device: str = "cpu", where: str | Path = "") -> None:
        import torch

        graph = read_graph(source, where)
        unknown = sorted({step.kind for step in graph.steps} - set(OPERATORS))
        if unknown:
            raise ModelError(
                "bad-network",
                f"torch is not taught the operators {', '.join(unknown)}",
                where=where,
                todo="use another backend",
            )
        old = graph.operator_set < _OLDEST or (
            graph.operator_set < _NEW_SOFTMAX and any(s.kind == "Softmax" for s in graph.steps)
        )
        if old:
            raise ModelError(
                "bad-network",
                f"torch is not taught operator set {graph.operator_set}",
                where=where,
                todo="use another backend, or export the network with operator set 17",
            )
        if not graph.is_float32:
            raise ModelError(
                "bad-network",
                "its input is not float32",
                where=where,
                todo="export it with float32 inputs and outputs",
            )
        self.inputs, self.outputs = graph.inputs, graph.outputs
        self._takes = graph.takes
        self._steps, self._where = graph.steps, where
        # shapes, axes and places are read on the CPU: a look at the device's would wait for it
        self._numbers = {name: w for name, w in graph.weights.items() if w.size <= _FEW}
        self._weights = {
            name: torch.from_numpy(np.ascontiguousarray(weight)).to(
                device, torch.bfloat16 if name in graph.bfloat16 else None
            )
            for name, weight in graph.weights.items()
        }
        self._last_use = _last_uses(graph)

    def __call__(self, image: Any, check: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Compute; `check` is called between operators and may raise."""
        import torch

        if not self._takes(tuple(image.shape)):
            raise ModelError(
                "network-failed", f"takes no input of shape {tuple(image.shape)}", where=self._where
            )
        values: dict[str, Any] = {self.inputs[0]: image}
        with torch.inference_mode():
            for n, step in enumerate(self._steps):
                check()
                given = [self._value(name, values) for name in step.inputs]
                fixed = [self._numbers.get(name) for name in step.inputs]
                try:
                    answers = OPERATORS[step.kind](step, given, fixed)
                except (KeyError, IndexError, TypeError, ValueError) as error:
                    raise ModelError(
                        "bad-network",
                        f"torch is not taught {step.kind} in this form ({error})",
                        where=self._where,
                        todo="use another backend",
                    ) from None
                for name, answer in zip(step.outputs, answers, strict=False):
                    values[name] = answer
                for name in step.inputs:
                    if self._last_use[name] == n:
                        values.pop(name, None)  # as a torch module lets go of it
        return {name: self._value(name, values) for name in self.outputs}

    def _value(self, name: str, values: dict[str, Any]) -> Any:
        if not name:
            return None
        return values[name] if name in values else self._weights[name]


def _last_uses(graph: Graph) -> dict[str, int]:
    last = {name: n for n, step in enumerate(graph.steps) for name in step.inputs}
    return {**last, **dict.fromkeys(graph.outputs, len(graph.steps))}

"""The network of an ONNX file as peers call theirs: a tensor in, a tensor out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from MedDetectLib.inference.backends.torch_graph import TorchGraph

__all__ = ["torch_network"]


def torch_network(path: Path, device: str = "cpu", half: bool = False) -> Callable[[Any], Any]:
    """Return a callable (N, C, k, j, i) tensor -> tensor that computes what the file says.

    Normalisations are folded into the convolutions where the file has them so, which spares
    the peer that work too.

    Args:
        path: the ONNX file, of one input and one output.
        device: where the weights are put.
        half: compute in automatic mixed precision, as peers do on a GPU.

    Raises:
        ModelError: ``bad-network`` for an operator it does not know.
    """
    graph = TorchGraph(str(path), device, path)
    (name,) = graph.outputs

    def run(image: Any) -> Any:
        import torch

        with torch.autocast(device.split(":")[0], enabled=half):
            return graph(image)[name]

    return run

"""torch: on the GPU when nothing faster is there, and on the CPU to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import BackendUnavailable, ModelError
from MedDetectLib.inference.backends.base import (
    Choice,
    DeviceNetwork,
    Tensors,
    check_tensors,
    first_line,
    network_source,
)
from MedDetectLib.inference.backends.torch_graph import TorchGraph
from MedDetectLib.inference.device import memory
from MedDetectLib.models.card import ModelCard

__all__ = ["TorchBackend", "TorchNetwork", "version"]


def version() -> str:
    """Return torch's version.

    Raises:
        BackendUnavailable: ``no-torch``.
    """
    try:
        import torch
    except ImportError as error:
        raise BackendUnavailable(
            "no-torch",
            f"torch cannot be loaded ({error})",
            todo="install torch in the worker's environment",
        ) from None
    return str(torch.__version__)


class TorchNetwork:
    """An ONNX network on one device; a `DeviceNetwork`.

    Args:
        graph: the network, its weights on the device.
        device: torch's name of it.
        precision: ``"f32"``; ``"f16"`` and ``"bf16"`` by torch's automatic mixed precision.
        batch: the most windows at a time.
    """

    def __init__(self, graph: TorchGraph, device: str, precision: str, batch: int = 1) -> None:
        self.device = device
        self.batch = batch
        self.stopped = False
        self._graph = graph
        self._precision = precision

    def stream(self) -> AbstractContextManager[Any]:
        """Return torch's default stream; whoever was interrupted before may go on."""
        self.stopped = False
        return memory.default_stream(self.device)

    def __call__(self, windows: Any) -> Mapping[str, Any]:
        """Run; see `DeviceNetwork`."""
        import torch

        kinds = {"f16": torch.float16, "bf16": torch.bfloat16}
        half = kinds.get(self._precision)
        try:
            with (
                memory.lack_told(self.device),
                _without_tf32(self.device),
                torch.autocast(self.device.split(":")[0], half or torch.bfloat16, half is not None),
            ):
                answers = self._graph(windows, self._check)
        except RuntimeError as error:  # torch's own kind, for shapes and for memory
            raise ModelError(
                "network-failed",
                f"failed on an input of shape {tuple(windows.shape)}: {first_line(error)}",
            ) from None
        return {
            name: answer.float() if answer.is_floating_point() else answer
            for name, answer in answers.items()
        }

    def _check(self) -> None:
        if self.stopped:
            raise ModelError("network-failed", "the run was interrupted")


class TorchBackend:
    """A network run by torch operator by operator.

    Args:
        card: the model's card.
        folder: where the card's files lie.
        precision: ``"f32"``, without the shortcut of TF32; ``"f16"`` or ``"bf16"`` on a GPU,
            by automatic mixed precision.
        reason: why this backend was chosen.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        BackendUnavailable: ``no-torch``, ``no-onnx``; ``no-gpu``; ``no-precision`` for half
            precision on the CPU.
        ModelError: ``bad-network`` also for operators torch is not taught; ``wrong-tensor``.
    """

    def __init__(
        self,
        card: ModelCard,
        folder: Path,
        precision: str,
        reason: str,
        device: Literal["cpu", "cuda"] = "cpu",
    ) -> None:
        number = version()
        if device == "cuda" and not memory.has_cuda():
            raise BackendUnavailable(
                "no-gpu", f"torch {number} sees no GPU", todo="install torch with CUDA"
            )
        if device == "cpu" and precision != "f32":
            raise BackendUnavailable(
                "no-precision", f"torch does not compute in {precision} on the CPU", todo="use f32"
            )
        self._path = folder / card.weights
        self._rank = card.input.rank
        place = "cuda:0" if device == "cuda" else "cpu"
        graph = TorchGraph(network_source(card, folder), place, self._path)
        check_tensors(card, self._path, graph.inputs, graph.outputs)
        self._outputs = graph.outputs
        self._network: TorchNetwork | None = TorchNetwork(graph, place, precision)
        self.choice = Choice(f"torch {number}", place, precision, reason)

    @property
    def device_network(self) -> DeviceNetwork | None:
        """The network for work that stays on the GPU."""
        network = self._network
        return network if network is not None and network.device != "cpu" else None

    def run(self, batch: npt.NDArray[np.float32]) -> Tensors:
        """Run one batch (N, C, k, j, i); see `Backend.run`."""
        import torch

        network = self._network
        if network is None:
            raise ModelError("network-failed", "the network is closed", where=self._path)
        network.stopped = False
        given = np.ascontiguousarray(batch[:, :, 0] if self._rank == 4 else batch)
        try:
            answers = network(torch.from_numpy(given).to(network.device))
        except ModelError as error:
            error.where = str(self._path)
            raise
        return {name: memory.download(answers[name]) for name in self._outputs}

    def interrupt(self) -> None:
        """Make a run in another thread fail at the next operator; the network stays good."""
        network = self._network
        if network is not None:
            network.stopped = True

    def close(self) -> None:
        """Drop the weights."""
        self._network = None


def _without_tf32(device: str) -> AbstractContextManager[Any]:
    """Return a context in which float32 convolutions keep all their digits."""
    import contextlib

    import torch

    if not device.startswith("cuda"):
        return contextlib.nullcontext()
    flags: AbstractContextManager[Any] = torch.backends.cudnn.flags(
        enabled=True, benchmark=True, allow_tf32=False
    )
    return flags

"""OpenVINO on the CPU: markedly faster 3-D convolutions, and bfloat16 where the CPU has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import BackendUnavailable, ModelError
from MedDetectLib.inference.backends.base import (
    Choice,
    Tensors,
    check_tensors,
    first_line,
    network_source,
)
from MedDetectLib.models.card import ModelCard

__all__ = ["OpenVinoBackend", "version"]


def version() -> str:
    """Return OpenVINO's version.

    Raises:
        BackendUnavailable: ``no-openvino``.
    """
    try:
        import openvino
    except ImportError as error:
        raise BackendUnavailable(
            "no-openvino",
            f"OpenVINO cannot be loaded ({error})",
            todo="install MedDetect with its 'openvino' extra",
        ) from None
    return str(openvino.__version__).split("-")[0]


class OpenVinoBackend:
    """A network compiled by OpenVINO for this CPU.

    Args:
        card: the model's card; its tensor names are checked against the network's.
        folder: where the card's files lie.
        precision: ``"f32"``, or ``"bf16"`` where the CPU has it.
        reason: why this backend was chosen.

    Raises:
        BackendUnavailable: ``no-openvino``, or ``no-precision`` when the CPU lacks it.
        ModelError: ``bad-network``, ``wrong-tensor``.
    """

    device_network = None

    def __init__(self, card: ModelCard, folder: Path, precision: str, reason: str) -> None:
        number = version()
        import openvino

        self._path = folder / card.weights
        self._rank = card.input.rank
        core = openvino.Core()
        _check_precision(core, precision)
        source = network_source(card, folder)
        settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        try:
            network = core.read_model(source)
            self._inputs = [tensor.get_any_name() for tensor in network.inputs]
            self._outputs = [tensor.get_any_name() for tensor in network.outputs]
            check_tensors(card, self._path, self._inputs, self._outputs)
            network.reshape(_fixed_shape(network, card))
            self._request: Any = core.compile_model(network, "CPU", settings).create_infer_request()
        except ModelError:
            raise
        except Exception as error:  # the library raises kinds of its own
            raise ModelError(
                "bad-network", f"cannot be loaded: {first_line(error)}", where=self._path
            ) from None
        self.choice = Choice(f"openvino {number}", "cpu", precision, reason)

    def run(self, batch: npt.NDArray[np.float32]) -> Tensors:
        """Run one batch (N, C, k, j, i); see `Backend.run`."""
        given = batch[:, :, 0] if self._rank == 4 else batch
        try:
            self._request.start_async({self._inputs[0]: given})
            self._request.wait()
        except Exception as error:  # as above
            raise ModelError(
                "network-failed",
                f"failed on an input of shape {given.shape}: {first_line(error)}",
                where=self._path,
            ) from None
        # copied, because OpenVINO writes the next window's answer into the same memory
        return {
            name: np.array(self._request.get_output_tensor(n).data)
            for n, name in enumerate(self._outputs)
        }

    def interrupt(self) -> None:
        """Make a run in another thread fail soon; the network stays good."""
        request = self._request
        if request is not None:
            request.cancel()

    def close(self) -> None:
        """Drop the compiled network."""
        self._request = None


def _check_precision(core: Any, precision: str) -> None:
    able = {"f32"}
    if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        able.add("bf16")
    if precision not in able:
        raise BackendUnavailable(
            "no-precision",
            f"OpenVINO cannot compute in {precision} on this CPU",
            todo=f"choose one of: {', '.join(sorted(able))}",
        )


def _fixed_shape(network: Any, card: ModelCard) -> list[int]:
    """Return the one shape windows have: known, it lets OpenVINO plan memory and kernels."""
    window = list(card.input.window.shape_kji)
    return [1, len(card.input.channels), *(window if card.input.rank == 5 else window[1:])]

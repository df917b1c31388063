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
    require_float32,
)
from MedDetectLib.inference.backends.openvino_graph import (
    keep_first_weights,
    keep_scores,
    rewrite_upsampling,
)
from MedDetectLib.models.card import ModelCard

__all__ = ["OpenVinoBackend", "version"]

_PLACES = ("Exception from ", "Check '", "FrontEnd API failed", "While validating node")


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
            self._check_types(network)
            network.reshape(_fixed_shape(network, card))
            rewrite_upsampling(network)
            if precision == "bf16":
                keep_first_weights(network)
                keep_scores(network)
            self._shapes = [_shape_if_fixed(tensor) for tensor in network.outputs]
            self._request: Any = core.compile_model(network, "CPU", settings).create_infer_request()
        except ModelError:
            raise
        except Exception as error:  # the library raises kinds of its own
            raise ModelError(
                "bad-network", f"cannot be loaded: {_said(error)}", where=self._path
            ) from None
        self.choice = Choice(f"openvino {number}", "cpu", precision, reason)

    def run(self, batch: npt.NDArray[np.float32]) -> Tensors:
        """Run one batch (N, C, k, j, i); see `Backend.run`."""
        import openvino

        given = batch[:, :, 0] if self._rank == 4 else batch
        # an array of each run's own, which OpenVINO writes into: no copy, and nobody's answer
        # is overwritten by the next window's
        answers = [None if s is None else np.empty(s, np.float32) for s in self._shapes]
        try:
            for n, answer in enumerate(answers):
                if answer is not None:
                    tensor = openvino.Tensor(answer, shared_memory=True)
                    self._request.set_output_tensor(n, tensor)
            self._request.start_async({self._inputs[0]: given})
            self._request.wait()
        except Exception as error:  # as above
            raise ModelError(
                "network-failed",
                f"failed on an input of shape {given.shape}: {_said(error)}",
                where=self._path,
            ) from None
        return {
            name: np.array(self._request.get_output_tensor(n).data) if answer is None else answer
            for n, (name, answer) in enumerate(zip(self._outputs, answers, strict=True))
        }

    def _check_types(self, network: Any) -> None:
        """Refuse an image cut off to whole numbers, and answers that NumPy would misread."""
        kind = network.inputs[0].get_element_type().get_type_name()
        require_float32(self._path, "input", kind, kind in ("f32", "f16", "f64"))
        for tensor, name in zip(network.outputs, self._outputs, strict=True):
            kind = tensor.get_element_type().get_type_name()
            require_float32(self._path, f"output '{name}'", kind, kind != "bf16")

    def interrupt(self) -> None:
        """Make a run in another thread fail soon; the network stays good."""
        request = self._request
        if request is not None:
            request.cancel()

    def close(self) -> None:
        """Drop the compiled network."""
        self._request = None


def _said(error: Exception) -> str:
    """Return what OpenVINO says in bounded length, without the places in its sources."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(_PLACES)]
    return " ".join(told)[:300] or first_line(error)


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


def _shape_if_fixed(tensor: Any) -> tuple[int, ...] | None:
    """Return the shape of an output that is float32 and always of one size."""
    shape = tensor.get_partial_shape()
    fixed = shape.is_static and tensor.get_element_type().get_type_name() == "f32"
    return tuple(shape.to_shape()) if fixed else None


def _fixed_shape(network: Any, card: ModelCard) -> list[int]:
    """Return the one shape windows have: known, it lets OpenVINO plan memory and kernels."""
    window = list(card.input.window.shape_kji)
    return [1, len(card.input.channels), *(window if card.input.rank == 5 else window[1:])]

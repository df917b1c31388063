"""ONNX Runtime on the CPU: there is hardly a machine it does not run on."""

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

__all__ = ["OnnxRuntimeBackend", "version"]


def version() -> str:
    """Return ONNX Runtime's version.

    Raises:
        BackendUnavailable: ``no-onnxruntime``.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailable(
            "no-onnxruntime",
            f"ONNX Runtime cannot be loaded ({error})",
            todo="install MedDetect with its 'run' extra",
        ) from None
    return str(onnxruntime.__version__)


class OnnxRuntimeBackend:
    """A network in an ONNX Runtime session.

    Args:
        card: the model's card; its tensor names are checked against the network's.
        folder: where the card's files lie.

    Raises:
        BackendUnavailable: ``no-onnxruntime``.
        ModelError: ``bad-network`` when the file is not a network ONNX Runtime can load,
            ``wrong-tensor`` when the card names a tensor the network does not have.
    """

    def __init__(self, card: ModelCard, folder: Path, precision: str, reason: str) -> None:
        number = version()
        import onnxruntime

        self._path = folder / card.weights
        self._rank = card.input.rank
        self._input = card.input.tensor
        options = onnxruntime.SessionOptions()
        source = network_source(card, folder)
        options.log_severity_level = 4  # what goes wrong comes back as an exception
        try:
            self._session: Any = onnxruntime.InferenceSession(
                source, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the library raises a dozen kinds of its own
            raise ModelError(
                "bad-network", f"cannot be loaded: {first_line(error)}", where=self._path
            ) from None
        self._outputs = [output.name for output in self._session.get_outputs()]
        inputs = [tensor.name for tensor in self._session.get_inputs()]
        check_tensors(card, self._path, inputs, self._outputs)
        self.choice = Choice(f"onnxruntime {number}", "cpu", precision, reason)
        self._make_run_options = onnxruntime.RunOptions
        self._running: Any = None

    def run(self, batch: npt.NDArray[np.float32]) -> Tensors:
        """Run one batch (N, C, k, j, i); see `Backend.run`."""
        given = batch[:, :, 0] if self._rank == 4 else batch
        self._running = self._make_run_options()
        try:
            outputs = self._session.run(None, {self._input: given}, self._running)
        except Exception as error:  # as above
            raise ModelError(
                "network-failed",
                f"failed on an input of shape {given.shape}: {first_line(error)}",
                where=self._path,
            ) from None
        finally:
            self._running = None
        return dict(zip(self._outputs, outputs, strict=True))

    def interrupt(self) -> None:
        """Make a run in another thread fail soon; the session stays good."""
        running = self._running
        if running is not None:
            running.terminate = True

    def close(self) -> None:
        """Drop the session."""
        self._session = None

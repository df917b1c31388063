"""ONNX Runtime on the CPU: there is hardly a machine it does not run on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import BackendUnavailable, ModelError
from MedDetectLib.inference.backends.base import Choice, Tensors
from MedDetectLib.models.card import AnchorBoxes, DecodedBoxes, Head, ModelCard

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

    def __init__(self, card: ModelCard, folder: Path, reason: str) -> None:
        number = version()
        import onnxruntime

        self._path = folder / card.weights
        self._rank = card.input.rank
        self._input = card.input.tensor
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong comes back as an exception
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(self._path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the library raises a dozen kinds of its own
            raise ModelError(
                "bad-network", f"cannot be loaded: {_first_line(error)}", where=self._path
            ) from None
        self._outputs = [output.name for output in self._session.get_outputs()]
        names = [tensor.name for tensor in self._session.get_inputs()]
        if names != [self._input]:
            raise ModelError(
                "wrong-tensor",
                f"the network's inputs are {names}, the card says ['{self._input}']",
                where=self._path,
            )
        missing = [name for name in _tensors(card.head) if name not in self._outputs]
        if missing:
            raise ModelError(
                "wrong-tensor",
                f"the network answers {sorted(self._outputs)}, the card says '{missing[0]}'",
                where=self._path,
                todo="correct the tensor's name in the model card",
            )
        self.choice = Choice(f"onnxruntime {number}", "cpu", "f32", reason)

    def run(self, batch: npt.NDArray[np.float32]) -> Tensors:
        """Run one batch (N, C, k, j, i); see `Backend.run`."""
        given = batch[:, :, 0] if self._rank == 4 else batch
        try:
            outputs = self._session.run(None, {self._input: given})
        except Exception as error:  # as above
            raise ModelError(
                "network-failed",
                f"failed on an input of shape {given.shape}: {_first_line(error)}",
                where=self._path,
            ) from None
        return dict(zip(self._outputs, outputs, strict=True))

    def close(self) -> None:
        """Drop the session."""
        self._session = None


def _tensors(head: Head) -> list[str]:
    """Names of all tensors a head reads."""
    if isinstance(head, DecodedBoxes):
        return [head.boxes_tensor, head.scores_tensor, head.labels_tensor]
    if isinstance(head, AnchorBoxes):
        pairs = [(level.scores_tensor, level.deltas_tensor) for level in head.levels]
        return [name for pair in pairs for name in pair]
    return [head.tensor]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]

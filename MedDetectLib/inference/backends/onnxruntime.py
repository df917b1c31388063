"""ONNX Runtime: on the CPU there is hardly a machine it does not run on; on NVIDIA GPUs too."""

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
    require_float32,
)
from MedDetectLib.inference.device import memory
from MedDetectLib.models.card import ModelCard

__all__ = ["OnnxRuntimeBackend", "version"]

_CUDA = "CUDAExecutionProvider"


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
        precision: ``"f32"``; on a GPU without the shortcut of TF32.
        reason: why this backend was chosen.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        BackendUnavailable: ``no-onnxruntime``; ``no-gpu`` when this ONNX Runtime has no CUDA
            or finds no GPU.
        ModelError: ``bad-network`` when the file is not a network ONNX Runtime can load,
            ``wrong-tensor`` when the card names a tensor the network does not have.
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
        import onnxruntime

        self._path = folder / card.weights
        self._rank = card.input.rank
        self._input = card.input.tensor
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong comes back as an exception
        providers = _providers(device, onnxruntime.get_available_providers())
        source = network_source(card, folder)
        try:
            self._session: Any = onnxruntime.InferenceSession(source, options, providers=providers)
        except Exception as error:  # the library raises a dozen kinds of its own
            raise ModelError(
                "bad-network", f"cannot be loaded: {first_line(error)}", where=self._path
            ) from None
        if device == "cuda" and _CUDA not in self._session.get_providers():
            raise _no_gpu("ONNX Runtime finds no usable GPU")
        self._outputs = [output.name for output in self._session.get_outputs()]
        inputs = self._session.get_inputs()
        check_tensors(card, self._path, [tensor.name for tensor in inputs], self._outputs)
        kind = inputs[0].type
        require_float32(self._path, "input", kind, kind == "tensor(float)")
        place = "cuda:0" if device == "cuda" else "cpu"
        self.choice = Choice(f"onnxruntime {number}", place, precision, reason)
        self.device_network: DeviceNetwork | None = (
            _BoundSession(self._session, self._path)
            if device == "cuda" and memory.has_cuda()
            else None
        )
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
        self.device_network = None


class _BoundSession:
    """The session on tensors that lie on the GPU: it reads and writes them by address."""

    batch = 1
    """ONNX Runtime gains nothing from more, and its workspace grows with it."""

    def __init__(self, session: Any, path: Path) -> None:
        self.device = "cuda:0"
        self._session = session
        self._path = path
        self._input = session.get_inputs()[0].name
        self._outputs = [output.name for output in session.get_outputs()]
        self._answers: dict[tuple[int, ...], dict[str, Any]] = {}

    def stream(self) -> AbstractContextManager[Any]:
        """Return torch's default stream, which the session's own waits for."""
        return memory.default_stream(self.device)

    def __call__(self, windows: Any) -> Mapping[str, Any]:
        """Run; see `DeviceNetwork`."""
        given = windows.contiguous()
        shape = tuple(given.shape)
        answers = self._answers.get(shape)
        if answers is None:
            answers = self._answers[shape] = self._room(shape)
        binding = self._session.io_binding()
        binding.bind_input(self._input, "cuda", 0, np.float32, shape, given.data_ptr())
        for name, answer in answers.items():
            kind = memory.numpy_kind(answer)
            binding.bind_output(name, "cuda", 0, kind, tuple(answer.shape), answer.data_ptr())
        memory.synchronise(self.device)  # the session works in a stream of its own
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # as above
            raise ModelError(
                "network-failed",
                f"failed on an input of shape {shape}: {first_line(error)}",
                where=self._path,
            ) from None
        binding.synchronize_outputs()
        return answers

    def _room(self, sizes: tuple[int, ...]) -> dict[str, Any]:
        """Run once by way of the CPU to learn the shapes of the answers; make room for them."""
        try:
            told = self._session.run(None, {self._input: np.zeros(sizes, np.float32)})
        except Exception as error:  # as above
            raise ModelError(
                "network-failed",
                f"failed on an input of shape {sizes}: {first_line(error)}",
                where=self._path,
            ) from None
        return {
            name: memory.empty_like_array(value, self.device)
            for name, value in zip(self._outputs, told, strict=True)
        }


def _providers(device: str, available: list[str]) -> list[Any]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if _CUDA not in available:
        raise _no_gpu("this ONNX Runtime is built without CUDA")
    return [(_CUDA, {"use_tf32": "0"}), "CPUExecutionProvider"]


def _no_gpu(what: str) -> BackendUnavailable:
    return BackendUnavailable(
        "no-gpu", what, todo="install onnxruntime-gpu in the worker's environment"
    )

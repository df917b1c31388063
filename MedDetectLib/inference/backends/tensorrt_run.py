"""An engine at work on torch's memory and in torch's stream."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from MedDetectLib.core.errors import BackendUnavailable, ModelError
from MedDetectLib.inference.backends.tensorrt_api import (
    Flavour,
    Listener,
    last_words,
    make_logger,
    tensorrt_module,
)

__all__ = ["EngineNetwork"]


class EngineNetwork:
    """A deserialized engine; a `DeviceNetwork`.

    Input and outputs lie in memory of its own, so that a whole launch can be recorded once
    as a CUDA graph and replayed: hundreds of small kernels then cost one call. TensorRT for
    RTX records graphs itself; for TensorRT torch does.

    Args:
        flavour: which TensorRT.
        engine: from `build_engine`, for this very GPU.
        kernels: what `kernels` returned when the same engine ran before.

    Raises:
        BackendUnavailable: ``bad-engine`` when TensorRT does not take it.
    """

    def __init__(self, flavour: Flavour, engine: bytes, kernels: bytes = b"") -> None:
        import torch

        trt = tensorrt_module(flavour)
        self._trt, self._errors = trt, Listener()
        self.device = f"cuda:{torch.cuda.current_device()}"
        self._runtime = trt.Runtime(make_logger(trt, self._errors))
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise BackendUnavailable(
                "bad-engine", f"{flavour} does not take the engine: {last_words(self._errors)}"
            )
        self._kernels: Any = None
        self._context = self._make_context(flavour, kernels)
        if self._context is None:
            raise BackendUnavailable(
                "bad-engine", f"{flavour} cannot run the engine: {last_words(self._errors)}"
            )
        names = [self._engine.get_tensor_name(n) for n in range(self._engine.num_io_tensors)]
        given = trt.TensorIOMode.INPUT
        self.inputs = tuple(n for n in names if self._engine.get_tensor_mode(n) == given)
        self.outputs = tuple(n for n in names if n not in self.inputs)
        self.batch = int(self._engine.get_tensor_profile_shape(self.inputs[0], 0)[2][0])
        self._records = flavour == "tensorrt"
        self._stream = torch.cuda.Stream()
        self._ready: dict[int, _Launch] = {}

    def stream(self) -> AbstractContextManager[Any]:
        """Return a context in which torch works in the engine's stream."""
        import torch

        context: AbstractContextManager[Any] = torch.cuda.stream(self._stream)
        return context

    def __call__(self, windows: Any) -> Mapping[str, Any]:
        """Run (N, C, k, j, i) float32 on the device, N up to `batch`.

        The answers are good until the next call. Call inside `stream()`.
        """
        count = len(windows)
        launch = self._ready.get(count)
        if launch is None:
            launch = self._ready[count] = self._prepare(windows)
        launch.given.copy_(windows, non_blocking=True)
        if launch.graph is not None:
            launch.graph.replay()
        else:
            self._enqueue(launch)
        return launch.answers

    def kernels(self) -> bytes:
        """Return what was compiled while running (TensorRT for RTX), to be kept."""
        return bytes(self._kernels.serialize()) if self._kernels is not None else b""

    def _make_context(self, flavour: Flavour, kernels: bytes) -> Any:
        if flavour != "tensorrt_rtx":
            return self._engine.create_execution_context()
        config = self._engine.create_runtime_config()
        self._kernels = config.create_runtime_cache()
        if kernels:
            self._kernels.deserialize(kernels)  # what does not fit this machine is left out
        config.set_runtime_cache(self._kernels)
        config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return self._engine.create_execution_context(config)

    def _prepare(self, windows: Any) -> _Launch:
        """Lay out memory for one batch size, run once, and record that."""
        import torch

        context = self._context
        given = torch.empty_like(windows, memory_format=torch.contiguous_format)
        given.copy_(windows)
        if not context.set_input_shape(self.inputs[0], tuple(given.shape)):
            raise self._failed(tuple(given.shape))
        kinds = {
            self._trt.float32: torch.float32,
            self._trt.float16: torch.float16,
            self._trt.int32: torch.int32,
            self._trt.int64: torch.int64,
        }
        answers = {
            name: torch.empty(
                tuple(context.get_tensor_shape(name)),
                dtype=kinds[self._engine.get_tensor_dtype(name)],
                device=self.device,
            )
            for name in self.outputs
        }
        launch = _Launch(given, answers)
        self._enqueue(launch)  # the first run of a shape allocates, which cannot be recorded
        self._stream.synchronize()
        if self._records:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._stream):
                self._enqueue(launch)
            launch.graph = graph
        return launch

    def _enqueue(self, launch: _Launch) -> None:
        context, shape = self._context, tuple(launch.given.shape)
        context.set_input_shape(self.inputs[0], shape)
        context.set_tensor_address(self.inputs[0], launch.given.data_ptr())
        for name, answer in launch.answers.items():
            context.set_tensor_address(name, answer.data_ptr())
        if not context.execute_async_v3(self._stream.cuda_stream):
            raise self._failed(shape)

    def _failed(self, sizes: tuple[int, ...]) -> ModelError:
        return ModelError(
            "network-failed",
            f"failed on an input of shape {sizes}: {last_words(self._errors)}",
        )


class _Launch:
    """Memory of one batch size, and the recorded launch."""

    def __init__(self, given: Any, answers: dict[str, Any]) -> None:
        self.given = given
        self.answers = answers
        self.graph: Any = None

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
    RTX records graphs itself; for TensorRT torch does. A recorded launch holds on to what its
    context knew of the shapes, so each batch size has a context of its own; they work in turns
    and share their scratch memory.

    Args:
        flavour: which TensorRT.
        engine: from `build_engine`, for this very GPU.
        kernels: what `kernels` returned when the same engine ran before.

    Raises:
        BackendUnavailable: ``bad-engine`` when TensorRT does not take it.
        ModelError: ``bad-network`` when its input is not float32.
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
        self._flavour = flavour
        self._records = flavour == "tensorrt"
        self._kernels: Any = None
        self._config = None if self._records else self._make_config(kernels)
        scratch = int(self._engine.device_memory_size_v2) if self._records else 0
        self._scratch = torch.empty(max(1, scratch), dtype=torch.uint8, device=self.device)
        self._unused: Any = self._make_context()
        names = [self._engine.get_tensor_name(n) for n in range(self._engine.num_io_tensors)]
        given = trt.TensorIOMode.INPUT
        self.inputs = tuple(n for n in names if self._engine.get_tensor_mode(n) == given)
        self.outputs = tuple(n for n in names if n not in self.inputs)
        self.batch = int(self._engine.get_tensor_profile_shape(self.inputs[0], 0)[2][0])
        if self._engine.get_tensor_dtype(self.inputs[0]) != trt.float32:
            raise ModelError(
                "bad-network",
                "its input is not float32",
                todo="export it with float32 inputs and outputs",
            )
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

        Raises:
            ModelError: ``network-failed``.
            BackendUnavailable: ``cannot-run`` when an answer's size or type cannot be known.
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

    def _make_config(self, kernels: bytes) -> Any:
        """Return how TensorRT for RTX runs: with kernels it keeps, and graphs of its own."""
        config = self._engine.create_runtime_config()
        self._kernels = config.create_runtime_cache()
        if kernels:
            self._kernels.deserialize(kernels)  # what does not fit this machine is left out
        config.set_runtime_cache(self._kernels)
        config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return config

    def _make_context(self) -> Any:
        how = self._config or self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._engine.create_execution_context(how)
        if context is None:
            raise BackendUnavailable(
                "bad-engine", f"{self._flavour} cannot run the engine: {last_words(self._errors)}"
            )
        if self._records:
            context.set_device_memory(self._scratch.data_ptr(), self._scratch.numel())
        return context

    def _next_context(self) -> Any:
        """Return a context for a batch size that has none; TensorRT for RTX needs only one."""
        context = self._make_context() if self._unused is None else self._unused
        self._unused = None if self._records else context
        return context

    def _prepare(self, windows: Any) -> _Launch:
        """Lay out memory for one batch size, run once, and record that."""
        import torch

        context = self._next_context()
        given = torch.empty_like(windows, memory_format=torch.contiguous_format)
        given.copy_(windows)
        if not context.set_input_shape(self.inputs[0], tuple(given.shape)):
            raise self._failed(tuple(given.shape))
        launch = _Launch(context, given, {name: self._room(context, name) for name in self.outputs})
        self._enqueue(launch)  # the first run of a shape allocates, which cannot be recorded
        self._stream.synchronize()
        if self._records:
            launch.graph = self._recorded(launch)
        return launch

    def _recorded(self, launch: _Launch) -> Any:
        """Return a launch as a graph; None for a network that cannot be recorded."""
        import torch

        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                self._enqueue(launch)
        except (RuntimeError, ModelError):  # loops and branches that the device decides on
            return None
        return graph

    def _room(self, context: Any, name: str) -> Any:
        """Return memory for one answer."""
        import torch

        trt, sizes = self._trt, tuple(context.get_tensor_shape(name))
        kinds = {
            trt.float32: torch.float32,
            trt.float16: torch.float16,
            trt.bfloat16: torch.bfloat16,
            trt.int32: torch.int32,
            trt.int64: torch.int64,
            trt.bool: torch.bool,
        }
        kind = kinds.get(self._engine.get_tensor_dtype(name))
        if kind is None or min(sizes, default=0) < 0:
            what = "type" if kind is None else "size, which depends on what the image shows,"
            raise BackendUnavailable(
                "cannot-run",
                f"{self._flavour} tells no {what} of '{name}' that memory could be made for",
                todo="use another backend",
            )
        return torch.empty(sizes, dtype=kind, device=self.device)

    def _enqueue(self, launch: _Launch) -> None:
        context, shape = launch.context, tuple(launch.given.shape)
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
    """Context and memory of one batch size, and the recorded launch."""

    def __init__(self, context: Any, given: Any, answers: dict[str, Any]) -> None:
        self.context = context
        self.given = given
        self.answers = answers
        self.graph: Any = None

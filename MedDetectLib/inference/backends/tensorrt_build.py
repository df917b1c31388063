"""From ONNX to an engine: minutes of work that can be watched and broken off."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MedDetectLib.core.errors import BackendUnavailable, MedDetectError, ModelError
from MedDetectLib.core.watch import SILENT, Watch
from MedDetectLib.inference.backends.tensorrt_api import (
    Flavour,
    Listener,
    last_words,
    make_logger,
    tensorrt_module,
)

__all__ = ["Built", "EngineOrder", "build_engine"]

STAGE = "build engine"
_LOOK_S = 0.05
_building = threading.Lock()
"""One build at a time: each takes gigabytes, and measures kernels on the same GPU."""


@dataclass(frozen=True, eq=False)
class EngineOrder:
    """What is to be built.

    Args:
        network: the ONNX file's content; its types say what is computed in what precision.
        input: name of the network's input.
        item_sizes: of one window with its channels, (C, k, j, i), or (C, j, i) for a flat network.
        most: the largest batch; smaller ones run too.
        capability: compute capability to build for where no GPU is; None: the GPU here.
        refittable: whether weights can be exchanged later, see `tensorrt_refit`.
        where: for error messages.
    """

    network: bytes
    input: str
    item_sizes: tuple[int, ...]
    most: int = 1
    capability: tuple[int, int] | None = None
    refittable: bool = False
    where: str | Path = ""


@dataclass(frozen=True, eq=False)
class Built:
    """A serialized engine, and what the builder learned about this GPU (empty: nothing)."""

    engine: bytes
    timing: bytes = b""


def build_engine(
    flavour: Flavour, order: EngineOrder, watch: Watch = SILENT, timing: bytes = b""
) -> Built:
    """Build an engine.

    The builder works in a thread of its own and asks between its steps whether to go on. A
    step may take seconds, so a stop is obeyed here at once and the builder left to find out.

    Args:
        flavour: which TensorRT.
        order: what to build.
        watch: hears of progress in the stage ``"build engine"`` and may stop it.
        timing: what an earlier build learned about this GPU.

    Raises:
        BackendUnavailable: ``no-tensorrt``...; ``cannot-build`` when TensorRT cannot do it.
        ModelError: ``bad-network`` when the file is no network.
        Cancelled: the watch said stop.
    """
    build = _Build(flavour, order, timing)
    thread = threading.Thread(target=build.run, name=STAGE, daemon=True)
    watch.report(STAGE, 0.0)
    with watch.timed(STAGE):
        thread.start()
        told = 0.0
        try:
            while not build.done.wait(_LOOK_S):
                if build.fraction > told:
                    told = build.fraction
                    watch.report(STAGE, told)
                else:
                    watch.check()
        finally:
            build.stop = True
    if build.error is not None:
        raise build.error
    if build.result is None:
        raise BackendUnavailable("cannot-build", f"the builder of {flavour} died")
    watch.report(STAGE, 1.0)
    return build.result


class _Build:
    """One build, from beginning to end in one thread."""

    def __init__(self, flavour: Flavour, order: EngineOrder, timing: bytes) -> None:
        self._flavour = flavour
        self._order = order
        self._timing = timing
        self._trt = tensorrt_module(flavour)
        self.done = threading.Event()
        self.stop = False
        self.fraction = 0.0
        self.result: Built | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Build, and keep the result or the error."""
        try:
            with _building:
                if not self.stop:
                    self.result = self._build()
        except (MedDetectError, RuntimeError) as error:  # belongs to the thread that asked
            self.error = error
        finally:
            self.done.set()

    def _build(self) -> Built:
        trt, errors = self._trt, Listener()
        logger = make_logger(trt, errors)
        builder = trt.Builder(logger)
        if builder is None:
            raise self._cannot(errors)
        network = builder.create_network(_flags(trt))
        parser = trt.OnnxParser(network, logger)
        if not parser.parse(self._order.network):
            raise self._refused(parser)
        config = builder.create_builder_config()
        most = self._set_profile(builder, network, config)
        self._set_target(config)
        cache = self._set_timing(config)
        monitor = _monitor(trt, self)
        config.progress_monitor = monitor
        engine = builder.build_serialized_network(network, config)
        if engine is None:
            raise self._cannot(errors, most)
        return Built(bytes(engine), bytes(cache.serialize()) if cache is not None else b"")

    def _set_profile(self, builder: Any, network: Any, config: Any) -> int:
        """Say which shapes will come; return the largest batch."""
        order = self._order
        if network.num_inputs == 0:  # TensorRT takes any bytes for a network with nothing in it
            raise ModelError("bad-network", "is no ONNX network", where=order.where)
        given = next(
            (t for t in map(network.get_input, range(network.num_inputs)) if t.name == order.input),
            None,
        )
        if given is None or network.num_inputs != 1:
            raise ModelError(
                "wrong-tensor", f"the network has no sole input '{order.input}'", where=order.where
            )
        batch, *sizes = tuple(given.shape)
        fits = len(sizes) == len(order.item_sizes) and all(
            size in (-1, wanted) for size, wanted in zip(sizes, order.item_sizes, strict=True)
        )
        if not fits:
            raise ModelError(
                "bad-network",
                f"takes {tuple(given.shape)}, the card says windows of {order.item_sizes}",
                where=order.where,
            )
        least, most = (1, order.most) if batch == -1 else (batch, batch)
        profile = builder.create_optimization_profile()
        profile.set_shape(order.input, *((n, *order.item_sizes) for n in (least, most, most)))
        config.add_optimization_profile(profile)
        return int(most)

    def _set_target(self, config: Any) -> None:
        trt, order = self._trt, self._order
        config.clear_flag(trt.BuilderFlag.TF32)  # f32 means f32
        if order.refittable:
            config.set_flag(trt.BuilderFlag.REFIT)
        if self._flavour != "tensorrt_rtx":
            return  # TensorRT builds for the GPU it finds, and on no other machine
        target = trt.ComputeCapability.CURRENT
        if order.capability is not None:
            major, minor = order.capability
            target = getattr(trt.ComputeCapability, f"SM{major}{minor}", None)
            if target is None:
                raise BackendUnavailable(
                    "cannot-build",
                    f"TensorRT for RTX builds nothing for compute capability {major}.{minor}",
                    todo="use tensorrt, onnxruntime or torch on this GPU",
                )
        config.num_compute_capabilities = 1
        config.set_compute_capability(target, 0)

    def _set_timing(self, config: Any) -> Any:
        """Give the builder what it learned before; TensorRT for RTX learns at run time."""
        if self._flavour == "tensorrt_rtx":
            return None
        cache = config.create_timing_cache(self._timing) or config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
        return cache

    def _refused(self, parser: Any) -> Exception:
        """Say why the network was not taken."""
        errors = [parser.get_error(n) for n in range(parser.num_errors)]
        what = " ".join(errors[0].desc().split())[:300] if errors else "it does not say why"
        if any(error.code().name == "MODEL_DESERIALIZE_FAILED" for error in errors):
            return ModelError("bad-network", f"cannot be loaded: {what}", where=self._order.where)
        return BackendUnavailable(
            "cannot-build",
            f"{self._flavour} cannot compute this network: {what}",
            where=self._order.where,
            todo="use another backend",
        )

    def _cannot(self, errors: Listener, most: int | None = None) -> BackendUnavailable:
        batch = "" if most is None else f" for batches up to {most}"
        return BackendUnavailable(
            "cannot-build",
            f"{self._flavour} cannot build an engine{batch}: {last_words(errors)}",
            where=self._order.where,
            todo="use another backend or precision",
        )


def _flags(trt: Any) -> int:
    """Strongly typed: always so in TensorRT 11, to be asked for before."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _monitor(trt: Any, build: _Build) -> Any:
    """Return what TensorRT tells its progress to; a False of ours ends the build."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the package is untyped
        """Phases hold phases: a step of the outer one is worth all of the inner one."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._lock = threading.Lock()
            self._phases: dict[str, tuple[str | None, int, int]] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._lock:
                self._phases[phase_name] = (parent_phase, max(1, num_steps), 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self._lock:
                parent, steps, _ = self._phases.get(phase_name, (None, 1, 0))
                self._phases[phase_name] = (parent, steps, step + 1)
                build.fraction = max(build.fraction, self._done(phase_name))
            return not build.stop

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                self._phases.pop(phase_name, None)

        def _done(self, phase: str) -> float:
            name: str | None = phase
            done = 0.0
            while name in self._phases:
                name, steps, complete = self._phases[name]
                done = min(1.0, (complete + done) / steps)
            return done

    return Monitor()

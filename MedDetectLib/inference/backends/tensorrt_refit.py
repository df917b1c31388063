"""New weights in an engine that is built already: seconds instead of minutes.

Fine-tuning changes weights and nothing else. TensorRT exchanges them by name in an engine
built to allow it; everything decided while building stays. It needs the GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from MedDetectLib.core.errors import BackendUnavailable, ModelError
from MedDetectLib.inference.backends.onnx_graph import float_weights
from MedDetectLib.inference.backends.tensorrt_api import (
    Flavour,
    Listener,
    last_words,
    make_logger,
    tensorrt_module,
)

__all__ = ["refit_engine"]


def refit_engine(flavour: Flavour, engine: bytes, network: bytes, where: str | Path = "") -> bytes:
    """Return the engine with the weights of another training of the same network.

    Compare the networks first, see `NetworkShape`: TensorRT knows sizes of weights only, and
    only of those it uses. Check parity before using the result.

    Args:
        flavour: which TensorRT.
        engine: built with ``refittable=True``, for this very GPU.
        network: the new ONNX file's content, in the engine's precision.
        where: for error messages.

    Raises:
        BackendUnavailable: ``bad-engine``, ``cannot-refit``.
        ModelError: ``another-network`` with the names that do not fit.
    """
    trt, errors = tensorrt_module(flavour), Listener()
    logger = make_logger(trt, errors)
    opened = trt.Runtime(logger).deserialize_cuda_engine(engine)
    if opened is None:
        raise BackendUnavailable(
            "bad-engine", f"{flavour} does not take the engine: {last_words(errors)}"
        )
    if not opened.refittable:
        raise BackendUnavailable(
            "cannot-refit", "the engine was not built to take other weights", todo="build it anew"
        )
    refitter = trt.Refitter(opened, logger)
    weights = float_weights(network, where)
    _give(trt, refitter, weights, where)
    if not refitter.refit_cuda_engine():
        raise BackendUnavailable(
            "cannot-refit", f"{flavour} could not exchange the weights: {last_words(errors)}"
        )
    return bytes(opened.serialize())


def _give(trt: Any, refitter: Any, weights: dict[str, Any], where: str | Path) -> None:
    """Hand over every weight the engine asks for, by name; all of them, or none."""
    wanted = {name: refitter.get_weights_prototype(name) for name in refitter.get_all_weights()}
    faults = [f"'{name}' is missing" for name in wanted if name not in weights]
    faults += [
        f"'{name}' has {weights[name].size} values instead of {kind.size}"
        for name, kind in wanted.items()
        if name in weights and weights[name].size != kind.size
    ]
    if faults:
        raise ModelError(
            "another-network",
            f"the new weights do not fit the engine: {', '.join(sorted(faults)[:8])}",
            where=where,
            todo="build an engine of its own for it",
        )
    for name, kind in wanted.items():
        values = weights[name]
        given = trt.Weights(kind.dtype, values.ctypes.data, values.size)
        if not refitter.set_named_weights(name, given):
            raise BackendUnavailable("cannot-refit", f"the engine rejects weight '{name}'")
    left = refitter.get_missing_weights()
    if left:
        raise BackendUnavailable("cannot-refit", f"the engine also asks for {sorted(left)[:8]}")

"""Which engine a network is opened on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from MedDetectLib.core.errors import BackendUnavailable
from MedDetectLib.inference.backends import onnxruntime, openvino
from MedDetectLib.inference.backends.base import Backend
from MedDetectLib.models.card import ModelCard

__all__ = ["BACKENDS", "Engine", "open_backend"]


@dataclass(frozen=True)
class Engine:
    """One kind of backend: how to open it, how to ask its version, what it can compute in."""

    open: Callable[[ModelCard, Path, str, str], Backend]
    version: Callable[[], str]
    precisions: tuple[str, ...]


BACKENDS: dict[str, Engine] = {
    "openvino": Engine(openvino.OpenVinoBackend, openvino.version, ("f32", "bf16")),
    "onnxruntime": Engine(onnxruntime.OnnxRuntimeBackend, onnxruntime.version, ("f32",)),
}
"""By name, fastest first."""


def open_backend(
    card: ModelCard, folder: Path, name: str = "auto", precision: str = "f32"
) -> Backend:
    """Open a card's network.

    Args:
        card: the model's card.
        folder: where its files lie.
        name: a key of `BACKENDS`, or ``"auto"`` for the first that works here.
        precision: what to compute in. Anything but ``"f32"`` changes results a little and
            is therefore never chosen unasked.

    Raises:
        BackendUnavailable: ``no-backend`` when the name is unknown, ``no-precision`` when
            it cannot compute so; what the backend says when it cannot be loaded.
        ModelError: the network cannot be loaded.
    """
    if name != "auto" and name not in BACKENDS:
        raise BackendUnavailable(
            "no-backend",
            f"there is no backend '{name}'",
            todo=f"choose auto or one of: {', '.join(BACKENDS)}",
        )
    names = [name] if name != "auto" else list(BACKENDS)
    able = [key for key in names if precision in BACKENDS[key].precisions]
    if not able:
        offered = {p for key in names for p in BACKENDS[key].precisions}
        raise BackendUnavailable(
            "no-precision",
            f"backend {name} does not compute in {precision}",
            todo=f"choose one of: {', '.join(sorted(offered))}",
        )
    missing: list[BackendUnavailable] = []
    for key in able:
        reason = "asked for" if name != "auto" else f"auto: {_why(key, missing)}"
        try:
            return BACKENDS[key].open(card, folder, precision, reason)
        except BackendUnavailable as error:
            missing.append(error)
    raise missing[0]


def _why(name: str, missing: list[BackendUnavailable]) -> str:
    if not missing:
        return f"{name} is the fastest here"
    return f"{name}, because {'; '.join(error.what for error in missing)}"

"""Which engine a network is opened on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from MedDetectLib.core.errors import BackendUnavailable
from MedDetectLib.inference.backends import onnxruntime
from MedDetectLib.inference.backends.base import Backend
from MedDetectLib.models.card import ModelCard

__all__ = ["BACKENDS", "open_backend"]

Opener = Callable[[ModelCard, Path, str], Backend]

BACKENDS: dict[str, tuple[Opener, Callable[[], str]]] = {
    "onnxruntime": (onnxruntime.OnnxRuntimeBackend, onnxruntime.version),
}
"""By name, fastest first: how to open one, and how to ask its version."""


def open_backend(card: ModelCard, folder: Path, name: str = "auto") -> Backend:
    """Open a card's network.

    Args:
        card: the model's card.
        folder: where its files lie.
        name: a key of `BACKENDS`, or ``"auto"`` for the first that works here.

    Raises:
        BackendUnavailable: ``no-backend`` when the name is unknown; what the backend
            says when it cannot be loaded.
        ModelError: the network cannot be loaded.
    """
    if name != "auto":
        if name not in BACKENDS:
            raise BackendUnavailable(
                "no-backend",
                f"there is no backend '{name}'",
                todo=f"choose auto or one of: {', '.join(BACKENDS)}",
            )
        return BACKENDS[name][0](card, folder, "asked for")
    missing: list[BackendUnavailable] = []
    for key, (opener, _version) in BACKENDS.items():
        try:
            return opener(card, folder, f"auto: {key} is the fastest installed")
        except BackendUnavailable as error:
            missing.append(error)
    raise missing[0]

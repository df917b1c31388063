"""A model that is ready to run: its card, and its network open on an engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from MedDetectLib.core.watch import SILENT, Watch
from MedDetectLib.inference.backends.base import Backend
from MedDetectLib.inference.backends.choose import open_backend
from MedDetectLib.models.card import ModelCard
from MedDetectLib.models.registry import find_model

__all__ = ["Model", "load_model"]


@dataclass(frozen=True, eq=False)
class Model:
    """A card and an open backend. Use it as a context manager, or call `close`."""

    card: ModelCard
    backend: Backend

    def close(self) -> None:
        """Give the engine back."""
        self.backend.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def load_model(
    name: str | Path, backend: str = "auto", precision: str = "f32", watch: Watch = SILENT
) -> Model:
    """Find a model by name or folder, check every byte of it, and open its network.

    Args:
        name: a registered name such as ``"demo-chest-ct"``, or a model's folder.
        backend: ``"auto"``, or one that `meddetect doctor` lists.
        precision: ``"f32"``, or ``"f16"``, ``"bf16"`` where engine and machine have it.
        watch: hears of an engine that has to be built, and may stop it.

    Raises:
        ModelError: the model is not there or not what its card says.
        BackendUnavailable: the asked-for engine is not usable here.
        Cancelled: the watch said stop.
    """
    folder, card = find_model(name)
    return Model(card, open_backend(card, folder, backend, precision, watch))

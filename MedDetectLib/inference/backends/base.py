"""The seam between MedDetect and the engines that run networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import ModelError

__all__ = ["Backend", "Choice", "Tensors", "named"]

Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Choice:
    """What a backend settled on, and why; it ends up in the findings.

    Args:
        backend: name and version, ``"onnxruntime 1.23.0"``.
        device: ``"cpu"``, ``"cuda:0"``.
        precision: ``"f32"``, ``"f16"``, ``"bf16"``, ``"int8"``.
        reason: one line.
    """

    backend: str
    device: str
    precision: str
    reason: str


class Backend(Protocol):
    """A network, opened on an engine."""

    @property
    def choice(self) -> Choice:
        """What was chosen, and why."""

    def run(self, batch: npt.NDArray[np.float32]) -> Tensors:
        """Run one batch (N, C, k, j, i) and return the network's outputs by name.

        Raises:
            ModelError: ``network-failed`` when the network cannot be run on this input.
        """

    def close(self) -> None:
        """Give engine and memory back; calling it twice is harmless."""


def named(outputs: Tensors, name: str) -> npt.NDArray[Any]:
    """Return one output of a network.

    Raises:
        ModelError: ``wrong-tensor`` when the network has no output of that name.
    """
    if name not in outputs:
        raise ModelError(
            "wrong-tensor",
            f"the network answers {sorted(outputs)}, the card says '{name}'",
            todo="correct the tensor's name in the model card",
        )
    return outputs[name]

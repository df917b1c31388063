"""The seam between MedDetect and the engines that run networks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import ModelError
from MedDetectLib.models.card import AnchorBoxes, DecodedBoxes, Head, ModelCard

__all__ = [
    "Backend",
    "Choice",
    "DeviceNetwork",
    "Tensors",
    "check_tensors",
    "first_line",
    "named",
    "network_source",
    "require_float32",
]

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


class DeviceNetwork(Protocol):
    """A network that takes and answers torch tensors where they lie; see `inference.device`."""

    @property
    def device(self) -> str:
        """Torch's name of the device, ``"cuda:0"``."""

    @property
    def batch(self) -> int:
        """The most windows it takes at a time."""

    def stream(self) -> AbstractContextManager[Any]:
        """Return a context in which torch works in the network's own stream."""

    def __call__(self, windows: Any) -> Mapping[str, Any]:
        """Run (N, C, k, j, i) float32 on the device; the answers are good until the next call.

        Raises:
            ModelError: ``network-failed``.
        """


class Backend(Protocol):
    """A network, opened on an engine."""

    @property
    def choice(self) -> Choice:
        """What was chosen, and why."""

    @property
    def device_network(self) -> DeviceNetwork | None:
        """The network for work that stays on a device; None where that is the CPU."""

    def run(self, batch: npt.NDArray[np.float32]) -> Tensors:
        """Run one batch (N, C, k, j, i) and return the network's outputs by name.

        Raises:
            ModelError: ``network-failed`` when the network cannot be run on this input.
        """

    def interrupt(self) -> None:
        """Make a `run` in another thread fail soon if the engine can; the network stays good."""

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


def check_tensors(
    card: ModelCard, path: Path, inputs: Sequence[str], outputs: Sequence[str]
) -> None:
    """Refuse a network whose tensors are not those its card names.

    Raises:
        ModelError: ``wrong-tensor``.
    """
    if list(inputs) != [card.input.tensor]:
        raise ModelError(
            "wrong-tensor",
            f"the network's inputs are {list(inputs)}, the card says ['{card.input.tensor}']",
            where=path,
            todo="correct the tensor's name in the model card",
        )
    missing = [name for name in _tensors(card.head) if name not in outputs]
    if missing:
        raise ModelError(
            "wrong-tensor",
            f"the network answers {sorted(outputs)}, the card says '{missing[0]}'",
            where=path,
            todo="correct the tensor's name in the model card",
        )


def require_float32(path: Path, tensor: str, kind: str, known: bool) -> None:
    """Refuse a network that is not given, or does not answer, numbers as we know them.

    Engines differ in what they do then: some convert, some cut images off to whole numbers.

    Args:
        path: of the network.
        tensor: what is looked at, ``"input"`` or an output's name.
        kind: the engine's name of its type.
        known: whether that is one we can give or take.

    Raises:
        ModelError: ``bad-network``.
    """
    if not known:
        raise ModelError(
            "bad-network",
            f"its {tensor} is {kind}, not float32",
            where=path,
            todo="export it with float32 inputs and outputs",
        )


def network_source(card: ModelCard, folder: Path) -> bytes | str:
    """Return what an engine should load: the very bytes the card vouches for.

    A network whose card lists further files may keep its weights in them, which engines
    find only by the network's own path.

    Raises:
        ModelError: ``missing-file``; ``changed-file`` when the network was replaced since
            the card was read.
    """
    path = folder / card.weights
    if len(card.files) > 1:
        return str(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            "missing-file",
            f"the network cannot be read: {error.strerror}",
            where=path,
            todo="copy the whole model folder again",
        ) from None
    if hashlib.sha256(content).hexdigest() != card.weights_sha256:
        raise ModelError(
            "changed-file",
            "the network was replaced after its card had been checked",
            where=path,
            todo="load the model again",
        )
    return content


def first_line(error: Exception) -> str:
    """Return what an engine's exception says, in one line of bounded length."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _tensors(head: Head) -> list[str]:
    """Names of all tensors a head reads."""
    if isinstance(head, DecodedBoxes):
        return [head.boxes_tensor, head.scores_tensor, head.labels_tensor]
    if isinstance(head, AnchorBoxes):
        pairs = [(level.scores_tensor, level.deltas_tensor) for level in head.levels]
        return [name for pair in pairs for name in pair]
    return [head.tensor]

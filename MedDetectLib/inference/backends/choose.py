"""Which engine a network is opened on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from MedDetectLib.core.errors import BackendUnavailable, ModelError
from MedDetectLib.core.watch import SILENT, Watch
from MedDetectLib.inference.backends import onnxruntime, openvino, tensorrt, tensorrt_api, torch
from MedDetectLib.inference.backends.base import Backend
from MedDetectLib.inference.backends.gpu import find_gpu
from MedDetectLib.models.card import ModelCard

__all__ = ["BACKENDS", "Engine", "open_backend"]

Open = Callable[[ModelCard, Path, str, str, Watch], Backend]


@dataclass(frozen=True)
class Engine:
    """One kind of backend.

    Args:
        version: how to ask its version.
        on_cpu: opens a network on the CPU; None if it cannot.
        on_gpu: opens a network on the GPU; None if it cannot.
        cpu_precisions: what it can compute in there.
        gpu_precisions: what it can compute in there.
    """

    version: Callable[[], str]
    on_cpu: Open | None = None
    on_gpu: Open | None = None
    cpu_precisions: tuple[str, ...] = ("f32",)
    gpu_precisions: tuple[str, ...] = ("f32", "f16", "bf16")

    @property
    def precisions(self) -> tuple[str, ...]:
        """What it can compute in, somewhere."""
        both = (self.gpu_precisions * bool(self.on_gpu), self.cpu_precisions * bool(self.on_cpu))
        return tuple(dict.fromkeys(p for some in both for p in some))


def _plain(open_it: Callable[[ModelCard, Path, str, str], Backend]) -> Open:
    """Open what opens in a moment: nothing to watch."""
    return lambda card, folder, precision, reason, watch: open_it(card, folder, precision, reason)


BACKENDS: dict[str, Engine] = {
    "tensorrt": Engine(
        lambda: tensorrt_api.version("tensorrt"),
        on_gpu=partial(tensorrt.TensorRtBackend, "tensorrt"),
    ),
    "tensorrt_rtx": Engine(
        lambda: tensorrt_api.version("tensorrt_rtx"),
        on_gpu=partial(tensorrt.TensorRtBackend, "tensorrt_rtx"),
    ),
    "openvino": Engine(
        openvino.version, on_cpu=_plain(openvino.OpenVinoBackend), cpu_precisions=("f32", "bf16")
    ),
    "onnxruntime": Engine(
        onnxruntime.version,
        on_cpu=_plain(onnxruntime.OnnxRuntimeBackend),
        on_gpu=_plain(partial(onnxruntime.OnnxRuntimeBackend, device="cuda")),
        gpu_precisions=("f32",),
    ),
    "torch": Engine(
        torch.version,
        on_cpu=_plain(torch.TorchBackend),
        on_gpu=_plain(partial(torch.TorchBackend, device="cuda")),
    ),
}
"""By name."""

_ORDER = (
    ("tensorrt", "gpu"),
    ("tensorrt_rtx", "gpu"),
    ("onnxruntime", "gpu"),
    ("torch", "gpu"),
    ("openvino", "cpu"),
    ("onnxruntime", "cpu"),
    ("torch", "cpu"),
)
"""Where a network is tried, fastest first."""

_ANOTHER_MAY = ("bad-network", "not-half")
"""What an engine has against a network that the next may well run: operators differ."""

Failure = tuple[str, str, BackendUnavailable | ModelError]
"""A backend, the place where it was tried, and why it could not be used."""


def open_backend(
    card: ModelCard,
    folder: Path,
    name: str = "auto",
    precision: str = "f32",
    watch: Watch = SILENT,
) -> Backend:
    """Open a card's network.

    Args:
        card: the model's card.
        folder: where its files lie.
        name: a key of `BACKENDS`, or ``"auto"`` for the first that works here with this
            network. One that runs on GPU and CPU takes the GPU if it can.
        precision: what to compute in. Anything but ``"f32"`` changes results a little and
            is therefore never chosen unasked.
        watch: hears of an engine that has to be built, which may take minutes.

    Raises:
        BackendUnavailable: ``no-backend`` when the name is unknown, ``no-precision`` when
            it cannot compute so; what the backend says when it cannot be loaded.
        ModelError: the network cannot be loaded.
        Cancelled: the watch said stop.
    """
    if name != "auto" and name not in BACKENDS:
        raise BackendUnavailable(
            "no-backend",
            f"there is no backend '{name}'",
            todo=f"choose auto or one of: {', '.join(BACKENDS)}",
        )
    able = [
        (key, place)
        for key, place in _ORDER
        if name in ("auto", key) and precision in _precisions(key, place)
    ]
    if not able:
        names = [name] if name != "auto" else list(BACKENDS)
        offered = {p for key in names for p in BACKENDS[key].precisions}
        raise BackendUnavailable(
            "no-precision",
            f"backend {name} does not compute in {precision}",
            todo=f"choose one of: {', '.join(sorted(offered))}",
        )
    absent = _absent_gpu()
    places = [place for place in able if name != "auto" or place[1] == "cpu" or absent is None]
    if not places:
        assert absent is not None
        raise absent
    missing: list[Failure] = []
    for key, place in places:
        engine = BACKENDS[key]
        opener = engine.on_gpu if place == "gpu" else engine.on_cpu
        assert opener is not None
        try:
            return opener(card, folder, precision, _why(key, name, missing, absent), watch)
        except BackendUnavailable as error:
            missing.append((key, place, error))
        except ModelError as error:
            if name != "auto" or error.code not in _ANOTHER_MAY:
                raise
            missing.append((key, place, error))
    raise _most_telling(missing)


def _absent_gpu() -> BackendUnavailable | None:
    """Return why there is no GPU; None if there is one."""
    try:
        find_gpu()
    except BackendUnavailable as error:
        return error
    return None


def _most_telling(missing: list[Failure]) -> BackendUnavailable | ModelError:
    """Return why nothing works: what the reference engine has against the network, if anything."""
    of_network = [(key, error) for key, _, error in missing if isinstance(error, ModelError)]
    if of_network:
        return next((error for key, error in of_network if key == "onnxruntime"), of_network[0][1])
    return next((error for _, place, error in missing if place == "cpu"), missing[0][2])


def _why(
    key: str,
    asked: str,
    missing: list[Failure],
    absent: BackendUnavailable | None,
) -> str:
    """Return why this one, naming everything that was tried before it in vain."""
    tried = [
        f"{other}: {error.what}" if isinstance(error, ModelError) else error.what
        for other, place, error in missing
        if place == "cpu" or absent is None
    ]
    because = f", because {'; '.join(tried)}" if tried else ""
    if asked != "auto":
        return f"asked for{because and f'; on the CPU{because}'}"
    if tried:
        return f"auto: {key}{because}"
    return f"auto: {key} is the fastest here" + (f"; {absent.what}" if absent is not None else "")


def _precisions(key: str, place: str) -> tuple[str, ...]:
    engine = BACKENDS[key]
    if place == "gpu":
        return engine.gpu_precisions if engine.on_gpu else ()
    return engine.cpu_precisions if engine.on_cpu else ()

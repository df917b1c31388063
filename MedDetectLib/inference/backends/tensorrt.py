"""TensorRT and TensorRT for RTX: the fastest way on an NVIDIA GPU, by one code path.

    network -> types of the precision -> kept engine? -> refit? -> build -> parity -> run

Engines are built here, for this GPU, and kept; none is ever shipped.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import BackendUnavailable, MedDetectError, ModelError, StoreError
from MedDetectLib.core.watch import SILENT, Watch
from MedDetectLib.inference.backends.base import (
    Choice,
    DeviceNetwork,
    Tensors,
    check_tensors,
    network_source,
)
from MedDetectLib.inference.backends.engine_cache import EngineCache, EngineKey, Entry
from MedDetectLib.inference.backends.gpu import Gpu, find_gpu
from MedDetectLib.inference.backends.network_shape import NetworkShape
from MedDetectLib.inference.backends.onnx_graph import onnx_bytes
from MedDetectLib.inference.backends.onnx_half import half_named, halved
from MedDetectLib.inference.backends.parity import measure_parity, require_parity
from MedDetectLib.inference.backends.tensorrt_api import Flavour, version
from MedDetectLib.inference.backends.tensorrt_build import EngineOrder, build_engine
from MedDetectLib.inference.backends.tensorrt_refit import refit_engine
from MedDetectLib.inference.backends.tensorrt_run import EngineNetwork
from MedDetectLib.inference.device import memory
from MedDetectLib.models.card import ModelCard, VoxelScores

__all__ = ["EnginePlan", "TensorRtBackend", "largest_batch", "plan_engine", "ready_engine"]

_KERNELS = "runtime.cache"
_BUILT = "built"
_ANSWER_BYTES = 1 << 30
"""What the scores of one batch may take on the device: 105 classes at 128^3 are 0.9 GB."""
_MOST = 4
"""Beyond this, large windows fill the GPU anyway."""


@dataclass(frozen=True, eq=False)
class EnginePlan:
    """An engine that is wanted: what it is kept under, and what it is built from."""

    key: EngineKey
    order: EngineOrder


def largest_batch(card: ModelCard) -> int:
    """Return how many windows are run at a time."""
    if not isinstance(card.head, VoxelScores):
        return 1
    voxels = int(np.prod(card.input.window.shape_kji))
    return max(1, min(_MOST, _ANSWER_BYTES // (voxels * 4 * (len(card.labels) + 1))))


def plan_engine(
    card: ModelCard, folder: Path, flavour: Flavour, precision: str, gpu: Gpu
) -> EnginePlan:
    """Read the network, give it the precision's types, and say what engine it needs.

    TensorRT takes minutes to build and is therefore asked to allow other weights later;
    TensorRT for RTX takes seconds, and runs what may change a little slower.

    Raises:
        BackendUnavailable: ``no-tensorrt``..., ``no-onnx``.
        ModelError: ``missing-file``, ``changed-file``, ``bad-network``, ``not-half``.
    """
    path = folder / card.weights
    network = onnx_bytes(network_source(card, folder), path)
    if precision != "f32":
        network = halved(network, half_named(precision), path, last_in_half=gpu.capability < (8, 0))
    window = card.input.window.shape_kji
    sizes = (len(card.input.channels), *(window if card.input.rank == 5 else window[1:]))
    key = EngineKey(
        network_sha256=card.weights_sha256,
        engine=f"{flavour} {version(flavour)}",
        gpu=gpu.name,
        capability=f"{gpu.capability[0]}.{gpu.capability[1]}",
        driver=gpu.driver,
        precision=precision,
        item_sizes=sizes,
        most=largest_batch(card),
        refittable=flavour == "tensorrt",
    )
    order = EngineOrder(
        network, card.input.tensor, sizes, key.most, refittable=key.refittable, where=path
    )
    return EnginePlan(key, order)


def ready_engine(
    flavour: Flavour,
    plan: EnginePlan,
    cache: EngineCache,
    watch: Watch = SILENT,
    *,
    anew: bool = False,
) -> tuple[Entry, list[str]]:
    """Return the engine kept for a plan, refitted from a parent's, or built; and remarks.

    Args:
        flavour: which TensorRT.
        plan: from `plan_engine`.
        cache: where engines are kept.
        watch: hears of a build and may stop it.
        anew: build it, whatever is kept.

    Raises:
        BackendUnavailable, ModelError, Cancelled: see `build_engine`.
    """
    kept, remark = (None, "") if anew else cache.get(plan.key)
    remarks = [remark] if remark else []
    if kept is not None:
        return kept, remarks
    facts: dict[str, Any] = {}
    if plan.key.refittable:
        shape = NetworkShape.of(plan.order.network, plan.order.where)
        facts["network"] = shape.to_json()
        engine, remark = (b"", "") if anew else _refitted(flavour, plan, shape, cache)
        if engine:
            return Entry(plan.key, engine, {**facts, "made": remark}), [*remarks, remark]
        remarks += [remark] if remark else []
    timing = f"timing-{replace(plan.key, network_sha256='').digest}.cache"
    built = build_engine(flavour, plan.order, watch, cache.read_beside(timing))
    if built.timing:
        with suppress(StoreError):  # it costs time in the next build, and nothing now
            cache.write_beside(timing, built.timing)
    return Entry(plan.key, built.engine, {**facts, "made": _BUILT}), remarks


def _refitted(
    flavour: Flavour, plan: EnginePlan, mine: NetworkShape, cache: EngineCache
) -> tuple[bytes, str]:
    """Put the weights into an engine of the same network, if one is kept."""
    for key, facts in cache.facts():
        same = plan.key.matches_but_for_network(key) and facts.get("network") == mine.to_json()
        if not same:
            continue
        parent, _ = cache.get(replace(plan.key, network_sha256=str(key["network_sha256"])))
        if parent is None:
            continue
        try:
            engine = refit_engine(flavour, parent.engine, plan.order.network, plan.order.where)
        except MedDetectError as error:
            return b"", f"refitting failed ({error.what}), the engine was built"
        return engine, f"refitted from {str(key['network_sha256'])[:12]}"
    return b"", ""


class TensorRtBackend:
    """A network in an engine of TensorRT's or TensorRT for RTX's.

    Args:
        flavour: which of the two.
        card: the model's card.
        folder: where its files lie.
        precision: ``"f32"``, ``"f16"``, ``"bf16"``.
        reason: why this backend was chosen.
        watch: hears of a build and may stop it.

    Raises:
        BackendUnavailable: ``no-gpu``, ``no-tensorrt``..., ``no-torch``, ``cannot-build``,
            ``engine-differs``.
        ModelError: ``bad-network``, ``wrong-tensor``, ``not-half``.
        Cancelled: the watch said stop.
    """

    _network: EngineNetwork | None = None

    def __init__(
        self,
        flavour: Flavour,
        card: ModelCard,
        folder: Path,
        precision: str,
        reason: str,
        watch: Watch = SILENT,
    ) -> None:
        number = version(flavour)
        gpu = find_gpu()
        _require_torch(flavour)
        self._cache = EngineCache()
        plan = plan_engine(card, folder, flavour, precision, gpu)
        self._key = plan.key
        self._rank = card.input.rank
        entry, remarks = ready_engine(flavour, plan, self._cache, watch)
        try:
            remarks += self._take(flavour, entry, card, folder, watch)
        except BackendUnavailable as error:
            fresh = entry.facts.get("made") == _BUILT and "parity" not in entry.facts
            if fresh or error.code not in ("bad-engine", "engine-differs"):
                raise
            self.close()  # its memory is needed
            entry, _ = ready_engine(flavour, plan, self._cache, watch, anew=True)
            remarks.append(f"the engine was built anew, because {error.what}")
            remarks += self._take(flavour, entry, card, folder, watch)
        assert self._network is not None
        why = "; ".join([reason, *remarks])
        self.choice = Choice(f"{flavour} {number}", self._network.device, precision, why)

    def _take(
        self, flavour: Flavour, entry: Entry, card: ModelCard, folder: Path, watch: Watch
    ) -> list[str]:
        """Put an engine to work; check it, and keep it, if nobody has yet. Returns remarks.

        Raises:
            BackendUnavailable: ``bad-engine``, ``engine-differs``.
            ModelError: ``wrong-tensor``, ``bad-network``.
        """
        key = entry.key
        kernels = self._cache.read_beside(_KERNELS, key)
        self._network = EngineNetwork(flavour, entry.engine, kernels)
        check_tensors(card, folder / card.weights, self._network.inputs, self._network.outputs)
        if "parity" in entry.facts:
            return []
        with watch.stage("check engine"):
            sizes = (key.item_sizes[0], *card.input.window.shape_kji)
            reference, called = _reference(card, folder)
            parity = measure_parity(self.run, reference, sizes, key.precision, called)
        require_parity(parity, key.engine)
        try:
            self._cache.put(replace(entry, facts={**entry.facts, "parity": parity.to_json()}))
        except StoreError as error:
            return [f"the engine could not be kept ({error.what})"]
        return []

    @property
    def device_network(self) -> DeviceNetwork | None:
        """The engine, for work that stays on the device."""
        return self._network

    def run(self, batch: npt.NDArray[np.float32]) -> Tensors:
        """Run one batch (N, C, k, j, i); see `Backend.run`."""
        import torch

        network = self._network
        if network is None:
            raise ModelError("network-failed", "the engine is closed")
        given = torch.from_numpy(np.ascontiguousarray(batch[:, :, 0] if self._rank == 4 else batch))
        parts: list[dict[str, Any]] = []
        with memory.lack_told(network.device), network.stream():
            for start in range(0, len(given), network.batch):
                answers = network(given[start : start + network.batch].to(network.device))
                parts.append({name: answer.cpu() for name, answer in answers.items()})
        return {name: torch.cat([p[name] for p in parts]).numpy() for name in network.outputs}

    def interrupt(self) -> None:
        """Do nothing: one launch lasts a fraction of a second."""

    def close(self) -> None:
        """Keep what was compiled on the way, and give the engine's memory back."""
        network, self._network = self._network, None
        if network is None:
            return
        kernels = network.kernels()
        if kernels and kernels != self._cache.read_beside(_KERNELS, self._key):
            with suppress(StoreError):  # costs the next start a second, and nothing else
                self._cache.write_beside(_KERNELS, kernels, self._key)


def _reference(
    card: ModelCard, folder: Path
) -> tuple[Callable[[npt.NDArray[np.float32]], Tensors], str]:
    """Return what is right, and its name."""
    from MedDetectLib.inference.backends.onnxruntime import OnnxRuntimeBackend

    backend = OnnxRuntimeBackend(card, folder, "f32", "reference")
    return backend.run, f"{backend.choice.backend} on the CPU"


def _require_torch(flavour: str) -> None:
    """Refuse to go on without torch, whose memory and streams the engine uses."""
    try:
        import torch
    except ImportError as error:
        raise BackendUnavailable(
            "no-torch",
            f"{flavour} needs torch for the GPU's memory ({error})",
            todo="install torch with CUDA in the worker's environment",
        ) from None
    if not torch.cuda.is_available():
        raise BackendUnavailable(
            "no-gpu",
            f"{flavour} needs torch for the GPU's memory, and torch {torch.__version__} sees none",
            todo="install torch with CUDA in the worker's environment",
        )

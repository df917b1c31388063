"""From volumes to findings with everything but the components on one device.

volume --pinned--> device: turn, resample, normalise
                   device: windows, batch by batch -> network -> blend -> decide
                   CPU <-- classes and probabilities --> findings
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from MedDetectLib.core.volume import Volume
from MedDetectLib.core.watch import Watch
from MedDetectLib.inference.backends.base import DeviceNetwork, named
from MedDetectLib.inference.decode import Decoded, decode
from MedDetectLib.inference.device import memory
from MedDetectLib.inference.device.image import device_image
from MedDetectLib.inference.device.room import fitting_batch
from MedDetectLib.inference.device.scores import DeviceGather
from MedDetectLib.inference.model import Model
from MedDetectLib.inference.prepare import Prepared, prepare
from MedDetectLib.inference.windows import Window, plan_windows
from MedDetectLib.models.card import ModelCard, VoxelScores

__all__ = ["detect_on_device", "stays_on_device"]


def stays_on_device(model: Model) -> bool:
    """Whether the backend offers a device and the network scores voxels.

    Boxes and case scores are a few numbers per window: for them the ordinary path, with the
    same engine, loses nothing.
    """
    return model.backend.device_network is not None and isinstance(model.card.head, VoxelScores)


def detect_on_device(
    volumes: Volume | Sequence[Volume], model: Model, watch: Watch
) -> tuple[Decoded, Prepared]:
    """Do what `detect` does, on the device of the model's backend.

    Raises:
        InputError, ModelError, Cancelled: as `detect` does.
    """
    network, card = model.backend.device_network, model.card
    assert network is not None
    assert isinstance(card.head, VoxelScores)
    inputs = [volumes] if isinstance(volumes, Volume) else list(volumes)
    batch = fitting_batch(card, inputs, network.batch, memory.free_bytes(network.device))
    with network.stream():
        with watch.stage("prepare"):
            make = partial(device_image, device=network.device)
            prepared = prepare(volumes, card, make)
            memory.synchronise(network.device)
        gather = DeviceGather(card, prepared, network.device)
        with watch.timed("network"):
            _run_windows(network, batch, card, prepared, gather, watch)
            maps = gather.result()
    with watch.stage("findings"):
        decoded = decode(maps, prepared, card)
    return decoded, prepared


def _run_windows(
    network: DeviceNetwork,
    batch: int,
    card: ModelCard,
    prepared: Prepared,
    gather: DeviceGather,
    watch: Watch,
) -> None:
    assert isinstance(card.head, VoxelScores)
    windows = plan_windows(prepared.shape_kji, card.input.window)
    groups = [windows[n : n + batch] for n in range(0, len(windows), batch)]
    pace = memory.Pace(network.device)
    for group in watch.each(groups, "detect"):
        answers = network(_cut(group, prepared.array, card.input.rank))
        scores = named(answers, card.head.tensor)
        for window, one in zip(group, scores, strict=True):
            gather.add(window, one if one.ndim == 4 else one[:, None])
        pace.step()


def _cut(windows: Sequence[Window], image: Any, rank: int) -> Any:
    """Return (N, C, k, j, i): windows of (C, k, j, i), padded to full size."""
    import torch

    sizes = (len(windows), len(image), *windows[0].size_kji)
    batch = torch.empty(sizes, dtype=torch.float32, device=image.device)
    for window, place in zip(windows, batch, strict=True):
        part = image[(slice(None), *window.inside)]
        if tuple(part.shape[1:]) != window.size_kji:
            place.fill_(window.pad_value)
        place[(slice(None), *window.own)] = part
    return batch[:, :, 0] if rank == 4 else batch

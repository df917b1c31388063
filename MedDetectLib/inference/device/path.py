"""From volumes to findings with everything but the components on one device.

volume --pinned--> device: turn, resample, normalise
                   device: windows, batch by batch -> network -> blend -> decide
                   CPU <-- classes and probabilities --> findings
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from MedDetectLib.core.volume import Volume
from MedDetectLib.core.watch import Watch
from MedDetectLib.inference.backends.base import DeviceNetwork, named
from MedDetectLib.inference.decode import Decoded, decode
from MedDetectLib.inference.device import memory
from MedDetectLib.inference.device.image import device_image
from MedDetectLib.inference.device.scores import DeviceGather
from MedDetectLib.inference.empty_windows import EmptyWindows
from MedDetectLib.inference.model import Model
from MedDetectLib.inference.prepare import Prepared, prepare
from MedDetectLib.inference.windows import Window, plan_windows
from MedDetectLib.models.card import VoxelScores

__all__ = ["detect_on_device", "stays_on_device"]


def stays_on_device(model: Model) -> bool:
    """Whether the backend offers a device and the network scores voxels.

    Boxes and case scores are a few numbers per window: for them the ordinary path, with the
    same engine, loses nothing.
    """
    return model.backend.device_network is not None and isinstance(model.card.head, VoxelScores)


def detect_on_device(
    volumes: Volume | Sequence[Volume],
    model: Model,
    watch: Watch,
    batch: int,
    empty: EmptyWindows | None = None,
) -> tuple[Decoded, Prepared]:
    """Do what `detect` does, on the device of the model's backend.

    Args:
        volumes: as `detect` takes them.
        model: whose backend offers a device.
        watch: as `detect` takes it.
        batch: windows at a time, as planned.
        empty: leaves out windows in which there is nothing to see; None: none is left out.

    Raises:
        InputError, ModelError, Cancelled: as `detect` does; ``not-enough-memory`` also when the
            device's runs out on the way.
    """
    network, card = model.backend.device_network, model.card
    assert network is not None
    assert isinstance(card.head, VoxelScores)
    with memory.lack_told(network.device, card.name), network.stream():
        with watch.stage("prepare"):
            make = partial(device_image, device=network.device)
            prepared = prepare(volumes, card, make)
            memory.synchronise(network.device)
        gather = DeviceGather(card, prepared, network.device)
        pace = memory.Pace(network.device)
        with watch.timed("network"):
            windows = plan_windows(prepared.shape_kji, card.input.window)
            left_out = _left_out(windows, prepared.array, empty)
            groups = _grouped(windows, left_out, batch)
            for group in watch.each(groups, "detect"):
                _add(group, left_out, network, gather, prepared.array, model, empty)
                pace.step()
            maps = gather.result()
    with watch.stage("findings"):
        decoded = decode(maps, prepared, card)
    return decoded, prepared


def _left_out(windows: Sequence[Window], image: Any, empty: EmptyWindows | None) -> frozenset[int]:
    """Return which windows, by number, are not run; one look at the device for all of them."""
    import torch

    if empty is None:
        return frozenset()
    parts = [image[(slice(None), *window.inside)] for window in windows]
    lows = torch.stack([part.amin((1, 2, 3)) for part in parts]).cpu().numpy()
    highs = torch.stack([part.amax((1, 2, 3)) for part in parts]).cpu().numpy()
    both = zip(lows, highs, strict=True)
    return frozenset(n for n, (low, high) in enumerate(both) if empty.judges(low, high))


Numbered = list[tuple[int, Window]]


def _grouped(windows: Sequence[Window], left_out: frozenset[int], batch: int) -> list[Numbered]:
    """Cut the windows, in their order, into groups with `batch` to run in each."""
    groups: list[Numbered] = [[]]
    to_run = 0
    for n, window in enumerate(windows):
        if to_run == batch and n not in left_out:
            groups.append([])
            to_run = 0
        groups[-1].append((n, window))
        to_run += n not in left_out
    return groups


def _add(
    group: Numbered,
    left_out: frozenset[int],
    network: DeviceNetwork,
    gather: DeviceGather,
    image: Any,
    model: Model,
    empty: EmptyWindows | None,
) -> None:
    """Run a group's windows and blend them all in, in their order."""
    import torch

    head = model.card.head
    assert isinstance(head, VoxelScores)
    to_run = [window for n, window in group if n not in left_out]
    scores: Iterator[Any] = iter(())
    if to_run:
        answers = network(_cut(to_run, image, model.card.input.rank))
        scores = iter(named(answers, head.tensor))
    for n, window in group:
        if n not in left_out:
            one = next(scores)
        else:
            assert empty is not None
            answer = empty.answer(window) or {}
            plain = answer[head.tensor][0, :, :1, :1, :1].copy()
            one = torch.from_numpy(plain).to(image.device).expand(-1, *window.size_kji)
        gather.add(window, one if one.ndim == 4 else one[:, None])


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

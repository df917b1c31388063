"""Memory of a device, in torch: getting there, making room, coming back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.memory import available_bytes

__all__ = [
    "Pace",
    "arriving",
    "default_stream",
    "download",
    "empty_like_array",
    "free_bytes",
    "has_cuda",
    "lack_told",
    "numpy_kind",
    "synchronise",
    "upload",
]

_PIECE = 64 << 20
"""Bytes staged at a time: two pieces in turns keep the bus busy while the CPU fills one."""


def has_cuda() -> bool:
    """Whether torch is here and sees a GPU."""
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def default_stream(device: str) -> AbstractContextManager[Any]:
    """Return a context in which torch works in the stream all others wait for."""
    import torch

    if not device.startswith("cuda"):
        return contextlib.nullcontext()
    context: AbstractContextManager[Any] = torch.cuda.stream(torch.cuda.default_stream(device))
    return context


def synchronise(device: str) -> None:
    """Wait until the device has done all it was given."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.current_stream(device).synchronize()


def free_bytes(device: str) -> int:
    """Return what new tensors may take: free on the device, or kept by torch for reuse."""
    import torch

    if not device.startswith("cuda"):
        return available_bytes()
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + int(kept)


@contextlib.contextmanager
def lack_told(device: str, where: str = "") -> Iterator[None]:
    """Tell of a device whose memory ran out, whatever the plan said, as of any lack of memory.

    Args:
        device: torch's name.
        where: for the message.

    Raises:
        InputError: ``not-enough-memory``.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()  # what others may use, and the next run
        raise InputError(
            "not-enough-memory",
            f"the memory of {device} ran out while it computed",
            where=where,
            todo="close what else uses the GPU, crop the volume, or choose --backend openvino",
        ) from None


def empty_like_array(array: npt.NDArray[Any], device: str) -> Any:
    """Return a tensor of an array's shape and type, its values undefined."""
    import torch

    kind = torch.from_numpy(np.empty(0, array.dtype)).dtype
    return torch.empty(array.shape, dtype=kind, device=device)


def numpy_kind(tensor: Any) -> Any:
    """Return NumPy's name of a tensor's type."""
    import torch

    return torch.empty(0, dtype=tensor.dtype).numpy().dtype.type


def upload(array: npt.NDArray[Any], device: str) -> Any:
    """Return a tensor with an array's values on the device, in the array's own axis order.

    To a GPU it goes through two pinned buffers in turns: the bus reads one while the CPU
    fills the other. Types torch does not compute with become float32 on the way.

    Args:
        array: [k, j, i] of any strides; a whole CT stays int16 until it is there.
        device: torch's name.
    """
    import torch

    if array.dtype not in _KINDS:
        with np.errstate(over="ignore"):  # infinity is refused where the image is looked at
            array = array.astype(np.float32)
    if not device.startswith("cuda"):
        return torch.from_numpy(np.array(array, order="C"))
    kind = torch.from_numpy(np.empty(0, array.dtype)).dtype
    there = torch.empty(array.shape, dtype=kind, device=device)
    planes = max(1, _PIECE // max(1, array[:1].nbytes))
    staging = [
        torch.empty((min(planes, len(array)), *array.shape[1:]), dtype=kind, pin_memory=True)
        for _ in range(2)
    ]
    gone: list[Any] = [None, None]
    for turn, start in enumerate(range(0, len(array), planes)):
        piece = array[start : start + planes]
        if gone[turn % 2] is not None:
            gone[turn % 2].synchronize()
        staged = staging[turn % 2][: len(piece)]
        np.copyto(staged.numpy(), piece)
        there[start : start + len(piece)].copy_(staged, non_blocking=True)
        gone[turn % 2] = torch.cuda.Event()
        gone[turn % 2].record()
    for event in gone:
        if event is not None:
            event.synchronize()  # the staging buffers go out of scope
    return there


def download(tensor: Any) -> npt.NDArray[Any]:
    """Return a tensor's values as an array of the CPU's; through pinned memory from a GPU."""
    import torch

    if tensor.device.type != "cuda":
        return np.asarray(tensor.contiguous().numpy())
    here = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    here.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    return np.asarray(here.numpy())


def arriving(sizes: tuple[int, ...], kind: str, device: str) -> Any:
    """Return memory of the CPU's, zero, that a device writes into without being waited for."""
    import torch

    return torch.zeros(sizes, dtype=getattr(torch, kind), pin_memory=device.startswith("cuda"))


class Pace:
    """Keeps the CPU from running far ahead of the device.

    Launches return at once. Without this, all of them would be queued within milliseconds,
    progress would be over before anything is done, and a stop would come too late.

    Args:
        device: torch's name.
        ahead: how many steps may be under way.
    """

    def __init__(self, device: str, ahead: int = 2) -> None:
        self._on_gpu = device.startswith("cuda")
        self._ahead = ahead
        self._events: list[Any] = []

    def step(self) -> None:
        """Mark the end of a step; wait for the one `ahead` steps back."""
        if not self._on_gpu:
            return
        import torch

        event = torch.cuda.Event()
        event.record()
        self._events.append(event)
        if len(self._events) > self._ahead:
            self._events.pop(0).synchronize()


_KINDS = {np.dtype(name) for name in ("u1", "i1", "i2", "i4", "f4")}
"""NumPy types in native byte order that go up as they are."""

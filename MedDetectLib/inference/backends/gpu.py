"""The NVIDIA GPU of this machine, as its driver tells, without any framework."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from MedDetectLib.core.errors import BackendUnavailable

__all__ = ["Gpu", "find_gpu"]

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...


@dataclass(frozen=True)
class Gpu:
    """What an engine depends on.

    Args:
        name: ``"NVIDIA H200"``.
        capability: compute capability, major and minor.
        driver: version of the driver, ``"580.65.06"``; of its CUDA interface where the
            driver does not tell its own.
        memory_bytes: all its memory.
    """

    name: str
    capability: tuple[int, int]
    driver: str
    memory_bytes: int


def find_gpu(load: Callable[[str], Any] = ctypes.CDLL) -> Gpu:
    """Return the first GPU.

    Args:
        load: loads a shared library by name.

    Raises:
        BackendUnavailable: ``no-gpu``.
    """
    try:
        cuda = load("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        raise _no_gpu("there is no NVIDIA driver here") from None
    status = cuda.cuInit(0)
    if status != 0:
        raise _no_gpu(f"the NVIDIA driver finds no usable GPU (CUDA error {status})")
    device = ctypes.c_int()
    if cuda.cuDeviceGet(ctypes.byref(device), 0) != 0:
        raise _no_gpu("the NVIDIA driver lists no GPU")
    name = ctypes.create_string_buffer(100)
    memory = ctypes.c_size_t()
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    capability = _attribute(cuda, _MAJOR, device), _attribute(cuda, _MINOR, device)
    text = name.value.decode(errors="replace")
    return Gpu(text, capability, _driver(cuda, load), memory.value)


def _attribute(cuda: Any, which: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(value), which, device)
    return value.value


def _driver(cuda: Any, load: Callable[[str], Any]) -> str:
    """Return the driver's version from its management library, which is nearly always there."""
    text = ctypes.create_string_buffer(80)
    try:
        management = load("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
        if management.nvmlInit_v2() == 0:
            told = management.nvmlSystemGetDriverVersion(text, len(text))
            management.nvmlShutdown()
            if told == 0:
                return text.value.decode(errors="replace")
    except (OSError, AttributeError):
        pass
    version = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    return f"cuda {version.value // 1000}.{version.value % 1000 // 10}"


def _no_gpu(what: str) -> BackendUnavailable:
    return BackendUnavailable(
        "no-gpu", what, todo="run on the CPU, or install the driver of the GPU"
    )

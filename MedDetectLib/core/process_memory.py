"""What this process holds in memory, now and at most; for measuring, not for limiting."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

__all__ = ["peak_bytes", "resident_bytes"]


def peak_bytes() -> int:
    """Return the most memory this process has held at once, in bytes; 0 where nobody knows.

    On Linux from the process's own address space: `ru_maxrss` starts at what the parent
    held when it started us.
    """
    if sys.platform == "win32":
        return int(_counters().peak)
    linux = _status("VmHWM:")
    if linux is not None:
        return linux
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_bytes() -> int:
    """Return the memory this process holds now, in bytes; the peak where only that is known."""
    if sys.platform == "win32":
        return int(_counters().now)
    linux = _status("VmRSS:")
    return peak_bytes() if linux is None else linux


def _status(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return None
    return next((int(x.split()[1]) * 1024 for x in lines if x.startswith(name)), None)


class _Counters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS of the Windows API: working set, at most and now."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("faults", ctypes.c_uint32),
        ("peak", ctypes.c_size_t),
        ("now", ctypes.c_size_t),
        *((f"field_{n}", ctypes.c_size_t) for n in range(6)),
    )


def _counters(kernel: Any = None) -> _Counters:
    """Return what Windows says of this process, or zeros if it does not answer."""
    counters = _Counters()
    counters.size = ctypes.sizeof(_Counters)
    if kernel is None:
        kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 (absent outside Windows)
    ask, me = kernel.K32GetProcessMemoryInfo, kernel.GetCurrentProcess
    me.restype = ctypes.c_void_p
    ask.argtypes = (ctypes.c_void_p, ctypes.POINTER(_Counters), ctypes.c_uint32)
    ask(me(), ctypes.byref(counters), counters.size)
    return counters

"""What this process holds in memory, now and at most; for measuring, not for limiting."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["peak_bytes", "resident_bytes"]


def peak_bytes() -> int:
    """Return the most memory this process has held at once, in bytes; 0 where nobody knows.

    On Linux from the process's own address space: `ru_maxrss` starts at what the parent
    held when it started us.
    """
    linux = _status("VmHWM:")
    if linux is not None or sys.platform == "win32":
        return linux or 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_bytes() -> int:
    """Return the memory this process holds now, in bytes; the peak where only that is known."""
    linux = _status("VmRSS:")
    return peak_bytes() if linux is None else linux


def _status(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return None
    return next((int(x.split()[1]) * 1024 for x in lines if x.startswith(name)), None)

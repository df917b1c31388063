"""How much memory is free, and refusing what would not fit before it is allocated."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path

from MedDetectLib.core.errors import InputError

__all__ = ["available_bytes", "bytes_from_text", "bytes_text", "require_memory", "total_bytes"]


def available_bytes() -> int:
    """Return the memory a new allocation may use, in bytes, as the OS (or cgroup) tells it.

    A machine that does not tell gets the benefit of the doubt: 2**62.
    """
    if sys.platform == "win32":
        return _available_windows()
    free = _available_linux()
    if free is None and hasattr(os, "sysconf"):
        try:
            # macOS has no count of reclaimable pages here; half of all memory is a fair guess.
            free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        except (ValueError, OSError):
            free = None
    return free if free is not None else 2**62


def require_memory(
    needed_bytes: int, limit_bytes: int | None, *, what: str, where: str | os.PathLike[str] = ""
) -> None:
    """Refuse what needs more than `limit_bytes` (None: what is available now).

    Raises:
        InputError: ``too-large``; `what` says who claims it, e.g. ``"the header"``.
    """
    limit = available_bytes() if limit_bytes is None else limit_bytes
    if needed_bytes > limit:
        raise InputError(
            "too-large",
            f"{what} claims {bytes_text(needed_bytes)} of memory, {bytes_text(limit)} are free",
            where=where,
            todo="check that the header is right; crop or resample the image, or free memory",
        )


def bytes_text(count: int) -> str:
    """Return a number of bytes as a person says it."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def bytes_from_text(text: str, where: str = "") -> int:
    """Return the bytes in what a person writes: ``8GB``, ``500 MiB``, ``1.5G``.

    Raises:
        InputError: ``bad-memory`` when it is no size, or none above zero.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", text, re.IGNORECASE)
    if match is None or float(match[1]) == 0.0:
        raise InputError(
            "bad-memory", f"'{text}' is no amount of memory", where=where, todo="write it as 8GB"
        )
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** " kmgt".index(match[2].lower() or " "))


def total_bytes() -> int | None:
    """Return the memory of this machine, None where it does not tell."""
    if sys.platform == "win32":
        return int(_memory_status().field_0) or None
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


_GROUPS = (
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    (
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)
"""Where the two versions of cgroups tell limit, use, and what of that are files read long ago."""


def _available_linux(root: Path = Path("/")) -> int | None:
    """MemAvailable, or what is left below the cgroup's limit if that is less."""
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    free = [int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable:")]
    free += [left for names in _GROUPS if (left := _left_in_group(root, *names)) is not None]
    return min(free, default=None)


def _left_in_group(root: Path, folder: str, limit: str, used: str, files: str) -> int | None:
    """Return what a cgroup has left; None where there is none, or no limit.

    Files that were read stay in memory and count as used until somebody else needs the
    room: without taking them off, a large series just read would leave no room to look at it.
    """
    group = root / folder
    try:
        most = int((group / limit).read_text(encoding="ascii"))
        taken = int((group / used).read_text(encoding="ascii"))
    except (OSError, ValueError):  # "max" is no number
        return None
    try:
        told = dict(x.split() for x in (group / "memory.stat").read_text("ascii").splitlines())
        taken -= int(told.get(files, 0))
    except (OSError, ValueError):
        pass  # then they count as used
    return max(most - taken, 0)


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *((f"field_{n}", ctypes.c_uint64) for n in range(7)),
    )


def _memory_status() -> _MemoryStatus:
    """Return what Windows says, or zeros if it does not answer."""
    status = _MemoryStatus()
    status.length = ctypes.sizeof(_MemoryStatus)
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 (absent outside Windows)
    kernel.GlobalMemoryStatusEx(ctypes.byref(status))
    return status


def _available_windows() -> int:
    """Free physical memory (the second 64-bit field)."""
    return int(_memory_status().field_1) or 2**62

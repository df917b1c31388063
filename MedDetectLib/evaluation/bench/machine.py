"""What the figures were measured on: processor, cores, memory, system, versions."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from MedDetectLib import __version__
from MedDetectLib.inference.parallel import core_count

__all__ = ["load_average", "machine_line", "processor", "total_memory_gib", "versions"]

_OWN = ("numpy", "scipy", "openvino", "onnxruntime")
"""What our own side computes with."""


def machine_line(packages: Sequence[str] = ()) -> str:
    """Return machine and versions in one line, without host name or paths.

    Args:
        packages: distributions of the baseline, named beside our own.
    """
    memory = total_memory_gib()
    parts = [
        f"{processor()}, {core_count()} cores",
        f"{memory:.0f} GiB" if memory else "",
        f"{platform.system()} {platform.release()}",
        f"Python {platform.python_version()}",
        f"meddetect {__version__}",
        *versions(dict.fromkeys((*packages, *_OWN))),
    ]
    return ", ".join(part for part in parts if part)


def processor() -> str:
    """Return the processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    name = named.get("model name") or platform.processor() or platform.machine()
    widest = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
              if flag in named.get("flags", "").split()]  # fmt: skip
    return f"{name} ({', '.join(widest)})" if widest else name


def load_average() -> float | None:
    """Return how many processes wanted a core over the last minute; None if nobody counts."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def total_memory_gib() -> float | None:
    """Return the machine's memory, or None where it does not tell."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def versions(packages: Sequence[str] | dict[str, None]) -> list[str]:
    """Return ``"name version"`` of each distribution that is installed."""
    found = []
    for name in packages:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return found

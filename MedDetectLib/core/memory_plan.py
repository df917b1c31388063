"""What a run will take of memory: made by `inference.memory_plan`, shown by any door."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from MedDetectLib.core.memory import bytes_text
from MedDetectLib.core.notes import Note

__all__ = ["MemoryPlan"]


@dataclass(frozen=True)
class MemoryPlan:
    """What a run will take, in bytes.

    Args:
        held_bytes: what the process holds before it: Python, libraries, volume, network.
        tides: what each stage adds at its highest, by name.
        parts: what the largest pieces are, by name.
        bands: in how many bands the volume is done, see `bands.py`; 1 is the fastest.
        windows_factor: how many times more windows are run because of that, about.
        device_bytes: what a GPU path adds on the device, network not counted; 0 on the CPU.
        device_batch: windows at a time there; 0 on the CPU.
        device_ceiling_bytes: what it was allowed there; None for no limit but free memory.
        device_free_bytes: what was free there when it was planned.
        ceiling_bytes: what the process was allowed; None for no limit but free memory.
        free_bytes: what was free when it was planned.
    """

    held_bytes: int
    tides: dict[str, int]
    parts: dict[str, int] = field(default_factory=dict)
    bands: int = 1
    windows_factor: float = 1.0
    device_bytes: int = 0
    device_batch: int = 0
    device_ceiling_bytes: int | None = None
    device_free_bytes: int = 0
    ceiling_bytes: int | None = None
    free_bytes: int = 0

    @property
    def added_bytes(self) -> int:
        """What the run adds at its highest."""
        return max(self.tides.values())

    @property
    def peak_bytes(self) -> int:
        """The most the process will hold."""
        return self.held_bytes + self.added_bytes

    @property
    def fits(self) -> bool:
        """Whether free memory and the ceilings allow it."""
        within = self.ceiling_bytes is None or self.peak_bytes <= self.ceiling_bytes
        return within and self.added_bytes <= self.free_bytes and self.fits_device

    @property
    def fits_device(self) -> bool:
        """Whether the device's free memory and ceiling allow it."""
        ceiling = self.device_ceiling_bytes
        within = ceiling is None or self.device_bytes <= ceiling
        return within and self.device_bytes <= self.device_free_bytes

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the findings must say of it."""
        if self.bands == 1:
            return ()
        why = (
            f"{bytes_text(self.free_bytes)} of memory are free"
            if self.ceiling_bytes is None
            else f"at most {bytes_text(self.ceiling_bytes)} of memory were allowed"
        )
        text = (
            f"done in {self.bands} bands, with about {self.windows_factor:.1f} times the windows,"
            f" because {why}; the findings are the same"
        )
        return (Note("memory-shrunk", text),)

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the fields, and the two sums."""
        return {
            **vars(self),
            "tides": dict(self.tides),
            "parts": dict(self.parts),
            "added_bytes": self.added_bytes,
            "peak_bytes": self.peak_bytes,
            "fits": self.fits,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> MemoryPlan:
        """Rebuild what `to_json` returned."""
        sums = ("added_bytes", "peak_bytes", "fits")
        return cls(**{name: value for name, value in data.items() if name not in sums})

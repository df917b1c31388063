"""Shared memory kept for the next request: having pages made costs more than filling them."""

from __future__ import annotations

import threading
from collections import deque

from MedDetectLib.inference.worker import segments
from MedDetectLib.inference.worker.segments import Segment

__all__ = ["KEEP_BYTES", "Spares"]

KEEP_BYTES = 512 << 20
"""The voxels and the label map of a large CT."""
_MOST_WASTE = 2


class Spares:
    """Hands out shared memory, used or new, and keeps what comes back, up to a limit.

    Args:
        keep_bytes: how much may lie here unused; what came back first goes first.
    """

    def __init__(self, keep_bytes: int = KEEP_BYTES) -> None:
        self._keep_bytes = keep_bytes
        self._kept: deque[Segment] = deque()
        self._lock = threading.Lock()

    @property
    def kept(self) -> tuple[Segment, ...]:
        """What lies here unused."""
        return tuple(self._kept)

    def take(self, size: int) -> Segment:
        """Return memory of this size or up to twice as much; what it holds is undefined.

        Raises:
            OSError: there is not so much.
        """
        with self._lock:
            fitting = [s for s in self._kept if size <= s.size <= size * _MOST_WASTE]
            if fitting:
                best = min(fitting, key=lambda segment: segment.size)
                self._kept.remove(best)
                return best
        try:
            return segments.create(size)
        except OSError:
            self.clear()
            return segments.create(size)

    def give_back(self, segment: Segment) -> None:
        """Keep memory that no process uses any more."""
        with self._lock:
            self._kept.append(segment)
            while sum(kept.size for kept in self._kept) > self._keep_bytes:
                self._kept.popleft().close()

    def clear(self) -> None:
        """Give everything to the system."""
        with self._lock:
            while self._kept:
                self._kept.popleft().close()

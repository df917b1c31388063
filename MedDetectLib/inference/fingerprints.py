"""Fingerprints of the input, taken while the network runs.

Half a second of one core for a large CT: as long as a GPU takes for all the rest.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from MedDetectLib.core.volume import Volume

__all__ = ["Fingerprints"]


class Fingerprints:
    """Hashes volumes in a thread of its own; use it as a context manager.

    Leaving it, in whatever way, ends the thread: nobody reads the voxels afterwards.

    Args:
        volumes: what is hashed, in this order.
    """

    def __init__(self, volumes: Sequence[Volume]) -> None:
        self._volumes = volumes
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1, "fingerprints")
        self._told: list[Future[str]] = []

    def __enter__(self) -> Fingerprints:
        self._told = [
            self._pool.submit(volume.fingerprint, self._stop.is_set) for volume in self._volumes
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def result(self) -> list[str]:
        """Return the sha256 of each volume, after waiting for it if need be."""
        return [told.result() for told in self._told]

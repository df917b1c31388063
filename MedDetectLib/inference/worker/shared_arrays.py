"""Arrays that two processes see at once, filled and emptied in pieces.

The client owns every array: the memory goes when `close` is called, when the object is
collected, or with the client's process. The worker only attaches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import WorkerFailed
from MedDetectLib.core.memory import bytes_text
from MedDetectLib.inference.worker import segments
from MedDetectLib.inference.worker.segments import Segment
from MedDetectLib.inference.worker.spares import Spares

__all__ = ["SharedArray", "Span"]

Span = tuple[int, int]
"""Slices of an array, from the first to before the last."""

_PIECE_BYTES = 4 << 20
"""Copied at a time: 1 to 3 ms, and all of it in the cache."""


class SharedArray:
    """A C-ordered array in shared memory; make one with `create` or `attach`.

    Args:
        segment: the memory.
        shape: of the array.
        kind: number type of the array.
        spares: where the memory goes when it is recycled.
    """

    def __init__(
        self,
        segment: Segment,
        shape: Sequence[int],
        kind: np.dtype[Any],
        spares: Spares | None = None,
    ) -> None:
        self.shape = tuple(shape)
        self.dtype = kind
        self._segment: Segment | None = segment
        self._spares = spares
        self._view: npt.NDArray[Any] | None = None

    @classmethod
    def create(
        cls, shape: Sequence[int], dtype: npt.DTypeLike, spares: Spares | None = None
    ) -> SharedArray:
        """Make a new array and own it; its values are undefined when it comes from spares.

        Raises:
            WorkerFailed: ``no-shared-memory`` when the system has not enough of it.
        """
        kind = np.dtype(dtype)
        size = _size(shape, kind)
        try:
            segment = segments.create(size) if spares is None else spares.take(size)
        except OSError as error:
            raise _no_memory(size, error) from None
        return cls(segment, shape, kind, spares)

    @classmethod
    def copy_of(cls, array: npt.NDArray[Any]) -> SharedArray:
        """Make a new array with the values of another, in its number type.

        Raises:
            WorkerFailed: ``no-shared-memory``.
        """
        shared = cls.create(array.shape, array.dtype)
        for _ in shared.fill(array):
            pass
        return shared

    @classmethod
    def attach(cls, data: dict[str, Any], *, writable: bool = False) -> SharedArray:
        """See an array that another process owns.

        Raises:
            WorkerFailed: ``lost-shared-memory`` when it is not there (any more).
        """
        shape, kind = data["shape"], np.dtype(data["dtype"])
        try:
            segment = segments.open_existing(data, _size(shape, kind), writable)
        except (OSError, ValueError) as error:
            raise WorkerFailed(
                "lost-shared-memory", f"cannot be attached: {error}", where=data["name"]
            ) from None
        return cls(segment, shape, kind)

    def to_json(self) -> dict[str, Any]:
        """Return what `attach` needs."""
        return {**self._open.address, "shape": list(self.shape), "dtype": self.dtype.str}

    @property
    def array(self) -> npt.NDArray[Any]:
        """The memory itself as an array, read-only when attached so; not beyond `close`."""
        if self._view is None:
            count = int(np.prod(self.shape, dtype=np.int64))
            memory = self._open.mapped()
            self._view = np.frombuffer(memory, self.dtype, count).reshape(self.shape)
        return self._view

    # --- in pieces --------------------------------------------------------------------

    def fill(self, array: npt.NDArray[Any], spans: Iterable[Span] | None = None) -> Iterator[int]:
        """Copy slices of `array` to the same place here; all of them unless `spans` says which.

        Yields:
            Bytes copied, piece by piece.

        Raises:
            WorkerFailed: ``no-shared-memory``.
        """
        for start, stop in self._pieces(spans):
            part = np.ascontiguousarray(array[start:stop], self.dtype)
            try:
                self._open.write(start * self._slice_bytes, _bytes_of(part))
            except OSError as error:
                raise _no_memory(_size(self.shape, self.dtype), error) from None
            yield part.nbytes

    def empty_into(
        self, array: npt.NDArray[Any], spans: Iterable[Span] | None = None
    ) -> Iterator[int]:
        """Copy slices from here to the same place in `array`, which must be contiguous.

        Yields:
            Bytes copied, piece by piece.
        """
        for start, stop in self._pieces(spans):
            part = array[start:stop]
            self._open.read(start * self._slice_bytes, _bytes_of(part))
            yield part.nbytes

    def _pieces(self, spans: Iterable[Span] | None) -> Iterator[Span]:
        few = max(1, _PIECE_BYTES // max(1, self._slice_bytes))
        for first, last in [(0, self.shape[0])] if spans is None else spans:
            for start in range(first, last, few):
                yield start, min(start + few, last)

    @property
    def _slice_bytes(self) -> int:
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    # --- the end ----------------------------------------------------------------------

    @property
    def _open(self) -> Segment:
        if self._segment is None:
            raise WorkerFailed("lost-shared-memory", "it has been closed")
        return self._segment

    def close(self) -> None:
        """Let go of the memory. Twice is harmless."""
        segment, self._segment = self._segment, None
        self._view = None
        if segment is not None:
            segment.close()

    def recycle(self) -> None:
        """Let go of memory that the other process has let go of too: others may use it."""
        segment, self._segment = self._segment, None
        self._view = None
        if segment is not None:
            if self._spares is None:
                segment.close()
            else:
                self._spares.give_back(segment)


def _size(shape: Sequence[int], kind: np.dtype[Any]) -> int:
    return max(1, int(np.prod(shape, dtype=np.int64)) * kind.itemsize)


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8).data)


def _no_memory(size: int, error: OSError) -> WorkerFailed:
    return WorkerFailed(
        "no-shared-memory",
        f"{bytes_text(size)} of shared memory cannot be had: {error.strerror}",
        todo="close other programs; in a container, give it more memory",
    )

"""One thing asked of the worker, from asking to answer."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from MedDetectLib.core.errors import Cancelled, MedDetectError, WorkerFailed
from MedDetectLib.core.watch import Progress
from MedDetectLib.inference.worker.shared_arrays import SharedArray

__all__ = ["Desk", "Job", "Reading", "Request", "at_once"]

Answer = TypeVar("Answer")
Reading = Generator[int, None, Answer]
"""Copies an answer out piece by piece, yields the bytes of each, and returns the answer."""

_SHARE_S = 0.008
_SHARE_BYTES = 32 << 20
"""One `poll` of a piecewise request copies until either is used up."""


@dataclass
class Job(Generic[Answer]):
    """What is sent, and how the answer is read.

    Args:
        message: the command, without its id.
        read: makes the answer from a result's value; called once.
        fill: copies the input piece by piece and yields the bytes of each.
        arrays: shared memory that goes with it; closed when the request is settled.
        beside: answered at once, even while the worker computes.
    """

    message: dict[str, Any]
    read: Callable[[Any], Reading[Answer]]
    fill: Iterator[int] | None = None
    arrays: tuple[SharedArray, ...] = ()
    beside: bool = False


def at_once(read: Callable[[Any], Answer]) -> Callable[[Any], Reading[Answer]]:
    """Return the form `Job.read` has for a function that needs no pieces."""

    def reading(value: Any) -> Reading[Answer]:
        yield 0
        return read(value)

    return reading


class Desk(Protocol):
    """Where requests are worked on; `conversation.Conversation` is one."""

    def advance(self) -> None:
        """Do what can be done without waiting."""

    def stop(self, request: Request[Any], reason: MedDetectError) -> None:
        """End one request with this error, soon."""

    def wait(self, seconds: float) -> None:
        """Wait until there may be news, `seconds` at most."""


class Request(Generic[Answer]):
    """Asked for by `WorkerClient.submit`. Call `poll` from a timer until it returns True.

    Nothing happens behind the caller's back: voxels are copied, answers read, and
    `on_progress` is called, inside `poll` and `result`, in the thread that calls them.
    """

    def __init__(
        self,
        number: int,
        job: Job[Answer],
        desk: Desk,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        deadline_s: float | None = None,
        piecewise: bool = False,
    ) -> None:
        self.number = number
        self.job = job
        self.progress: Progress | None = None
        """The last progress heard."""
        self.deadline_s = deadline_s
        self.expires_at = None if deadline_s is None else time.monotonic() + deadline_s
        self.sent = False
        self.begun = False
        self.tries = 0
        self.stopped_at: float | None = None
        self.stop_reason: MedDetectError | None = None
        self._desk = desk
        self._piecewise = piecewise
        self._filling = job.fill
        self._reading: Reading[Answer] | None = None
        self._on_progress = on_progress
        self._copying = threading.Lock()
        self._news: deque[Progress] = deque()
        self._done = threading.Event()
        self._answer: Answer | None = None
        self._error: MedDetectError | None = None

    @property
    def done(self) -> bool:
        """Whether `result` would return or raise at once."""
        return self._done.is_set()

    @property
    def filled(self) -> bool:
        """Whether the input has been copied: from then on the caller may change it."""
        return self._filling is None

    def fill(self) -> None:
        """Copy all of the input that is not copied yet.

        Raises:
            WorkerFailed: ``no-shared-memory``.
        """
        with self._copying:
            for _ in self._filling or ():
                pass
            self._filling = None

    def poll(self) -> bool:
        """Let work go on, pass news to `on_progress`, and return whether it is done."""
        with self._copying:
            self._fill()
        self._desk.advance()
        with self._copying:
            self._read()
        done = self.done
        while self._news:
            self.progress = self._news.popleft()
            if self._on_progress is not None:
                self._on_progress(self.progress)
        return done

    def cancel(self) -> None:
        """Ask for an end; `result` then raises `Cancelled`, within a second of polling."""
        self._desk.stop(self, Cancelled())

    def result(self) -> Answer:
        """Return the answer, after waiting for it if need be.

        Raises:
            MedDetectError: what went wrong in the worker, as the class it was there.
            WorkerFailed: the worker was lost, hung, or too late; see docs/worker-protocol.md.
            Cancelled: `cancel` was called.
        """
        while not self.poll():
            self.wait(0.02)
        if self._error is not None:
            raise self._error
        return self._answer  # type: ignore[return-value]  # None only where Answer allows it

    def wait(self, seconds: float) -> None:
        """Wait until `poll` may have something to do, `seconds` at most."""
        if self.filled and self._reading is None:
            self._desk.wait(seconds)

    # --- for the desk -----------------------------------------------------------------

    def hear(self, progress: Progress) -> None:
        """Keep a report until the next `poll`."""
        self._news.append(progress)

    def settle(self, value: Any) -> None:
        """Take a result's value in; the next polls make the answer of it."""
        if not self.done:
            self._reading = self.job.read(value)

    def fail(self, error: MedDetectError) -> None:
        """End the request with an error, or with the reason for which it was stopped."""
        if not self.done:
            self._error = self.stop_reason or error
            self._finish(SharedArray.close)

    # --- inside -----------------------------------------------------------------------

    def _fill(self) -> None:
        """Copy the next share of the input."""
        if self._filling is None or self.done:
            return
        is_enough = self._share()
        try:
            for count in self._filling:
                if is_enough(count):
                    return
        except BaseException as error:  # half an input must never be sent
            self._desk.stop(self, _told(error))
            if not isinstance(error, Exception):
                raise
        self._filling = None

    def _read(self) -> None:
        """Copy the next share of the answer."""
        if self._reading is None or self.done:
            return
        is_enough, at_end = self._share(), True
        try:
            while not is_enough(next(self._reading)):
                pass
            at_end = False
        except StopIteration as end:
            self._answer = end.value
        except BaseException as error:  # half an answer is none, and cannot be gone on with
            self._error = self._error or _told(error)
            if not isinstance(error, Exception):
                raise
        finally:
            if at_end:
                self._reading = None
                self._finish(SharedArray.recycle)

    def _share(self) -> Callable[[int], bool]:
        """Return what counts bytes and says when they are enough for one poll."""
        if not self._piecewise:
            return lambda _count: False
        until, left = time.monotonic() + _SHARE_S, _SHARE_BYTES

        def used_up(count: int) -> bool:
            nonlocal left
            left -= count
            return left <= 0 or time.monotonic() >= until

        return used_up

    def _finish(self, let_go: Callable[[SharedArray], None]) -> None:
        self._filling = None
        for array in self.job.arrays:
            let_go(array)
        self._done.set()


def _told(error: BaseException) -> MedDetectError:
    """Return what went wrong on our side as an error of ours."""
    if isinstance(error, MedDetectError):
        return error
    if isinstance(error, MemoryError):
        return WorkerFailed(
            "out-of-memory",
            "there is not enough memory to hand the volume over or to take the answer",
            todo="close other programs, or run it on a larger machine",
        )
    if not isinstance(error, Exception):
        return Cancelled()
    what = f"{type(error).__name__}: {error}"
    return MedDetectError("bug", what, todo="report it with what was done before")

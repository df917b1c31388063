"""One thing asked of the worker, from asking to answer."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from MedDetectLib.core.errors import Cancelled, MedDetectError
from MedDetectLib.core.watch import Progress
from MedDetectLib.inference.worker.shared_arrays import SharedArray

__all__ = ["Desk", "Job", "Request"]

Answer = TypeVar("Answer")


@dataclass
class Job(Generic[Answer]):
    """What is sent, and how the answer is read.

    Args:
        message: the command, without its id.
        read: makes the answer from a result's value; called once.
        arrays: shared memory that goes with it; closed when the request is settled.
        beside: answered at once, even while the worker computes.
    """

    message: dict[str, Any]
    read: Callable[[Any], Answer]
    arrays: tuple[SharedArray, ...] = ()
    beside: bool = False


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

    Nothing happens behind the caller's back: answers are read, and `on_progress` is called,
    inside `poll` and `result`, in the thread that calls them.
    """

    def __init__(
        self,
        number: int,
        job: Job[Answer],
        desk: Desk,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        deadline_s: float | None = None,
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
        self._on_progress = on_progress
        self._news: deque[Progress] = deque()
        self._done = threading.Event()
        self._answer: Answer | None = None
        self._error: MedDetectError | None = None

    @property
    def done(self) -> bool:
        """Whether `result` would return or raise at once."""
        return self._done.is_set()

    def poll(self) -> bool:
        """Let work go on, pass news to `on_progress`, and return whether it is done."""
        self._desk.advance()
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
            self._desk.wait(0.02)
        if self._error is not None:
            raise self._error
        return self._answer  # type: ignore[return-value]  # None only where Answer allows it

    # --- for the desk -----------------------------------------------------------------

    def hear(self, progress: Progress) -> None:
        """Keep a report until the next `poll`."""
        self._news.append(progress)

    def settle(self, value: Any) -> None:
        """Read the answer from a result's value and end the request."""
        if self.done:
            return
        try:
            self._answer = self.job.read(value)
        except MedDetectError as error:
            self._error = error
        self._finish()

    def fail(self, error: MedDetectError) -> None:
        """End the request with an error, or with the reason for which it was stopped."""
        if self.done:
            return
        self._error = self.stop_reason or error
        self._finish()

    def _finish(self) -> None:
        for array in self.job.arrays:
            array.close()
        self._done.set()

"""The client's half of the talk: one worker, a queue of requests, and a clock.

Everything happens in `advance`, which never waits. One request at a time is with the
worker; the others wait here, so when the worker is lost only one request is lost with it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from MedDetectLib.core.errors import Cancelled, MedDetectError, WorkerFailed
from MedDetectLib.core.watch import Progress
from MedDetectLib.inference.worker import protocol
from MedDetectLib.inference.worker.limits import Limits
from MedDetectLib.inference.worker.process import WorkerProcess
from MedDetectLib.inference.worker.request import Request

__all__ = ["Conversation"]

_TRY_AGAIN = "try again; the worker is started anew"


class Conversation:
    """Talks to one worker at a time and starts another when that one is lost.

    Args:
        start: starts a worker; may raise `WorkerFailed`.
        limits: see `Limits`.
    """

    def __init__(self, start: Callable[[], WorkerProcess], limits: Limits) -> None:
        self._start = start
        self._limits = limits
        self._lock = threading.RLock()
        self._worker: WorkerProcess | None = None
        self._dying: list[WorkerProcess] = []
        self._queue: deque[Request[Any]] = deque()
        self._current: Request[Any] | None = None
        self._beside: dict[int, Request[Any]] = {}
        self._given_up: set[int] = set()
        self._heard_at = 0.0
        self._listened_at = 0.0
        self._closed = False

    # --- what the client calls --------------------------------------------------------

    def add(self, request: Request[Any]) -> None:
        """Take a request in.

        Raises:
            WorkerFailed: ``closed``.
        """
        with self._lock:
            if self._closed:
                raise WorkerFailed("closed", "this worker's client has been closed")
            if request.job.beside:
                self._beside[request.number] = request
            else:
                self._queue.append(request)
        self.advance()

    def stop(self, request: Request[Any], reason: MedDetectError) -> None:
        """End a request with `reason`: at once if it waits, else when the worker obeys."""
        with self._lock:
            if request.done or request.stop_reason is not None:
                return
            request.stop_reason = reason
            if request is self._current and self._worker is not None:
                request.stopped_at = time.monotonic()
                self._worker.write(protocol.encode({"do": "cancel", "id": request.number}))
                return
            if request in self._queue:
                self._queue.remove(request)
            if self._beside.pop(request.number, None) is not None:
                self._given_up.add(request.number)
            request.fail(reason)

    def advance(self) -> None:
        """Read what has come, mind the clock, send what can be sent; never waits."""
        with self._lock:
            if not self._closed:
                self._listen()
                self._mind_the_clock()
                self._send()
            self._dying = [worker for worker in self._dying if worker.reap() is None]

    def wait(self, seconds: float) -> None:
        """Wait for news, `seconds` at most."""
        worker = self._worker
        if worker is None:
            time.sleep(seconds)
        else:
            worker.wait_readable(seconds)

    def warm_up(self) -> None:
        """Start a worker if there is none, without waiting for it.

        Raises:
            WorkerFailed: it cannot be started.
        """
        with self._lock:
            if self._worker is None and not self._closed:
                self._given_up.clear()
                self._worker = self._start()
                self._heard_at = self._listened_at = time.monotonic()

    def close(self) -> None:
        """End the worker; whoever still waits hears `Cancelled`. Twice is harmless."""
        with self._lock:
            self._closed = True
            for request in (*self._waiting(), *self._queue):
                request.fail(Cancelled("the worker's client was closed"))
            busy, self._current = self._current is not None, None
            self._queue.clear()
            self._beside.clear()
            if self._worker is not None:
                self._worker.say_goodbye(0.0 if busy else self._limits.close_s)
                self._worker = None
            for worker in self._dying:
                worker.reap(1.0)
            self._dying = []

    # --- hearing ----------------------------------------------------------------------

    def _listen(self) -> None:
        worker = self._worker
        if worker is None:
            return
        now = time.monotonic()
        half = self._limits.silence_s / 2
        if now - self._listened_at > half:  # we slept, or the whole machine did
            self._heard_at = max(self._heard_at, now - half)
        self._listened_at = now
        lines, ended = worker.read_lines()
        for line in lines:
            self._heard_at = now
            self._hear(worker, line)
            if self._worker is not worker:  # it said something that cost it its place
                return
        if ended:
            self._lost(worker)

    def _hear(self, worker: WorkerProcess, line: bytes) -> None:
        try:
            message = protocol.decode(line)
            event = message["event"]
            if event == "hello":
                self._greet(worker, message)
            elif event != "heartbeat":
                self._news_of(int(message["id"]), event, message)
        except (protocol.Garbage, KeyError, TypeError, ValueError) as error:
            if not worker.ready:
                return  # a start-up file of that Python prints something
            said = line[:80].decode("ascii", "backslashreplace")
            self._drop(WorkerFailed("protocol", f"the worker said '{said}' ({error})"))

    def _greet(self, worker: WorkerProcess, message: dict[str, Any]) -> None:
        info = protocol.WorkerInfo.from_json(message)
        if info.protocol != protocol.PROTOCOL:
            self._drop(
                WorkerFailed(
                    "protocol-version",
                    f"the worker (MedDetect {info.meddetect}) speaks protocol {info.protocol},"
                    f" this is {protocol.PROTOCOL}",
                    todo="install MedDetect's worker again",
                ),
                blame_queue=True,
            )
            return
        worker.ready = True

    def _news_of(self, number: int, event: str, message: dict[str, Any]) -> None:
        request = self._beside.get(number)
        if request is None and self._current is not None and self._current.number == number:
            request = self._current
        if request is None:
            if number not in self._given_up:
                raise ValueError(f"nobody asked {number}")
            return
        if event == "begun":
            request.begun = True
        elif event == "progress":
            left = message["seconds_left"]
            request.hear(Progress(str(message["stage"]), float(message["fraction"]), left))
        elif event == "result":
            if request.stop_reason is not None:
                request.fail(request.stop_reason)
            else:
                request.settle(message["value"])
            self._forget(request)
        elif event == "error":
            request.fail(protocol.error_from_json(message))
            self._forget(request)
        else:
            raise ValueError(f"unknown event {event}")

    def _forget(self, request: Request[Any]) -> None:
        self._beside.pop(request.number, None)
        if request is self._current:
            self._current = None

    # --- losing -----------------------------------------------------------------------

    def _waiting(self) -> list[Request[Any]]:
        """Return the requests that need this very worker."""
        return [*([self._current] if self._current else []), *self._beside.values()]

    def _lost(self, worker: WorkerProcess) -> None:
        """Settle what a worker leaves that ended by itself, or was ended by somebody."""
        what = f"the worker {worker.obituary()}"
        current = self._current
        if current is not None and not (current.begun or current.stop_reason or current.tries):
            # It was dead, or dying, before it took this up: nothing of the request's doing.
            current.tries += 1
            self._queue.appendleft(current)
            self._current = None
        code = "worker-died" if worker.ready else "worker-start"
        self._drop(WorkerFailed(code, what, todo=_TRY_AGAIN), blame_queue=not worker.ready)

    def _drop(self, error: WorkerFailed, *, blame_queue: bool = False) -> None:
        """Kill the worker; those who wait for it hear why."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()
            if worker.reap(0.02) is None:  # it has much memory to give back
                self._dying.append(worker)
        for request in self._waiting():
            request.fail(error)
        self._current = None
        self._beside.clear()
        if blame_queue and self._queue:
            self._queue.popleft().fail(error)

    # --- minding the clock, sending ---------------------------------------------------

    def _mind_the_clock(self) -> None:
        now = time.monotonic()
        for request in (*self._waiting(), *self._queue):
            if request.expires_at is not None and now > request.expires_at:
                self.stop(request, _too_late(request))
        worker, current, limits = self._worker, self._current, self._limits
        if worker is None:
            return
        stopped_at = None if current is None else current.stopped_at
        if stopped_at is not None and now - stopped_at > limits.cancel_s:
            self._drop(WorkerFailed("worker-hung", "the worker did not stop when told to"))
            self._start_again()
        elif not worker.ready and now - worker.started_at > limits.start_s:
            what = f"the worker said nothing within {limits.start_s:g} s of its start"
            self._drop(WorkerFailed("worker-start", what, todo=_TRY_AGAIN), blame_queue=True)
        elif worker.ready and self._waiting() and now - self._heard_at > limits.silence_s:
            what = f"the worker gave no sign of life for {limits.silence_s:g} s"
            self._drop(WorkerFailed("worker-hung", what, todo=_TRY_AGAIN))

    def _start_again(self) -> None:
        """Start a worker so that the next request finds it ready."""
        with suppress(WorkerFailed):  # the next request tries again, and says it if need be
            self.warm_up()

    def _send(self) -> None:
        ready = next((r for r in self._queue if r.filled), None)
        if not self._beside and (self._current is not None or not self._queue):
            if self._worker is not None:
                self._worker.write()
            return
        try:
            self.warm_up()
        except WorkerFailed as error:
            self._drop(error, blame_queue=True)
            return
        worker = self._worker
        if worker is None or not worker.ready:
            return
        for request in self._beside.values():
            self._hand_over(worker, request)
        if self._current is None and ready is not None:
            self._queue.remove(ready)
            self._current = ready
            self._hand_over(worker, ready)
        worker.write()

    def _hand_over(self, worker: WorkerProcess, request: Request[Any]) -> None:
        if not request.sent or request is self._current:
            request.sent = True
            self._heard_at = max(self._heard_at, time.monotonic())
            worker.write(protocol.encode({**request.job.message, "id": request.number}))


def _too_late(request: Request[Any]) -> WorkerFailed:
    return WorkerFailed(
        "deadline",
        f"not done within {request.deadline_s:g} s",
        todo="allow more time, or choose a faster backend",
    )

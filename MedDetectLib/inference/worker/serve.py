"""The worker's half of the talk: commands come in by one thread, work is done in another."""

from __future__ import annotations

import os
import platform
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO, NoReturn, Protocol

from MedDetectLib import __version__
from MedDetectLib.core.errors import Cancelled, MedDetectError, WorkerFailed
from MedDetectLib.core.watch import Watch
from MedDetectLib.inference.worker.outbox import Outbox
from MedDetectLib.inference.worker.protocol import BEAT_S, PROTOCOL, Garbage, decode, error_to_json

__all__ = ["Session", "Work"]

_INTERRUPT_S = 0.05


class Work(Protocol):
    """What a session does its commands with; `jobs.Jobs` is one."""

    def run(self, message: dict[str, Any], watch: Watch) -> Any:
        """Do one command and return plain data."""

    def interrupt(self) -> None:
        """Break off what is being computed, if that is possible; from another thread."""

    def free_memory(self) -> None:
        """Let go of everything that can be had again."""


class Session:
    """Serves one client until it goes away.

    Args:
        commands: where the client's lines come from.
        outbox: where answers go.
        end: ends this process; called when the client is gone.
    """

    def __init__(
        self,
        commands: BinaryIO,
        outbox: Outbox,
        end: Callable[[], NoReturn],
    ) -> None:
        self._commands = commands
        self._outbox = outbox
        self._end = end
        self._queue: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._current: int | None = None
        self._stopped: set[int] = set()
        self._nudge = threading.Event()
        self._turn = threading.Lock()  # so that no interrupt reaches the command after the stopped

    def run(self, make_work: Callable[[], Work]) -> NoReturn:
        """Say hello, prepare to work, and work for ever."""
        self._outbox.start()
        self._outbox.put({"event": "hello", **_info()})
        threading.Thread(target=self._read, name="commands", daemon=True).start()
        work = make_work()
        threading.Thread(target=self._beat, args=[work], name="heartbeat", daemon=True).start()
        while True:
            self._answer(work, self._queue.get())

    # --- the main thread --------------------------------------------------------------

    def _answer(self, work: Work, message: dict[str, Any]) -> None:
        number = int(message["id"])
        self._current = number
        self._nudge.set()
        self._outbox.put({"event": "begun", "id": number})
        watch = Watch(
            on_progress=lambda progress: self._outbox.progress(number, progress),
            should_stop=lambda: number in self._stopped,
        )
        try:
            watch.check()
            answer = {"event": "result", "id": number, "value": work.run(message, watch)}
        except MemoryError:
            work.free_memory()
            answer = _error(number, _lack_of_memory())
        except MedDetectError as error:
            answer = _error(number, error)
        except Exception as error:  # the outermost door of this process
            traceback.print_exc()
            answer = _error(number, _bug(error))
        with self._turn:
            self._current = None
        if number in self._stopped:  # an interrupted engine has its own words for it
            answer = _error(number, Cancelled())
        self._stopped.discard(number)
        self._outbox.put(answer)

    # --- the other threads ------------------------------------------------------------

    def _read(self) -> None:
        """Take commands; the end of them is the end of us."""
        for line in self._commands:
            try:
                message = decode(line)
                kind, number = message["do"], int(message["id"])
            except (Garbage, KeyError, TypeError, ValueError):
                print(f"not a command: {line[:80]!r}", file=sys.stderr, flush=True)
                self._end()
            if kind == "cancel":
                self._stopped.add(number)
                self._nudge.set()
            elif kind == "ping":
                self._outbox.put({"event": "result", "id": number, "value": _info()})
            else:
                self._queue.put(message)
        self._end()

    def _beat(self, work: Work) -> None:
        """Say twice a second that we live, and break off what is to be stopped."""
        while True:
            with self._turn:
                number = self._current
                stopping = number is not None and number in self._stopped
                if stopping:
                    work.interrupt()
            if number is not None:
                self._outbox.beat()
            self._nudge.wait(_INTERRUPT_S if stopping else BEAT_S)
            self._nudge.clear()


def _info() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "protocol": PROTOCOL,
        "meddetect": __version__,
        "python": platform.python_version(),
    }


def _error(number: int, error: MedDetectError) -> dict[str, Any]:
    return {"event": "error", "id": number, **error_to_json(error)}


def _lack_of_memory() -> WorkerFailed:
    return WorkerFailed(
        "out-of-memory",
        "there is not enough memory for this run",
        todo="close other programs, or run it on a larger machine",
    )


def _bug(error: Exception) -> MedDetectError:
    return MedDetectError(
        "bug",
        f"{type(error).__name__}: {error}",
        todo="report it with the lines above it on the worker's standard error",
    )

"""What the worker has to say leaves by a thread of its own, so computing never waits for it."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from MedDetectLib.core.watch import Progress
from MedDetectLib.inference.worker.protocol import encode

__all__ = ["Outbox"]

_PROGRESS_S = 0.05
"""Progress is told 20 times a second at most; what comes in between is skipped."""


class Outbox:
    """Writes messages in order; of progress and heartbeats only the newest is kept.

    Args:
        handle: file descriptor of the client's pipe.
        on_broken: called when nobody listens any more.
    """

    def __init__(self, handle: int, on_broken: Callable[[], Any]) -> None:
        self._handle = handle
        self._on_broken = on_broken
        self._letters: deque[bytes] = deque()
        self._progress: dict[str, Any] | None = None
        self._beat = False
        self._next_progress = 0.0
        self._change = threading.Condition()

    def start(self) -> None:
        """Begin to write."""
        threading.Thread(target=self._write, name="outbox", daemon=True).start()

    def put(self, message: dict[str, Any]) -> None:
        """Send a message that must arrive, after the progress that came before it."""
        with self._change:
            self._move_progress()
            self._letters.append(encode(message))
            self._change.notify()

    def progress(self, number: int, progress: Progress) -> None:
        """Send progress, unless newer progress overtakes it."""
        message = {"event": "progress", "id": number, **vars(progress)}
        with self._change:
            if self._progress is not None and self._progress["stage"] != progress.stage:
                self._move_progress()
            self._progress = message
            self._change.notify()

    def beat(self) -> None:
        """Say that we live, if nothing else is about to be said."""
        with self._change:
            self._beat = True
            self._change.notify()

    def _move_progress(self) -> None:
        if self._progress is not None:
            self._letters.append(encode(self._progress))
            self._progress = None

    def _write(self) -> None:
        while True:
            data = self._next()
            try:
                while data:
                    data = data[os.write(self._handle, data) :]
            except OSError:
                self._on_broken()
                return

    def _next(self) -> bytes:
        with self._change:
            while True:
                now = time.monotonic()
                if self._progress is not None and now >= self._next_progress:
                    self._next_progress = now + _PROGRESS_S
                    self._move_progress()
                if self._letters or self._beat:
                    break
                pause = None if self._progress is None else self._next_progress - now
                self._change.wait(pause)
            if not self._letters:
                self._letters.append(encode({"event": "heartbeat"}))
            data = b"".join(self._letters)
            self._letters.clear()
            self._beat = False
            return data

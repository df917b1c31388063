"""One process that runs cases, as the batch holds it; see `lane_process.py`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from MedDetectLib.adapters.batch.cases import BatchCase
from MedDetectLib.core.errors import MedDetectError, WorkerFailed
from MedDetectLib.inference.worker.environment import worker_environment
from MedDetectLib.inference.worker.process import WorkerProcess
from MedDetectLib.inference.worker.protocol import Garbage, decode, encode

__all__ = ["Engine", "Lane", "Task", "lost_error"]

_AHEAD = 2
"""Cases a lane holds: the one that runs, and the next, which it reads meanwhile."""
_SHARES = {"prepare": (0.0, 0.05), "detect": (0.05, 0.8), "findings": (0.8, 0.9)}
"""Which part of a case's time each stage of `detect` takes, roughly; writing is the rest."""


@dataclass(frozen=True)
class Engine:
    """What the lanes run with: Python and packages as for `WorkerClient`, and the settings."""

    settings: Mapping[str, Any]
    python: str = sys.executable
    packages: Sequence[str | os.PathLike[str]] = ()


@dataclass
class Task:
    """A case on its way: its working folder, and how often a process was lost with it."""

    number: int
    case: BatchCase
    folder: Path
    losses: int = 0
    begun_at: float | None = None
    stage: str = ""
    fraction: float = 0.0

    def seconds(self) -> float:
        """Return how long it has been running."""
        return 0.0 if self.begun_at is None else time.monotonic() - self.begun_at

    def at(self, stage: str, fraction: float) -> None:
        """Take a progress report of one stage; `fraction` is then that of the whole case."""
        first, last = _SHARES.get(stage, (self.fraction, self.fraction))
        self.stage, self.fraction = stage, first + (last - first) * fraction


@dataclass
class Heard:
    """What a lane has said: whole answers by task, and whether its process is gone."""

    answers: list[tuple[Task, dict[str, Any]]] = field(default_factory=list)
    lost: str = ""


class Lane:
    """A process that runs one case after the other; started when it is needed."""

    def __init__(self, engine: Engine) -> None:
        self.model: dict[str, Any] | None = None
        self.model_error: dict[str, Any] | None = None
        self.tasks: list[Task] = []
        self._engine = engine
        self._process: WorkerProcess | None = None
        self._heard_at = time.monotonic()

    def start(self) -> None:
        """Start the process and let it open the model.

        Raises:
            WorkerFailed: ``no-python``.
        """
        command = (self._engine.python, "-P", "-m", "MedDetectLib.adapters.batch.lane_process")
        environment = worker_environment(dict(os.environ), self._engine.packages)
        self._process = WorkerProcess(command, environment)
        self._process.write(encode(dict(self._engine.settings)))

    def wants(self, task: Task) -> bool:
        """Whether it would take a task: one at a time where a process was lost with one."""
        careful = task.losses > 0 or any(each.losses for each in self.tasks)
        return len(self.tasks) < (1 if careful else _AHEAD)

    def give(self, task: Task) -> None:
        """Hand it a task."""
        if self._process is None:
            self.start()
        assert self._process is not None
        if not self.tasks:
            self._heard_at = time.monotonic()
        self.tasks.append(task)
        message = {"number": task.number, "case": task.case.to_json(), "folder": str(task.folder)}
        self._process.write(encode(message))

    def listen(self) -> Heard:
        """Return what it has said since the last time; never waits."""
        heard = Heard()
        if self._process is None:
            return heard
        self._process.write()
        lines, ended = self._process.read_lines()
        if lines:
            self._heard_at = time.monotonic()
        for line in lines:
            try:
                self._take(decode(line), heard)
            except (Garbage, KeyError, TypeError):
                continue
        if ended:
            heard.lost = self._process.obituary()
            self._process = None
        return heard

    def running(self) -> Task | None:
        """Return the task it works on."""
        return next((task for task in self.tasks if task.begun_at is not None), None)

    def slow_one(self, limit_s: float) -> Task | None:
        """Return the task that takes longer than allowed: to run, or to be read before that."""
        running = self.running()
        if running is not None:
            return running if running.seconds() > limit_s else None
        silent_s = time.monotonic() - self._heard_at
        return self.tasks[0] if self.tasks and silent_s > limit_s else None

    def kill(self) -> None:
        """End the process at once, with all it started."""
        if self._process is not None:
            self._process.kill()
            self._process.reap(2.0)
            self._process = None

    def _take(self, message: dict[str, Any], heard: Heard) -> None:
        event = message.get("event")
        if event == "ready":
            self.model = message
        elif event == "no-model":
            self.model_error = message["error"]
        elif event == "begun":
            self._task(message["number"]).begun_at = time.monotonic()
        elif event == "progress":
            task = self._task(message["id"])
            task.at(message["stage"], message["fraction"])
        elif event in ("done", "failed"):
            task = self._task(message["number"])
            self.tasks.remove(task)
            heard.answers.append((task, message))

    def _task(self, number: int) -> Task:
        found = [task for task in self.tasks if task.number == number]
        if not found:
            raise KeyError(number)
        return found[0]


def lost_error(task: Task, how: str) -> MedDetectError:
    """Return the error of a case whose process was lost twice, or took too long."""
    return WorkerFailed(
        "lane-lost",
        f"the process that ran it {how}",
        where=str(task.case.paths[0]),
        todo="run the case alone with 'meddetect detect --debug'",
    )

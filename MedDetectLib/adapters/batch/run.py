"""Run a model over many cases; go on where an earlier run was stopped, however it was."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from MedDetectLib import __version__
from MedDetectLib.adapters.batch.cases import BatchCase
from MedDetectLib.adapters.batch.lane import Engine, Lane, Task, lost_error
from MedDetectLib.adapters.batch.out_folder import OutFolder
from MedDetectLib.adapters.batch.summary import write_summary
from MedDetectLib.core.errors import Cancelled, MedDetectError, WorkerFailed
from MedDetectLib.inference.worker.protocol import error_from_json, error_to_json

__all__ = ["Batch", "Outcome", "State", "run_batch"]

_PAUSE_S = 0.02
_MOST_LOSSES = 2


@dataclass(frozen=True)
class Batch:
    """What is to be done.

    Args:
        cases: from `list_cases`.
        out: the folder of the results.
        model: a model's name or folder.
        backend, precision, accept, modality: as for one volume.
        scene: whether every case gets a scene.mrb (needs slicer-core).
        jobs: processes at a time.
        case_timeout_s: a case that runs longer has failed.
    """

    cases: Sequence[BatchCase]
    out: Path
    model: str
    backend: str = "auto"
    precision: str = "f32"
    accept: tuple[str, ...] = ()
    modality: str = ""
    scene: bool = True
    jobs: int = 1
    case_timeout_s: float = 3600.0

    def settings(self) -> dict[str, Any]:
        """Return what the lanes are told."""
        return {
            "model": self.model,
            "backend": self.backend,
            "precision": self.precision,
            "accept": list(self.accept),
            "modality": self.modality,
            "scene": self.scene,
        }


@dataclass(frozen=True)
class State:
    """How far a batch is; `running` has case names with stage and fraction."""

    total: int
    done: int
    failed: int
    skipped: int
    running: tuple[tuple[str, str, float], ...]
    seconds_left: float | None

    @property
    def fraction(self) -> float:
        """How much of everything is done, 0 to 1."""
        inside = sum(fraction for _, _, fraction in self.running)
        return (self.done + self.failed + self.skipped + inside) / max(self.total, 1)


@dataclass(frozen=True)
class Outcome:
    """How a batch went: the status of each case, in the order of the cases."""

    statuses: tuple[Mapping[str, Any], ...]
    skipped: int

    @property
    def failed(self) -> tuple[Mapping[str, Any], ...]:
        """The cases that failed."""
        return tuple(status for status in self.statuses if status["state"] == "failed")

    @property
    def exit_code(self) -> int:
        """0 when every case is done; else the failures' own code, 65 when they differ."""
        codes = {status["error"]["exit_code"] for status in self.failed}
        return 0 if not codes else codes.pop() if len(codes) == 1 else 65


def run_batch(
    batch: Batch,
    *,
    python: str | None = None,
    packages: Sequence[Any] = (),
    on_state: Callable[[State], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Do every case that is not done yet, and write the summary.

    Finished cases of an earlier run are left alone, failed ones are tried again. Whatever
    ends this program, what is under `cases/` is complete.

    Args:
        batch: what to do.
        python: of the processes that compute; this one if None.
        packages: as for `WorkerClient`.
        on_state: told how far it is, some times a second.
        should_stop: asked as often.

    Raises:
        ModelError, BackendUnavailable: the model cannot be opened; no case was tried.
        StoreError: the folder is busy, of another batch, or cannot be written.
        WorkerFailed: ``no-python``.
        Cancelled: told to stop; finished cases stay, and the summary says what is left.
    """
    engine = Engine(batch.settings(), python or sys.executable, packages)
    with OutFolder(batch.out) as out:
        runner = _Runner(batch, out, engine, on_state, should_stop)
        try:
            runner.run()
        finally:
            runner.end()
            if runner.settings is not None:
                write_summary(out.folder, runner.all_statuses(), runner.settings)
        return Outcome(tuple(runner.all_statuses()), runner.skipped)


@dataclass
class _Runner:
    """One run of a batch."""

    batch: Batch
    out: OutFolder
    engine: Engine
    on_state: Callable[[State], None] | None
    should_stop: Callable[[], bool] | None
    settings: dict[str, Any] | None = None
    skipped: int = 0
    statuses: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    waiting: deque[Task] = field(default_factory=deque)
    lanes: list[Lane] = field(default_factory=list)
    done_now: int = 0
    started_at: float = 0.0

    def run(self) -> None:
        """Open the model once, then keep every lane busy until nothing waits."""
        first = Lane(self.engine)
        self.lanes = [first]
        first.start()
        self._open_model(first)
        self._look_what_is_done()
        self.started_at = time.monotonic()
        missing = max(1, min(self.batch.jobs, len(self.waiting))) - 1
        self.lanes += [Lane(self.engine) for _ in range(missing)]
        while self.waiting or any(lane.tasks for lane in self.lanes):
            self._hand_out()
            for lane in self.lanes:
                self._listen(lane)
            self._tell()
            time.sleep(_PAUSE_S)

    def end(self) -> None:
        """Stop what still runs."""
        for lane in self.lanes:
            lane.kill()

    def all_statuses(self) -> list[Mapping[str, Any]]:
        """Return every case's status; of those not tried, that they wait."""
        return [
            self.statuses.get(case.name) or {**_about(case), "state": "waiting"}
            for case in self.batch.cases
        ]

    def _open_model(self, lane: Lane) -> None:
        """Wait for the model; refuse a folder whose results another one made."""
        until = time.monotonic() + self.batch.case_timeout_s
        while lane.model is None:
            heard = lane.listen()
            if lane.model_error is not None:
                raise error_from_json(lane.model_error)
            if heard.lost or time.monotonic() > until:
                raise WorkerFailed(
                    "lane-lost",
                    f"the process {heard.lost or 'did not open the model in time'}",
                    todo="check the installation with 'meddetect doctor'",
                )
            self._tell()
            time.sleep(_PAUSE_S)
        made_by = {key: lane.model[key] for key in ("version", "sha256")}
        settings = {**self.batch.settings(), **made_by, "model": lane.model["model"]}
        settings["meddetect"] = __version__
        self.out.agree(settings)
        self.settings = settings

    def _look_what_is_done(self) -> None:
        for number, case in enumerate(self.batch.cases):
            status = self.out.status_of(case)
            if status is not None and status["state"] == "done":
                self.statuses[case.name] = status
                self.skipped += 1
            else:
                self.waiting.append(Task(number, case, self.out.new_working_folder(case)))

    def _hand_out(self) -> None:
        """Give out waiting tasks: first one to every lane, then one to read ahead."""
        for lane in sorted(self.lanes, key=lambda lane: len(lane.tasks)):
            if self.waiting and lane.wants(self.waiting[0]):
                lane.give(self.waiting.popleft())

    def _listen(self, lane: Lane) -> None:
        heard = lane.listen()
        for task, answer in heard.answers:
            self._keep(task, answer)
        if heard.lost:
            self._after_loss(lane, heard.lost)
        limit_s = self.batch.case_timeout_s
        slow = lane.slow_one(limit_s)
        if slow is not None:
            lane.kill()
            slow.losses = _MOST_LOSSES
            self._after_loss(lane, f"took more than {limit_s:g} s", slow)

    def _after_loss(self, lane: Lane, how: str, slow: Task | None = None) -> None:
        """Try a lost lane's cases again, each alone; one that is lost twice has failed."""
        blamed = slow or (lane.tasks[0] if len(lane.tasks) == 1 else lane.running())
        for task in reversed(lane.tasks):
            # which of two ended the process is not known: reading ahead may have
            task.losses += 1
            if task is blamed and task.losses >= _MOST_LOSSES:
                self._keep(task, {"event": "failed", "error": error_to_json(lost_error(task, how))})
            else:
                task.begun_at, task.fraction, task.stage = None, 0.0, ""
                task.folder = self.out.new_working_folder(task.case)
                self.waiting.appendleft(task)
        lane.tasks.clear()

    def _keep(self, task: Task, answer: Mapping[str, Any]) -> None:
        """Let a finished case appear."""
        done = answer["event"] == "done"
        status: dict[str, Any] = {**_about(task.case), "state": "done" if done else "failed"}
        if done:
            status |= {key: answer[key] for key in ("result", "seconds", "files")}
        else:
            status["error"] = answer["error"]
        status |= {"made_by": self.settings, "finished": _now()}
        try:
            self.out.publish(task.case, status, task.folder if done else None)
        except MedDetectError as error:
            # the results could not be put in their place: the case is not done
            status = {**_about(task.case), "state": "failed", "error": error_to_json(error)}
        self.statuses[task.case.name] = status
        self.done_now += 1

    def _tell(self) -> None:
        if self.should_stop is not None and self.should_stop():
            raise Cancelled(where=str(self.out.folder))
        if self.on_state is None:
            return
        running = [task for lane in self.lanes if (task := lane.running()) is not None]
        failed = sum(status["state"] == "failed" for status in self.statuses.values())
        total = len(self.batch.cases)
        left = None
        if self.done_now:
            each = (time.monotonic() - self.started_at) / self.done_now
            inside = sum(task.fraction for task in running)
            left = max(0.0, each * (total - self.skipped - self.done_now - inside))
        done = len(self.statuses) - failed - self.skipped
        shown = tuple((task.case.name, task.stage, task.fraction) for task in running)
        self.on_state(State(total, done, failed, self.skipped, shown, left))


def _about(case: BatchCase) -> dict[str, Any]:
    paths = [str(path) for path in case.paths]
    return {"schema": 1, "case": case.name, "input": paths, "series": case.series,
            "signature": case.signature}  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

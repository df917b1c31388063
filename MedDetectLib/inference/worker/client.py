"""The door to the worker for Slicer, batch and service; safe inside Slicer's own Python.

    with WorkerClient(python=worker_python) as client:
        findings = client.detect(volume, "demo-chest-ct")

and where a user interface must not wait:

    request = client.submit(volume, "demo-chest-ct", on_progress=bar.show, piecewise=True)
    ...  # a timer, 20 to 50 times a second:
    if request.poll():
        findings = request.result()
"""

from __future__ import annotations

import itertools
import os
import sys
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TypeVar

from MedDetectLib.core.findings import Findings
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.memory_plan import MemoryPlan
from MedDetectLib.core.volume import Volume
from MedDetectLib.core.watch import SILENT, Progress, Watch
from MedDetectLib.inference.worker.conversation import Conversation
from MedDetectLib.inference.worker.detect_job import detect_job, model_name
from MedDetectLib.inference.worker.environment import worker_environment
from MedDetectLib.inference.worker.limits import Limits
from MedDetectLib.inference.worker.process import WorkerProcess
from MedDetectLib.inference.worker.protocol import ModelDescription, WorkerInfo
from MedDetectLib.inference.worker.request import Job, Request, at_once
from MedDetectLib.inference.worker.spares import Spares

__all__ = ["Limits", "WorkerClient"]

Answer = TypeVar("Answer")
_POLL_S = 0.02


class WorkerClient:
    """One worker process and the requests to it.

    The process starts with the first request (or `warm_up`), stays warm between requests,
    is started anew when it was lost, and ends with `close`, with this object, or with this
    program, whatever ends that. Threads may share a client; their requests queue.

    Args:
        python: the Python of the worker's own environment.
        packages: folders with packages that this Python has not got by itself.
        environment: variables to start from; those of this process when None. What
            Slicer's launcher changed in them is put back, see `worker_environment`.
        limits: how long to wait for what.
        command: what to run instead of ``python -m MedDetectLib.inference.worker``.
    """

    def __init__(
        self,
        python: str | os.PathLike[str] = sys.executable,
        *,
        packages: Sequence[str | os.PathLike[str]] = (),
        environment: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        limits = limits or Limits()
        line = command or (os.fspath(python), "-P", "-m", "MedDetectLib.inference.worker")
        given = dict(os.environ if environment is None else environment)
        clean = worker_environment(given, packages)
        self._conversation = Conversation(lambda: WorkerProcess(line, clean), limits)
        self._numbers = itertools.count(1)
        self._spares = Spares()
        self._close = weakref.finalize(self, _end, self._conversation, self._spares)

    # --- detect -----------------------------------------------------------------------

    def detect(
        self,
        volumes: Volume | Sequence[Volume],
        model: str | os.PathLike[str],
        *,
        watch: Watch = SILENT,
        deadline_s: float | None = None,
        backend: str = "auto",
        precision: str = "f32",
        max_memory_bytes: int | None = None,
        skip_empty: bool = False,
    ) -> Findings:
        """Do what `MedDetectLib.detect` does, in the worker, with the same findings.

        `watch` is told and asked in this thread, at least 20 times a second.

        Args:
            volumes: one volume, or one per input channel of the model on the same grid.
            model: a model's name or folder.
            watch: hears progress and may stop the run, which then ends within a second.
            deadline_s: the longest the caller will wait, in seconds.
            backend: as in `load_model`.
            precision: as in `load_model`.
            max_memory_bytes: the most the worker may hold, as in `MedDetectLib.detect`.
            skip_empty: as in `MedDetectLib.detect`.

        Raises:
            InputError, ModelError, BackendUnavailable: as `detect` and `load_model` do.
            WorkerFailed: the worker was lost, hung, out of memory or too late.
            Cancelled: the watch said stop.
        """
        request = self.submit(
            volumes,
            model,
            on_progress=watch.on_progress,
            deadline_s=deadline_s,
            backend=backend,
            precision=precision,
            max_memory_bytes=max_memory_bytes,
            skip_empty=skip_empty,
        )
        return self._attend(request, watch.should_stop)

    def submit(
        self,
        volumes: Volume | Sequence[Volume],
        model: str | os.PathLike[str],
        *,
        on_progress: Callable[[Progress], None] | None = None,
        deadline_s: float | None = None,
        backend: str = "auto",
        precision: str = "f32",
        max_memory_bytes: int | None = None,
        skip_empty: bool = False,
        piecewise: bool = False,
    ) -> Request[Findings]:
        """Ask for a detection without waiting for it; see `Request` for how to get the answer.

        The voxels are copied before this returns, so the caller may change them. That takes
        a tenth of a second for a large CT; a user interface that must not even wait so long
        asks for `piecewise`: each `poll` then copies a share of the voxels, some 10 ms long,
        the request is sent after the last, and the label map comes back in the same way. The
        caller must leave the voxels alone until `Request.filled`.

        Raises:
            WorkerFailed: ``closed``, or ``no-shared-memory`` (when piecewise, the request's
                result may raise that too).
        """
        inputs = [volumes] if isinstance(volumes, Volume) else list(volumes)
        job = detect_job(
            inputs,
            model,
            self._spares,
            backend=backend,
            precision=precision,
            max_memory_bytes=max_memory_bytes,
            skip_empty=skip_empty,
        )
        request = Request(
            next(self._numbers),
            job,
            self._conversation,
            on_progress=on_progress,
            deadline_s=deadline_s,
            piecewise=piecewise,
        )
        try:
            if not piecewise:
                request.fill()
            self._conversation.add(request)
        except BaseException:
            for array in job.arrays:
                array.close()
            raise
        return request

    # --- plan -------------------------------------------------------------------------

    def plan(
        self,
        geometry: Geometry,
        model: str | os.PathLike[str],
        *,
        deadline_s: float | None = None,
        itemsizes: Sequence[int] = (2,),
        backend: str = "auto",
        precision: str = "f32",
        max_memory_bytes: int | None = None,
    ) -> MemoryPlan:
        """Return what a run would take of the worker's memory, whether it fits or not.

        The network is opened and run once for that, so the run itself starts sooner.

        Args:
            geometry: the volume's own grid.
            model: a model's name or folder.
            deadline_s: the longest the caller will wait, in seconds.
            itemsizes: bytes per voxel of each input volume.
            backend: as in `load_model`.
            precision: as in `load_model`.
            max_memory_bytes: the most the worker may hold.

        Raises:
            InputError, ModelError, BackendUnavailable: as `detect` and `load_model` do.
            WorkerFailed: the worker was lost, hung, out of memory or too late.
        """
        return self.submit_plan(
            geometry,
            model,
            deadline_s=deadline_s,
            itemsizes=itemsizes,
            backend=backend,
            precision=precision,
            max_memory_bytes=max_memory_bytes,
        ).result()

    def submit_plan(
        self,
        geometry: Geometry,
        model: str | os.PathLike[str],
        *,
        deadline_s: float | None = None,
        itemsizes: Sequence[int] = (2,),
        backend: str = "auto",
        precision: str = "f32",
        max_memory_bytes: int | None = None,
    ) -> Request[MemoryPlan]:
        """Ask for a plan without waiting for it; see `plan`.

        Raises:
            WorkerFailed: ``closed``.
        """
        message = {
            "do": "plan",
            "model": model_name(model),
            "backend": backend,
            "precision": precision,
            "geometry": geometry.to_json(),
            "itemsizes": list(itemsizes),
            "max_memory_bytes": max_memory_bytes,
        }
        return self._ask(Job(message, at_once(MemoryPlan.from_json)), deadline_s=deadline_s)

    # --- the rest ---------------------------------------------------------------------

    def models(self, deadline_s: float | None = None) -> list[ModelDescription]:
        """Return what the worker can find with, usable or not.

        Raises:
            WorkerFailed: the worker was lost, or too late.
        """
        read = at_once(lambda value: [ModelDescription.from_json(m) for m in value])
        return self._ask(Job({"do": "models"}, read), deadline_s=deadline_s).result()

    def ping(self, deadline_s: float = 10.0) -> WorkerInfo:
        """Return who answers; a worker that computes answers too.

        Raises:
            WorkerFailed: nobody does, within `deadline_s` seconds.
        """
        job = Job({"do": "ping"}, at_once(WorkerInfo.from_json), beside=True)
        return self._ask(job, deadline_s=deadline_s).result()

    def warm_up(self) -> None:
        """Start the worker, without waiting for it, so that the first request finds it.

        Raises:
            WorkerFailed: ``no-python``.
        """
        self._conversation.warm_up()

    def trim(self) -> None:
        """Give back the shared memory that is kept for the next request, see `Spares`."""
        self._spares.clear()

    def close(self) -> None:
        """End the worker; unsettled requests raise `Cancelled`. Twice is harmless."""
        self._close()

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- inside -----------------------------------------------------------------------

    def _ask(self, job: Job[Answer], *, deadline_s: float | None = None) -> Request[Answer]:
        request = Request(next(self._numbers), job, self._conversation, deadline_s=deadline_s)
        self._conversation.add(request)
        return request

    def _attend(self, request: Request[Answer], should_stop: Callable[[], bool] | None) -> Answer:
        """Wait for an answer; if anything is raised meanwhile, end the request first."""
        try:
            while not request.poll():
                if should_stop is not None and should_stop():
                    request.cancel()
                request.wait(_POLL_S)
        except BaseException:
            request.cancel()
            until = time.monotonic() + 2.0
            while not request.done and time.monotonic() < until:
                self._conversation.advance()
                self._conversation.wait(_POLL_S)
            raise
        return request.result()


def _end(conversation: Conversation, spares: Spares) -> None:
    conversation.close()
    spares.clear()

"""What the worker does when asked: detect, plan a run, list models."""

from __future__ import annotations

import gc
import math
from contextlib import ExitStack
from typing import Any

import numpy as np

from MedDetectLib.core.errors import InputError, MedDetectError
from MedDetectLib.core.findings import Findings, LabelMap
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.process_memory import resident_bytes
from MedDetectLib.core.volume import Volume
from MedDetectLib.core.watch import Watch
from MedDetectLib.inference.backends.base import Backend
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.memory_plan import allowed_bytes, plan_memory, room_on, warm
from MedDetectLib.inference.model import Model
from MedDetectLib.inference.worker import protocol
from MedDetectLib.inference.worker.protocol import ChannelDescription, ModelDescription
from MedDetectLib.inference.worker.shared_arrays import SharedArray, Span
from MedDetectLib.inference.worker.warm import WarmModels
from MedDetectLib.models.registry import Entry, list_models

__all__ = ["Jobs"]


class Jobs:
    """The worker's trade; `serve.Session` calls `run` in the main thread, one at a time.

    Args:
        models: where open models come from.
    """

    def __init__(self, models: WarmModels) -> None:
        self._models = models
        self._running: Backend | None = None

    def run(self, message: dict[str, Any], watch: Watch) -> Any:
        """Do one command and return its result's value.

        Raises:
            MedDetectError: ``unknown-command``, or whatever the work raises.
        """
        if message["do"] == "detect":
            return self._detect(message, watch)
        if message["do"] == "plan":
            return self._plan(message, watch)
        if message["do"] == "models":
            return [_describe(entry).to_json() for entry in list_models()]
        raise MedDetectError("unknown-command", f"the worker cannot '{message['do']}'")

    def interrupt(self) -> None:
        """Ask the engine to break off what it computes, if it can; from another thread."""
        running = self._running
        if running is not None:
            running.interrupt()

    def free_memory(self) -> None:
        """Let go of everything that can be had again."""
        self._models.close()
        gc.collect()

    def _plan(self, message: dict[str, Any], watch: Watch) -> dict[str, Any]:
        """Return what a run would take, whether it fits or not."""
        model = self._models.get(message["model"], message["backend"], message["precision"], watch)
        self._running = model.backend
        try:
            warm(model)
        finally:
            self._running = None
        geometry, itemsizes = Geometry.from_json(message["geometry"]), message["itemsizes"]
        plan = plan_memory(
            model.card,
            geometry,
            itemsizes=itemsizes,
            held_bytes=resident_bytes() + math.prod(geometry.shape_kji) * sum(itemsizes),
            ceiling_bytes=allowed_bytes(message["max_memory_bytes"]),
            room=room_on(model),
        )
        return plan.to_json()

    def _detect(self, message: dict[str, Any], watch: Watch) -> dict[str, Any]:
        watch.report("open model", 0.0)
        model = self._models.get(message["model"], message["backend"], message["precision"], watch)
        watch.report("open model", 1.0)
        with ExitStack() as stack:
            volumes = []
            for told in message["volumes"]:
                voxels = SharedArray.attach(told["voxels"])
                stack.callback(voxels.close)
                volumes.append(protocol.volume_from_json(told, voxels))
            self._running = model.backend
            try:
                findings = self._found(volumes, model, message, watch)
            finally:
                self._running = None
            del volumes
            spans: list[Span] | None = None
            if findings.label_map is not None:
                target = SharedArray.attach(message["label_map"], writable=True)
                stack.callback(target.close)
                spans = _not_empty(findings.label_map)
                for _ in target.fill(findings.label_map, spans):
                    watch.check()
        return {"findings": findings.to_json(), "label_map": spans}

    def _found(
        self, volumes: list[Volume], model: Model, message: dict[str, Any], watch: Watch
    ) -> Findings:
        """Detect; models that are only kept warm make room if they must."""
        options = {name: message[name] for name in ("max_memory_bytes", "skip_empty")}
        try:
            return detect(volumes, model, watch, **options)
        except InputError as error:
            if error.code != "not-enough-memory" or not self._models.keep_only(model):
                raise
        gc.collect()
        return detect(volumes, model, watch, **options)


def _not_empty(label_map: LabelMap) -> list[Span]:
    """Return the spans of slices that hold anything: mostly few, and only they are copied."""
    flags = np.zeros(len(label_map) + 2, np.int8)
    for k, plane in enumerate(label_map, start=1):
        flags[k] = plane.any()
    edges = np.flatnonzero(np.diff(flags))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _describe(entry: Entry) -> ModelDescription:
    card, folder = entry.card, str(entry.folder)
    if card is None:
        return ModelDescription(entry.folder.name, folder, error=str(entry.error))
    return ModelDescription(
        name=card.name,
        folder=folder,
        version=card.version,
        task=card.task,
        title=card.title,
        description=card.description,
        intended_use=card.intended_use,
        licence=card.licence,
        weights_sha256=card.weights_sha256,
        labels=card.labels,
        channels=tuple(ChannelDescription(c.name, c.modality) for c in card.input.channels),
    )

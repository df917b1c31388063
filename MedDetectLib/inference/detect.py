"""The front door: a volume and a model go in, findings come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from MedDetectLib import __version__
from MedDetectLib.core.findings import Findings, Provenance
from MedDetectLib.core.volume import Volume
from MedDetectLib.core.watch import SILENT, Watch
from MedDetectLib.inference.backends.base import Tensors
from MedDetectLib.inference.bands import BandedGather, bands_of
from MedDetectLib.inference.box_scores import BoxGather
from MedDetectLib.inference.case_scores import CaseGather
from MedDetectLib.inference.decode import Answer, Decoded, decode
from MedDetectLib.inference.device.path import detect_on_device, stays_on_device
from MedDetectLib.inference.empty_windows import EmptyWindows
from MedDetectLib.inference.fingerprints import Fingerprints
from MedDetectLib.inference.memory_plan import allowed_bytes, plan_run, warm
from MedDetectLib.inference.model import Model
from MedDetectLib.inference.prepare import Prepared, prepare
from MedDetectLib.inference.voxel_scores import VoxelGather
from MedDetectLib.inference.windows import plan_windows
from MedDetectLib.models.card import CaseScoreHead, ModelCard, VoxelScores

__all__ = ["detect"]

Gather = VoxelGather | BandedGather | BoxGather | CaseGather


def detect(
    volumes: Volume | Sequence[Volume],
    model: Model,
    watch: Watch = SILENT,
    *,
    max_memory_bytes: int | None = None,
    max_gpu_memory_bytes: int | None = None,
    skip_empty: bool = False,
) -> Findings:
    """Find what the model was trained to find.

    The findings lie on the volume's own grid, whatever grid the model works on.

    Args:
        volumes: one volume, or one per input channel of the model on the same grid.
        model: from `load_model`.
        watch: hears progress and may stop the run.
        max_memory_bytes: the most this process may hold; what ``MEDDETECT_MAX_MEMORY`` says
            when None. A run that would take more, or more than is free, is done in bands;
            the findings are the same, and a note says so.
        max_gpu_memory_bytes: the most the run may take of a GPU's memory, the network not
            counted; what ``MEDDETECT_MAX_GPU_MEMORY`` says when None. Fewer windows are then
            run at a time.
        skip_empty: leave out windows that show nothing, see `EmptyWindows`; a note says how
            many.

    Raises:
        InputError: the volume does not suit the model; ``not-enough-memory`` when the run
            does not fit in any way.
        ModelError: the network answers something its card does not say.
        Cancelled: the watch said stop.
    """
    watch = watch.fresh()
    max_memory_bytes = allowed_bytes(max_memory_bytes)
    if max_memory_bytes is not None:
        with watch.stage("measure"):
            warm(model)  # the network's own memory counts, and only then is it known
    plan = plan_run(volumes, model, max_memory_bytes, max_gpu_memory_bytes)
    empty = EmptyWindows(model.card) if skip_empty else None
    inputs = [volumes] if isinstance(volumes, Volume) else list(volumes)
    with Fingerprints(inputs) as prints:
        if stays_on_device(model):
            found, prepared = detect_on_device(inputs, model, watch, plan.device_batch, empty)
        else:
            with watch.stage("prepare"):
                prepared = prepare(inputs, model.card)
            answer = _answer(prepared, model, plan.bands, empty, watch)
            prepared = replace(prepared, array=np.zeros(0, np.float32))  # room for what follows
            with watch.stage("findings"):
                found = decode(answer, prepared, model.card)
        findings = _signed(found, prepared, inputs, prints.result(), model, watch)
    return findings.with_notes(*plan.notes, *(empty.notes if empty is not None else ()))


def _answer(
    prepared: Prepared, model: Model, bands: int, empty: EmptyWindows | None, watch: Watch
) -> Answer:
    """Run every window and gather the answers; what is held for that goes with this call."""
    windows = plan_windows(prepared.shape_kji, model.card.input.window)
    gather: Gather
    if bands > 1:
        gather = BandedGather(model.card, prepared, bands_of(prepared, windows, bands))
        windows = gather.windows
    else:
        gather = _gather(model.card, prepared)
    for window in watch.each(windows, "detect"):
        outputs: Tensors | None
        if empty is not None and empty.sees(window, prepared.array):
            outputs = empty.answer(window)
        else:
            with watch.timed("network"):
                outputs = model.backend.run(window.cut(prepared.array))
        if outputs is not None:
            with watch.timed("blend"):
                gather.add(window, outputs)
    with watch.timed("blend"):
        return gather.result(watch.check) if isinstance(gather, BoxGather) else gather.result()


def _gather(card: ModelCard, prepared: Prepared) -> Gather:
    """Return what collects the answers of this kind of head."""
    if isinstance(card.head, VoxelScores):
        return VoxelGather(card, prepared)
    if isinstance(card.head, CaseScoreHead):
        return CaseGather(card)
    return BoxGather(card, prepared)


def _signed(
    decoded: Decoded,
    prepared: Prepared,
    inputs: Sequence[Volume],
    prints: Sequence[str],
    model: Model,
    watch: Watch,
) -> Findings:
    """Add where the findings came from, and every remark made on the way."""
    card, choice = model.card, model.backend.choice
    provenance = Provenance(
        model=card.name,
        model_version=card.version,
        model_sha256=card.weights_sha256,
        backend=f"{choice.backend} ({choice.reason})",
        precision=choice.precision,
        device=choice.device,
        input_name=", ".join(volume.name for volume in inputs),
        input_sha256=" ".join(prints),
        meddetect_version=__version__,
        seconds={name: round(seconds, 3) for name, seconds in watch.seconds.items()},
    )
    notes = [note for volume in inputs for note in volume.notes]
    return Findings(
        geometry=prepared.own,
        labels=card.labels,
        items=decoded.items,
        label_map=decoded.label_map,
        provenance=provenance,
        case_scores=decoded.case_scores,
        notes=(*notes, *prepared.notes, *decoded.notes),
    )

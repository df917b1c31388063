"""A detection as a job: its voxels go into shared memory, its label map comes out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from MedDetectLib.core.findings import Findings
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference.worker import protocol
from MedDetectLib.inference.worker.request import Job, Reading
from MedDetectLib.inference.worker.shared_arrays import SharedArray
from MedDetectLib.inference.worker.spares import Spares

__all__ = ["detect_job", "model_name"]


def detect_job(
    volumes: Sequence[Volume], model: str | os.PathLike[str], spares: Spares, **options: Any
) -> Job[Findings]:
    """Reserve the shared memory of a detection; the voxels are copied by the job's `fill`.

    Args:
        volumes: one per input channel.
        model: a model's name or folder.
        spares: where shared memory comes from and goes back to.
        **options: further fields of the message.

    Raises:
        WorkerFailed: ``no-shared-memory``.
    """
    arrays: list[SharedArray] = []
    try:
        for volume in volumes:
            arrays.append(SharedArray.create(volume.array.shape, volume.array.dtype, spares))
        label_map = None
        if volumes:
            shape = volumes[0].geometry.shape_kji
            label_map = SharedArray.create(shape, np.uint16, spares)
    except BaseException:
        for array in arrays:
            array.close()
        raise
    message = {
        "do": "detect",
        "model": model_name(model),
        **options,
        "volumes": [
            protocol.volume_to_json(volume, array)
            for volume, array in zip(volumes, arrays, strict=True)
        ],
        "label_map": None if label_map is None else label_map.to_json(),
    }

    def fill() -> Iterator[int]:
        for volume, array in zip(volumes, arrays, strict=True):
            yield from array.fill(volume.array)

    def read(value: Any) -> Reading[Findings]:
        spans = value["label_map"]
        voxels = None
        if spans is not None and label_map is not None:
            voxels = np.zeros(label_map.shape, np.uint16)  # costs nothing where it stays zero
            yield from label_map.empty_into(voxels, spans)
        yield 0
        return Findings.from_json(value["findings"], voxels)

    owned = (*arrays, *([label_map] if label_map is not None else []))
    return Job(message, read, fill(), owned)


def model_name(model: str | os.PathLike[str]) -> str:
    """Return a name as it is, and a folder as a path that holds in any working folder."""
    path = Path(model)
    if (path / "model.json").is_file() or path.is_file():
        return str(path.resolve())
    return os.fspath(model)

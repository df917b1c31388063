"""The front door for images on disk: NIfTI, NRRD, MetaImage, DICOM, PNG and JPEG.

SimpleITK and pydicom decode; what they let pass silently is refused here, or noted when the
caller accepts it by name (`ACCEPTABLE`). Nothing is ever written.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from os import PathLike
from pathlib import Path

from MedDetectLib.cases.raw_image import read_raw_image
from MedDetectLib.cases.sniff import kind_of, stem_of
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.quality import ACCEPTABLE, Intake, check_voxels
from MedDetectLib.core.volume import Volume

__all__ = ["ACCEPTABLE", "read_volume"]


def read_volume(
    path: str | PathLike[str],
    *,
    series: str | None = None,
    accept: Collection[str] = (),
    memory_limit_bytes: int | None = None,
    modality: str | None = None,
) -> Volume:
    """Read one volume and refuse everything that would make an answer about it wrong.

    Args:
        path: an image file, a DICOM folder, or one DICOM file (a multi-frame object, or any
            slice of the series to read).
        series: which volume, where there are several: a series UID (or its unique beginning
            or end, or the series number), ``"UID#2"`` for the second phase of it, ``"#2"``
            for the second volume of a 4-D file.
        accept: codes out of `ACCEPTABLE`.
        memory_limit_bytes: how much an image may claim; None for what is free now.
        modality: stated by the caller; None to take it from DICOM.

    Returns:
        [k, j, i] voxels with rescaling applied: the stored type, integers when the rescaled
        numbers are integers, else float32. RAS geometry. Accepted flaws are in `notes`.

    Raises:
        InputError: with one of the codes listed in the readers of this room; exit code 65.
    """
    path = Path(path)
    intake = Intake(path, accept)
    kind = kind_of(path)
    choice = _file_choice(series, intake)
    volume = read_raw_image(
        path, kind, intake, choice=choice, memory_limit_bytes=memory_limit_bytes
    )
    source = {"kind": kind, "path": path.name}
    if choice is not None:
        source["volume"] = str(choice)
    volume = replace(
        volume,
        modality=modality or volume.modality,
        name=stem_of(path),
        source=source,
        notes=tuple(intake.notes),
    )
    return _named(volume, path, accept)


def _named(volume: Volume, path: Path, accept: Collection[str]) -> Volume:
    """`check_voxels`, with the whole path in what it says."""
    try:
        return check_voxels(volume, accept)
    except InputError as error:
        raise InputError(error.code, error.what, where=path, todo=error.todo) from error


def _file_choice(series: str | None, intake: Intake) -> int | None:
    """Return the number in ``"#2"``."""
    if series is None:
        return None
    text = series.removeprefix("#")
    if not text.isdigit() or text == series:
        raise intake.error(
            "no-series", f"a file has no series '{series}'", "choose a volume as '#1', '#2', ..."
        )
    return int(text)

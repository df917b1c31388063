"""The front door for images on disk: NIfTI, NRRD, MetaImage, DICOM, PNG and JPEG.

SimpleITK and pydicom decode; what they let pass silently is refused here, or noted when the
caller accepts it by name (`ACCEPTABLE`). Nothing is ever written.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import replace
from os import PathLike
from pathlib import Path

from MedDetectLib.cases.dicom_series import SeriesInfo, list_dicom, read_dicom
from MedDetectLib.cases.raw_image import read_raw_image
from MedDetectLib.cases.sniff import kind_of, stem_of
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.quality import ACCEPTABLE, Intake, check_voxels
from MedDetectLib.core.volume import Volume

__all__ = ["ACCEPTABLE", "SeriesInfo", "list_series", "read_volume"]


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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's remarks; what matters is judged here
            return _read(path, intake, series, memory_limit_bytes, modality)
    except MemoryError as error:
        raise intake.error(
            "too-large", "it does not fit into memory", "free memory, or crop the image"
        ) from error
    except OSError as error:
        raise intake.error(
            "unreadable",
            f"reading failed ({error.strerror or error})",
            "check the disk and that you may read it",
        ) from error


def _read(
    path: Path,
    intake: Intake,
    series: str | None,
    memory_limit_bytes: int | None,
    modality: str | None,
) -> Volume:
    """Read through the door of the file's kind, and judge the voxels."""
    kind = "dicom" if path.is_dir() else kind_of(path)
    if kind == "dicom":
        volume = read_dicom(path, intake, series=series, memory_limit_bytes=memory_limit_bytes)
        volume = replace(volume, source={**volume.source, "path": path.name})
    else:
        choice = _file_choice(series, intake)
        volume = read_raw_image(
            path, kind, intake, choice=choice, memory_limit_bytes=memory_limit_bytes
        )
        source = {"kind": kind, "path": path.name}
        if choice is not None:
            source["volume"] = str(choice)
        volume = replace(volume, name=stem_of(path), source=source)
    volume = replace(volume, modality=modality or volume.modality, notes=tuple(intake.notes))
    return _named(volume, path, intake.accept)


def list_series(folder: str | PathLike[str]) -> tuple[SeriesInfo, ...]:
    """List the DICOM image series of a folder and those below it, by series number.

    Raises:
        InputError: ``no-file``; ``empty-file``, ``html-file``, ``lfs-pointer`` or
            ``bad-header`` when one of its DICOM files cannot be one.
    """
    path = Path(folder)
    if not path.is_dir():
        raise InputError("no-file", "there is no such folder", where=path, todo="check the path")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list_dicom(path)


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

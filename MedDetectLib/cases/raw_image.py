"""NIfTI, NRRD, MetaImage and pictures into a `Volume`.

SimpleITK decodes the pictures. The voxels of the other three are plain numbers once the
header is understood, and are taken straight from the bytes that were checked: SimpleITK
turns the NaN of a NIfTI into 0, applies an intercept that a slope of 0 switches off, misreads
negative numbers in a MetaImage of text, and knows neither NIfTI-2 nor bzip2. The tests hold
both readers against each other where SimpleITK is right.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.cases.lps import ras_from_lps
from MedDetectLib.cases.meta_header import read_meta_header
from MedDetectLib.cases.nifti_header import read_nifti_header
from MedDetectLib.cases.nrrd_header import read_nrrd_header
from MedDetectLib.cases.picture import read_picture
from MedDetectLib.cases.raw_header import RawHeader, check_memory, check_payload, read_numbers
from MedDetectLib.cases.sniff import FileKind
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import FloatArray, Geometry
from MedDetectLib.core.quality import Intake
from MedDetectLib.core.volume import Volume

__all__ = ["luminance", "read_layers", "read_raw_image", "rescaled"]

PARSERS = {"nifti": read_nifti_header, "nrrd": read_nrrd_header, "meta": read_meta_header}
REC_601 = np.array([0.299, 0.587, 0.114])
"""Brightness of red, green and blue, ITU-R BT.601."""


def read_raw_image(
    path: Path,
    kind: FileKind,
    intake: Intake,
    *,
    choice: int | None = None,
    memory_limit_bytes: int | None = None,
) -> Volume:
    """Read one file that holds its whole image.

    Args:
        path: the file; of a header and voxel pair, either.
        kind: what `kind_of` found.
        intake: the judge, with what the caller accepts.
        choice: which volume of a 4-D file, counted from 1.
        memory_limit_bytes: None for what is free.

    Raises:
        InputError: see `MedDetectLib.cases.image_files.read_volume`.
    """
    if kind == "picture":
        array, geometry = read_picture(path, intake, memory_limit_bytes)
        return Volume(luminance(array) if array.ndim == 4 else array, geometry)
    header = PARSERS[kind](path, intake)
    number = _choose_volume(header.volumes, choice, intake)
    volumes, geometry = _read_checked(path, header, intake, memory_limit_bytes)
    return Volume(np.ascontiguousarray(volumes[number]), geometry)


def read_layers(
    path: Path, intake: Intake, memory_limit_bytes: int | None = None
) -> tuple[npt.NDArray[Any], Geometry]:
    """Read all volumes of a NRRD file: [layer, k, j, i] and the grid they share.

    Raises:
        InputError: as `read_raw_image` does, but for ``four-d``.
    """
    return _read_checked(path, read_nrrd_header(path, intake), intake, memory_limit_bytes)


def _read_checked(
    path: Path, header: RawHeader, intake: Intake, memory_limit_bytes: int | None
) -> tuple[npt.NDArray[Any], Geometry]:
    """Judge what the header promises, then decode all volumes, [volume, k, j, i]."""
    geometry = _checked_geometry(header.shape_ijk, header.matrix_lps, path)
    check_memory(header, memory_limit_bytes, path)
    if header.colours > 1:
        intake.flaw("rgb", "its voxels are colours", todo="export a scalar image")
    check_payload(header, intake)
    return _decode(header), geometry


def _choose_volume(volumes: int, choice: int | None, intake: Intake) -> int:
    """Return which of several volumes to read, from 0.

    Raises:
        InputError: ``four-d`` without a choice, ``no-series`` for one that is not there.
    """
    if choice is None and volumes > 1:
        raise intake.error(
            "four-d",
            f"it holds {volumes} volumes, one is needed",
            f"choose one with --series '#1' to '#{volumes}', or save one of them alone",
        )
    number = choice or 1
    if not 1 <= number <= volumes:
        raise intake.error("no-series", f"there is no volume #{number}", f"choose #1 to #{volumes}")
    return number - 1


def _checked_geometry(
    shape_ijk: tuple[int, int, int], matrix_lps: FloatArray, where: Path
) -> Geometry:
    """Return the RAS geometry; what is wrong with it is said of `where`.

    Raises:
        InputError: see `Geometry`.
    """
    try:
        return Geometry(shape_ijk[::-1], ras_from_lps(matrix_lps))
    except InputError as error:
        raise InputError(
            error.code, error.what, where=where, todo=error.todo or "export the image again"
        ) from error


def luminance(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the brightness of [k, j, i, colour] voxels, in the same number type."""
    bright: npt.NDArray[Any] = array[..., :3] @ REC_601
    return np.asarray(np.rint(bright) if array.dtype.kind in "iu" else bright, array.dtype)


def rescaled(stored: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[Any]:
    """Apply ``stored * slope + intercept``.

    The result is of the smallest signed type that holds it when stored numbers, slope and
    intercept are all integers, else float32; a slope of 1 and intercept of 0 change nothing.
    """
    if slope == 1 and intercept == 0:
        return stored
    if stored.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer():
        factor, offset = int(slope), int(intercept)
        ends = [int(v) * factor + offset for v in (stored.min(), stored.max())]
        kind = _integer_type((*ends, factor, offset))
        if kind is not None:
            # Products may wrap on the way; adding the offset brings them back.
            out = stored.astype(kind)
            out *= kind.type(factor)
            out += kind.type(offset)
            return out
    return np.asarray(stored * np.float64(slope) + intercept, dtype=np.float32)


def _integer_type(values: tuple[int, ...]) -> np.dtype[np.signedinteger[Any]] | None:
    """Return the smallest signed type of at least 16 bits that holds the values."""
    for name in ("int16", "int32", "int64"):
        kind: np.dtype[np.signedinteger[Any]] = np.dtype(name)
        if np.iinfo(kind).min <= min(values) and max(values) <= np.iinfo(kind).max:
            return kind
    return None


def _decode(header: RawHeader) -> npt.NDArray[Any]:
    """Return the voxels of all volumes with rescaling applied, [volume, k, j, i]."""
    array = read_numbers(header)
    shape = (header.volumes, *header.shape_ijk[::-1])
    if header.colours > 1:
        return luminance(array.reshape(*shape, header.colours))
    if header.volumes > 1 and header.interleaved:
        array = np.moveaxis(array.reshape(*shape[1:], shape[0]), -1, 0)
    native = np.ascontiguousarray(array.reshape(shape), dtype=header.number.newbyteorder("="))
    return rescaled(native, header.slope, header.intercept)

"""PNG and JPEG pictures (chest radiographs and the like): one slice without a place."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.memory import require_memory
from MedDetectLib.core.quality import Intake

__all__ = ["read_picture"]


def read_picture(
    path: Path, intake: Intake, memory_limit_bytes: int | None
) -> tuple[npt.NDArray[Any], Geometry]:
    """Read a picture as one slice of 1 mm pixels, rows towards Posterior, columns towards Left.

    Returns:
        [1, j, i] grey values or [1, j, i, colour], and the assumed geometry.

    Raises:
        InputError: ``truncated-data``, ``bad-checksum``, ``too-large``, ``no-spacing``,
            ``rgb``, ``unreadable``.
    """
    import SimpleITK

    _check_whole(path, intake, memory_limit_bytes)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size, colours = reader.GetSize(), reader.GetNumberOfComponents()
        require_memory(
            4 * int(np.prod(size, dtype=object)) * colours,
            memory_limit_bytes,
            what="the header",
            where=path,
        )
        if len(size) == 2 or size[2:] == (1,):
            intake.flaw("no-spacing", "a picture has no voxel spacing", todo="give the DICOM image")
        if colours > 1:
            intake.flaw("rgb", "its pixels are colours", todo="give the grey image")
        array: npt.NDArray[Any] = SimpleITK.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise intake.error(
            "unreadable", f"SimpleITK cannot read it ({reason})", "save it again"
        ) from error
    i, j = size[:2]
    array = array.reshape((1, j, i, colours) if colours > 1 else (1, j, i))
    if colours == 2:  # grey with transparency
        array = array[..., 0]
    return array, Geometry((1, j, i), np.diag([-1.0, -1.0, 1.0, 1.0]))


def _check_whole(path: Path, intake: Intake, memory_limit_bytes: int | None) -> None:
    """Refuse a picture whose end is missing: decoders paint the rest grey and say nothing."""
    data = path.read_bytes()
    if data[:3] == b"\xff\xd8\xff":
        if b"\xff\xd9" not in data[-65536:]:
            raise _cut(intake)
        return
    at = 8
    if len(data) >= 24:
        pixels = int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big")
        require_memory(4 * pixels, memory_limit_bytes, what="the header", where=path)
    while True:
        if at + 12 > len(data):
            raise _cut(intake)
        length, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            raise _cut(intake)
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        if zlib.crc32(data[at + 4 : at + 8 + length]) != checksum:
            raise intake.error(
                "bad-checksum", f"PNG chunk {name.decode('latin-1')} is damaged", "copy it again"
            )
        if name == b"IEND":
            return
        at += 12 + length


def _cut(intake: Intake) -> InputError:
    return intake.error(
        "truncated-data", "the picture has no end", "the file was cut short: copy it again"
    )

"""Voxels as gzip NIfTI-1: the same grid gives the same matrix, the same voxels the same bytes.

Header layout after the NIfTI-1 definition of the NIfTI Data Format Working Group (nifti1.h
2007). NIfTI states places in RAS. Every write is checked, so that a full disk is an error and
never a file cut short.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.cases.durable import flush, write_all
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import FloatArray, Geometry

__all__ = ["write_nifti"]

CODES = {
    "uint8": 2, "int16": 4, "int32": 8, "float32": 16, "float64": 64, "int8": 256,
    "uint16": 512, "uint32": 768, "int64": 1024, "uint64": 1280,
}  # fmt: skip
STORED_AS = {"bool": "uint8", "float16": "float32"}
LEVEL = 1
LONGEST = 32767
MILLIMETRES, SCANNER, VOXELS_AT = 2, 1, 352


def write_nifti(path: Path, array: npt.NDArray[Any], geometry: Geometry) -> None:
    """Write a [k, j, i] array to a new ``.nii.gz`` file and flush it; its folder is not.

    The matrix is kept in both forms, as the single precision numbers that NIfTI-1 has; the
    text fields are empty.

    Raises:
        InputError: ``bad-array`` for a number type or a size that NIfTI-1 does not have.
        OSError: as the disk says.
    """
    name = STORED_AS.get(array.dtype.name, array.dtype.name)
    if name not in CODES or array.ndim != 3 or max(array.shape) > LONGEST:
        raise InputError(
            "bad-array",
            f"{array.dtype} voxels of shape {array.shape} do not fit into NIfTI-1",
            where=path,
        )
    gzip = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
    kind = np.dtype(name).newbyteorder("<")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags, 0o666)
    try:
        write_all(handle, gzip.compress(_header(name, geometry)))
        for plane in array:
            data = gzip.compress(np.ascontiguousarray(plane, dtype=kind).data.cast("B"))
            if data:
                write_all(handle, data)
        write_all(handle, gzip.flush())
        flush(handle)
    finally:
        os.close(handle)


def _header(name: str, geometry: Geometry) -> bytes:
    """Return the 352 bytes before the voxels."""
    shape_ijk = geometry.shape_kji[::-1]
    spacing_ijk_mm = geometry.spacing_kji_mm[::-1]
    quaternion, handedness = _quaternion(geometry.directions_ras)
    matrix = geometry.ijk_to_ras
    return struct.pack(
        "<i 10x 18x i h c B 8h 3f h h h h 8f f f f h B B f f f f i i 80x 24x h h 6f 12f 16x 4s 4x",
        348, 0, 0, b"r", 0,
        3, *shape_ijk, 1, 1, 1, 1,
        0, 0, 0, 0,
        CODES[name], np.dtype(name).itemsize * 8, 0,
        handedness, *spacing_ijk_mm, 0, 0, 0, 0,
        VOXELS_AT, 1, 0,
        0, 0, MILLIMETRES,
        0, 0, 0, 0, 0, 0,
        SCANNER, SCANNER,
        *quaternion, *matrix[:3, 3], *matrix[:3].ravel(),
        b"n+1\0",
    )  # fmt: skip


def _quaternion(directions_ras: FloatArray) -> tuple[list[float], float]:
    """Return b, c, d of the rotation nearest to three axes, and -1 where they are left-handed."""
    left, _, right = np.linalg.svd(directions_ras)
    turn = left @ right
    handedness = 1.0 if np.linalg.det(turn) > 0 else -1.0
    turn[:, 2] *= handedness
    # The quaternion is the eigenvector of this matrix with the largest eigenvalue
    # (Bar-Itzhack 2000), whatever the angle.
    xx, yx, zx, xy, yy, zy, xz, yz, zz = turn.T.ravel()
    whole = np.array([
        [xx - yy - zz, 0, 0, 0],
        [yx + xy, yy - xx - zz, 0, 0],
        [zx + xz, zy + yz, zz - xx - yy, 0],
        [zy - yz, xz - zx, yx - xy, xx + yy + zz],
    ]) / 3  # fmt: skip
    _, vectors = np.linalg.eigh(whole)
    b, c, d, a = vectors[:, -1]
    sign = -1.0 if a < 0 else 1.0
    return [float(sign * x) for x in (b, c, d)], handedness

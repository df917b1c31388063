"""Voxels as gzip NRRD with the exact matrix: what is read back is what was written, bit by bit.

SimpleITK keeps spacing and direction apart and rounds their product; here the header holds
the product itself.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.cases.durable import unreadable, write_all
from MedDetectLib.cases.lps import ras_from_lps
from MedDetectLib.cases.raw_image import read_raw_image
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.quality import Intake

__all__ = ["read_voxels", "write_voxels"]

NRRD_TYPES = {
    "int8": "signed char", "uint8": "unsigned char", "int16": "short", "uint16": "unsigned short",
    "int32": "int", "uint32": "unsigned int", "int64": "long long int",
    "uint64": "unsigned long long int", "float32": "float", "float64": "double",
}  # fmt: skip
STORED_AS = {"bool": "uint8", "float16": "float32"}
LEVEL = 1
"""Half the size for a tenth of the time of level 6; CT noise does not compress further."""


def write_voxels(handle: int, array: npt.NDArray[Any], geometry: Geometry) -> None:
    """Write a [k, j, i] array to an open file, slice by slice; same content, same bytes.

    Raises:
        InputError: ``bad-array`` for a number type that NRRD does not have.
    """
    name = STORED_AS.get(array.dtype.name, array.dtype.name)
    if name not in NRRD_TYPES:
        raise InputError("bad-array", f"voxels of type {array.dtype} cannot be stored")
    matrix_lps = ras_from_lps(geometry.ijk_to_ras)
    lines = [
        "NRRD0004",
        f"type: {NRRD_TYPES[name]}",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(n) for n in geometry.shape_kji[::-1])}",
        f"space directions: {' '.join(_vector(column) for column in matrix_lps[:3, :3].T)}",
        "kinds: domain domain domain",
        *(["endian: little"] if np.dtype(name).itemsize > 1 else []),
        "encoding: gzip",
        f"space origin: {_vector(matrix_lps[:3, 3])}",
    ]
    write_all(handle, "\n".join(lines).encode("ascii") + b"\n\n")
    gzip = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
    kind = np.dtype(name).newbyteorder("<")
    for plane in array:
        data = gzip.compress(np.ascontiguousarray(plane, dtype=kind).data.cast("B"))
        if data:
            write_all(handle, data)
    write_all(handle, gzip.flush())


def read_voxels(path: Path, dtype: str) -> tuple[npt.NDArray[Any], Geometry]:
    """Read back what `write_voxels` wrote: [k, j, i] of the given type, and the grid.

    Raises:
        InputError: see `read_volume`.
        StoreError: ``cannot-read``.
    """
    try:
        volume = read_raw_image(path, "nrrd", Intake(path))
    except OSError as error:
        raise unreadable(error, path, "a file of the case store") from error
    return np.ascontiguousarray(volume.array, dtype=np.dtype(dtype)), volume.geometry


def _vector(numbers: npt.NDArray[np.float64]) -> str:
    """Return ``(x,y,z)`` with every digit."""
    return f"({','.join(repr(float(x) + 0.0) for x in numbers)})"

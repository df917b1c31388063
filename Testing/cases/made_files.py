"""Small good image files, byte by byte, so that a test can spoil any one field."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

SHAPE_KJI = (4, 5, 6)
NIFTI_TYPES = {"uint8": 2, "int16": 4, "int32": 8, "float32": 16, "complex64": 32, "float64": 64}


def good_array(dtype: str = "int16") -> np.ndarray:
    return (np.arange(np.prod(SHAPE_KJI)).reshape(SHAPE_KJI) - 7).astype(dtype)


def nifti_bytes(array: np.ndarray, *, order: str = "<", version: int = 1, **fields) -> bytes:
    """A single-file NIfTI with a qform and an sform that agree: 1 x 2 x 3 mm, RAS."""
    sizes = list(array.shape[::-1])
    values = {
        "dim": [len(sizes), *sizes, *[1] * (7 - len(sizes))],
        "datatype": NIFTI_TYPES.get(array.dtype.name, 4),
        "bitpix": array.dtype.itemsize * 8,
        "pixdim": [1, 1, 2, 3, 0, 0, 0, 0],
        "vox_offset": 352 if version == 1 else 544,
        "scl_slope": 0,
        "scl_inter": 0,
        "xyzt_units": 2,
        "qform_code": 1,
        "sform_code": 1,
        "quatern": [0, 0, 0],
        "qoffset": [10, 20, 30],
        "srow": [1, 0, 0, 10, 0, 2, 0, 20, 0, 0, 3, 30],
        "magic": b"n+1\0" if version == 1 else b"n+2\0\r\n\x1a\n",
        **fields,
    }
    head = bytearray(348 if version == 1 else 540)

    def put(form: str, at: int, *numbers) -> None:
        struct.pack_into(order + form, head, at, *numbers)

    v = values
    if version == 1:
        put("i", 0, 348)
        put("8h", 40, *v["dim"])
        put("2h", 70, v["datatype"], v["bitpix"])
        put("8f", 76, *v["pixdim"])
        put("3f", 108, v["vox_offset"], v["scl_slope"], v["scl_inter"])
        put("B", 123, v["xyzt_units"])
        put("2h", 252, v["qform_code"], v["sform_code"])
        put("6f", 256, *v["quatern"], *v["qoffset"])
        put("12f", 280, *v["srow"])
        head[344:348] = v["magic"]
    else:
        put("i", 0, 540)
        head[4:12] = v["magic"]
        put("2h", 12, v["datatype"], v["bitpix"])
        put("8q", 16, *v["dim"])
        put("8d", 104, *v["pixdim"])
        put("q", 168, v["vox_offset"])
        put("2d", 176, v["scl_slope"], v["scl_inter"])
        put("2i", 344, v["qform_code"], v["sform_code"])
        put("6d", 352, *v["quatern"], *v["qoffset"])
        put("12d", 400, *v["srow"])
        put("i", 500, v["xyzt_units"])
    return bytes(head) + b"\0\0\0\0" + array.astype(array.dtype.newbyteorder(order)).tobytes()


def nrrd_bytes(array: np.ndarray, *, encoding: str = "raw", **fields) -> bytes:
    """A NRRD of 1 x 2 x 3 mm voxels in LPS; a field of None is left out, `extra` added."""
    names = {"int16": "short", "uint8": "uchar", "float32": "float", "float64": "double"}
    values = {
        "type": names.get(array.dtype.name, "short"),
        "dimension": array.ndim,
        "space": "left-posterior-superior",
        "sizes": " ".join(str(n) for n in array.shape[::-1]),
        "space directions": "(1,0,0) (0,2,0) (0,0,3)",
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": encoding,
        "space origin": "(10,20,30)",
        **fields,
    }
    data = array.tobytes()
    if encoding == "gzip":
        data = gzip.compress(data, mtime=0)
    elif encoding == "ascii":
        data = "\n".join(str(x) for x in array.ravel()).encode()
    lines = [f"{key}: {value}" for key, value in values.items() if value is not None]
    return ("NRRD0004\n" + "\n".join(lines) + "\n\n").encode() + data


def meta_bytes(array: np.ndarray, *, data: bytes | None = None, **fields) -> bytes:
    """A MetaImage of 1 x 2 x 3 mm voxels; a field of None is left out."""
    names = {"int16": "MET_SHORT", "uint8": "MET_UCHAR", "float32": "MET_FLOAT"}
    values = {
        "ObjectType": "Image",
        "NDims": array.ndim,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "10 20 30",
        "ElementSpacing": "1 2 3",
        "DimSize": " ".join(str(n) for n in array.shape[::-1]),
        "ElementType": names.get(array.dtype.name, "MET_SHORT"),
        **fields,
    }
    name = values.pop("ElementDataFile", "LOCAL")
    lines = [f"{key} = {value}" for key, value in values.items() if value is not None]
    head = "\n".join([*lines, f"ElementDataFile = {name}"]) + "\n"
    return head.encode() + (array.tobytes() if data is None else data)


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path

"""Reading whole DICOM objects; damaged bytes become errors of ours here.

pydicom and its decoders meet damage with many kinds of exception (EOFError, struct.error,
ValueError, NotImplementedError, KeyError, ...).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["decoded_frames", "kind_of_object", "read_object"]

COPY_AGAIN = "copy or export the file again"
UNDEFINED = 0xFFFFFFFF
DELIMITER = (b"\xfe\xff\xdd\xe0\0\0\0\0", b"\xff\xfe\xe0\xdd\0\0\0\0")
"""What ends a sequence of undefined length, in either order of bytes."""


def read_object(path: Path) -> Dataset:
    """Read one object, whole.

    Raises:
        InputError: ``no-file``, ``bad-header``, ``truncated-data``.
    """
    import pydicom

    if not path.is_file():
        raise InputError("no-file", "there is no such file", where=path, todo="check the path")
    try:
        data = pydicom.dcmread(path)
        whole = _ends_with_its_file(data, path)
        for element in data:  # decoded now, so that damage shows here
            str(element.VR)
    except Exception as error:
        what = f"it is no readable DICOM ({type(error).__name__}: {error})"
        raise InputError("bad-header", what, where=path, todo=COPY_AGAIN) from error
    if not whole:
        raise InputError("truncated-data", "the file was cut short", where=path, todo=COPY_AGAIN)
    return data


def _ends_with_its_file(data: Dataset, path: Path) -> bool:
    """Whether the last element ends where the file does; pydicom takes what it gets."""
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    if not data or data.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return bool(data)
    last = data.get_item(max(data.keys()))
    length = getattr(last, "length", UNDEFINED)
    with path.open("rb") as file:
        if length == UNDEFINED:
            file.seek(-len(DELIMITER[0]), 2)
            return file.read() in DELIMITER
        file.seek(last.value_tell + length)
        return file.tell() <= path.stat().st_size and not any(file.read())


def kind_of_object(path: Path) -> tuple[str, str]:
    """Return an object's SOP class and transfer syntax, from the start of its file.

    Raises:
        InputError: ``bad-header``.
    """
    from pydicom.filereader import read_file_meta_info

    try:
        meta = read_file_meta_info(path)
        return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
    except Exception as error:
        what = f"it is no readable DICOM ({type(error).__name__}: {error})"
        raise InputError("bad-header", what, where=path, todo=COPY_AGAIN) from error


def decoded_frames(data: Dataset, path: Path) -> npt.NDArray[Any]:
    """Return [frame, row, column] numbers as stored.

    Raises:
        InputError: ``unreadable``.
    """
    frames = max(int(data.get("NumberOfFrames") or 1), 1)
    try:
        return np.asarray(data.pixel_array).reshape(frames, int(data.Rows), int(data.Columns))
    except Exception as error:
        what = f"its pixels cannot be decoded ({type(error).__name__}: {error})"
        raise InputError("unreadable", what, where=path, todo=COPY_AGAIN) from error

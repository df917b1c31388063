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

TODO = "copy or export the file again"


def read_object(path: Path) -> Dataset:
    """Read one object, whole.

    Raises:
        InputError: ``no-file``, ``bad-header``.
    """
    import pydicom

    if not path.is_file():
        raise InputError("no-file", "there is no such file", where=path, todo="check the path")
    try:
        data = pydicom.dcmread(path)
        for element in data:  # decoded now, so that damage shows here
            str(element.VR)
        return data
    except Exception as error:
        what = f"it is no readable DICOM ({type(error).__name__}: {error})"
        raise InputError("bad-header", what, where=path, todo=TODO) from error


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
        raise InputError("bad-header", what, where=path, todo=TODO) from error


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
        raise InputError("unreadable", what, where=path, todo=TODO) from error

"""The stored numbers of DICOM images, whatever transfer syntax holds them.

pydicom decodes, with the plugins it finds; where none is installed for a syntax (inside
Slicer), SimpleITK's GDCM does it. Truncated data is refused before either sees it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.cases.dicom_scan import DicomFile
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.quality import Intake

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

__all__ = ["frame_bytes", "stored_pixels"]

PACKAGES = (
    ("1.2.840.10008.1.2.4.9", "pylibjpeg-openjpeg"),
    ("1.2.840.10008.1.2.4.20", "pylibjpeg-openjpeg"),
    ("1.2.840.10008.1.2.4", "pylibjpeg-libjpeg"),
)
END_OF_IMAGE = b"\xff\xd9"
CUT = "the file was cut short: copy or export it again"


def frame_bytes(file: DicomFile) -> int:
    """Return the memory one decoded frame takes."""
    header = file.header
    try:
        bits, samples = (
            int(header.get("BitsAllocated") or 16),
            int(header.get("SamplesPerPixel") or 1),
        )
        return int(header.Rows) * int(header.Columns) * samples * max(bits // 8, 1)
    except (TypeError, ValueError) as error:
        raise InputError(
            "bad-header",
            f"its image size is unreadable ({error})",
            where=file.path,
            todo="export the series again",
        ) from error


def stored_pixels(file: DicomFile, intake: Intake) -> npt.NDArray[Any]:
    """Return all frames of a file as stored: [frame, row, column], or with colours last.

    Raises:
        InputError: ``truncated-data``, ``padded-data``, ``unknown-encoding``,
            ``missing-decoder``, ``unreadable``, ``not-scalar``.
    """
    dataset, data, syntax = _open(file)
    if file.text("PhotometricInterpretation") == "PALETTE COLOR":
        raise InputError(
            "not-scalar", "its pixels are numbers of a colour table", where=file.path,
            todo="export the original grey image",
        )  # fmt: skip
    try:
        encapsulated = syntax.is_encapsulated
    except ValueError as error:
        raise InputError(
            "unknown-encoding", f"its transfer syntax '{syntax}' is not known",
            where=file.path, todo="export it uncompressed",
        ) from error  # fmt: skip
    if encapsulated:
        _check_streams(dataset, file, syntax)
    else:
        _check_length(data, file, intake)
    array = _decode(dataset, file, syntax)
    colours = int(dataset.get("SamplesPerPixel") or 1)
    shape = (file.frames, int(dataset.Rows), int(dataset.Columns))
    if array.size != int(np.prod(shape)) * colours:
        raise InputError(
            "unreadable", f"its pixels are decoded as {array.shape}, not {shape}",
            where=file.path, todo="copy or export the file again",
        )  # fmt: skip
    return array.reshape((*shape, colours) if colours > 1 else shape)


def _open(file: DicomFile) -> tuple[Dataset, bytes, UID]:
    """Read the whole file: its elements, the value of its pixels, its transfer syntax."""
    import pydicom
    from pydicom.uid import UID, ImplicitVRLittleEndian

    data = None
    try:
        dataset = pydicom.dcmread(file.path, force=True)
        for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
            data = data or dataset.get(name)
    except Exception as error:  # many kinds, see read_header
        raise InputError(
            "bad-header", f"it is damaged ({type(error).__name__}: {error})", where=file.path,
            todo="copy or export the file again",
        ) from error  # fmt: skip
    if not data:
        raise InputError("truncated-data", "its pixels are missing", where=file.path, todo=CUT)
    meta: Any = getattr(dataset, "file_meta", None) or pydicom.dataset.FileMetaDataset()
    dataset.file_meta = meta
    if "TransferSyntaxUID" not in meta:
        meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return dataset, data, UID(str(meta.TransferSyntaxUID))


def _check_length(data: bytes, file: DicomFile, intake: Intake) -> None:
    """Compare the bytes of native pixels with what the header promises."""
    photometric = file.text("PhotometricInterpretation")
    promised = frame_bytes(file) * file.frames
    if photometric == "YBR_FULL_422":
        promised = promised // 3 * 2
    if len(data) < promised:
        raise InputError(
            "truncated-data",
            f"the header promises {promised} bytes of pixels, {len(data)} are there",
            where=file.path, todo=CUT,
        )  # fmt: skip
    if len(data) > promised + promised % 2:
        intake.flaw(
            "padded-data",
            f"{len(data) - promised} bytes follow the pixels of a slice",
            todo="export the series again",
        )


def _check_streams(dataset: Dataset, file: DicomFile, syntax: Any) -> None:
    """Refuse compressed frames that are fewer than promised or lack their end mark."""
    from pydicom.encaps import generate_frames

    count = 0
    try:
        for frame in generate_frames(
            dataset.PixelData, number_of_frames=file.frames,
            extended_offsets=_extended_offsets(dataset),
        ):  # fmt: skip
            count += 1
            jpeg = syntax.startswith("1.2.840.10008.1.2.4.") and frame[:2] in (
                b"\xff\xd8",
                b"\xff\x4f",
            )
            if jpeg and END_OF_IMAGE not in frame[-16:]:
                raise InputError(
                    "truncated-data",
                    f"compressed frame {count} has no end",
                    where=file.path,
                    todo=CUT,
                )
    except (ValueError, EOFError) as error:
        raise InputError(
            "truncated-data",
            f"its compressed frames are incomplete ({error})",
            where=file.path,
            todo=CUT,
        ) from error
    if count < file.frames:
        raise InputError(
            "truncated-data",
            f"the header promises {file.frames} frames, {count} are there",
            where=file.path, todo=CUT,
        )  # fmt: skip


def _extended_offsets(dataset: Dataset) -> tuple[bytes, bytes] | None:
    """Return the extended offset table, if there is one."""
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        return dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
    return None


def _decode(dataset: Dataset, file: DicomFile, syntax: Any) -> npt.NDArray[Any]:
    """Decode through pydicom, or through SimpleITK where pydicom has no decoder."""
    from pydicom.pixels import get_decoder, pixel_array

    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError as error:
        raise InputError(
            "unknown-encoding",
            f"its pixels are stored as {syntax.name}",
            where=file.path,
            todo="export it uncompressed",
        ) from error
    if not available:
        return _by_simpleitk(dataset, file, syntax)
    try:
        return np.asarray(pixel_array(dataset))
    except Exception as error:
        # Decoders of several packages, each with its own kinds of exception.
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            "unreadable",
            f"its pixels cannot be decoded ({reason})",
            where=file.path,
            todo="copy or export the file again",
        ) from error


def _by_simpleitk(dataset: Dataset, file: DicomFile, syntax: Any) -> npt.NDArray[Any]:
    """Decode through GDCM: a copy without rescaling and frame geometry, in a temporary folder."""
    import SimpleITK

    for keyword in (
        "RescaleSlope", "RescaleIntercept", "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence", "RealWorldValueMappingSequence",
    ):  # fmt: skip
        if keyword in dataset:
            del dataset[keyword]
    try:
        with tempfile.TemporaryDirectory() as folder:
            bare = Path(folder, "bare.dcm")
            dataset.save_as(bare)
            return np.asarray(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(bare))))
    except (RuntimeError, ValueError, OSError) as error:
        package = next((p for prefix, p in PACKAGES if syntax.startswith(prefix)), "pylibjpeg")
        raise InputError(
            "missing-decoder",
            f"its pixels are stored as {syntax.name} and nothing installed decodes that",
            where=file.path,
            todo=f"install {package}, or export the series uncompressed",
        ) from error

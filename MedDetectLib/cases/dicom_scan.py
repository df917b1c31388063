"""Which DICOM images a folder holds, read from their headers alone.

Everything that is not an image of the patient (segmentations, reports, structure sets,
presentation states, DICOMDIR) is passed over, and so are files that are not DICOM.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedDetectLib.cases.sniff import refuse_impostors
from MedDetectLib.core.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["DicomFile", "Scan", "is_image", "read_header", "read_tags", "scan_folder"]

# fmt: off
NOT_IMAGES = frozenset((
    "AU", "DOC", "ECG", "EPS", "FID", "HD", "KER", "KO", "LEN", "M3D", "PLAN", "PR", "REG",
    "RESP", "RTDOSE", "RTIMAGE", "RTPLAN", "RTRECORD", "RTSTRUCT", "RWV", "SEG", "SMR", "SR",
    "SRF", "STAIN", "TEXTUREMAP", "VA",
))
# fmt: on
"""Modalities whose objects hold no image of the patient, or none to search for findings."""
USED = (
    "AcquisitionDateTime", "AcquisitionNumber", "AcquisitionTime", "BitsAllocated", "Columns",
    "ComplexImageComponent", "ContentTime", "DiffusionBValue", "DiffusionGradientOrientation",
    "EchoNumbers", "EchoTime", "FrameOfReferenceUID", "ImageOrientationPatient",
    "ImagePositionPatient", "ImageType", "ImagerPixelSpacing", "InstanceNumber", "Modality",
    "ModalityLUTSequence", "NumberOfFrames", "PatientID", "PhotometricInterpretation",
    "PixelRepresentation", "PixelSpacing", "RescaleIntercept", "RescaleSlope", "Rows",
    "SamplesPerPixel", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber",
    "SliceThickness", "SOPClassUID", "SOPInstanceUID", "SpacingBetweenSlices",
    "StudyInstanceUID", "TemporalPositionIdentifier", "TriggerTime",
)  # fmt: skip
"""Elements of the header that decide how an image is read."""
DICOM_SUFFIXES = frozenset(("", ".dcm", ".dicom", ".ima"))


@dataclass(frozen=True, eq=False)
class DicomFile:
    """One image file: its header without the pixels, and what groups it with others."""

    path: Path
    header: Dataset
    series_uid: str

    @property
    def frames(self) -> int:
        """Number of images in the file."""
        return max(int(self.header.get("NumberOfFrames") or 1), 1)

    def text(self, keyword: str) -> str:
        """Return a header value as text, empty when it is absent."""
        value = self.header.get(keyword)
        return "" if value is None else str(value).strip()


@dataclass(frozen=True)
class Scan:
    """What a folder holds.

    Args:
        series: image files by series UID, in the order of the series numbers.
        damaged: files that were cut short before they could say what they are, by path,
            with the series UID as far as it is known.
        passed_over: how many DICOM files held no image.
    """

    series: dict[str, list[DicomFile]]
    damaged: dict[Path, str] = field(default_factory=dict)
    passed_over: int = 0


def read_header(path: Path) -> Dataset | None:
    """Return a file's DICOM header without pixels; None when it is no DICOM.

    pydicom ends silently where a file ends; see `Scan.damaged`.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    with path.open("rb") as file:
        head = file.read(132)
    bare = head[:4] in (b"\x08\0\x05\0", b"\x08\0\x08\0", b"\x08\0\x16\0", b"\x08\0\0\0")
    if head[128:132] != b"DICM" and not bare:
        return None
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=bare)
        _decode_used(header)
        return header
    except InvalidDicomError:
        return None
    except Exception as error:
        # pydicom meets damaged bytes with many kinds of exception (EOFError, struct.error,
        # ValueError, NotImplementedError, KeyError, ...).
        raise InputError(
            "bad-header",
            f"its DICOM header is damaged ({type(error).__name__}: {error})",
            where=path,
            todo="copy or export the file again",
        ) from error


def read_tags(path: Path, keywords: list[str]) -> Dataset | None:
    """Return some elements of a file's header, far cheaper than `read_header`.

    Returns:
        The elements that are there; None when it is no DICOM.

    Raises:
        InputError: ``unreadable``, ``bad-header``.
    """
    import warnings

    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=keywords)
            for keyword in keywords:
                str(header.get(keyword))
            return header
    except InvalidDicomError:
        return None
    except OSError as error:
        raise InputError(
            "unreadable", f"it cannot be read ({error.strerror or error})", where=path
        ) from error
    except Exception as error:
        # see read_header
        raise InputError(
            "bad-header",
            f"its DICOM header is damaged ({type(error).__name__}: {error})",
            where=path,
            todo="copy or export the file again",
        ) from error


def _decode_used(header: Dataset) -> None:
    """Have pydicom decode now what is asked for later, so that damage shows here.

    Other elements may be as damaged as they like: scanners write odd private ones.
    """
    for keyword in USED:
        str(header.get(keyword))
    for keyword in ("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "SamplesPerPixel"):
        value = header.get(keyword)
        if value not in (None, "") and int(value) < 1:
            raise ValueError(f"{keyword} is {value}")
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for item in header.get(keyword) or ():
            for element in item:
                if element.VR == "SQ" and not element.tag.is_private:
                    for macro in element.value[:1]:
                        for part in macro:
                            str(part.value) if part.VR != "SQ" else len(part.value)


def scan_folder(folder: Path, *, deep: bool = True) -> Scan:
    """List the images of a folder (and of the folders below it when `deep`).

    Raises:
        InputError: ``no-file`` for a folder that cannot be read; ``empty-file``,
            ``html-file`` or ``lfs-pointer`` when one of its DICOM files is that instead;
            ``bad-header``.
    """
    series: dict[str, list[DicomFile]] = {}
    damaged: dict[Path, str] = {}
    passed_over = 0
    for path in _files(folder, deep):
        header = read_header(path)
        if header is None:
            if path.suffix.lower() in DICOM_SUFFIXES or path.suffix[1:].isdigit():
                with path.open("rb") as file:
                    refuse_impostors(file.read(512), path)
            continue
        uid = str(header.get("SeriesInstanceUID") or "")
        if is_image(header):
            series.setdefault(uid, []).append(DicomFile(path, header, uid))
        elif _was_cut(header):
            damaged[path] = uid
        else:
            passed_over += 1
    order = sorted(series, key=lambda uid: (_number(series[uid][0]), uid))
    return Scan({uid: series[uid] for uid in order}, damaged, passed_over)


def is_image(header: Dataset) -> bool:
    """Whether a header is that of an image of the patient."""
    if str(header.get("Modality") or "") in NOT_IMAGES:
        return False
    return bool(header.get("Rows") and header.get("Columns"))


def _was_cut(header: Dataset) -> bool:
    """Whether a header without image size claims to be that of an image."""
    from pydicom.uid import UID

    if str(header.get("Modality") or "") in NOT_IMAGES:
        return False
    meta: Any = getattr(header, "file_meta", None) or {}
    claimed = header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")
    if claimed is None:
        return True
    return "Image Storage" in UID(str(claimed)).name


def _files(folder: Path, deep: bool) -> Iterator[Path]:
    """Yield files in an order that does not depend on the file system."""
    try:
        for root, folders, names in os.walk(folder, onerror=_raise):
            folders[:] = sorted(name for name in folders if deep and not name.startswith("."))
            for name in sorted(names):
                if not name.startswith(".") and name.upper() != "DICOMDIR":
                    yield Path(root, name)
    except OSError as error:
        raise InputError(
            "no-file",
            f"the folder cannot be read ({error.strerror})",
            where=folder,
            todo="check that you may read it",
        ) from error


def _raise(error: OSError) -> None:
    raise error


def _number(file: DicomFile) -> int:
    """Return the series number, for sorting."""
    try:
        return int(file.header.get("SeriesNumber") or 0)
    except (TypeError, ValueError):
        return 0

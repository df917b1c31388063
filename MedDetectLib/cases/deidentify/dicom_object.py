"""A DICOM file in, the bytes of a cleaned one out; and the check of what was written."""

from __future__ import annotations

import io
import struct
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import MedDetectLib
from MedDetectLib.cases.deidentify.dataset import PIXELS, Cleaner, is_term, patient_of, texts_of
from MedDetectLib.cases.deidentify.dummies import DUMMIES
from MedDetectLib.cases.deidentify.identity import Identity
from MedDetectLib.cases.deidentify.key_file import Key
from MedDetectLib.cases.deidentify.profile_table import EDITION, KEEPS_PERSONAL_DATES, action_of
from MedDetectLib.cases.deidentify.suspicion import reasons_against

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["Cleaned", "clean_file", "is_dicom", "remains_in", "violations_in"]

UNREADABLE = (
    EOFError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError, IndexError,
    OverflowError, AssertionError, struct.error, RecursionError,
)  # fmt: skip
"""What pydicom meets damaged bytes with."""
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class Cleaned:
    """What became of one object.

    Args:
        reasons: why it may not leave, see `suspicion.REASONS`; empty for one that may.
        data: the new file.
        pseudonym: of the patient.
        study: new UID.
        series: new UID.
        counts: how often which action was taken.
        gone: the values that were taken out.
        coincidences: see `Cleaner`.
    """

    reasons: tuple[str, ...]
    data: bytes = b""
    pseudonym: str = ""
    study: str = ""
    series: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    gone: Identity = field(default_factory=Identity)
    coincidences: frozenset[str] = frozenset()


def is_dicom(head: bytes) -> bool:
    """Whether a file's first bytes are those of DICOM, with or without the usual preamble."""
    return head[128:132] == b"DICM" or head[:4] in (
        b"\x08\0\x05\0", b"\x08\0\x08\0", b"\x08\0\x16\0", b"\x08\0\0\0",
    )  # fmt: skip


def clean_file(path: Path, key: Key, *, shift_dates: bool, accept: frozenset[str]) -> Cleaned:
    """Read, judge and clean one DICOM file.

    Args:
        path: the original; it is not changed.
        key: gives out pseudonyms.
        shift_dates: move dates by the patient's days instead of taking them out.
        accept: reasons that do not count.

    Raises:
        ValueError: the file is damaged; the message holds no value of it.
        OSError: it cannot be read.
    """
    import pydicom
    from pydicom.config import disable_value_validation
    from pydicom.errors import InvalidDicomError

    # pydicom quotes wrong values in its warnings: names must not get into logs that way.
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        try:
            data = pydicom.dcmread(path, force=True)
            reasons = tuple(r for r in reasons_against(data) if r not in accept)
            if reasons:
                return Cleaned(reasons)
            if _was_cut(data):
                raise ValueError("cut short")
            patient = patient_of(data)
            cleaner = Cleaner(
                key, key.patient(patient), key.shift_days(patient) if shift_dates else None
            )
            cleaner.clean(data)
            _say_so(data, shifted=shift_dates)
            raw = _bytes_of(data)
        except (InvalidDicomError, *UNREADABLE) as error:
            raise ValueError(type(error).__name__) from None
    return Cleaned(
        (), raw, cleaner.pseudonym, str(data.get("StudyInstanceUID") or ""),
        str(data.get("SeriesInstanceUID") or ""), cleaner.counts, cleaner.gone,
        frozenset(cleaner.coincidences),
    )  # fmt: skip


def _was_cut(data: Dataset) -> bool:
    """Whether an image has no pixels, or fewer than it says; pydicom ends where a file ends."""
    from pydicom.uid import UID

    if "Image Storage" not in UID(str(data.get("SOPClassUID") or "")).name:
        return False
    pixels = next((data[tag].value for tag in PIXELS if tag in data), b"")
    syntax = UID(str(getattr(data, "file_meta", {}).get("TransferSyntaxUID") or IMPLICIT))
    if syntax.is_compressed and not syntax.is_deflated:
        return not pixels
    frames = int(data.get("NumberOfFrames") or 1) * int(data.get("SamplesPerPixel") or 1)
    bits = int(data.Rows) * int(data.Columns) * frames * int(data.BitsAllocated)
    if str(data.get("PhotometricInterpretation")) == "YBR_FULL_422":
        bits = bits * 2 // 3
    return len(pixels) < bits // 8


def _say_so(data: Dataset, *, shifted: bool) -> None:
    """Put in what the standard asks of whoever de-identifies."""
    from pydicom.dataset import Dataset as Item
    from pydicom.sequence import Sequence

    codes = [("113100", "Basic Application Confidentiality Profile")]
    if shifted:
        codes.append(("113107", "Retain Longitudinal Temporal Information Modified Dates Option"))
    items = []
    for value, meaning in codes:
        item = Item()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
        items.append(item)
    data.PatientIdentityRemoved = "YES"
    data.DeidentificationMethod = [f"MedDetect {MedDetectLib.__version__}", EDITION]
    data.DeidentificationMethodCodeSequence = Sequence(items)
    data.LongitudinalTemporalInformationModified = "MODIFIED" if shifted else "REMOVED"


def _bytes_of(data: Dataset) -> bytes:
    """Return the file with an empty preamble and a meta header of our own."""
    from pydicom.dataset import FileMetaDataset

    old: Any = getattr(data, "file_meta", None) or {}
    implicit, _ = data.original_encoding
    syntax = old.get("TransferSyntaxUID") or (IMPLICIT if implicit else EXPLICIT)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.preamble = bytes(128)
    for tag in [tag for tag in data.keys() if tag.group == 0]:  # noqa: SIM118
        del data[tag]  # no file may hold them
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


# --- what was written ---------------------------------------------------------------------


def violations_in(raw: bytes, key: Key, *, shift_dates: bool) -> list[str]:
    """Read a written file again and return the attributes that are not as the table says."""
    wrong = []
    for _, element in _elements(_header(raw)):
        number = int(element.tag)
        code = action_of(number)
        if code is None or _holds_nothing(element):
            continue
        texts = texts_of(element)
        if number in (0x00100010, 0x00100020):
            fine = all(text.startswith("P-") or text in DUMMIES.values() for text in texts)
        elif element.VR == "UI":
            fine = all(key.is_ours(text) for text in texts)
        elif shift_dates and element.VR in ("DA", "DT", "TM"):
            fine = number not in KEEPS_PERSONAL_DATES
        elif element.VR == "SQ":
            fine = "D" in code or "U" in code
        else:
            # The standard lets Z be a dummy too; items of a replaced sequence hold such.
            fine = code != "X" and element.value in _as_read(DUMMIES.get(element.VR))
        if not fine:
            wrong.append(f"{number:08X}")
    return sorted(set(wrong))


def remains_in(raw: bytes, identity: Identity, *, with_pixels: bool = False) -> list[str]:
    """Return which identifying values a written file holds, defined terms left aside.

    Args:
        raw: the file.
        identity: what to look for.
        with_pixels: look at every byte of the file, not at the header alone.
    """
    header = _header(raw)
    found = identity.found_in(_plain(header))
    for _, element in _elements(header):
        for text in texts_of(element):
            found += identity.tokens_in(text, short=False)
            found += [text] if text in identity.uids else []
    if with_pixels:
        found += identity.found_in(raw)
    terms = " ".join(
        text.casefold() for data, element in _elements(header) if is_term(data, element)
        for text in texts_of(element)
    )  # fmt: skip
    return [value for value in sorted(set(found)) if value not in terms]


def _plain(header: Dataset) -> bytes:
    """Return a header as plain bytes, whatever transfer syntax it came in."""
    from pydicom.dataset import Dataset as Item
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    plain = Item()
    plain.update({tag: header[tag] for tag in header.keys()})  # noqa: SIM118 (elements otherwise)
    write_dataset(buffer, plain, header.get("SpecificCharacterSet") or "iso8859")
    return bytes(buffer.getvalue())


def _header(raw: bytes) -> Dataset:
    import pydicom

    return pydicom.dcmread(io.BytesIO(raw), stop_before_pixels=True)


def _elements(data: Dataset) -> Iterator[tuple[Dataset, Any]]:
    """Yield the elements of a data set and all below it, each with what it stands in."""
    for element in data:
        yield data, element
        if element.VR == "SQ":
            for item in element.value or ():
                yield from _elements(item)


def _holds_nothing(element: Any) -> bool:
    value = element.value
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


def _as_read(dummy: Any) -> tuple[Any, ...]:
    return (dummy, float(dummy)) if dummy == "0" else (dummy,)

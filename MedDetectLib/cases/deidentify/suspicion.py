"""Objects that may show or say who it is where no table reaches: pixels, drawings, documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["ALWAYS", "REASONS", "reasons_against"]

REASONS = {
    "burned-in-annotation": "BurnedInAnnotation says YES",
    "recognisable-features": "RecognizableVisualFeatures says YES",
    "secondary-capture": "a secondary capture: a picture of a screen or of paper",
    "modality": "pictures of this modality often show the name, and nothing says this one does not",
    "colour-pixels": "colour pixels where the modality has none: a screen or a rendering",
    "screen-save": "the image type says it is a screen, a report or a dose sheet",
    "overlay-in-pixels": "an overlay lies in unused bits of the pixels",
    "structured-content": "a report, key object or presentation state: free text and drawings",
    "encapsulated-document": "a document inside a DICOM object",
    "private-object": "an object of a kind only its maker knows",
    "directory": "a DICOMDIR lists the original files",
    "picture": "a picture without a DICOM header",
    "identity-remains": "an identifying value was still there after cleaning",
    "unknown-kind": "a kind of file that cannot be cleaned",
    "damaged": "it could not be read as what it claims to be",
}
"""Why an object is set aside."""
ALWAYS = ("directory", "identity-remains", "unknown-kind", "damaged")
"""These cannot be accepted."""

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
DIRECTORY = "1.2.840.10008.1.3.10"
ENCAPSULATED = "1.2.840.10008.5.1.4.1.1.104."
CONVERTED = frozenset(("DF", "DRW", "DV", "SD", "SI"))
"""Conversion types of film, drawings, video and screens."""
SHOWS_TEXT = frozenset((
    "BI", "CR", "DG", "DOC", "DX", "ECG", "ES", "EPS", "GM", "HC", "IO", "IVOCT", "IVUS", "MG",
    "OAM", "OP", "OPM", "OPT", "OPV", "OT", "PX", "RF", "RG", "SC", "SM", "TG", "US", "XA", "XC",
))  # fmt: skip
GREY = frozenset(("CT", "MR", "PT", "NM"))
CAPTURED = frozenset((
    "SCREEN SAVE", "SCREENSAVE", "SCREEN_SAVE", "CAPTURE", "DOSE_INFO", "DOSE INFO", "REPORT",
    "CSA REPORT", "LOGFILE", "PATIENT PROTOCOL", "SCANNED", "PASTED",
))  # fmt: skip
SAYS = frozenset(("AU", "DOC", "KO", "PR", "SR"))


def reasons_against(data: Dataset) -> list[str]:
    """Return why an object may not leave as it is, by the names in `REASONS`."""
    modality, sop_class = _text(data, "Modality"), _text(data, "SOPClassUID")
    types = {str(part).strip().upper() for part in _many(data, "ImageType")}
    tests = {
        "burned-in-annotation": _text(data, "BurnedInAnnotation") == "YES",
        "recognisable-features": _text(data, "RecognizableVisualFeatures") == "YES",
        "secondary-capture": sop_class == SECONDARY_CAPTURE
        or sop_class.startswith(f"{SECONDARY_CAPTURE}.")
        or _text(data, "ConversionType") in CONVERTED,
        "modality": modality in SHOWS_TEXT and _text(data, "BurnedInAnnotation") != "NO",
        "colour-pixels": modality in GREY
        and bool(_text(data, "PhotometricInterpretation"))
        and not _text(data, "PhotometricInterpretation").startswith("MONOCHROME"),
        "screen-save": bool(types & CAPTURED),
        "overlay-in-pixels": _has_overlay_in_pixels(data),
        "structured-content": modality in SAYS
        or "ContentSequence" in data
        or "GraphicAnnotationSequence" in data,
        "encapsulated-document": "EncapsulatedDocument" in data
        or sop_class.startswith(ENCAPSULATED),
        "directory": sop_class == DIRECTORY,
        "private-object": sop_class != DIRECTORY
        and not sop_class.startswith("1.2.840.10008.5.1.4.")
        and not sop_class.startswith("1.2.840.10008.5.1.1."),
    }
    return [reason for reason, found in tests.items() if found]


def _has_overlay_in_pixels(data: Dataset) -> bool:
    for group in range(0x6000, 0x6100, 2):
        if (group, 0x0010) in data and (group, 0x3000) not in data:
            return True
    return False


def _text(data: Dataset, keyword: str) -> str:
    return str(data.get(keyword) or "").strip().upper()


def _many(data: Dataset, keyword: str) -> list[Any]:
    value = data.get(keyword)
    return [value] if isinstance(value, str) else list(value or ())

"""Which codes say what, in SEG and SR alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from MedDetectLib.cases.clinical.identity import one_line
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import State
from MedDetectLib.core.labels import Code, Label, Terminology

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept

__all__ = [
    "ALGORITHM_FAMILY",
    "CERTAINTY",
    "CLINICAL_FINDING",
    "DIAMETER",
    "MAXIMUM",
    "MILLILITRE",
    "MILLIMETRE",
    "PERCENT",
    "PROCEDURES",
    "PROCEDURE_OF_OTHERS",
    "REVIEW_STATE",
    "SCHEME",
    "STATES",
    "VOLUME",
    "cie_lab",
    "coded",
    "coding_schemes",
    "rgb_from_cie_lab",
    "terminology_of",
]

SRGB_TO_XYZ = np.array(
    [
        [0.4360747, 0.3850649, 0.1430804],
        [0.2225045, 0.7168786, 0.0606169],
        [0.0139322, 0.0971045, 0.7141733],
    ]
)
"""Linear sRGB to XYZ, adapted to the white D50 of the profile connection space."""
WHITE = np.array([0.96422, 1.0, 0.82521])

SCHEME = "99MEDDETECT"
"""Our own coding scheme, for what no public one has: how a review ended for a finding."""
TISSUE = Code("SCT", "85756007", "Tissue")
LONGEST_SCHEME = 16
UNCODED = Terminology(TISSUE, TISSUE)
"""What is said of a label without coded meaning; the same as in our ``.seg.nrrd``."""

ALGORITHM_FAMILY = Code("DCM", "123109", "Artificial Intelligence")
VOLUME = Code("SCT", "118565006", "Volume")
DIAMETER = Code("SCT", "81827009", "Diameter")
MAXIMUM = Code("SCT", "56851009", "Maximum")
CERTAINTY = Code("DCM", "111012", "Certainty of Finding")
MILLILITRE = Code("UCUM", "mL", "milliliter")
MILLIMETRE = Code("UCUM", "mm", "millimeter")
PERCENT = Code("UCUM", "%", "Percent")

CLINICAL_FINDING = Code("SCT", "404684003", "Clinical finding")
REVIEW_STATE = Code(SCHEME, "review-state", "Review state")
STATES: dict[State, Code] = {
    "new": Code(SCHEME, "not-reviewed", "Not reviewed"),
    "accepted": Code(SCHEME, "accepted", "Accepted as found"),
    "edited": Code(SCHEME, "edited", "Accepted with changes"),
    "added": Code(SCHEME, "added", "Added by the reader"),
    "rejected": Code(SCHEME, "rejected", "Rejected by the reader"),
}

PROCEDURES = {
    "CT": Code("LN", "25045-6", "CT unspecified body region"),
    "MR": Code("LN", "25056-3", "MRI unspecified body region"),
    "PT": Code("LN", "44136-0", "PET unspecified body region"),
    "NM": Code("LN", "49118-3", "NM unspecified body region"),
    "CR": Code("LN", "43468-8", "XR unspecified body region"),
    "DX": Code("LN", "43468-8", "XR unspecified body region"),
}
"""What was done, by modality (CID 100)."""
PROCEDURE_OF_OTHERS = Code("SCT", "363679005", "Imaging procedure")


def terminology_of(label: Label) -> Terminology:
    """Return a label's coded meaning, or `UNCODED`."""
    return label.terminology or UNCODED


def coded(code: Code) -> CodedConcept:
    """Return a code as highdicom takes it; a meaning that is too long or absent is mended.

    Raises:
        InputError: ``bad-code`` when scheme or value cannot be written.
    """
    from highdicom.sr import CodedConcept

    scheme, value = one_line(code.scheme), one_line(code.value)
    if not scheme or not value or len(scheme) > LONGEST_SCHEME:
        raise InputError(
            "bad-code", f"'{code.value}' of scheme '{code.scheme}' is no DICOM code",
            todo="correct it in the model card, or leave the terminology out",
        )  # fmt: skip
    return CodedConcept(value, scheme, one_line(code.meaning) or value)


def coding_schemes() -> list[Any]:
    """Return what says whose `SCHEME` is."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    name = "MedDetect review states"
    return [CodingSchemeIdentificationItem(SCHEME, name, responsible_organization="MedDetect")]


def cie_lab(colour_rgb: tuple[int, int, int]) -> list[int]:
    """Return an sRGB colour as DICOM writes it: CIELab (D50), scaled to 16 bits (C.10.7.1.1)."""
    srgb = np.array(colour_rgb, dtype=np.float64) / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = SRGB_TO_XYZ @ linear / WHITE
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    scaled = np.array([116 * y - 16, 500 * (x - y) + 128, 200 * (y - z) + 128])
    full = np.clip(scaled / [100, 255, 255], 0, 1) * 65535
    return [int(value) for value in np.rint(full)]


def rgb_from_cie_lab(values: list[int]) -> tuple[int, int, int]:
    """Return the sRGB colour of what `cie_lab` writes."""
    lightness, a, b = np.array(values) / 65535 * [100, 255, 255] - [0, 128, 128]
    y = (lightness + 16) / 116
    f = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(f**3 > 216 / 24389, f**3, (116 * f - 16) * 27 / 24389) * WHITE
    linear = np.clip(np.linalg.solve(SRGB_TO_XYZ, xyz), 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (int(value) for value in np.rint(srgb * 255))
    return red, green, blue

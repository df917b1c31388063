"""Where each single image of a DICOM series lies, and how its numbers are to be rescaled.

A file of the classic kind is one image; an enhanced multi-frame file states the same things
per frame in its functional groups (DICOM PS3.3 C.7.6.16). Both become `Frame`s here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from MedDetectLib.cases.dicom_scan import DicomFile
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import MAX_SHEAR_COSINE, FloatArray

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["SPLIT_KEYS", "Frame", "frames_of"]

SPLIT_KEYS = (
    "TemporalPositionIdentifier", "TemporalPositionIndex", "EchoTime", "EffectiveEchoTime",
    "EchoNumbers", "DiffusionBValue", "DiffusionGradientOrientation", "TriggerTime",
    "NominalCardiacTriggerDelayTime", "InversionTimes", "ImageType", "FrameType",
    "ComplexImageComponent", "AcquisitionNumber", "AcquisitionDateTime", "AcquisitionTime",
    "FrameAcquisitionDateTime", "ContentTime", "SeriesDescription", "SOPInstanceUID",
)  # fmt: skip
"""What may tell the volumes of one series apart, the most telling first."""
UNIT_TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class Frame:
    """One 2-D image and its place.

    Args:
        file: the file it is in.
        index: which frame of the file, from 0.
        position_lps: (3,) centre of its first pixel; None when it is not stated.
        row_lps, column_lps: unit vectors along a row (to the next column) and along a column.
        spacing_ij_mm: between columns, between rows; None when it is not stated.
        thickness_mm: spacing between slices if stated, else the slice thickness; 0 if neither.
        slope, intercept: rescaling of the stored numbers.
        keys: values under `SPLIT_KEYS`, as text.
        order: instance number and frame number, for the order of acquisition.
    """

    file: DicomFile
    index: int
    position_lps: FloatArray | None
    row_lps: FloatArray
    column_lps: FloatArray
    oriented: bool
    spacing_ij_mm: tuple[float, float] | None
    thickness_mm: float
    slope: float
    intercept: float
    order: tuple[int, int]
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def size_ij(self) -> tuple[int, int]:
        """Columns and rows."""
        return int(self.file.header.Columns), int(self.file.header.Rows)

    @property
    def normal_lps(self) -> FloatArray:
        """(3,) unit vector at right angles to the image."""
        return np.cross(self.row_lps, self.column_lps)

    @property
    def is_localizer(self) -> bool:
        """Whether it is a scout image."""
        return "LOCALIZER" in self.keys.get("ImageType", "").upper()


def frames_of(file: DicomFile) -> list[Frame]:
    """Return the images of one file, in the order they are stored.

    Raises:
        InputError: ``no-position`` for many frames without groups, ``bad-header`` for
            unreadable numbers, ``bad-rescale``, ``bad-spacing``,
            ``singular-direction``, ``sheared-direction``, ``bad-position``, ``mosaic``.
    """
    shared = file.header.get("SharedFunctionalGroupsSequence")
    per_frame = file.header.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        if file.frames > 1:
            raise InputError(
                "no-position",
                f"its {file.frames} frames do not say where in the patient they lie",
                where=file.path,
                todo="export the original series; captures and cine loops are no volumes",
            )
        return [_frame(file, 0, [file.header])]
    if len(per_frame) != file.frames:
        raise InputError(
            "bad-header",
            f"it states {file.frames} frames and describes {len(per_frame)}",
            where=file.path,
            todo="export the series again",
        )
    common = _groups(shared[0]) if shared else []
    return [
        _frame(file, index, [*_groups(own), *common, file.header])
        for index, own in enumerate(per_frame)
    ]


def _groups(item: Dataset) -> list[Dataset]:
    """Return the macros of a functional group item, and what is nested one deeper."""
    found: list[Dataset] = []
    for element in item:
        if element.VR == "SQ" and not element.tag.is_private and element.value:
            macro = element.value[0]
            found.append(macro)
            if element.keyword == "MRDiffusionSequence":
                found += [e.value[0] for e in macro if e.VR == "SQ" and e.value]
    return found


def _frame(file: DicomFile, index: int, places: Sequence[Dataset]) -> Frame:
    """Build one frame from the first of `places` that states each thing."""
    position = _numbers(file, places, "ImagePositionPatient", 3)
    orientation = _numbers(file, places, "ImageOrientationPatient", 6)
    spacing = _numbers(file, places, "PixelSpacing", 2)
    if spacing is None:
        spacing = _numbers(file, places, "ImagerPixelSpacing", 2)
    if spacing is not None and not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise _error(file, "bad-spacing", f"its pixel spacing is {spacing.tolist()} mm")
    if position is not None and not np.isfinite(position).all():
        raise _error(file, "bad-position", f"its position is {position.tolist()}")
    if orientation is not None:
        _check_orientation(file, orientation)
    slope = _numbers(file, places, "RescaleSlope", 1)
    intercept = _numbers(file, places, "RescaleIntercept", 1)
    for value in (slope, intercept):
        if value is not None and not np.isfinite(value).all():
            raise _error(file, "bad-rescale", f"its rescaling is by {value[0]}")
    if slope is not None and slope[0] == 0:
        raise _error(file, "bad-rescale", "its rescale slope is 0")
    between = _numbers(file, places, "SpacingBetweenSlices", 1)
    thick = _numbers(file, places, "SliceThickness", 1)
    thickness = next((abs(float(v[0])) for v in (between, thick) if v is not None and v[0]), 0.0)
    row, column = (
        (np.array([1.0, 0, 0]), np.array([0, 1.0, 0]))
        if orientation is None
        else (_unit(orientation[:3]), _unit(orientation[3:]))
    )
    keys = {key: text for key in SPLIT_KEYS if (text := _text(places, key))}
    if "MOSAIC" in keys.get("ImageType", "").upper():
        raise InputError(
            "mosaic",
            "its slices are tiled into one picture (Siemens mosaic)",
            where=file.path,
            todo="convert the series with dcm2niix and give the NIfTI file",
        )
    number = _numbers(file, [file.header], "InstanceNumber", 1)
    return Frame(
        file, index, position, row, column, orientation is not None,
        None if spacing is None else (float(spacing[1]), float(spacing[0])),
        thickness if np.isfinite(thickness) else 0.0,
        1.0 if slope is None else float(slope[0]),
        0.0 if intercept is None else float(intercept[0]),
        (0 if number is None else int(number[0]), index), keys,
    )  # fmt: skip


def _unit(vector: FloatArray) -> FloatArray:
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float64)


def _check_orientation(file: DicomFile, cosines: FloatArray) -> None:
    """Refuse direction cosines that are not two unit vectors at right angles."""
    row, column = cosines[:3], cosines[3:]
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    across = float(np.linalg.norm(np.cross(row, column)))
    if not np.isfinite(cosines).all() or (lengths == 0).any() or across < 1e-3:
        raise _error(file, "singular-direction", f"its orientation is {cosines.tolist()}")
    if (np.abs(lengths - 1) > UNIT_TOLERANCE).any():
        raise _error(file, "singular-direction", f"its direction cosines are {lengths} long, not 1")
    if abs(float(row @ column)) > MAX_SHEAR_COSINE * 2:
        raise _error(file, "sheared-direction", "its rows and columns are not at right angles")


def _error(file: DicomFile, code: str, what: str) -> InputError:
    return InputError(code, what, where=file.path, todo="export the series again")


def _value(places: Sequence[Dataset], keyword: str) -> Any:
    """Return the first value stated for a keyword."""
    for place in places:
        if keyword in place:
            value = place[keyword].value
            if value is not None and value != "":
                return value
    return None


def _text(places: Sequence[Dataset], keyword: str) -> str:
    """Return a value as text, empty when it is absent."""
    value = _value(places, keyword)
    return "" if value is None else str(value).strip()


def _numbers(
    file: DicomFile, places: Sequence[Dataset], keyword: str, count: int
) -> FloatArray | None:
    """Return `count` numbers, None when none are stated."""
    try:
        value = _value(places, keyword)
        if value is None or (hasattr(value, "__len__") and len(value) == 0):
            return None
        numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise _error(file, "bad-header", f"its {keyword} is not a number ({error})") from error
    if len(numbers) < count:
        raise _error(file, "bad-header", f"its {keyword} has {len(numbers)} numbers, not {count}")
    return numbers[:count]

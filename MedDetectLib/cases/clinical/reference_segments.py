"""The segments of a DICOM SEG as voxels of a volume (PS3.3 C.8.20)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from MedDetectLib.cases.clinical.dicom_objects import decoded_frames
from MedDetectLib.cases.clinical.reference import Part
from MedDetectLib.cases.clinical.segmentation import MANUFACTURER
from MedDetectLib.cases.clinical.terms import UNCODED, rgb_from_cie_lab
from MedDetectLib.cases.lps import points_flipped
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import State
from MedDetectLib.core.geometry import FloatArray, Geometry
from MedDetectLib.core.labels import Code, Terminology
from MedDetectLib.core.memory import require_memory
from MedDetectLib.core.notes import Note

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["segment_parts"]

TOLERANCE_VOX = 0.15
"""How far a frame's pixels may lie beside the volume's voxels: what `lay_out` calls even."""
DRAWN: dict[str, State] = {"MANUAL": "added", "SEMIAUTOMATIC": "edited", "AUTOMATIC": "accepted"}
Voxels = dict[int, list[npt.NDArray[np.int64]]]


def segment_parts(
    data: Dataset, geometry: Geometry, path: Path, threshold: float
) -> tuple[list[Part], list[Note]]:
    """Return one part per segment.

    Args:
        data: the whole object.
        geometry: of the volume.
        path: for errors.
        threshold: from which share of a FRACTIONAL segment a voxel counts.

    Raises:
        InputError: ``bad-header``, ``other-grid``, ``unreadable``.
    """
    kind = str(data.get("SegmentationType") or "")
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise InputError(
            "bad-header", f"its segmentation type is '{kind}'", where=path, todo="export it again"
        )
    voxels: Voxels = defaultdict(list)
    frames = max(int(data.get("NumberOfFrames") or 1), 1)
    require_memory(
        2 * int(data.Rows) * int(data.Columns) * frames, None, what="the segmentation", where=path
    )
    for n, plane in enumerate(decoded_frames(data, path)):
        places = _groups_of(data, n)
        for number, inside in _segments(data, kind, plane, places, threshold, path):
            if inside.any():
                voxels[number].append(_flat(inside, places, geometry, path, n))
    notes = []
    if kind == "FRACTIONAL":
        share = f"{threshold:g} of {data.get('MaximumFractionalValue')}"
        notes.append(Note("fractional", f"fractions from {share} on count as inside"))
    own = str(data.get("Manufacturer") or "") == MANUFACTURER
    parts = [
        _part(item, voxels.get(int(item.SegmentNumber), []), own)
        for item in data.get("SegmentSequence") or ()
        if not (kind == "LABELMAP" and int(item.SegmentNumber) in (0, _background(data)))
    ]
    return _with_own_ids(parts), notes


def _groups_of(data: Dataset, frame: int) -> list[Dataset]:
    """Return where a frame's place may be stated, the nearest first."""
    places: list[Dataset] = []
    per_frame = data.get("PerFrameFunctionalGroupsSequence") or ()
    if frame < len(per_frame):
        places.append(per_frame[frame])
    places += (data.get("SharedFunctionalGroupsSequence") or ())[:1]
    return places


def _segments(
    data: Dataset,
    kind: str,
    plane: npt.NDArray[Any],
    places: list[Dataset],
    threshold: float,
    path: Path,
) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """Yield the segments of one frame and their pixels."""
    if kind == "LABELMAP":
        for number in np.unique(plane).tolist():
            if number not in (0, _background(data)):
                yield int(number), plane == number
        return
    number = _macro(places, "SegmentIdentificationSequence", "ReferencedSegmentNumber")
    if number is None:
        raise InputError("bad-header", "a frame does not name its segment", where=path,
                         todo="export it again")  # fmt: skip
    if kind == "BINARY":
        yield int(number), plane > 0
        return
    largest = float(data.get("MaximumFractionalValue") or 255)
    yield int(number), plane >= threshold * largest


def _background(data: Dataset) -> int:
    """Return the value of a label map that is no segment, beside 0."""
    value = data.get("PixelPaddingValue")
    return 0 if value is None else int(value)


def _macro(places: list[Dataset], sequence: str, keyword: str) -> Any:
    """Return a value out of the functional group macro that states it."""
    for place in places:
        for item in place.get(sequence) or ():
            if item.get(keyword) is not None:
                return item.get(keyword)
    return None


def _flat(
    inside: npt.NDArray[np.bool_],
    places: list[Dataset],
    geometry: Geometry,
    path: Path,
    frame: int,
) -> npt.NDArray[np.int64]:
    """Return the indices in the volume's array of one frame's pixels.

    Raises:
        InputError: ``bad-header``, ``other-grid``.
    """
    first, along_row, along_column = _steps(places, path, frame)
    index = geometry.ras_to_index(points_flipped(np.stack([first, along_row, along_column])))
    exact = np.array([index[0], index[1] - index[0], index[2] - index[0]])
    whole = np.rint(exact)
    last_row, last_column = inside.shape[0] - 1, inside.shape[1] - 1
    corners = np.array([[1, c, r] for r in (0, last_row) for c in (0, last_column)])
    off = float(np.abs(corners @ (exact - whole)).max())
    unit = (np.abs(whole[1:]).sum(axis=1) == 1).all()
    if not unit or off > TOLERANCE_VOX:
        raise InputError(
            "other-grid",
            f"frame {frame + 1} does not lie on the volume's voxels"
            + (f" ({off:.2f} voxels beside)" if unit else ""),
            where=path, todo="give the series it was drawn on, read as it is",
        )  # fmt: skip
    rows, columns = np.nonzero(inside)
    at = (whole[0] + columns[:, None] * whole[1] + rows[:, None] * whole[2]).astype(np.int64)
    if (at < 0).any() or (at >= geometry.shape_kji).any():
        raise InputError(
            "other-grid", f"frame {frame + 1} reaches beyond the volume", where=path,
            todo="give the series it was drawn on",
        )  # fmt: skip
    return np.asarray(np.ravel_multi_index(tuple(at.T), geometry.shape_kji), dtype=np.int64)


def _steps(
    places: list[Dataset], path: Path, frame: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return a frame's first pixel in LPS, and its neighbours along the row and the column."""
    position = _macro(places, "PlanePositionSequence", "ImagePositionPatient")
    cosines = _macro(places, "PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = _macro(places, "PixelMeasuresSequence", "PixelSpacing")
    if position is None or cosines is None or spacing is None:
        raise InputError(
            "bad-header", f"frame {frame + 1} does not say where it lies", where=path,
            todo="export it again",
        )  # fmt: skip
    first = np.array(position, dtype=np.float64)
    direction = np.array(cosines, dtype=np.float64)
    return (
        first,
        first + direction[:3] * float(spacing[1]),
        first + direction[3:] * float(spacing[0]),
    )


def _part(item: Dataset, flats: list[npt.NDArray[np.int64]], own: bool) -> Part:
    """Return one segment; what MedDetect wrote is read back under its own names."""
    flat = np.unique(np.concatenate(flats)) if flats else np.zeros(0, np.int64)
    terms = _terminology(item)
    label = str(item.get("SegmentLabel") or "")
    number = int(item.SegmentNumber)
    state = DRAWN.get(str(item.get("SegmentAlgorithmType") or ""), "accepted")
    name = label or (terms.type.meaning if terms else f"segment {number}")
    part_id = f"F{number}"
    if own:
        said, _, stated = str(item.get("SegmentDescription") or "").rpartition(", ")
        name = said or name
        state = next((known for known in get_args(State) if known == stated), state)
        part_id = str(item.get("TrackingID") or part_id).split(" ")[0]
    lab = item.get("RecommendedDisplayCIELabValue")
    colour = rgb_from_cie_lab([int(x) for x in lab]) if lab is not None and len(lab) == 3 else None
    return Part(part_id, name, flat, None if terms == UNCODED else terms, colour, state)


def _terminology(item: Dataset) -> Terminology | None:
    category = _code(item, "SegmentedPropertyCategoryCodeSequence")
    kind = _code(item, "SegmentedPropertyTypeCodeSequence")
    if category is None or kind is None:
        return None
    return Terminology(category, kind, _code(item, "AnatomicRegionSequence"))


def _code(item: Dataset, sequence: str) -> Code | None:
    for code in item.get(sequence) or ():
        parts = [str(code.get(key) or "") for key in
                 ("CodingSchemeDesignator", "CodeValue", "CodeMeaning")]  # fmt: skip
        parts[1] = parts[1] or str(code.get("LongCodeValue") or "")
        return Code(*parts) if all(parts[:2]) else None
    return None


def _with_own_ids(parts: list[Part]) -> list[Part]:
    """Return the parts, numbered anew where their ids are not unique."""
    if len({part.id for part in parts}) == len(parts):
        return parts
    return [replace(part, id=f"F{n}") for n, part in enumerate(parts, 1)]

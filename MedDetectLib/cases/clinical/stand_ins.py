"""Plain headers that stand for a series when highdicom builds objects from it.

highdicom takes place, patient and study from the image headers it is given, and wants them
classic, complete and alike. Real series are multi-frame, or hold several volumes, or round
the same direction differently in every slice. So it is given one clean classic header per
slice of the volume, and the references it writes are pointed at the real images afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from MedDetectLib.cases.clinical.identity import uid_from
from MedDetectLib.cases.clinical.preflight import COPIED, is_valid
from MedDetectLib.cases.clinical.source import SourceSeries
from MedDetectLib.cases.dicom_frames import Frame

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["StandIns", "frame_of_reference", "patient_and_study", "stand_ins"]

CLASSIC = {"CT": "1.2.840.10008.5.1.4.1.1.2", "PT": "1.2.840.10008.5.1.4.1.1.128"}
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
KEPT = ("IssuerOfPatientID", "StudyDescription", "PatientIdentityRemoved", "DeidentificationMethod")
"""Optional elements: whose id it is, and that the images (and with them we) name nobody."""


class StandIns:
    """The headers, and which image each one stands for.

    Args:
        frames: slice by slice.
        headers: one for each of them, under SOP Instance UIDs of their own.
    """

    def __init__(self, frames: Sequence[Frame], headers: Sequence[Dataset]) -> None:
        self.headers = list(headers)
        self._frames = {
            str(header.SOPInstanceUID): frame for header, frame in zip(headers, frames, strict=True)
        }

    def point_at_images(self, made: Dataset) -> None:
        """Replace every reference to a stand-in by one to the image, and its frame."""
        for items in _sequences(made):
            kept: dict[tuple[str, int], Dataset] = {}
            for item in items:
                frame = self._frames.get(str(item.ReferencedSOPInstanceUID))
                if frame is not None:
                    item.ReferencedSOPClassUID = frame.file.text("SOPClassUID")
                    item.ReferencedSOPInstanceUID = frame.file.text("SOPInstanceUID")
                    of_a_frame = "PurposeOfReferenceCodeSequence" in item
                    if of_a_frame and frame.file.frames > 1:
                        item.ReferencedFrameNumber = frame.index + 1
                number = int(item.get("ReferencedFrameNumber") or 0)
                kept.setdefault((str(item.ReferencedSOPInstanceUID), number), item)
            items[:] = kept.values()  # an image of many frames is named once


def _sequences(made: Dataset) -> list[Any]:
    """Return the sequences in which highdicom points at source images."""
    found = [made.SourceImageSequence]
    found += [series.ReferencedInstanceSequence for series in made.ReferencedSeriesSequence]
    for groups in made.PerFrameFunctionalGroupsSequence:
        for derivation in groups.get("DerivationImageSequence", ()):
            found.append(derivation.SourceImageSequence)
    return found


def frame_of_reference(source: SourceSeries) -> str:
    """Return the series' frame of reference, or the one made up for it."""
    stated = source.frames[0].file.text("FrameOfReferenceUID")
    return stated or uid_from("frame of reference", source.frames[0].file.series_uid)


def stand_ins(source: SourceSeries) -> StandIns:
    """Return one clean classic header per slice of a series."""
    headers = [_header(source, frame, n) for n, frame in enumerate(source.frames)]
    return StandIns(source.frames, headers)


def patient_and_study(source: SourceSeries) -> Mapping[str, Any]:
    """Return the elements SEG and SR copy; what is missing or invalid is empty or left out."""
    header = source.frames[0].file.header
    values: dict[str, Any] = {}
    for keyword in COPIED:
        value = header.get(keyword)
        values[keyword] = str(value) if value is not None and is_valid(keyword, value) else ""
    for keyword in KEPT:
        texts = [str(text) for text in _several(header.get(keyword))]
        if any(texts) and all(is_valid(keyword, text) for text in texts):
            values[keyword] = texts if len(texts) > 1 else texts[0]
    if "DeidentificationMethod" not in values:  # the one may not be said without the other
        values.pop("PatientIdentityRemoved", None)
    return values


def _several(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _header(source: SourceSeries, frame: Frame, number: int) -> Dataset:
    """Return the stand-in of one slice."""
    from pydicom.dataset import Dataset
    from pydicom.valuerep import DSfloat

    first = source.frames[0]
    header = Dataset()
    for keyword, value in patient_and_study(source).items():
        setattr(header, keyword, value)
    modality = frame.file.text("Modality")
    header.SOPClassUID = CLASSIC.get(modality, MR_IMAGE)
    header.SOPInstanceUID = uid_from("stand-in", source.key, str(number))
    header.StudyInstanceUID = frame.file.text("StudyInstanceUID")
    header.SeriesInstanceUID = frame.file.text("SeriesInstanceUID")
    header.FrameOfReferenceUID = frame_of_reference(source)
    header.PositionReferenceIndicator = frame.file.text("PositionReferenceIndicator")
    header.Modality = modality
    header.Rows, header.Columns = frame.size_ij[1], frame.size_ij[0]

    def decimals(values: Sequence[float]) -> list[Any]:
        return [DSfloat(float(value), auto_format=True) for value in values]

    assert frame.position_lps is not None  # check_frames has refused others
    column_mm, row_mm = source.geometry.spacing_kji_mm[2], source.geometry.spacing_kji_mm[1]
    step_mm = source.geometry.spacing_kji_mm[0]
    header.ImagePositionPatient = decimals(frame.position_lps.tolist())
    header.ImageOrientationPatient = decimals([*first.row_lps, *first.column_lps])
    header.PixelSpacing = decimals([row_mm, column_mm])
    header.SliceThickness = decimals([frame.thickness_mm or step_mm])[0]
    header.SpacingBetweenSlices = decimals([step_mm])[0]
    if frame.file.text("LossyImageCompression") == "01":
        header.LossyImageCompression = "01"
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if frame.file.header.get(keyword):
                setattr(header, keyword, frame.file.header.get(keyword))
    return header

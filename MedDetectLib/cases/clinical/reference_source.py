"""Whether a SEG or RTSTRUCT was made for the images of a volume, by their UIDs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from MedDetectLib.cases.clinical.identity import uid_from
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.notes import Note
from MedDetectLib.core.volume import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["check_source"]


def check_source(data: Dataset, volume: Volume, path: Path, accept: Collection[str]) -> list[Note]:
    """Refuse an object of another frame of reference or of other images.

    Raises:
        InputError: ``other-frame-of-reference``, ``other-series``, ``no-reference``.
    """
    source = volume.source
    if source.get("kind") != "dicom":
        return [Note("unverified-image", "the volume has no UIDs: only the geometry was compared")]
    series = str(source.get("series_instance_uid", ""))
    own = str(source.get("frame_of_reference_uid", ""))
    frames = _frames_of_reference(data)
    expected = own or uid_from("frame of reference", series)  # of a series without, see export
    if frames and expected not in frames and (own or not _refers_to(data, source)):
        raise InputError(
            "other-frame-of-reference",
            f"it lies in frame of reference {', '.join(sorted(frames))},"
            f" the volume in {own or 'none'}",
            where=path,
            todo="give the series it was drawn on",
        )
    if _refers_to(data, source):
        return []
    stated = bool(set(_instances(data)) | set(_series(data)))
    code = "other-series" if stated else "no-reference"
    what = (
        "it was drawn on other images than the volume's"
        if stated
        else "it does not say on which images it was drawn"
    )
    if code not in accept:
        raise InputError(
            code, what, where=path,
            todo=f"give the series it was drawn on, or accept {code} if the place alone decides",
        )  # fmt: skip
    return [Note(code, f"{what}; accepted: place and frame of reference agree")]


def _refers_to(data: Dataset, source: dict[str, object]) -> bool:
    """Whether it refers to images of the volume; to its series, where it names no images."""
    uids = source.get("sop_instance_uids")
    mine = {str(uid) for uid in uids} if isinstance(uids, list) else set()
    named = set(_instances(data))
    if named:
        return bool(named & mine)
    return str(source.get("series_instance_uid")) in set(_series(data))


def _frames_of_reference(data: Dataset) -> set[str]:
    found = {str(data.get("FrameOfReferenceUID") or "")}
    for item in data.get("ReferencedFrameOfReferenceSequence") or ():
        found.add(str(item.get("FrameOfReferenceUID") or ""))
    for item in data.get("StructureSetROISequence") or ():
        found.add(str(item.get("ReferencedFrameOfReferenceUID") or ""))
    return found - {""}


def _series(data: Dataset) -> Iterator[str]:
    for item in _series_items(data):
        yield str(item.get("SeriesInstanceUID") or "")


def _series_items(data: Dataset) -> Iterator[Dataset]:
    yield from data.get("ReferencedSeriesSequence") or ()
    for frame in data.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            yield from study.get("RTReferencedSeriesSequence") or ()


def _instances(data: Dataset) -> Iterator[str]:
    """Yield the images named as drawn on."""
    items: list[Dataset] = [*(data.get("SourceImageSequence") or ())]
    for series in _series_items(data):
        items += series.get("ReferencedInstanceSequence") or ()
        items += series.get("ContourImageSequence") or ()
    groups = [
        *(data.get("SharedFunctionalGroupsSequence") or ()),
        *(data.get("PerFrameFunctionalGroupsSequence") or ()),
    ]
    for group in groups:
        for derivation in group.get("DerivationImageSequence") or ():
            items += derivation.get("SourceImageSequence") or ()
    for item in items:
        uid = str(item.get("ReferencedSOPInstanceUID") or "")
        if uid:
            yield uid

"""DICOM objects and other files full of things that tell who it is."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import made_dicom
import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VR, repeater_has_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

SECRETS = {
    "AE": "SECRETAE", "AS": "061Y", "CS": "SECRET CODE", "DA": "19560317", "DS": "123.456",
    "DT": "19560317101112", "FD": 3.25, "FL": 3.25, "IS": "4711", "LO": "Secret Miller",
    "LT": "Secret Miller", "OB": b"Secret Miller!", "OW": b"Secret Miller!",
    "PN": "Miller^Josephine",
    "SH": "Secret Miller", "SL": 47, "SS": 47, "ST": "Secret Miller", "TM": "101112",
    "UC": "Secret Miller", "UI": "1.2.3.999.47.11", "UL": 47, "UN": b"Secret Miller!",
    "UR": "http://miller.example/secret", "US": 47, "UT": "Secret Miller",
    "OF": b"Secret M", "OD": b"Secret M", "OL": b"Secret M", "AT": 0x00100010,
}  # fmt: skip
WORDS = (b"secret", b"miller", b"josephine", b"19560317", b"1.2.3.999.47.11")


def vr_of(tag: int) -> str:
    """The VR of a tag; LO for one that pydicom does not know yet."""
    known = dictionary_has_tag(tag) or repeater_has_tag(tag)
    return dictionary_VR(tag).split(" or ")[0] if known else "LO"


def filled(tag: int) -> DataElement:
    """An element with a value that must go."""
    vr = vr_of(tag)
    if vr != "SQ":
        return DataElement(tag, vr, SECRETS[vr])
    item = Dataset()
    item.PatientName, item.ReferencedSOPInstanceUID = SECRETS["PN"], SECRETS["UI"]
    item.CodeMeaning, item.ReferencedSOPClassUID = "Secret Miller", "1.2.840.10008.5.1.4.1.1.2"
    item.StudyDate = SECRETS["DA"]
    return DataElement(tag, "SQ", Sequence([item]))


def nested(element: DataElement, depth: int = 2) -> Dataset:
    """A data set that holds an element some sequences down, in ones the table does not name."""
    data = Dataset()
    data.add(element)
    for _ in range(depth):
        outer = Dataset()
        outer.AnatomicRegionSequence = Sequence([data])
        data = outer
    return data


def innermost(data: Dataset) -> Dataset:
    """The data set at the bottom of `nested`."""
    while "AnatomicRegionSequence" in data:
        data = data.AnatomicRegionSequence[0]
    return data


def identified_series(**elements) -> list[Dataset]:
    """A CT series as a scanner sends it: names, dates, private tags, references."""
    images = made_dicom.series(
        4, PatientName="Müller^Josephine", SpecificCharacterSet="ISO_IR 100",
        PatientID="KH-4711-22", PatientBirthDate="19560317", PatientSex="F", PatientAge="061Y",
        StudyDate="20170605", SeriesDate="20170605", AcquisitionDate="20170606",
        AcquisitionDateTime="20170606093011.25", StudyTime="093000", ContentDate="20170605",
        AccessionNumber="ACC778899", InstitutionName="St. Elsewhere Hospital",
        ReferringPhysicianName="Freud^Sigmund", OperatorsName="Nightingale^F",
        StationName="CTROOM-7", DeviceSerialNumber="SN556677", StudyID="ST-9981",
        StudyDescription="Thorax for Dr Freud", ProtocolName="CHEST", BodyPartExamined="CHEST",
        StudyInstanceUID="1.2.276.0.99.1", SeriesInstanceUID="1.2.276.0.99.1.2",
        FrameOfReferenceUID="1.2.276.0.99.1.3", Manufacturer="ACME", KVP=120,
        ImageComments="Mrs Müller moved", PositionReferenceIndicator="", **elements,
    )  # fmt: skip
    for n, image in enumerate(images):
        image.SOPInstanceUID = f"1.2.276.0.99.1.2.{n + 1}"
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        reference = Dataset()
        reference.ReferencedSOPClassUID = image.SOPClassUID
        reference.ReferencedSOPInstanceUID = "1.2.276.0.99.1.2.1"
        image.SourceImageSequence = Sequence([reference])
        block = image.private_block(0x0019, "ACME MÜLLER", create=True)
        block.add_new(1, "LO", "Josephine private")
        image.preamble = b"II*\0" + b"Josephine in the preamble".ljust(124, b"\0")
    return images


def raw_of(data: Dataset) -> bytes:
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def datasets(folder: Path) -> list[Dataset]:
    """Every DICOM file below a folder."""
    return [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]


def everything(folder: Path) -> bytes:
    """All names and bytes below a folder in lower case, gzip unpacked."""
    sys.path.insert(0, str(Path(__file__).parent))
    from training_samples import every_byte

    return every_byte(folder).lower()

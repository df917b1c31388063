"""Small good DICOM series, made so that a test can spoil any one thing."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

ROWS, COLUMNS = 36, 48
AXIAL = [1, 0, 0, 0, 1, 0]


def pixels(slices: int, seed: int = 0) -> np.ndarray:
    """[k, j, i] smooth stored values of 12 bits, different in every slice."""
    rng = np.random.default_rng(seed)
    j, i = np.mgrid[0:ROWS, 0:COLUMNS]
    planes = [
        40 * j + 20 * i + 300 * k + rng.integers(0, 9, (ROWS, COLUMNS)) for k in range(slices)
    ]
    return np.stack(planes).astype(np.uint16)


def image(plane: np.ndarray, *, sop_class: str = CTImageStorage, **elements) -> Dataset:
    """One image object, with any element replaced (None leaves it out)."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = sop_class
    uid = generate_uid()
    data.file_meta.MediaStorageSOPInstanceUID = uid
    values = {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": uid,
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "FrameOfReferenceUID": "1.2.3.5",
        "PatientID": "P1",
        "PatientName": "Made^Up",
        "Modality": "CT",
        "SeriesNumber": 7,
        "SeriesDescription": "made series",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "Rows": plane.shape[-2],
        "Columns": plane.shape[-1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "PixelSpacing": [0.75, 0.5],
        "SliceThickness": 2.5,
        "ImageOrientationPatient": AXIAL,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        **elements,
    }
    for name, value in values.items():
        if value is not None:
            setattr(data, name, value)
    data.PixelData = np.ascontiguousarray(plane).tobytes()
    if len(data.PixelData) % 2:
        data.PixelData += b"\0"
    return data


def series(
    slices: int = 5,
    *,
    step: float = 2.5,
    origin: tuple[float, float, float] = (-10.0, -20.0, 30.0),
    shift: tuple[float, float] = (0.0, 0.0),
    orientation: list[float] = AXIAL,
    seed: int = 0,
    **elements,
) -> list[Dataset]:
    """A CT series of unequal slices; `shift` moves each along rows and columns, in mm."""
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    normal = np.cross(row, column)
    made = []
    for k, plane in enumerate(pixels(slices, seed)):
        place = np.array(origin) + k * (step * normal + shift[0] * row + shift[1] * column)
        own = {
            "ImagePositionPatient": [float(f"{x:.8g}") for x in place],
            "ImageOrientationPatient": orientation,
            "InstanceNumber": slices - k,  # against the order in space
            **elements,
        }
        made.append(image(plane, **own))
    return made


def enhanced(
    phases: int = 1, slices: int = 4, *, edit: Callable[[Dataset], None] | None = None
) -> Dataset:
    """An Enhanced MR object; frames run through the phases fastest, slices downwards."""
    planes, groups = [], []
    for k in reversed(range(slices)):
        for phase in range(phases):
            planes.append(pixels(slices, seed=phase)[k])
            frame = Dataset()
            position, content, values = Dataset(), Dataset(), Dataset()
            position.ImagePositionPatient = [-10, -20, 30 + 6 * k]
            content.TemporalPositionIndex = phase + 1
            content.DimensionIndexValues = [phase + 1, k + 1]
            values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 2, phase, "US"
            frame.PlanePositionSequence = Sequence([position])
            frame.FrameContentSequence = Sequence([content])
            frame.PixelValueTransformationSequence = Sequence([values])
            groups.append(frame)
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.75, 0.5], 3
    plane.ImageOrientationPatient = AXIAL
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([plane])
    data = image(
        np.stack(planes), sop_class=EnhancedMRImageStorage, Modality="MR",
        NumberOfFrames=len(planes), InstanceNumber=1, PixelSpacing=None, SliceThickness=None,
        ImageOrientationPatient=None, RescaleSlope=None, RescaleIntercept=None,
    )  # fmt: skip
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    data.PerFrameFunctionalGroupsSequence = Sequence(groups)
    if edit is not None:
        edit(data)
    return data


def write(folder: Path, images: list[Dataset], prefix: str = "im") -> Path:
    """Write the images under names that say nothing of their order."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(3).permutation(len(images))
    for name, n in enumerate(order):
        images[n].save_as(folder / f"{prefix}{name:03d}.dcm", enforce_file_format=True)
    return folder


def raw(data: Dataset) -> bytes:
    """The bytes of one file."""
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def as_mr(images: list[Dataset]) -> list[Dataset]:
    for data in images:
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = MRImageStorage
        data.Modality = "MR"
    return images


def through_gdcm(data: Dataset, compressor: str, folder: Path) -> Dataset:
    """The same image with its pixels compressed by SimpleITK's GDCM."""
    import SimpleITK

    folder.mkdir(exist_ok=True)
    plane = np.frombuffer(data.PixelData, np.uint16).reshape(data.Rows, data.Columns)
    writer = SimpleITK.ImageFileWriter()
    writer.SetFileName(str(folder / "packed.dcm"))
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.Execute(SimpleITK.GetImageFromArray(plane[None]))
    packed = pydicom.dcmread(folder / "packed.dcm")
    data.PixelData = packed.PixelData
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
    return data

"""Every bad DICOM folder the intake must refuse, built from a good series by spoiling one thing.

`BAD_SERIES` is like `BAD` of bad_files: how the folder is made, the code it must be refused
with, words its message must hold, and the code that accepts it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from bad_files import Bad, Builder
from made_dicom import enhanced, image, pixels, raw, series, through_gdcm, write
from pydicom.data import get_testdata_file
from pydicom.uid import (
    JPEG2000Lossless,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    RLELossless,
)

BAD_SERIES: dict[str, Bad] = {}


def bad(code: str, words: str, accept: str | None = None) -> Callable[[Builder], Builder]:
    def keep(build: Builder) -> Builder:
        BAD_SERIES[build.__name__] = Bad(build, code, words, (accept,) if accept else ())
        return build

    return keep


def _with(
    name: str, code: str, words: str, accept: str | None = None, *, slice_: int = 2, **values
):
    """A series of which one slice has other elements."""

    def build(folder: Path) -> Path:
        images = series()
        for keyword, value in values.items():
            if value is None:
                delattr(images[slice_], keyword)
            else:
                setattr(images[slice_], keyword, value)
        return write(folder / "ct", images)

    build.__name__ = name
    bad(code, words, accept)(build)


# --- what is in the folder -------------------------------------------------------------


@bad("no-series", "no DICOM images")
def empty_folder(folder: Path) -> Path:
    (folder / "ct").mkdir()
    return folder / "ct"


@bad("no-series", "1 other DICOM objects")
def only_a_segmentation(folder: Path) -> Path:
    return write(folder / "ct", [image(pixels(1)[0], Modality="SEG")])


@bad("several-series", "--series UID")
def two_series(folder: Path) -> Path:
    write(folder / "ct", series())
    return write(folder / "ct", series(SeriesInstanceUID="1.9.9", seed=5), "other")


@bad("empty-file", "no bytes")
def an_empty_slice(folder: Path) -> Path:
    path = write(folder / "ct", series())
    (path / "im003.dcm").write_bytes(b"")
    return path


@bad("html-file", "web page")
def a_web_page_for_a_slice(folder: Path) -> Path:
    path = write(folder / "ct", series())
    (path / "im003.dcm").write_bytes(b"<html><body>login</body></html>")
    return path


@bad("lfs-pointer", "git lfs pull")
def a_pointer_for_a_slice(folder: Path) -> Path:
    path = write(folder / "ct", series())
    (path / "im003.dcm").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid x\n")
    return path


# --- cut and padded pixels -------------------------------------------------------------


def _cut(name: str, code: str, words: str, keep: Callable[[bytes], bytes]):
    def build(folder: Path) -> Path:
        path = write(folder / "ct", series())
        data = (path / "im003.dcm").read_bytes()
        (path / "im003.dcm").write_bytes(keep(data))
        return path

    build.__name__ = name
    bad(code, words)(build)


_cut("pixels_cut", "truncated-data", "cut short", lambda data: data[:-2])
_cut("pixels_missing", "truncated-data", "pixels are missing",
     lambda data: data[: data.rindex(b"\xe0\x7f\x10\x00")])  # fmt: skip
_cut("header_cut_in_image", "truncated-data", "cut short",
     lambda data: data[: data.index(b"\x28\x00\x10\x00") - 4])  # fmt: skip
_cut("header_cut_at_once", "truncated-data", "cut short", lambda data: data[:340])


@bad("truncated-data", "bytes of pixels")
def pixels_too_few(folder: Path) -> Path:
    images = series()
    images[2].PixelData = images[2].PixelData[:-10]
    return write(folder / "ct", images)


@bad("padded-data", "follow the pixels", "padded-data")
def pixels_too_many(folder: Path) -> Path:
    images = series()
    images[2].PixelData += bytes(10)
    return write(folder / "ct", images)


@bad("truncated-data", "frames")
def frames_too_few(folder: Path) -> Path:
    data = enhanced()
    data.compress(RLELossless, generate_instance_uid=False)
    frames = list(pydicom.encaps.generate_frames(data.PixelData, number_of_frames=4))
    data.PixelData = pydicom.encaps.encapsulate(frames[:3])
    return write(folder / "mr", [data])


@bad("truncated-data", "bytes of pixels")
def multiframe_cut(folder: Path) -> Path:
    data = enhanced()
    data.PixelData = data.PixelData[: len(data.PixelData) // 2]
    return write(folder / "mr", [data])


@bad("truncated-data", "no end")
def jpeg2000_stream_cut(folder: Path) -> Path:
    images = series()
    for data in images:
        data.compress(JPEG2000Lossless, generate_instance_uid=False)
    (stream,) = pydicom.encaps.generate_frames(images[2].PixelData, number_of_frames=1)
    images[2].PixelData = pydicom.encaps.encapsulate([stream[: len(stream) // 2]])
    return write(folder / "ct", images)


@bad("truncated-data", "no end")
def jpegls_stream_cut(folder: Path) -> Path:
    data = pydicom.dcmread(get_testdata_file("MR_small_jpeg_ls_lossless.dcm", download=False))
    (stream,) = pydicom.encaps.generate_frames(data.PixelData, number_of_frames=1)
    data.PixelData = pydicom.encaps.encapsulate([stream[: len(stream) // 2]])
    return write(folder / "mr", [data])


@bad("truncated-data", "no end")
def jpeg_stream_cut(folder: Path) -> Path:
    images = [through_gdcm(data, "JPEG", folder / "made") for data in series()]
    (stream,) = pydicom.encaps.generate_frames(images[2].PixelData, number_of_frames=1)
    images[2].PixelData = pydicom.encaps.encapsulate([stream[: len(stream) // 2]])
    return write(folder / "ct", images)


@bad("truncated-data", "pixels are missing")
def compressed_file_cut(folder: Path) -> Path:
    images = series()
    for data in images:
        data.compress(RLELossless, generate_instance_uid=False)
    path = write(folder / "ct", images)
    data = (path / "im003.dcm").read_bytes()
    (path / "im003.dcm").write_bytes(data[:-200])
    return path


@bad("unreadable", "cannot be decoded")
def rle_damaged(folder: Path) -> Path:
    images = series()
    for data in images:
        data.compress(RLELossless, generate_instance_uid=False)
    (stream,) = pydicom.encaps.generate_frames(images[2].PixelData, number_of_frames=1)
    images[2].PixelData = pydicom.encaps.encapsulate([stream[:64] + b"\x05\x01"])
    return write(folder / "ct", images)


@bad("unknown-encoding", "uncompressed")
def a_film_for_a_slice(folder: Path) -> Path:
    images = series()
    for data in images:
        data.compress(RLELossless, generate_instance_uid=False)
        data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"  # MPEG-4
    return write(folder / "ct", images)


@bad("too-large", "memory")
def a_header_that_claims_too_much(folder: Path) -> Path:
    images = series(40)
    for data in images:
        data.Rows = data.Columns = 65535
        data.BitsAllocated = 64
    return write(folder / "ct", images)


# --- geometry --------------------------------------------------------------------------

_with("zero_spacing", "bad-spacing", "0.0", PixelSpacing=[0, 0.5])
_with("negative_spacing", "bad-spacing", "-0.5", PixelSpacing=[0.75, -0.5])
_with("one_spacing_number", "bad-header", "PixelSpacing", PixelSpacing=0.75)
_with("singular_direction", "singular-direction", "orientation",
      ImageOrientationPatient=[1, 0, 0, 1, 0, 0])  # fmt: skip
_with("zero_direction", "singular-direction", "orientation",
      ImageOrientationPatient=[0, 0, 0, 0, 1, 0])  # fmt: skip
_with("long_direction", "singular-direction", "not 1",
      ImageOrientationPatient=[2, 0, 0, 0, 1, 0])  # fmt: skip
_with("sheared_direction", "sheared-direction", "right angles",
      ImageOrientationPatient=[1, 0, 0, 0.1, 0.994987, 0])  # fmt: skip
_with("zero_slope", "bad-rescale", "slope is 0", RescaleSlope=0)
_with("other_spacing", "mixed-geometry", "pixel spacing", PixelSpacing=[0.8, 0.5])
_with("other_frame_of_reference", "mixed-geometry", "frame of reference",
      FrameOfReferenceUID="1.2.3.99")  # fmt: skip
_with("other_patient", "mixed-patients", "different patients", PatientID="P2")
_with("a_slice_without_position", "no-position", "do not say where", ImagePositionPatient=None)
_with("a_slice_turned", "mixed-orientation", "--series", ImageOrientationPatient=[1, 0, 0, 0, 0, 1])
_with("a_slice_aside", "crooked-stack", "without a rule", ImagePositionPatient=[-3, -20, 35])


def _spoiled_text(name: str, code: str, words: str, good: bytes, spoiled: bytes):
    """What pydicom would not write: the bytes are changed in the file."""
    assert len(good) == len(spoiled)

    def build(folder: Path) -> Path:
        path = write(folder / "ct", series())
        data = (path / "im002.dcm").read_bytes()
        assert good in data
        (path / "im002.dcm").write_bytes(data.replace(good, spoiled))
        return path

    build.__name__ = name
    bad(code, words)(build)


_spoiled_text("nan_spacing", "bad-spacing", "nan", b"0.75\\0.5", b"nan\\0.5 ")
_spoiled_text("text_for_spacing", "bad-header", "PixelSpacing", b"0.75\\0.5", b"a.bc\\0.5")
_spoiled_text("nan_position", "bad-position", "nan", b"-10.0\\-20.0", b"nan  \\-20.0")


@bad("mixed-geometry", "size")
def rows_change(folder: Path) -> Path:
    images = series()
    data = images[2]
    data.Rows -= 2
    data.PixelData = data.PixelData[: data.Rows * data.Columns * 2]
    return write(folder / "ct", images)


@bad("slice-gap", "5.00 mm apart, the rest 2.50 mm", "slice-gap")
def a_missing_slice(folder: Path) -> Path:
    images = series(9)
    del images[4]
    return write(folder / "ct", images)


@bad("slice-gap", "slices 1 and 2", "slice-gap")
def a_missing_second_slice(folder: Path) -> Path:
    images = series(9)
    del images[1]
    return write(folder / "ct", images)


@bad("slice-gap", "mm apart", "slice-gap")
def uneven_slices(folder: Path) -> Path:
    images = series(6)
    x, y, z = images[3].ImagePositionPatient
    images[3].ImagePositionPatient = [x, y, float(z) + 0.8]
    return write(folder / "ct", images)


@bad("duplicate-slice", "remove the copies", "duplicate-slice")
def a_copied_slice(folder: Path) -> Path:
    images = series()
    path = write(folder / "ct", images)
    (path / "copy.dcm").write_bytes(raw(images[2]))
    return path


@bad("duplicate-slice", "remove the copies", "duplicate-slice")
def everything_twice(folder: Path) -> Path:
    images = series()
    write(folder / "ct" / "a", images)
    write(folder / "ct" / "b", images)
    return folder / "ct"


@bad("duplicate-slice", "remove the")
def another_slice_at_the_same_place(folder: Path) -> Path:
    images = series()
    other = image(pixels(5)[0], ImagePositionPatient=list(images[2].ImagePositionPatient))
    return write(folder / "ct", [*images, other])


@bad("gantry-tilt", "11.3 degrees", "gantry-tilt")
def a_tilted_stack(folder: Path) -> Path:
    return write(folder / "ct", series(shift=(0.0, 0.5)))


@bad("four-d", "--series '1.2.3.4#1'")
def two_phases(folder: Path) -> Path:
    images = [d for n in (1, 2) for d in series(seed=n, TemporalPositionIdentifier=n)]
    return write(folder / "mr", images)


@bad("four-d", "--series '1.2.3.4#1'")
def two_phases_in_one_object(folder: Path) -> Path:
    return write(folder / "mr", [enhanced(phases=2)])


@bad("no-position", "captures and cine loops")
def a_capture_of_many_frames(folder: Path) -> Path:
    data = image(
        pixels(4), sop_class=MultiFrameGrayscaleWordSecondaryCaptureImageStorage, Modality="OT",
        NumberOfFrames=4, ImageOrientationPatient=None,
    )  # fmt: skip
    return write(folder / "sc", [data])


@bad("bad-header", "describes 3")
def fewer_groups_than_frames(folder: Path) -> Path:
    def drop(data):
        del data.PerFrameFunctionalGroupsSequence[-1]

    return write(folder / "mr", [enhanced(edit=drop)])


@bad("mosaic", "dcm2niix")
def tiled_slices(folder: Path) -> Path:
    kind = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    return write(folder / "mr", series(3, ImageType=kind, Modality="MR"))


@bad("no-spacing", "thickness", "no-spacing")
def one_slice_without_thickness(folder: Path) -> Path:
    return write(folder / "ct", series(1, SliceThickness=None))


@bad("no-spacing", "pixel spacing", "no-spacing")
def a_radiograph_without_spacing(folder: Path) -> Path:
    return write(folder / "dx", series(1, PixelSpacing=None, Modality="DX"))


@bad("no-orientation", "how it lies", "no-orientation")
def a_radiograph_without_orientation(folder: Path) -> Path:
    data = image(pixels(1)[0], Modality="DX", ImageOrientationPatient=None)
    return write(folder / "dx", [data])


@bad("rgb", "colours", "rgb")
def colour_slices(folder: Path) -> Path:
    images = series()
    for data in images:
        grey = np.frombuffer(data.PixelData, np.uint16).reshape(data.Rows, data.Columns)
        data.PixelData = np.repeat((grey // 16).astype(np.uint8)[..., None], 3, -1).tobytes()
        data.SamplesPerPixel, data.PlanarConfiguration = 3, 0
        data.PhotometricInterpretation = "RGB"
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit = 7
    return write(folder / "sc", images)


@bad("not-scalar", "colour table")
def palette_slices(folder: Path) -> Path:
    images = series()
    for data in images:
        data.PhotometricInterpretation = "PALETTE COLOR"
    return write(folder / "sc", images)


@bad("unsupported-lut", "table")
def a_lookup_table_for_numbers(folder: Path) -> Path:
    images = series()
    table = pydicom.Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [2, 0, 16], "US"
    for data in images:
        data.ModalityLUTSequence = [table]
    return write(folder / "ct", images)

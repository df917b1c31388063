"""Every bad image file the intake must refuse, built from a good one by spoiling one thing.

`BAD` maps a name to how the file is made, the code it must be refused with, words its
message must hold, and the code that accepts it (None: never acceptable).
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from made_files import good_array, meta_bytes, nifti_bytes, nrrd_bytes, put

Builder = Callable[[Path], Path]
BAD: dict[str, Bad] = {}


@dataclass(frozen=True)
class Bad:
    build: Builder
    code: str
    words: str
    accept: tuple[str, ...] = ()


def bad(code: str, words: str, accept: str | None = None) -> Callable[[Builder], Builder]:
    def keep(build: Builder) -> Builder:
        BAD[build.__name__] = Bad(build, code, words, (accept,) if accept else ())
        return build

    return keep


def _nifti(name: str, code: str, words: str, accept: str | None = None, array=None, **fields):
    def build(folder: Path) -> Path:
        data = nifti_bytes(good_array() if array is None else array, **fields)
        return put(folder, "scan.nii", data)

    build.__name__ = name
    bad(code, words, accept)(build)


def _nrrd(name: str, code: str, words: str, accept: str | None = None, array=None, **fields):
    def build(folder: Path) -> Path:
        fixed = {key.replace("_", " "): value for key, value in fields.items()}
        return put(
            folder, "scan.nrrd", nrrd_bytes(good_array() if array is None else array, **fixed)
        )

    build.__name__ = name
    bad(code, words, accept)(build)


def _meta(name: str, code: str, words: str, accept: str | None = None, array=None, **fields):
    def build(folder: Path) -> Path:
        data = meta_bytes(good_array() if array is None else array, **fields)
        return put(folder, "scan.mha", data)

    build.__name__ = name
    bad(code, words, accept)(build)


# --- not an image at all --------------------------------------------------------------

for suffix in ("nii", "nii.gz", "nrrd", "mha", "dcm", "png"):

    def _empty(folder: Path, suffix: str = suffix) -> Path:
        return put(folder, f"scan.{suffix}", b"")

    def _html(folder: Path, suffix: str = suffix) -> Path:
        return put(folder, f"scan.{suffix}", b"\n<!DOCTYPE html><html><body>Sign in</body></html>")

    def _pointer(folder: Path, suffix: str = suffix) -> Path:
        text = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n"
        return put(folder, f"scan.{suffix}", text)

    for build, code, words in (
        (_empty, "empty-file", "no bytes"),
        (_html, "html-file", "web page"),
        (_pointer, "lfs-pointer", "git lfs pull"),
    ):
        build.__name__ = f"{code}_{suffix}"
        bad(code, words)(build)


@bad("lfs-pointer", "git annex get")
def annex_pointer(folder: Path) -> Path:
    return put(folder, "scan.nii.gz", b"/annex/objects/MD5E-s123--0123.nii.gz\n")


@bad("html-file", "web page")
def web_page_compressed(folder: Path) -> Path:
    return put(folder, "scan.nii.gz", gzip.compress(b"<html>404</html>"))


@bad("unknown-format", "DICOM folder or one of")
def some_text(folder: Path) -> Path:
    return put(folder, "notes.txt", b"just some notes")


@bad("bad-header", "no NIfTI header")
def text_called_nifti(folder: Path) -> Path:
    return put(folder, "scan.nii", b"just some notes " * 100)


@bad("no-file", "no such file")
def missing_file(folder: Path) -> Path:
    return folder / "absent.nii"


# --- NIfTI ----------------------------------------------------------------------------


@bad("truncated-data", "cut short")
def nifti_cut(folder: Path) -> Path:
    return put(folder, "scan.nii", nifti_bytes(good_array())[:-1])


@bad("truncated-data", "cut short")
def nifti_cut_in_header(folder: Path) -> Path:
    return put(folder, "scan.nii", nifti_bytes(good_array())[:200])


@bad("truncated-data", "cut short")
def nifti_gz_cut(folder: Path) -> Path:
    data = gzip.compress(
        nifti_bytes(np.random.default_rng(0).integers(0, 999, (9, 9, 9)).astype("int16"))
    )
    return put(folder, "scan.nii.gz", data[: len(data) * 2 // 3])


@bad("truncated-data", "cut short")
def nifti_gz_cut_before_checksum(folder: Path) -> Path:
    return put(folder, "scan.nii.gz", gzip.compress(nifti_bytes(good_array()))[:-6])


@bad("truncated-data", "cut short")
def nifti_gz_of_cut_file(folder: Path) -> Path:
    return put(folder, "scan.nii.gz", gzip.compress(nifti_bytes(good_array())[:-2]))


@bad("bad-gzip", "damaged")
def nifti_gz_bad_checksum(folder: Path) -> Path:
    data = bytearray(gzip.compress(nifti_bytes(good_array())))
    data[-6] ^= 0xFF
    return put(folder, "scan.nii.gz", bytes(data))


@bad("bad-gzip", "damaged")
def nifti_gz_damaged_inside(folder: Path) -> Path:
    noise = np.random.default_rng(1).integers(0, 30000, (20, 20, 20)).astype("int16")
    data = bytearray(gzip.compress(nifti_bytes(noise)))
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    return put(folder, "scan.nii.gz", bytes(data))


@bad("padded-data", "follow the voxels", "padded-data")
def nifti_padded(folder: Path) -> Path:
    return put(folder, "scan.nii", nifti_bytes(good_array()) + b"xyz")


@bad("padded-data", "follow the voxels", "padded-data")
def nifti_gz_padded(folder: Path) -> Path:
    return put(folder, "scan.nii.gz", gzip.compress(nifti_bytes(good_array()) + b"xyz"))


@bad("no-file", "missing")
def nifti_pair_without_voxels(folder: Path) -> Path:
    data = nifti_bytes(good_array(), magic=b"ni1\0", vox_offset=0)
    return put(folder, "scan.hdr", data[:348])


@bad("no-orientation", "neither qform nor sform", "no-orientation")
def analyze_pair(folder: Path) -> Path:
    data = nifti_bytes(good_array(), magic=b"\0\0\0\0", vox_offset=0)
    put(folder, "scan.img", data[352:])
    return put(folder, "scan.hdr", data[:348])


_nifti("nifti_offset_past_end", "bad-offset", "byte 100000", vox_offset=100000)
_nifti("nifti_offset_in_header", "bad-offset", "byte 100", vox_offset=100)
_nifti("nifti_offset_nan", "bad-offset", "nan", vox_offset=float("nan"))
_nifti("nifti_zero_spacing", "bad-spacing", "true spacing", pixdim=[1, 1, 0, 3, 0, 0, 0, 0])
_nifti("nifti_nan_spacing", "bad-spacing", "nan", pixdim=[1, 1, float("nan"), 3, 0, 0, 0, 0])
_nifti("nifti_negative_spacing", "bad-spacing", "-2.0", pixdim=[1, 1, -2, 3, 0, 0, 0, 0])
_nifti("nifti_infinite_spacing", "bad-spacing", "inf", pixdim=[1, 1, float("inf"), 3, 0, 0, 0, 0])
_nifti("nifti_nan_sform", "bad-matrix", "finite", qform_code=0,
       srow=[float("nan"), 0, 0, 10, 0, 2, 0, 20, 0, 0, 3, 30])  # fmt: skip
_nifti("nifti_zero_sform", "bad-spacing", "spacing", qform_code=0,
       srow=[0, 0, 0, 10, 0, 2, 0, 20, 0, 0, 3, 30])  # fmt: skip
_nifti("nifti_singular", "singular-direction", "parallel", qform_code=0,
       srow=[1, 2, 0, 10, 0, 0, 0, 20, 0, 0, 3, 30])  # fmt: skip
_nifti("nifti_sheared", "sheared-direction", "right angle", qform_code=0,
       srow=[1, 0, 0.5, 10, 0, 2, 0, 20, 0, 0, 3, 30])  # fmt: skip
_nifti("nifti_no_orientation", "no-orientation", "neither qform nor sform", "no-orientation",
       qform_code=0, sform_code=0)  # fmt: skip
_nifti("nifti_frames_disagree", "frames-disagree", "10.0 mm", "frames-disagree",
       qoffset=[20, 20, 30])  # fmt: skip
_nifti("nifti_nan_slope", "bad-rescale", "slope is nan", scl_slope=float("nan"))
_nifti("nifti_infinite_intercept", "bad-rescale", "inf", scl_slope=1, scl_inter=float("inf"))
_nifti("nifti_no_dimensions", "bad-header", "dimensions", dim=[0] * 8)
_nifti("nifti_negative_size", "bad-header", "dimensions", dim=[3, 6, -5, 4, 1, 1, 1, 1])
_nifti("nifti_complex", "not-scalar", "magnitude", array=good_array("complex64"))
_nifti("nifti_unknown_type", "not-scalar", "type 1234", datatype=1234)
_nifti("nifti_too_large", "too-large", "memory", dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])
_nifti("nifti2_too_large", "too-large", "memory", version=2, dim=[3, 2**40, 2**40, 4, 1, 1, 1, 1])
_nifti("nifti_four_d", "four-d", "--series '#1'", array=np.stack([good_array()] * 3))
_nifti("nifti_rgb", "rgb", "colours", "rgb", datatype=128, bitpix=24,
       array=np.zeros((4, 5, 6 * 3), np.uint8), dim=[3, 6, 5, 4, 1, 1, 1, 1])  # fmt: skip


def _with_nan(value: float) -> np.ndarray:
    array = good_array("float32")
    array[1, 2, 3] = value
    return array


_nifti("nifti_nan_voxel", "not-finite", "slice 1, row 2, column 3", "not-finite", _with_nan(np.nan))
_nifti("nifti_inf_voxel", "not-finite", "slice 1, row 2, column 3", "not-finite", _with_nan(np.inf))


@bad("not-finite", "no voxel is a finite number")
def nifti_only_nan(folder: Path) -> Path:
    return put(folder, "scan.nii", nifti_bytes(np.full((4, 5, 6), np.nan, np.float32)))


# --- NRRD -----------------------------------------------------------------------------


@bad("truncated-data", "cut short")
def nrrd_cut(folder: Path) -> Path:
    return put(folder, "scan.nrrd", nrrd_bytes(good_array())[:-1])


@bad("truncated-data", "cut short")
def nrrd_cut_in_header(folder: Path) -> Path:
    return put(folder, "scan.nrrd", nrrd_bytes(good_array())[:60])


@bad("truncated-data", "cut short")
def nrrd_gzip_cut(folder: Path) -> Path:
    return put(folder, "scan.nrrd", nrrd_bytes(good_array(), encoding="gzip")[:-9])


@bad("bad-gzip", "damaged")
def nrrd_gzip_bad_checksum(folder: Path) -> Path:
    data = bytearray(nrrd_bytes(good_array(), encoding="gzip"))
    data[-6] ^= 0xFF
    return put(folder, "scan.nrrd", bytes(data))


@bad("padded-data", "follow the voxels", "padded-data")
def nrrd_padded(folder: Path) -> Path:
    return put(folder, "scan.nrrd", nrrd_bytes(good_array()) + b"xyz")


@bad("truncated-data", "119 are there")
def nrrd_text_cut(folder: Path) -> Path:
    data = nrrd_bytes(good_array(), encoding="ascii")
    return put(folder, "scan.nrrd", data[: data.rindex(b"\n")])


@bad("no-file", "missing")
def nrrd_without_voxels(folder: Path) -> Path:
    fields = {"data file": "absent.raw"}
    return put(folder, "scan.nhdr", nrrd_bytes(good_array()[:0], sizes="6 5 4", **fields))


@bad("bad-offset", "byte 9999")
def nrrd_offset_past_end(folder: Path) -> Path:
    put(folder, "scan.raw", good_array().tobytes())
    fields = {"data file": "scan.raw", "byte skip": "9999"}
    return put(folder, "scan.nhdr", nrrd_bytes(good_array()[:0], sizes="6 5 4", **fields))


_nrrd("nrrd_split", "split-data", "several files", data_file="slice%d.raw 1 4 1")
_nrrd("nrrd_unknown_encoding", "unknown-encoding", "gzip", encoding="zstd")
_nrrd("nrrd_block_type", "not-scalar", "block", type="block")
_nrrd("nrrd_bad_sizes", "bad-header", "sizes", sizes="6 5")
_nrrd("nrrd_too_large", "too-large", "memory", sizes="100000 100000 100000")
_nrrd("nrrd_singular", "singular-direction", "parallel",
      space_directions="(1,0,0) (2,0,0) (0,0,3)")  # fmt: skip
_nrrd("nrrd_sheared", "sheared-direction", "right angle",
      space_directions="(1,0,0) (0,2,0) (0,1,3)")  # fmt: skip
_nrrd("nrrd_zero_spacing", "bad-spacing", "spacing", space_directions="(1,0,0) (0,2,0) (0,0,0)")
_nrrd("nrrd_nan_direction", "bad-spacing", "nan", space_directions="(1,0,0) (0,nan,0) (0,0,3)")
_nrrd("nrrd_nan_spacing", "bad-spacing", "nan", space=None, space_directions=None,
      space_origin=None, spacings="1 nan 3")  # fmt: skip
_nrrd("nrrd_negative_spacing", "bad-spacing", "-2", space=None, space_directions=None,
      space_origin=None, spacings="1 -2 3")  # fmt: skip
_nrrd("nrrd_no_space", "no-orientation", "how the image lies", "no-orientation", space=None,
      space_directions=None, space_origin=None, spacings="1 2 3")  # fmt: skip
_nrrd("nrrd_unknown_space", "no-orientation", "how the image lies", "no-orientation",
      space="scanner-xyz")  # fmt: skip
_nrrd("nrrd_four_d", "four-d", "3 volumes", array=np.stack([good_array()] * 3),
      space_directions="(1,0,0) (0,2,0) (0,0,3) none",
      kinds="domain domain domain list")  # fmt: skip
_nrrd("nrrd_four_d_list_first", "four-d", "4 volumes", sizes="4 6 5 1",
      array=np.zeros((1, 5, 6, 4), np.int16),
      space_directions="none (1,0,0) (0,2,0) (0,0,3)",
      kinds="list domain domain domain")  # fmt: skip
_nrrd("nrrd_rgb", "rgb", "colours", "rgb", array=np.zeros((4, 5, 6, 3), np.uint8),
      space_directions="none (1,0,0) (0,2,0) (0,0,3)",
      kinds="RGB-color domain domain domain")  # fmt: skip
_nrrd("nrrd_nan_voxel", "not-finite", "slice 1", "not-finite", _with_nan(np.nan))

# --- MetaImage ------------------------------------------------------------------------


@bad("truncated-data", "cut short")
def meta_cut(folder: Path) -> Path:
    return put(folder, "scan.mha", meta_bytes(good_array())[:-1])


@bad("truncated-data", "cut short")
def meta_cut_in_header(folder: Path) -> Path:
    return put(folder, "scan.mha", meta_bytes(good_array())[:70])


@bad("padded-data", "follow the voxels", "padded-data")
def meta_padded(folder: Path) -> Path:
    return put(folder, "scan.mha", meta_bytes(good_array()) + b"xyz")


@bad("truncated-data", "cut short")
def meta_zlib_cut(folder: Path) -> Path:
    data = zlib.compress(good_array().tobytes())[:-8]
    return put(folder, "scan.mha", meta_bytes(good_array(), data=data, CompressedData="True"))


@bad("bad-gzip", "damaged")
def meta_zlib_bad_checksum(folder: Path) -> Path:
    data = bytearray(zlib.compress(good_array().tobytes()))
    data[-1] ^= 0xFF
    return put(
        folder, "scan.mha", meta_bytes(good_array(), data=bytes(data), CompressedData="True")
    )


_meta("meta_without_voxels", "no-file", "absent.raw", ElementDataFile="absent.raw")
_meta("meta_split", "split-data", "several files", ElementDataFile="LIST")
_meta("meta_offset_past_end", "bad-offset", "byte 99999", HeaderSize=99999)
_meta("meta_negative_offset", "bad-offset", "HeaderSize", HeaderSize=-5)
_meta("meta_zero_spacing", "bad-spacing", "spacing", ElementSpacing="1 0 3")
_meta("meta_nan_spacing", "bad-spacing", "nan", ElementSpacing="1 nan 3")
_meta("meta_negative_spacing", "bad-spacing", "-2", ElementSpacing="1 -2 3")
_meta("meta_no_spacing", "no-spacing", "no spacing", "no-spacing", ElementSpacing=None)
_meta("meta_singular", "singular-direction", "parallel", TransformMatrix="1 0 0 1 0 0 0 0 1")
_meta("meta_sheared", "sheared-direction", "right angle", TransformMatrix="1 0 0 0.1 1 0 0 0 1")
_meta("meta_nan_direction", "bad-matrix", "finite", TransformMatrix="nan 0 0 0 1 0 0 0 1")
_meta("meta_no_orientation", "no-orientation", "how the image lies", "no-orientation",
      TransformMatrix=None)  # fmt: skip
_meta("meta_bad_number", "bad-header", "ElementSpacing", ElementSpacing="one two three")
_meta("meta_too_large", "too-large", "memory", DimSize="100000 100000 100000")
_meta("meta_unknown_type", "not-scalar", "MET_STRING", ElementType="MET_STRING")
_meta("meta_four_d", "four-d", "3 volumes", array=np.stack([good_array()] * 3),
      TransformMatrix="1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1", Offset="0 0 0 0",
      ElementSpacing="1 2 3 1")  # fmt: skip
_meta("meta_rgb", "rgb", "colours", "rgb", array=np.zeros((4, 5, 18), np.uint8),
      DimSize="6 5 4", ElementNumberOfChannels=3)  # fmt: skip
_meta("meta_nan_voxel", "not-finite", "slice 1", "not-finite", _with_nan(np.nan))

# --- pictures -------------------------------------------------------------------------


def _picture(folder: Path, name: str, colours: bool = False) -> Path:
    import SimpleITK

    rng = np.random.default_rng(0)
    shape = (20, 30, 3) if colours else (20, 30)
    image = SimpleITK.GetImageFromArray(rng.integers(0, 255, shape).astype(np.uint8), colours)
    SimpleITK.WriteImage(image, str(folder / name))
    return folder / name


@bad("no-spacing", "no voxel spacing", "no-spacing")
def picture_png(folder: Path) -> Path:
    return _picture(folder, "scan.png")


@bad("no-spacing", "no voxel spacing", "no-spacing")
def picture_jpeg(folder: Path) -> Path:
    return _picture(folder, "scan.jpg")


@bad("truncated-data", "cut short")
def jpeg_cut(folder: Path) -> Path:
    path = _picture(folder, "scan.jpg")
    path.write_bytes(path.read_bytes()[:-40])
    return path


@bad("truncated-data", "cut short")
def png_cut(folder: Path) -> Path:
    path = _picture(folder, "scan.png")
    path.write_bytes(path.read_bytes()[:-20])
    return path


@bad("bad-checksum", "IDAT")
def png_bad_checksum(folder: Path) -> Path:
    path = _picture(folder, "scan.png")
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 30] ^= 0xFF
    path.write_bytes(bytes(data))
    return path


@bad("too-large", "memory")
def png_too_large(folder: Path) -> Path:
    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    head = struct.pack(">2I5B", 2**30, 2**30, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    data += chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    return put(folder, "scan.png", data)

"""The NIfTI-1, NIfTI-2 and Analyze 7.5 header, read for its promises and its geometry.

Layout after the NIfTI-1 and NIfTI-2 definitions of the NIfTI Data Format Working Group
(nifti1.h 2007, nifti2.h 2011). NIfTI states places in RAS.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from MedDetectLib.cases.lps import ras_from_lps
from MedDetectLib.cases.raw_header import Encoding, RawHeader, check_spacing
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import FloatArray
from MedDetectLib.core.quality import Intake

__all__ = ["read_nifti_header"]

TYPES: dict[int, tuple[str, int]] = {
    2: ("u1", 1), 4: ("<i2", 1), 8: ("<i4", 1), 16: ("<f4", 1), 64: ("<f8", 1),
    256: ("i1", 1), 512: ("<u2", 1), 768: ("<u4", 1), 1024: ("<i8", 1), 1280: ("<u8", 1),
    128: ("u1", 3), 2304: ("u1", 4),
}  # fmt: skip
"""datatype code: numpy type and numbers per voxel; complex and 128-bit ones are absent."""
UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}
FRAME_TOLERANCE_MM = 1.0


@dataclass(frozen=True)
class _Fields:
    """The header's fields, under the names of the definition."""

    version: int
    dim: tuple[int, ...]
    datatype: int
    pixdim: FloatArray
    vox_offset: float
    scl_slope: float
    scl_inter: float
    xyzt_units: int
    qform_code: int
    sform_code: int
    quatern: FloatArray
    qoffset: FloatArray
    srow: FloatArray
    magic: bytes
    order: Literal["<", ">"]


def read_nifti_header(path: Path, intake: Intake) -> RawHeader:
    """Read the header of a ``.nii``, ``.nii.gz`` or ``.hdr`` (or ``.img``) file.

    The geometry is the sform when it is set, else the qform.

    Raises:
        InputError: ``bad-header``, ``not-scalar``, ``bad-spacing``, ``bad-rescale``,
            ``no-orientation``, ``no-spacing``, ``frames-disagree``, ``bad-offset``.
    """
    header_file, data_file = _pair(path)
    fields = _parse(_first_bytes(header_file), intake)
    if fields.datatype not in TYPES:
        raise intake.error(
            "not-scalar",
            f"its voxels are of NIfTI type {fields.datatype}, not plain real numbers",
            "save it as integers or floats (the magnitude of complex data)",
        )
    shape, volumes = _shape(fields, intake)
    number, colours = TYPES[fields.datatype]
    single = fields.magic in (b"n+1\0", b"n+2\0")
    offset = _offset(fields, single, intake)
    voxels = header_file if single else data_file
    encoding: Encoding = "gzip-file" if _is_gzip(voxels) else "raw"
    slope, intercept = _rescale(fields, intake)
    spacing = _spacing(fields, intake)
    return RawHeader(
        shape, volumes, colours, np.dtype(number).newbyteorder(fields.order),
        ras_from_lps(_matrix_ras(fields, shape, spacing, intake)),
        voxels, offset, encoding, False, slope, intercept,
    )  # fmt: skip


def _pair(path: Path) -> tuple[Path, Path]:
    """Header and voxel file: the same, unless the name is one of a .hdr/.img pair."""
    name = path.name
    for header, data in ((".hdr", ".img"), (".HDR", ".IMG")):
        for zipped in ("", ".gz"):
            if name.endswith((header + zipped, data + zipped)):
                base = name[: -len(header + zipped)]
                found = [path.with_name(base + data + z) for z in ("", ".gz")]
                heads = [path.with_name(base + header + z) for z in ("", ".gz")]
                return (
                    next((p for p in heads if p.is_file()), heads[0]),
                    next((p for p in found if p.is_file()), found[0]),
                )
    return path, path


def _is_gzip(path: Path) -> bool:
    """Whether a file, if it is there, is compressed."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _first_bytes(path: Path) -> bytes:
    """Header's bytes, decompressed if need be."""
    try:
        with path.open("rb") as file:
            if _is_gzip(path):
                with gzip.open(path) as unzipped:
                    return unzipped.read(540)
            file.seek(0)
            return file.read(540)
    except FileNotFoundError as error:
        raise InputError(
            "no-file",
            "its header file is missing",
            where=path,
            todo="put the .hdr and the .img beside each other",
        ) from error
    except EOFError as error:
        raise InputError(
            "truncated-data",
            "the compressed data ends inside the header",
            where=path,
            todo="the file was cut short: copy or export it again",
        ) from error
    except (OSError, zlib.error) as error:
        raise InputError(
            "bad-gzip",
            f"the compressed data is damaged ({error})",
            where=path,
            todo="the file is damaged: copy or export it again",
        ) from error


def _parse(head: bytes, intake: Intake) -> _Fields:
    """Take the fields apart in whichever byte order and version they are."""
    orders: tuple[Literal["<", ">"], ...] = ("<", ">")
    for order in orders:
        if len(head) < 4:
            break
        size = struct.unpack(order + "i", head[:4])[0]
        if size == 348 and len(head) >= 348:
            return _parse_1(head, order)
        if size == 540 and len(head) >= 540:
            return _parse_2(head, order)
        if size in (348, 540):
            raise intake.error(
                "truncated-data",
                f"the file ends inside the header, at byte {len(head)}",
                "the file was cut short: copy or export it again",
            )
    raise intake.error("bad-header", "its first bytes are no NIfTI header", "export it again")


def _parse_1(head: bytes, order: Literal["<", ">"]) -> _Fields:
    """Version 1, or Analyze 7.5 (no magic; its fields have no orientation)."""

    def get(form: str, at: int) -> tuple[float, ...]:
        return struct.unpack_from(order + form, head, at)

    nifti = head[344:348] in (b"n+1\0", b"ni1\0")
    return _Fields(
        1 if nifti else 0, tuple(int(n) for n in get("8h", 40)), int(get("h", 70)[0]),
        np.array(get("8f", 76)), get("f", 108)[0] if nifti else 0.0,
        get("f", 112)[0] if nifti else 0.0, get("f", 116)[0] if nifti else 0.0,
        head[123] if nifti else 0, int(get("h", 252)[0]) if nifti else 0,
        int(get("h", 254)[0]) if nifti else 0, np.array(get("3f", 256)),
        np.array(get("3f", 268)), np.array(get("12f", 280)).reshape(3, 4), head[344:348],
        order,
    )  # fmt: skip


def _parse_2(head: bytes, order: Literal["<", ">"]) -> _Fields:
    """Version 2: wider fields at other places."""

    def get(form: str, at: int) -> tuple[float, ...]:
        return struct.unpack_from(order + form, head, at)

    return _Fields(
        2, tuple(int(n) for n in get("8q", 16)), int(get("h", 12)[0]), np.array(get("8d", 104)),
        get("q", 168)[0], get("d", 176)[0], get("d", 184)[0], int(get("i", 500)[0]),
        int(get("i", 344)[0]), int(get("i", 348)[0]), np.array(get("3d", 352)),
        np.array(get("3d", 376)), np.array(get("12d", 400)).reshape(3, 4), head[4:8],
        order,
    )  # fmt: skip


def _shape(fields: _Fields, intake: Intake) -> tuple[tuple[int, int, int], int]:
    """Columns, rows, slices, and how many volumes of that size."""
    count = fields.dim[0]
    sizes = fields.dim[1 : count + 1] if 1 <= count <= 7 else ()
    if not sizes or min(sizes) < 1:
        raise intake.error(
            "bad-header", f"its dimensions are {list(fields.dim)}", "export the image again"
        )
    i, j, k = (*sizes, 1, 1)[:3]
    volumes = 1
    for size in sizes[3:]:
        volumes *= size
    return (i, j, k), volumes


def _offset(fields: _Fields, single: bool, intake: Intake) -> int:
    """Where the voxels begin."""
    least = (540 if fields.version == 2 else 348) if single else 0
    offset = fields.vox_offset
    if not np.isfinite(offset) or offset < 0 or (0 < offset < least):
        raise intake.error(
            "bad-offset",
            f"the voxels are said to begin at byte {offset:g}",
            "the header is damaged: export the image again",
        )
    return int(offset) or least


def _rescale(fields: _Fields, intake: Intake) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 means that there is none."""
    slope, intercept = fields.scl_slope, fields.scl_inter
    if slope == 0:
        return 1.0, 0.0
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        raise intake.error(
            "bad-rescale",
            f"its rescale slope is {slope:g}, its intercept {intercept:g}",
            "set a finite slope in the header, or export the image again",
        )
    return slope, intercept


def _spacing(fields: _Fields, intake: Intake) -> FloatArray:
    """(3,) in mm; what a 2-D image does not state is 1 mm and a flaw."""
    spacing = fields.pixdim[1:4].copy()
    dimensions = fields.dim[0]
    for axis in range(dimensions, 3):
        if not spacing[axis] > 0:
            intake.flaw("no-spacing", "a flat image states no slice thickness")
            spacing[axis] = 1.0
    if fields.version == 0:  # SPM writes negative sizes into Analyze files for flips
        spacing = np.abs(spacing)
    check_spacing(spacing, _path(intake))
    return np.asarray(spacing * UNIT_MM.get(fields.xyzt_units & 7, 1.0), dtype=np.float64)


def _matrix_ras(
    fields: _Fields, shape: tuple[int, int, int], spacing: FloatArray, intake: Intake
) -> FloatArray:
    """(4, 4) voxel-to-RAS from sform or qform, as far as they agree."""
    scale = UNIT_MM.get(fields.xyzt_units & 7, 1.0)
    sform = np.vstack([fields.srow * scale, [0, 0, 0, 1]])
    qform = _qform(fields, spacing, scale)
    if fields.sform_code > 0 and fields.qform_code > 0:
        reach = np.array([[i, j, k, 1] for i in (0, shape[0] - 1) for j in (0, shape[1] - 1)
                          for k in (0, shape[2] - 1)])  # fmt: skip
        apart = np.linalg.norm((reach @ (sform - qform).T)[:, :3], axis=1).max()
        if not apart <= FRAME_TOLERANCE_MM:
            intake.flaw(
                "frames-disagree",
                f"sform and qform put a corner of the volume {apart:.1f} mm apart",
                todo="set both from the scanner's geometry",
            )
    if fields.sform_code > 0:
        return sform
    if fields.qform_code > 0:
        return qform
    intake.flaw(
        "no-orientation",
        "neither qform nor sform says how the image lies in the patient",
        todo="export it again with its orientation",
    )
    # What ITK assumes: axes along L, P, S with the first voxel at the origin.
    return np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])


def _qform(fields: _Fields, spacing: FloatArray, scale: float) -> FloatArray:
    """(4, 4) voxel-to-RAS of the quaternion."""
    b, c, d = (float(x) for x in fields.quatern)
    rest = 1.0 - (b * b + c * c + d * d)
    if rest < 1e-7:
        length = (b * b + c * c + d * d) ** 0.5
        a, b, c, d = 0.0, b / length, c / length, d / length
    else:
        a = rest**0.5
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    rotation[:, 2] *= -1.0 if fields.pixdim[0] < 0 else 1.0
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * spacing
    matrix[:3, 3] = fields.qoffset * scale
    return matrix


def _path(intake: Intake) -> Path:
    return Path(intake.where)

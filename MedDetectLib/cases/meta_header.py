"""The MetaImage (``.mha``, ``.mhd``) header, read for its promises and its geometry.

After the MetaIO documentation of ITK. MetaImage states places in LPS.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np

from MedDetectLib.cases.raw_header import Encoding, RawHeader, check_spacing
from MedDetectLib.core.geometry import FloatArray
from MedDetectLib.core.quality import Intake

__all__ = ["read_meta_header"]

TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "<i2", "MET_USHORT": "<u2",
    "MET_INT": "<i4", "MET_UINT": "<u4", "MET_LONG": "<i4", "MET_ULONG": "<u4",
    "MET_LONG_LONG": "<i8", "MET_ULONG_LONG": "<u8", "MET_FLOAT": "<f4", "MET_DOUBLE": "<f8",
}  # fmt: skip
HEADER_LIMIT = 1 << 20


def read_meta_header(path: Path, intake: Intake) -> RawHeader:
    """Read the header of a ``.mha`` or ``.mhd`` file.

    Raises:
        InputError: ``bad-header``, ``not-scalar``, ``split-data``, ``bad-spacing``,
            ``bad-offset``, ``no-spacing``, ``no-orientation``.
    """
    fields, offset = _parse(path, intake)
    sizes = [int(n) for n in _numbers(fields, "DimSize", intake)]
    count = int(*_numbers(fields, "NDims", intake)[:1] or [0])
    if len(sizes) != count or count < 2 or min(sizes, default=0) < 1:
        raise intake.error(
            "bad-header", f"its DimSize is '{fields.get('DimSize', '')}'", "export the image again"
        )
    number = TYPES.get(fields.get("ElementType", "").upper())
    channels = int((_numbers(fields, "ElementNumberOfChannels", intake) or [1])[0])
    if number is None or channels < 1:
        raise intake.error(
            "not-scalar",
            f"its voxels are of type '{fields.get('ElementType', '')}'",
            "save it as integers or floats",
        )
    colours = channels if channels in (3, 4) and number == "u1" else 1
    volumes = channels // colours * int(np.prod(sizes[3:], dtype=object))
    i, j, k = (*sizes, 1)[:3]
    matrix_lps = _matrix_lps(fields, count, intake)
    data_file, offset, encoding = _data(fields, path, offset, intake)
    msb = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False"))
    order: Literal["<", ">"] = ">" if msb.lower() in ("true", "1") else "<"
    header = RawHeader(
        (i, j, k), volumes, colours, np.dtype(number).newbyteorder(order), matrix_lps, data_file,
        offset, encoding, channels > 1,
    )  # fmt: skip
    skip = int((_numbers(fields, "HeaderSize", intake) or [0])[0])
    if skip < -1:
        raise intake.error("bad-offset", f"its HeaderSize is {skip}", "export the image again")
    if skip == -1 and encoding == "raw":
        size = data_file.stat().st_size if data_file.is_file() else 0
        offset = max(size - header.data_bytes, 0)
    elif skip > 0:
        offset = skip
    return RawHeader(**{**vars(header), "data_offset": offset})


def _parse(path: Path, intake: Intake) -> tuple[dict[str, str], int]:
    """Fields as written, and the byte after the header's last line."""
    with path.open("rb") as file:
        head = file.read(HEADER_LIMIT)
    end = re.search(rb"^[ \t]*ElementDataFile[ \t]*=[^\n]*(\n|\Z)", head, re.MULTILINE)
    if end is None:
        if re.search(rb"^[ \t]*(ObjectType|NDims|DimSize)[ \t]*=", head, re.MULTILINE):
            raise intake.error(
                "truncated-data",
                "the header ends before it names its voxel data",
                "the file was cut short: copy or export it again",
            )
        raise intake.error("bad-header", "this is no MetaImage header", "export the image again")
    fields: dict[str, str] = {}
    for line in head[: end.end()].decode("utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        fields[key.strip()] = value.strip()
    return fields, end.end()


def _numbers(fields: dict[str, str], key: str, intake: Intake) -> list[float]:
    """Numbers of one field; empty when it is absent."""
    try:
        return [float(word) for word in fields.get(key, "").split()]
    except ValueError as error:
        raise intake.error(
            "bad-header", f"its {key} is '{fields[key]}'", "export the image again"
        ) from error


def _matrix_lps(fields: dict[str, str], count: int, intake: Intake) -> FloatArray:
    """(4, 4) voxel-to-LPS; what is not stated is a flaw, and then as ITK assumes it."""
    spacing = _numbers(fields, "ElementSpacing", intake) or _numbers(fields, "ElementSize", intake)
    if len(spacing) < min(count, 3) or count < 3:
        intake.flaw("no-spacing", "the header states no spacing along every axis")
    spacing_ijk_mm = np.array((*spacing, 1.0, 1.0, 1.0)[: min(count, 3)] + (1.0,) * (3 - count))
    check_spacing(spacing_ijk_mm, Path(intake.where))
    origin, rows = np.zeros(3), np.eye(3)
    places = _first(fields, ("Offset", "Position", "Origin"), intake)
    turns = _first(fields, ("TransformMatrix", "Rotation", "Orientation"), intake)
    if len(places) != count or len(turns) != count * count:
        intake.flaw(
            "no-orientation",
            "the header does not say how the image lies in the patient",
            todo="export it again with Offset and TransformMatrix",
        )
    else:
        used = min(count, 3)
        origin[:used] = places[:used]
        rows[:used, :used] = np.array(turns).reshape(count, count)[:used, :used]
    if not (np.isfinite(rows).all() and np.isfinite(origin).all()):
        raise intake.error(
            "bad-matrix", "its orientation is not a finite number", "export it again"
        )
    matrix = np.eye(4)
    matrix[:3, :3] = rows.T * spacing_ijk_mm
    matrix[:3, 3] = origin
    return matrix


def _first(fields: dict[str, str], keys: tuple[str, ...], intake: Intake) -> list[float]:
    """Numbers of the first key present."""
    return next((_numbers(fields, key, intake) for key in keys if key in fields), [])


def _data(
    fields: dict[str, str], path: Path, offset: int, intake: Intake
) -> tuple[Path, int, Encoding]:
    """Voxel file, where in it they begin, and how they are stored."""
    name = fields["ElementDataFile"]
    if name.upper() != "LOCAL":
        if name.upper().startswith("LIST") or "%" in name:
            raise intake.error(
                "split-data", "its voxels are spread over several files", "save it as one .mha"
            )
        path, offset = path.parent / name, 0
    zipped = fields.get("CompressedData", "False").lower() in ("true", "1")
    plain_text = fields.get("BinaryData", "True").lower() in ("false", "0")
    return path, offset, "zlib" if zipped else "text" if plain_text else "raw"

"""The NRRD header, read for its promises and its geometry.

After the "Definition of NRRD File Format" of the Teem library (format versions 1 to 5).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np

from MedDetectLib.cases.raw_header import Encoding, RawHeader, check_spacing
from MedDetectLib.core.geometry import FloatArray
from MedDetectLib.core.quality import Intake

__all__ = ["parse_nrrd", "read_nrrd_header"]

TYPES = {
    "i1": "signed char|int8|int8_t",
    "u1": "uchar|unsigned char|uint8|uint8_t",
    "<i2": "short|short int|signed short|signed short int|int16|int16_t",
    "<u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "<i4": "int|signed int|int32|int32_t",
    "<u4": "uint|unsigned int|uint32|uint32_t",
    "<i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "<u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "<f4": "float",
    "<f8": "double",
}
ENCODINGS: dict[str, Encoding] = {
    "raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2",
    "txt": "text", "text": "text", "ascii": "text",
}  # fmt: skip
SPACE_TO_LPS = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
COLOUR_KINDS = {"rgb-color": 3, "rgba-color": 4, "3-color": 3, "4-color": 4}
HEADER_LIMIT = 1 << 20


def parse_nrrd(path: Path, intake: Intake) -> tuple[dict[str, str], int]:
    """Return the fields (names in lower case, key/value pairs as written) and where data begins.

    Raises:
        InputError: ``bad-header``, ``truncated-data`` when the header has no end.
    """
    with path.open("rb") as file:
        head = file.read(HEADER_LIMIT)
    if not re.match(rb"NRRD\d{4}\s*\n", head):
        raise intake.error(
            "bad-header", "its first line is not that of a NRRD file", "export it again"
        )
    end = re.search(rb"\r?\n\r?\n", head)
    if end is None and b"data file" not in head.lower() and b"datafile" not in head.lower():
        raise intake.error(
            "truncated-data",
            "the header has no end",
            "the file was cut short: copy or export it again",
        )
    text = head[: end.start() if end else len(head)].decode("utf-8", "replace")
    fields: dict[str, str] = {}
    lines = text.splitlines()[1:]
    for number, line in enumerate(lines):
        if line.startswith("#"):
            continue
        key, mark, value = line.partition(":=")
        if mark and ": " not in key:
            fields[key] = re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value)
            continue
        key, mark, value = line.partition(":")
        if mark:
            fields[key.strip().lower()] = value.strip()
            if value.strip().upper().startswith("LIST") and "file" in key:
                fields["file count"] = str(len(lines) - number - 1)
                break
    return fields, end.end() if end else len(head)


def read_nrrd_header(path: Path, intake: Intake) -> RawHeader:
    """Read the header of a ``.nrrd`` or ``.nhdr`` file.

    Raises:
        InputError: ``bad-header``, ``not-scalar``, ``unknown-encoding``, ``split-data``,
            ``bad-spacing``, ``no-orientation``, ``no-spacing``.
    """
    fields, offset = parse_nrrd(path, intake)
    sizes = _sizes(fields, intake)
    number = next((t for t, names in TYPES.items() if fields.get("type", "").lower()
                   in names.split("|")), None)  # fmt: skip
    if number is None:
        raise intake.error(
            "not-scalar",
            f"its voxels are of type '{fields.get('type', '')}'",
            "save it as integers or floats",
        )
    directions = _directions(fields, len(sizes), intake)
    spatial = _spatial_axes(fields, sizes, directions, intake)
    colours = volumes = 1
    for axis, size in enumerate(sizes):
        if axis not in spatial:
            kind = _words(fields.get("kinds", ""), len(sizes))[axis].lower()
            if COLOUR_KINDS.get(kind) == size:
                colours *= size
            else:
                volumes *= size
    matrix_lps = _matrix_lps(fields, directions, spatial, intake)
    i, j, k = (*(sizes[axis] for axis in spatial), 1)[:3]
    data_file, offset, encoding = _data(fields, path, offset, intake)
    order: Literal["<", ">"] = ">" if fields.get("endian", "little").lower() == "big" else "<"
    header = RawHeader(
        (i, j, k), volumes, colours, np.dtype(number).newbyteorder(order), matrix_lps, data_file,
        offset, encoding, 0 not in spatial,
    )  # fmt: skip
    if encoding == "raw" and fields.get("byte skip", "").strip() == "-1":
        size = data_file.stat().st_size if data_file.is_file() else 0
        if size < header.data_bytes:
            raise intake.error(
                "truncated-data",
                f"the header promises {header.data_bytes} bytes of voxels, {size} are there",
                "the file was cut short: copy or export it again",
            )
        return RawHeader(**{**vars(header), "data_offset": size - header.data_bytes})
    return header


def _sizes(fields: dict[str, str], intake: Intake) -> list[int]:
    """Return the samples along every axis."""
    try:
        sizes = [int(n) for n in fields["sizes"].split()]
        count = int(fields["dimension"])
    except (KeyError, ValueError):
        sizes, count = [], -1
    if len(sizes) != count or count < 2 or min(sizes, default=0) < 1:
        raise intake.error(
            "bad-header",
            f"its sizes are '{fields.get('sizes', '')}' for dimension"
            f" '{fields.get('dimension', '')}'",
            "export the image again",
        )
    return sizes


def _words(text: str, count: int) -> list[str]:
    """Words of a per-axis field, padded with '???'."""
    return (re.findall(r'"[^"]*"|\S+', text) + ["???"] * count)[:count]


def _directions(
    fields: dict[str, str], count: int, intake: Intake
) -> list[FloatArray | None] | None:
    """One vector per axis, None for an axis that is not spatial; None when not stated."""
    text = fields.get("space directions")
    if text is None:
        return None
    vectors: list[FloatArray | None] = []
    for word in re.findall(r"none|\([^)]*\)", text, re.IGNORECASE):
        if word.lower() == "none":
            vectors.append(None)
            continue
        try:
            vectors.append(np.array([float(x) for x in word.strip("()").split(",")]))
        except ValueError as error:
            raise intake.error(
                "bad-header", f"its space directions are '{text}'", "export it again"
            ) from error
    if len(vectors) != count or any(v is not None and len(v) not in (2, 3) for v in vectors):
        raise intake.error("bad-header", f"its space directions are '{text}'", "export it again")
    return vectors


def _spatial_axes(
    fields: dict[str, str],
    sizes: list[int],
    directions: list[FloatArray | None] | None,
    intake: Intake,
) -> list[int]:
    """Axes i, j, k, fastest first."""
    if directions is not None:
        axes = [n for n, vector in enumerate(directions) if vector is not None]
        # A vector of NaN is how some writers spell "none".
        if len(axes) > 3:
            axes = [n for n in axes if np.isfinite(directions[n]).all()]  # type: ignore[arg-type]
    else:
        kinds = [kind.lower() for kind in _words(fields.get("kinds", ""), len(sizes))]
        axes = [n for n, kind in enumerate(kinds) if kind in ("domain", "space", "???", "none")]
        if len(axes) > 3:
            axes = axes[:3]
    if len(axes) not in (2, 3):
        raise intake.error(
            "bad-header", f"it has {len(axes)} spatial axes, 3 are needed", "export it again"
        )
    return axes


def _matrix_lps(
    fields: dict[str, str],
    directions: list[FloatArray | None] | None,
    spatial: list[int],
    intake: Intake,
) -> FloatArray:
    """(4, 4) voxel-to-LPS; what is not stated is a flaw, and then as ITK assumes it."""
    columns = np.eye(3)
    for n, axis in enumerate(spatial):
        vector = directions[axis] if directions is not None else None
        if vector is not None:
            columns[:, n] = (*vector, 0.0)[:3]
    if directions is None:
        words = _words(fields.get("spacings", ""), max(spatial) + 1)
        if any(words[axis] == "???" for axis in spatial) or len(spatial) < 3:
            intake.flaw("no-spacing", "the header states no spacing")
        spacing = np.array([_number(words[axis]) for axis in spatial])
        check_spacing(spacing, Path(intake.where))
        columns[range(len(spatial)), range(len(spatial))] = spacing
    elif len(spatial) < 3:
        intake.flaw("no-spacing", "a flat image states no slice thickness")
        normal = np.cross(columns[:, 0], columns[:, 1])
        columns[:, 2] = normal / (np.linalg.norm(normal) or 1.0)
    if not np.isfinite(columns).all() or (np.linalg.norm(columns, axis=0) <= 0).any():
        check_spacing(np.linalg.norm(columns, axis=0), Path(intake.where))
    space = SPACE_TO_LPS.get(fields.get("space", "").lower())
    origin = _origin(fields)
    if space is None or directions is None or origin is None:
        intake.flaw(
            "no-orientation",
            "the header does not say how the image lies in the patient",
            todo="export it again with space, space directions and space origin",
        )
    matrix = np.eye(4)
    flips = np.array(space or (1, 1, 1), dtype=np.float64)
    matrix[:3, :3] = columns * flips[:, None]
    matrix[:3, 3] = (np.zeros(3) if origin is None else origin) * flips
    return matrix


def _origin(fields: dict[str, str]) -> FloatArray | None:
    """(3,) in the file's space, None when it is not stated."""
    try:
        place = [float(x) for x in fields["space origin"].strip("() ").split(",")]
    except (KeyError, ValueError):
        return None
    return np.array((*place, 0.0)[:3]) if len(place) in (2, 3) else None


def _number(word: str) -> float:
    """Spacing; an unstated one is 1, an unreadable one NaN."""
    try:
        return 1.0 if word == "???" else float(word)
    except ValueError:
        return float("nan")


def _data(
    fields: dict[str, str], path: Path, offset: int, intake: Intake
) -> tuple[Path, int, Encoding]:
    """Voxel file, where in it they begin, and how they are stored."""
    encoding = ENCODINGS.get(fields.get("encoding", "").lower())
    if encoding is None:
        raise intake.error(
            "unknown-encoding",
            f"its voxels are stored as '{fields.get('encoding', '')}'",
            "save it with encoding raw or gzip",
        )
    detached = fields.get("data file", fields.get("datafile"))
    if detached is not None:
        if detached.upper().startswith("LIST") or "%" in detached:
            raise intake.error(
                "split-data",
                "its voxels are spread over several files",
                "save it as one .nrrd file",
            )
        path, offset = path.parent / detached, 0
    lines, skip = _count(fields, "line skip", intake), _count(fields, "byte skip", intake)
    if lines and path.is_file():
        with path.open("rb") as file:
            file.seek(offset)
            for _ in range(lines):
                file.readline()
            offset = file.tell()
    return path, offset + max(skip, 0), encoding


def _count(fields: dict[str, str], key: str, intake: Intake) -> int:
    """Return how many lines or bytes to skip."""
    text = fields.get(key, fields.get(key.replace(" ", ""), "0"))
    try:
        value = int(text)
    except ValueError:
        value = -2
    if value < -1:
        raise intake.error("bad-offset", f"its {key} is '{text}'", "export the image again")
    return value

"""Writing NRRD with key/value pairs and a list axis, which SimpleITK cannot do."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.cases.atomic import replacing
from MedDetectLib.cases.lps import lps_parts
from MedDetectLib.core.geometry import Geometry

__all__ = ["write_nrrd"]


def write_nrrd(
    path: Path, layers: npt.NDArray[Any], geometry: Geometry, pairs: dict[str, str]
) -> None:
    """Write label layers as gzip NRRD, the same bytes for the same content.

    Args:
        path: the file.
        layers: [layer, k, j, i] unsigned numbers up to 65535; one layer is written as a
            plain 3-D image, several with the layers as first (list) axis.
        geometry: the grid of every layer.
        pairs: key/value pairs for the header.

    Raises:
        StoreError: ``cannot-write``.
    """
    small = layers.max(initial=0) < 256
    name, kind = ("unsigned char", np.dtype("u1")) if small else ("unsigned short", np.dtype("<u2"))
    count = len(layers)
    origin_lps, spacing, direction_lps = lps_parts(geometry)
    vectors = [_vector(column) for column in (direction_lps * spacing).T]
    sizes = [str(n) for n in geometry.shape_kji[::-1]]
    kinds = ["domain"] * 3
    if count > 1:
        vectors, sizes, kinds = ["none", *vectors], [str(count), *sizes], ["list", *kinds]
    lines = [
        "NRRD0004",
        f"type: {name}",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(sizes)}",
        f"space directions: {' '.join(vectors)}",
        f"kinds: {' '.join(kinds)}",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(origin_lps)}",
        *(f"{key}:={_escaped(value)}" for key, value in pairs.items()),
    ]
    with replacing(path) as made, made.open("wb") as file:
        file.write("\n".join(lines).encode("utf-8") + b"\n\n")
        gzip = zlib.compressobj(6, zlib.DEFLATED, 31)
        for k in range(geometry.shape_kji[0]):
            # The list axis runs fastest.
            plane = layers[0, k] if count == 1 else np.moveaxis(layers[:, k], 0, -1)
            file.write(gzip.compress(np.ascontiguousarray(plane, dtype=kind).tobytes()))
        file.write(gzip.flush())


def _vector(numbers: npt.NDArray[np.float64]) -> str:
    """Return ``(x,y,z)`` with every digit."""
    return f"({','.join(repr(float(x) + 0.0) for x in numbers)})"


def _escaped(value: str) -> str:
    """Return a value on one line."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "")

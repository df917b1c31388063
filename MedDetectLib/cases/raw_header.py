"""What a file's header promises, and whether the bytes keep the promise.

The NIfTI, NRRD and MetaImage parsers each reduce their header to one `RawHeader`; the
checks here are then the same for all.
"""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import FloatArray
from MedDetectLib.core.memory import require_memory
from MedDetectLib.core.quality import Intake

__all__ = [
    "Encoding",
    "RawHeader",
    "check_memory",
    "check_payload",
    "check_spacing",
    "read_numbers",
]

Encoding = Literal["raw", "gzip", "gzip-file", "zlib", "bzip2", "text"]
"""How the voxels are stored: plainly, compressed after the header, the whole file
compressed, or as decimal text."""
CHUNK = 1 << 20


@dataclass(frozen=True)
class RawHeader:
    """What a header says about one image.

    Args:
        shape_ijk: columns, rows, slices.
        volumes: how many 3-D volumes the file holds (time points, directions, ...).
        colours: 1 for a scalar image, 3 or 4 for colours.
        number: numpy type of one stored number, in the file's byte order.
        matrix_lps: (4, 4) voxel-to-LPS, not checked yet.
        data_file: where the voxels are.
        data_offset: bytes before them (in the decompressed stream for ``gzip-file``).
        encoding: how they are stored.
        interleaved: whether the numbers of all volumes at one place lie side by side.
        slope, intercept: what the stored numbers are to be rescaled with.
    """

    shape_ijk: tuple[int, int, int]
    volumes: int
    colours: int
    number: np.dtype[np.generic]
    matrix_lps: FloatArray
    data_file: Path
    data_offset: int
    encoding: Encoding
    interleaved: bool = False
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def data_bytes(self) -> int:
        """Bytes of all voxels, uncompressed."""
        i, j, k = self.shape_ijk
        return i * j * k * self.volumes * self.colours * self.number.itemsize


def check_memory(header: RawHeader, limit_bytes: int | None, where: Path) -> None:
    """Refuse a header that claims more than memory holds, before anything is allocated.

    Twice the voxels are asked for: once as decoded, once as kept.

    Raises:
        InputError: ``too-large``.
    """
    require_memory(2 * header.data_bytes, limit_bytes, what="the header", where=where)


def check_spacing(spacing_ijk_mm: FloatArray, where: Path) -> None:
    """Refuse a spacing that is not a positive finite number.

    Raises:
        InputError: ``bad-spacing``.
    """
    spacing = np.asarray(spacing_ijk_mm, dtype=np.float64)
    if not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise InputError(
            "bad-spacing",
            f"voxel spacing along i, j, k is {spacing.tolist()} mm",
            where=where,
            todo="re-export the volume with its true spacing",
        )


def check_payload(header: RawHeader, intake: Intake) -> None:
    """Refuse voxel data that is cut short, damaged, or longer than the header says.

    Compressed data is decompressed to its end once, in pieces, so that its checksum speaks.

    Raises:
        InputError: ``no-file`` (detached data is missing), ``bad-offset``,
            ``truncated-data``, ``bad-gzip``, ``padded-data``.
    """
    if not header.data_file.is_file():
        raise intake.error(
            "no-file",
            f"its voxel file '{header.data_file.name}' is missing",
            "put the voxel file beside the header",
        )
    size = header.data_file.stat().st_size
    if header.encoding != "gzip-file" and header.data_offset > size:
        raise intake.error(
            "bad-offset",
            f"the voxels are said to begin at byte {header.data_offset}, the file has {size}",
            "the file is damaged: copy or export it again",
        )
    if header.encoding == "raw":
        found = size - header.data_offset
    elif header.encoding == "text":
        _check_numbers(header, intake)
        return
    else:
        found = _decompressed(header, intake)
    _compare(header, found, intake)


def _compare(header: RawHeader, found: int, intake: Intake) -> None:
    """Refuse fewer bytes than promised for good, and more unless accepted."""
    if header.encoding == "gzip-file":
        if found < header.data_offset:
            raise intake.error(
                "bad-offset",
                f"the voxels are said to begin at byte {header.data_offset}, the file has {found}",
                "the file is damaged: copy or export it again",
            )
        found -= header.data_offset
    if found < header.data_bytes:
        raise intake.error(
            "truncated-data",
            f"the header promises {header.data_bytes} bytes of voxels, {found} are there",
            "the file was cut short: copy or export it again",
        )
    if found > header.data_bytes:
        intake.flaw(
            "padded-data",
            f"{found - header.data_bytes} bytes follow the voxels",
            todo="check that the header's sizes are right, or re-export it",
        )


def _decompressed(header: RawHeader, intake: Intake) -> int:
    """Count the bytes a compressed stream holds, checking it to its end."""
    try:
        return sum(_pieces(header))
    except EOFError as error:
        raise intake.error(
            "truncated-data",
            "the compressed data ends before its end mark",
            "the file was cut short: copy or export it again",
        ) from error
    except (zlib.error, OSError) as error:
        raise intake.error(
            "bad-gzip",
            f"the compressed data is damaged ({error})",
            "the file is damaged: copy or export it again",
        ) from error


def _pieces(header: RawHeader) -> Iterator[int]:
    """Yield the lengths of decompressed pieces; EOFError when the end mark never comes.

    A gzip stream may have several members one after another; what follows the last and
    does not begin like another one is left to SimpleITK, which ignores it too.
    """
    bits = 15 if header.encoding == "zlib" else 31
    with header.data_file.open("rb") as file:
        if header.encoding != "gzip-file":
            file.seek(header.data_offset)
        if header.encoding == "bzip2":
            unzip = bz2.BZ2Decompressor()
            while not unzip.eof:
                yield len(unzip.decompress(_more(file.read(CHUNK))))
            return
        stream = zlib.decompressobj(bits)
        waiting = b""
        while True:
            waiting = waiting or _more(file.read(CHUNK))
            yield len(stream.decompress(waiting, 4 * CHUNK))
            waiting = stream.unconsumed_tail
            if stream.eof:
                waiting = stream.unused_data or file.read(CHUNK)
                if waiting[:2] != b"\x1f\x8b" or bits == 15:
                    # Leftover bytes behind the checksum count as padding.
                    yield len(waiting) + sum(
                        len(rest) for rest in iter(lambda: file.read(CHUNK), b"")
                    )
                    return
                stream = zlib.decompressobj(bits)


def read_numbers(header: RawHeader) -> npt.NDArray[Any]:
    """Return the stored numbers in file order; only after `check_payload` found them whole."""
    start = header.data_offset
    with header.data_file.open("rb") as file:
        if header.encoding == "gzip-file":
            with gzip.GzipFile(fileobj=file) as unzipped:
                unzipped.seek(start)
                return np.frombuffer(unzipped.read(header.data_bytes), dtype=header.number)
        file.seek(start)
        if header.encoding == "gzip":
            with gzip.GzipFile(fileobj=file) as unzipped:
                return np.frombuffer(unzipped.read(header.data_bytes), dtype=header.number)
        data = file.read(header.data_bytes if header.encoding == "raw" else -1)
    if header.encoding == "text":
        count = header.data_bytes // header.number.itemsize
        return np.array(data.split()[:count]).astype(np.float64).astype(header.number)
    if header.encoding == "bzip2":
        data = bz2.BZ2Decompressor().decompress(data, header.data_bytes)
    elif header.encoding == "zlib":
        data = zlib.decompressobj().decompress(data, header.data_bytes)
    return np.frombuffer(data, dtype=header.number)


def _more(piece: bytes) -> bytes:
    """Piece, or EOFError when the file has ended."""
    if not piece:
        raise EOFError
    return piece


def _check_numbers(header: RawHeader, intake: Intake) -> None:
    """Count the numbers of voxels stored as text."""
    promised = header.data_bytes // header.number.itemsize
    found = 0
    with header.data_file.open("rb") as file:
        file.seek(header.data_offset)
        for line in file:
            found += len(line.split())
    if found < promised:
        raise intake.error(
            "truncated-data",
            f"the header promises {promised} numbers, {found} are there",
            "the file was cut short: copy or export it again",
        )
    if found > promised:
        intake.flaw(
            "padded-data",
            f"{found - promised} numbers follow the voxels",
            todo="check that the header's sizes are right, or re-export it",
        )

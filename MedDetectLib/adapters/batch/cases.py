"""What a batch works on: cases with a name each that lasts from run to run."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from MedDetectLib.cases.sniff import stem_of
from MedDetectLib.cases.worklist import WorkItem
from MedDetectLib.cases.worklist_sources import items_of_folder, items_of_table
from MedDetectLib.core.errors import InputError

__all__ = ["BatchCase", "list_cases"]

HEADER_BYTES = 1 << 14
DETACHED = re.compile(rb"(?im)^(?:ElementDataFile[ \t]*=|data ?file:)[ \t]*([^\r\n\0]+)")
"""How MetaImage and NRRD name the file of their voxels; LOCAL is none, and is not found."""


@dataclass(frozen=True)
class BatchCase:
    """One case.

    Args:
        name: of its folder among the results; unique in its batch.
        paths: its image, or one for each channel of the model.
        series: which series of a DICOM folder; empty when there is one.
        modality: as the list states it; empty to take it from the image.
        place: where the folder or the table says it is; a case of the same name from another
            place is another one.
    """

    name: str
    paths: tuple[Path, ...]
    series: str = ""
    modality: str = ""
    place: str = ""

    @cached_property
    def signature(self) -> str:
        """Fingerprint of which files these are and whether they changed, by size and time.

        Looked up once: what changes while the case runs is noticed by the next batch.
        """
        digest = hashlib.sha256(f"{self.place}|{self.series}|{self.modality}".encode())
        for path in self.paths:
            for file in _files_of(path):
                try:
                    found = file.stat()
                except OSError:
                    continue
                place = file.relative_to(path) if file.is_relative_to(path) else file.name
                digest.update(f"{place}|{found.st_size}|{found.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        paths = [str(path) for path in self.paths]
        return {
            "name": self.name, "paths": paths, "series": self.series, "modality": self.modality
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> BatchCase:
        """Read what `to_json` made."""
        paths = tuple(Path(path) for path in data["paths"])
        return cls(data["name"], paths, data["series"], data["modality"])


def list_cases(source: Path) -> list[BatchCase]:
    """Return the cases of a folder, or those a CSV file lists.

    In a folder, and those below it, every image file is a case and every DICOM series, see
    `items_of_folder`; a table is read by `items_of_table`, with several channels of a case
    joined by ``;`` in its path, and may have a column ``case``.

    Args:
        source: the folder or the CSV file.

    Raises:
        InputError: ``no-file``, ``no-cases``, ``bad-table`` with the line.
    """
    if source.is_dir():
        found = [_case_of_item(item, source) for step in items_of_folder(source) for item in step]
    elif source.suffix.lower() != ".csv" and source.exists():
        raise InputError(
            "bad-table", "is neither a folder nor a .csv file", where=source,
            todo="use 'meddetect detect' for one image",
        )  # fmt: skip
    else:
        found = [_case_of_row(item, source) for step in items_of_table(source) for item in step]
    # a series that goes on in another folder is told again, with the folder that holds both
    latest = dict(found)
    if not latest:
        raise InputError("no-cases", "no image is in it", where=source, todo="check the path")
    return list(_named(latest.values()))


def _case_of_item(item: WorkItem, folder: Path) -> tuple[str, BatchCase]:
    """Return a case named by its place in the folder."""
    assert item.path is not None
    place = item.path.relative_to(folder).as_posix()
    if item.source == "series":
        name = f"{item.path.name if place == '.' else place}-{item.name}"
    else:
        name = str(Path(place).parent / stem_of(item.path))
    return item.key, BatchCase(name, (item.path,), item.series, place=place)


def _case_of_row(item: WorkItem, table: Path) -> tuple[str, BatchCase]:
    """Return a case of a table; its channels are relative to the table, unless absolute."""
    assert item.path is not None
    inside = item.path.is_relative_to(table.parent)
    text = (item.path.relative_to(table.parent) if inside else item.path).as_posix()
    paths = tuple(table.parent / part.strip() for part in text.split(";") if part.strip())
    name = item.extra.get("case") or (f"{item.name}-{item.series}" if item.series else item.name)
    return item.key, BatchCase(name, paths, item.series, item.modality, text)


def _named(cases: Iterable[BatchCase]) -> Iterator[BatchCase]:
    """Give every case a name that can be a folder's and that no other has.

    The second case of a name gets the fingerprint of its place behind it, so that its name
    does not depend on what else is in the list.
    """
    taken: dict[str, str] = {}
    for case in cases:
        what = f"{case.place}|{case.series}"
        name = _safe(case.name)
        if taken.setdefault(name.casefold(), what) != what:
            name = f"{name}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"
            taken[name.casefold()] = what
        yield replace(case, name=name)


def _safe(name: str) -> str:
    """Return a name every file system takes."""
    plain = re.sub(r"[^\w.=+-]+", "_", name.replace("/", "_")).strip("._ ")[:100]
    reserved = re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", plain)
    return f"case-{plain}" if reserved or not plain else plain


def _files_of(path: Path) -> Iterator[Path]:
    """Yield the files of a folder, or a file and those that hold its voxels."""
    if path.is_dir():
        for folder, inner, files in os.walk(path):
            inner.sort()
            yield from (Path(folder) / name for name in sorted(files))
        return
    yield path
    if path.name.lower().endswith((".hdr", ".hdr.gz")):
        stem = path.name[: path.name.lower().rindex(".hdr")]
        yield from (path.with_name(f"{stem}{end}") for end in (".img", ".img.gz"))
    elif path.suffix.lower() in (".mhd", ".nhdr", ".mha", ".nrrd"):
        try:
            with path.open("rb") as file:
                named = DETACHED.findall(file.read(HEADER_BYTES))
        except OSError:
            return
        for name in named:
            yield path.parent / name.decode("utf-8", "replace").strip()

"""What a batch works on: cases with a name each that lasts from run to run."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from MedDetectLib.core.errors import InputError

__all__ = ["BatchCase", "list_cases"]

IMAGES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_COLUMNS = ("path", "case", "series", "modality")


@dataclass(frozen=True)
class BatchCase:
    """One case.

    Args:
        name: of its folder among the results; unique in its batch.
        paths: its image, or one for each channel of the model.
        series: which series of a DICOM folder; empty when there is one.
        modality: as the list states it; empty to take it from the image.
    """

    name: str
    paths: tuple[Path, ...]
    series: str = ""
    modality: str = ""

    @cached_property
    def signature(self) -> str:
        """Fingerprint of which files these are and whether they changed, by size and time."""
        digest = hashlib.sha256(f"{self.series}|{self.modality}".encode())
        for path in self.paths:
            for file in _files_of(path):
                try:
                    found = file.stat()
                except OSError:
                    continue
                place = file.relative_to(path) if file != path else file.name
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

    In a folder, and those below it, every image file is a case and every DICOM series.
    A CSV file has a column ``path`` (relative to the file; several channels joined by
    ``;``) and may have ``case``, ``series``, ``modality``; others are left alone.

    Args:
        source: the folder or the CSV file.

    Raises:
        InputError: ``no-file``, ``no-cases``, ``bad-list`` with the line.
    """
    if source.is_dir():
        cases = list(_named(_found_in(source)))
    elif source.suffix.lower() == ".csv" and source.is_file():
        cases = list(_named(_listed_in(source)))
    elif source.exists():
        raise InputError(
            "bad-list", "is neither a folder nor a .csv file", where=source,
            todo="use 'meddetect detect' for one image",
        )  # fmt: skip
    else:
        raise InputError("no-file", "does not exist", where=source, todo="check the path")
    if not cases:
        raise InputError("no-cases", "no image is in it", where=source, todo="check the path")
    return cases


def _found_in(folder: Path) -> Iterator[BatchCase]:
    """Yield image files, then the DICOM series of each folder."""
    others: set[Path] = set()
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or not path.is_file():
            continue
        if path.name.lower().endswith(IMAGES):
            yield BatchCase(_without_suffix(path.relative_to(folder).as_posix()), (path,))
        else:
            others.add(path.parent)
    for parent in sorted(others):
        yield from _series_of(parent, folder)


def _series_of(parent: Path, folder: Path) -> Iterator[BatchCase]:
    """Yield the DICOM series whose files lie directly in one folder."""
    from MedDetectLib.cases.dicom_scan import scan_folder

    place = parent.relative_to(folder).as_posix()
    name = place if place != "." else parent.name
    try:
        scan = scan_folder(parent, deep=False)
    except InputError:  # it becomes a case that fails and says why, not one that is missing
        yield BatchCase(name, (parent,))
        return
    if scan.damaged and not scan.series:
        yield BatchCase(name, (parent,))
    for uid, files in scan.series.items():
        number = files[0].text("SeriesNumber") or uid
        several = len(scan.series) > 1
        yield BatchCase(f"{name}-{number}" if several else name, (parent,), uid)


def _listed_in(table: Path) -> Iterator[BatchCase]:
    """Yield what a CSV file lists."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if "path" not in (rows.fieldnames or ()):
                raise InputError(
                    "bad-list", "has no column 'path'", where=table,
                    todo=f"give it a first line with some of: {', '.join(_COLUMNS)}",
                )  # fmt: skip
            for row in rows:
                yield _case_of_row(row, table, rows.line_num)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            "bad-list", f"cannot be read ({error})", where=table, todo="save it as UTF-8 CSV"
        ) from error


def _case_of_row(row: dict[str, str | None], table: Path, line: int) -> BatchCase:
    text = (row.get("path") or "").strip()
    paths = tuple(table.parent / part.strip() for part in text.split(";") if part.strip())
    if not paths:
        raise InputError(
            "bad-list", f"line {line} has no path", where=table, todo="fill it in, or drop the line"
        )
    given = (row.get("case") or "").strip()
    series, modality = (row.get("series") or "").strip(), (row.get("modality") or "").strip()
    name = given or _without_suffix(paths[0].name) + (f"-{series}" if series else "")
    return BatchCase(name, paths, series, modality)


def _named(cases: Iterable[BatchCase]) -> Iterator[BatchCase]:
    """Give every case a name that can be a folder's and that no other has.

    The second case of a name gets the fingerprint of its paths behind it, so that its name
    does not depend on what else is in the list.
    """
    taken: dict[str, str] = {}
    for case in cases:
        what = f"{'|'.join(map(str, case.paths))}|{case.series}"
        name = _safe(case.name)
        if taken.setdefault(name.casefold(), what) != what:
            name = f"{name}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"
            taken[name.casefold()] = what
        yield BatchCase(name, case.paths, case.series, case.modality)


def _safe(name: str) -> str:
    """Return a name every file system takes."""
    plain = re.sub(r"[^\w.=+-]+", "_", name.replace("/", "_")).strip("._ ")[:100]
    reserved = re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", plain)
    return f"case-{plain}" if reserved or not plain else plain


def _without_suffix(name: str) -> str:
    for suffix in sorted(IMAGES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _files_of(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for folder, inner, files in os.walk(path):
            inner.sort()
            yield from (Path(folder) / name for name in sorted(files))
    else:
        yield path

"""Where a worklist's items come from: a folder, a table, a case store.

Folders are walked by generators that give something after every few files, so that whoever
asks stays free to draw a window, or to stop. DICOM headers are read as far as they say which
series a file is of; no pixel is.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedDetectLib.cases.sniff import SUFFIXES, stem_of
from MedDetectLib.cases.worklist import WorkItem, key_of
from MedDetectLib.core.errors import InputError

if TYPE_CHECKING:
    from MedDetectLib.cases.store.case_store import CaseFilter, CaseStore

__all__ = ["items_of_folder", "items_of_store", "items_of_table"]

FILES_A_STEP = 32
TAGS = ["SeriesInstanceUID", "Modality", "PatientID", "SeriesDescription", "Rows", "Columns"]
READ = ("reviewed", "read-twice", "adjudicated")
PATH_COLUMNS = ("path", "file", "image", "folder")
HALVES = (".img", ".img.gz")
"""The voxels of a ``.hdr``, which is what is opened."""


def items_of_folder(folder: str | PathLike[str]) -> Iterator[tuple[WorkItem, ...]]:
    """Find the images of a folder and those below it: files, and DICOM series.

    Yields the items found since the last step, often none. A series that goes on in another
    folder is given again, with the folder that holds both; `Worklist.add` replaces it.

    Raises:
        InputError: ``no-file`` when the folder is not there or cannot be read.
    """
    top = Path(folder)
    if not top.is_dir():
        raise InputError("no-file", "there is no such folder", where=top, todo="check the path")
    known: dict[str, WorkItem] = {}
    found: list[WorkItem] = []
    for count, path in enumerate(_files(top), 1):
        kind = SUFFIXES.get(_suffix(path))
        if kind == "dicom" or (kind is None and not path.suffix.strip(".0123456789")):
            item = _series_item(path, known)
        elif kind in (None, "picture") or path.name.lower().endswith((".seg.nrrd", *HALVES)):
            item = None
        else:
            inside = path.relative_to(top).as_posix()
            item = WorkItem(key_of("file", inside), "file", stem_of(path), path)
        if item is not None:
            found.append(item)
        if count % FILES_A_STEP == 0:
            yield tuple(found)
            found = []
    yield tuple(found)


def items_of_table(path: str | PathLike[str]) -> Iterator[tuple[WorkItem, ...]]:
    """Read a CSV file with a row per image.

    A column ``path`` (or ``file``, ``image``, ``folder``) is needed, relative to the table;
    ``patient``, ``modality``, ``name``, ``series`` and ``note`` are known, the others are kept
    in `WorkItem.extra`. Comma, semicolon and tab are told apart by the first line. Yields the
    items of some rows at a time.

    Raises:
        InputError: ``no-file``, ``bad-table`` with the line.
    """
    table = Path(path)
    try:
        text = table.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(
            "no-file", f"the table cannot be read ({error.strerror})", where=table
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            "bad-table", "it is not UTF-8 text", where=table, todo="save it as CSV in UTF-8"
        ) from error
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns = [(name or "").strip().casefold() for name in reader.fieldnames or ()]
    where = next((name for name in PATH_COLUMNS if name in columns), None)
    if where is None:
        raise InputError(
            "bad-table", f"its first line has no column '{PATH_COLUMNS[0]}'", where=table,
            todo="name the columns in the first line: path, patient, modality, note",
        )  # fmt: skip
    reader.fieldnames = columns
    found: list[WorkItem] = []
    for row in _rows(reader, table):
        item = _row_item(row, where, table, reader.line_num)
        if item is not None:
            found.append(item)
        if len(found) == FILES_A_STEP:
            yield tuple(found)
            found = []
    yield tuple(found)


def items_of_store(
    store: CaseStore, wanted: CaseFilter | None = None
) -> Iterator[tuple[WorkItem, ...]]:
    """List a store's cases; those read by anybody are done, unless `not_read_by` is asked for.

    Yields the items of some cases at a time.

    Args:
        store: which.
        wanted: which cases; give a limit in a large store.
    """
    found: list[WorkItem] = []
    own_reading = wanted is not None and wanted.not_read_by is not None
    for row in store.cases(wanted):
        damaged = row.status == "damaged"
        count = "" if row.findings is None else str(row.findings)
        found.append(
            WorkItem(
                row.id,
                "case",
                row.name or row.id,
                case=row.id,
                patient=row.patient,
                modality=row.modality,
                note=row.status,
                extra={"split": row.split, "findings": count},
                trouble="a record of it is damaged; see 'store verify'" if damaged else "",
                is_done=row.status in READ and not own_reading,
            )
        )
        if len(found) == FILES_A_STEP:
            yield tuple(found)
            found = []
    yield tuple(found)


def _files(top: Path) -> Iterator[Path]:
    """Yield the files of a folder in an order that does not depend on the file system."""

    def fail(error: OSError) -> None:
        if error.filename == str(top):
            raise InputError(
                "no-file", f"the folder cannot be read ({error.strerror})", where=top,
                todo="check that you may read it",
            ) from error  # fmt: skip

    for root, folders, names in os.walk(top, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and name.upper() != "DICOMDIR":
                yield Path(root, name)


def _suffix(path: Path) -> str:
    lower = path.name.lower()
    return next((end for end in (".nii.gz", ".hdr.gz", ".img.gz") if lower.endswith(end)),
                path.suffix.lower())  # fmt: skip


def _series_item(path: Path, known: dict[str, WorkItem]) -> WorkItem | None:
    """Return the series a DICOM file belongs to, None when that is known or it is no image."""
    header = _header(path)
    if header is None and SUFFIXES.get(_suffix(path)) == "dicom":
        header = "it is not DICOM, whatever its name says"
    if isinstance(header, str):
        return WorkItem(key_of("damaged", str(path)), "file", path.name, path, trouble=header)
    uid = "" if header is None else str(header.get("SeriesInstanceUID") or "")
    if header is None or not uid or not _is_image(header):
        return None
    before = known.get(uid)
    if before is None:
        name = str(header.get("SeriesDescription") or "").strip() or path.parent.name
        item = WorkItem(
            key_of("series", uid), "series", name, path.parent, series=uid,
            patient=str(header.get("PatientID") or ""), modality=str(header.get("Modality") or ""),
        )  # fmt: skip
    else:
        assert before.path is not None
        if path.parent.is_relative_to(before.path):
            return None
        item = replace(before, path=Path(os.path.commonpath([before.path, path.parent])))
    known[uid] = item
    return item


def _header(path: Path) -> Any:
    """Return what a DICOM header says of its series; None for other files, text for damage."""
    from MedDetectLib.cases.dicom_scan import read_tags

    try:
        return read_tags(path, TAGS)
    except InputError as damaged:
        return damaged.what


def _is_image(header: Any) -> bool:
    from MedDetectLib.cases.dicom_scan import is_image

    return is_image(header)


def _rows(reader: Any, table: Path) -> Iterator[dict[str, str]]:
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                "bad-table", f"line {reader.line_num}: {error}", where=table,
                todo="check the quotes in that line",
            ) from error  # fmt: skip
        yield {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}


def _row_item(row: dict[str, str], where: str, table: Path, line: int) -> WorkItem | None:
    if not any(row.values()):
        return None
    if not row[where]:
        raise InputError(
            "bad-table", f"line {line} has no path", where=table, todo="give it, or drop the line"
        )
    path = table.parent / row[where]
    taken = ("patient", "modality", "name", "series", "note")
    series = row.get("series", "")
    return WorkItem(
        key_of("row", row[where].replace("\\", "/"), series),
        "series" if path.is_dir() else "file",
        row.get("name") or stem_of(path),
        path,
        series=series,
        patient=row.get("patient", ""),
        modality=row.get("modality", "").upper(),
        note=row.get("note", ""),
        extra={key: value for key, value in row.items() if key not in (where, *taken)},
        trouble="" if path.exists() else "there is no such file",
    )

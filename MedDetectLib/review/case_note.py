"""Which case of which store a review is of: a small file in the session's folder.

The same stands in the header of a journal that was begun for a case, so that a crash before
the file is written leaves no review without its case.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from MedDetectLib.cases.durable import write_over
from MedDetectLib.core.errors import InputError
from MedDetectLib.review.disk import saying_plainly
from MedDetectLib.review.folder import JOURNAL

__all__ = ["CaseNote", "read_note", "write_note"]

FILE, FORMAT = "case.json", "meddetect.case-note/1"
IN_HEADER = "case_note"


@dataclass(frozen=True)
class CaseNote:
    """What a review is of.

    Args:
        store: the store's folder, absolute.
        case: the case's id.
        reader: who reads.
        blinded: whether other readers' work is kept from them.
        start: the version the review started from, None without any.
        settles: the versions an adjudication settles; empty for a reading.
    """

    store: str
    case: str
    reader: str
    blinded: bool = False
    start: int | None = None
    settles: tuple[int, ...] = ()

    @property
    def about(self) -> dict[str, Any]:
        """What is kept of it in the header of a session, as plain JSON data."""
        said = {"case": self.case, "reader": self.reader, "version": self.start}
        return {**said, IN_HEADER: self.to_json()}

    def to_json(self) -> dict[str, Any]:
        """Return plain data with the format's name."""
        return {"format": FORMAT, **asdict(self), "settles": list(self.settles)}


def write_note(folder: Path, note: CaseNote) -> None:
    """Keep a note in a session's folder; it is flushed.

    Raises:
        StoreError: ``disk-full``, ``cannot-write``.
    """
    data = json.dumps(note.to_json(), indent=1)
    with saying_plainly(folder):
        write_over(folder / FILE, data.encode("utf-8"))


def read_note(folder: Path) -> CaseNote | None:
    """Return the note of a session's folder, None when the review is of no case.

    Raises:
        InputError: ``bad-case-note`` when it cannot be understood.
    """
    path = folder / FILE
    try:
        try:
            data = json.loads(path.read_bytes())
        except FileNotFoundError:
            data = _in_header(folder)
            if data is None:
                return None
        if data.pop("format") != FORMAT:
            raise ValueError
        return CaseNote(**{**data, "settles": tuple(data["settles"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "bad-case-note", "which case this review is of cannot be read", where=path,
            todo="restore the file, or sign the review and store it by hand",
        ) from error  # fmt: skip


def _in_header(folder: Path) -> dict[str, Any] | None:
    """Return what the journal's header says of a case; None without journal or case."""
    try:
        with (folder / JOURNAL).open("rb") as file:
            header = json.loads(file.readline())
    except (FileNotFoundError, ValueError):
        return None  # no review, or a damaged one: opening it says so
    about = header.get("about", {})
    found: dict[str, Any] | None = about.get(IN_HEADER)
    return found

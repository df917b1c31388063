"""Which case of which store a review is of: a small file in the session's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from MedDetectLib.cases.durable import write_over
from MedDetectLib.core.errors import InputError
from MedDetectLib.review.disk import saying_plainly

__all__ = ["CaseNote", "read_note", "write_note"]

FILE, FORMAT = "case.json", "meddetect.case-note/1"


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


def write_note(folder: Path, note: CaseNote) -> None:
    """Keep a note in a session's folder; it is flushed.

    Raises:
        StoreError: ``disk-full``, ``cannot-write``.
    """
    data = json.dumps({"format": FORMAT, **asdict(note)}, indent=1)
    with saying_plainly(folder):
        write_over(folder / FILE, data.encode("utf-8"))


def read_note(folder: Path) -> CaseNote | None:
    """Return the note of a session's folder, None when the review is of no case.

    Raises:
        InputError: ``bad-case-note`` when it cannot be understood.
    """
    path = folder / FILE
    try:
        data = json.loads(path.read_bytes())
        if data.pop("format") != FORMAT:
            raise ValueError
        return CaseNote(**{**data, "settles": tuple(data["settles"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "bad-case-note", "which case this review is of cannot be read", where=path,
            todo="restore the file, or sign the review and store it by hand",
        ) from error  # fmt: skip

"""Where reviews lie on disk, and which of them were left unfinished."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.core.errors import MedDetectError
from MedDetectLib.models.registry import user_folder
from MedDetectLib.review.case_note import read_note

JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Unfinished:
    """A review of an image that nobody has signed, or that is not in the store yet.

    Args:
        folder: of the session.
        started: local time.
        acts: how many acts it has.
        reader: who began it, empty where nobody had said.
        isSigned: whether it is signed, and only the store lacks it.
    """

    folder: Path
    started: datetime
    acts: int
    reader: str = ""
    isSigned: bool = False


def sessionsFolder():
    """Return where reviews begun in the panel lie."""
    return user_folder() / "reviews"


def newSessionFolder(name):
    """Return a folder that does not exist yet, named after time and image."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:40] or "review"
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    return sessionsFolder() / f"{stamp}-{plain}"


def imageMark(volume):
    """Return what an image is known again by without a look at its voxels.

    Args:
        volume: a `Volume`, or a view of a node's.
    """
    return {"name": volume.name, **_placeOf(volume.geometry)}


def unfinishedReviews(mark, caseId=""):
    """Return the reviews of an image that were left with at least one act, the newest first.

    Args:
        mark: of `imageMark`.
        caseId: of the case in the store, where that is known; readings bear it.
    """
    found = []
    try:
        folders = sorted(sessionsFolder().iterdir(), reverse=True)
    except OSError:
        return []
    for folder in folders:
        if (left := _unfinished(folder, mark, caseId)) is not None:
            found.append(left)
    return found


_headers = {}
"""The journals' first lines, by folder: they never change, and there may be thousands."""


def _header(folder):
    if folder not in _headers:
        with (folder / JOURNAL).open(encoding="utf-8") as file:
            _headers[folder] = json.loads(file.readline())
    return _headers[folder]


def _unfinished(folder, mark, caseId):
    try:
        header = _header(folder)
        about = header["about"]
        if not _isOf(about, mark, caseId) or (folder / SET_ASIDE).exists():
            return None
        with (folder / JOURNAL).open(encoding="utf-8") as file:
            entries = [_kind(line) for line in file]
        started = datetime.fromisoformat(header["started"]).astimezone()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    acts = [kind for kind, _seq in entries if kind not in ("", "focus")]
    last = next((each for each in reversed(entries) if each[0] in ("sign", "reopen")), ("", 0))
    isSigned = last[0] == "sign"
    if not acts or (isSigned and _isStored(folder, str(header.get("session")), last[1])):
        return None
    return Unfinished(folder, started, len(acts), str(about.get("reader") or ""), isSigned)


def _isStored(folder, session, seq):
    """Whether the store has a signature; what it has says whose it is, see `act_of`."""
    try:
        note = read_note(folder)
        if note is None:
            return True  # signed by a script, for no store
        versions = CaseStore(note.store).versions(note.case)
    except MedDetectError:
        return False
    return any(version.act.split(":")[1:3] == [session, str(seq)] for version in versions)


def _isOf(about, mark, caseId):
    """Whether a review may be of an image; to open it compares the voxels."""
    if "image" in about or not about.get("case"):
        return about.get("image") == mark
    if caseId:
        return about["case"] == caseId
    try:
        case = CaseStore(str(about["case_note"]["store"])).case(str(about["case"]))
    except (MedDetectError, KeyError, TypeError):
        return False
    place = _placeOf(case.geometry)
    return place == {key: mark[key] for key in place}


def _placeOf(geometry):
    return {
        "shape_kji": list(geometry.shape_kji),
        "ijk_to_ras": [round(float(v), 3) for v in geometry.ijk_to_ras.ravel()],
    }


def _kind(line):
    """Return the kind of act in a journal's line and its number; empty for a torn one."""
    try:
        entry = json.loads(line)
        return str(entry["act"]["kind"]), int(entry["seq"])
    except (ValueError, KeyError, TypeError):
        return "", 0


SET_ASIDE = "left-aside"
"""A file of this name in a session's folder: do not offer it again."""


def leaveAside(folder):
    """Do not offer a review again; it stays on disk."""
    (folder / SET_ASIDE).touch()

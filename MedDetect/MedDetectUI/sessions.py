"""Where reviews lie on disk, and which of them were left unfinished."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.core.errors import MedDetectError
from MedDetectLib.models.registry import user_folder


@dataclass(frozen=True)
class Unfinished:
    """A review of an image that nobody has signed.

    Args:
        folder: of the session.
        started: local time.
        acts: how many acts it has.
        reader: who began it, empty where nobody had said.
    """

    folder: Path
    started: datetime
    acts: int
    reader: str = ""


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
    """Return the unsigned reviews of an image with at least one act, the newest first.

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


def _unfinished(folder, mark, caseId):
    try:
        with (folder / "journal.jsonl").open(encoding="utf-8") as file:
            header = json.loads(file.readline())
            about = header["about"]
            if not _isOf(about, mark, caseId) or (folder / SET_ASIDE).exists():
                return None
            kinds = [_kind(line) for line in file]
        started = datetime.fromisoformat(header["started"]).astimezone()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    acts = [kind for kind in kinds if kind not in ("", "focus")]
    signed = next((k == "sign" for k in reversed(kinds) if k in ("sign", "reopen")), False)
    if signed or not acts:
        return None
    return Unfinished(folder, started, len(acts), str(about.get("reader") or ""))


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
    """Return the kind of act in a journal's line; empty for a torn one."""
    try:
        return str(json.loads(line)["act"]["kind"])
    except (ValueError, KeyError, TypeError):
        return ""


SET_ASIDE = "left-aside"
"""A file of this name in a session's folder: do not offer it again."""


def leaveAside(folder):
    """Do not offer a review again; it stays on disk."""
    (folder / SET_ASIDE).touch()

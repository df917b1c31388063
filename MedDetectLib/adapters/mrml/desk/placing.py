"""Which nodes belong to a review, written into them so that a saved scene tells."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MedDetectLib.adapters.mrml.record import plain_json
from MedDetectLib.adapters.mrml.scene import nodes_of_class
from MedDetectLib.review.session import ReviewSession

__all__ = [
    "VOLUME_ROLE",
    "ReviewMark",
    "mark_of",
    "marked_nodes",
    "node_of",
    "volume_of",
    "write_mark",
]

MARK_ATTRIBUTE = "MedDetect.Review"
VOLUME_ROLE = "MedDetect.Volume"
"""Node reference from the segmentation to the volume under review."""


@dataclass(frozen=True)
class ReviewMark:
    """Which review a segmentation shows.

    Args:
        folder: of the session, absolute, on the computer that wrote it.
        session: the session's own id.
        seq: the last act the segmentation shows.
    """

    folder: Path
    session: str
    seq: int


def write_mark(node: Any, session: ReviewSession) -> None:
    """Write down which review a segmentation shows, and up to which act."""
    history = session.last
    data = {
        "folder": str(session.folder),
        "session": str(session.header["session"]),
        "seq": 0 if history is None else history.seq,
    }
    node.SetAttribute(MARK_ATTRIBUTE, plain_json(data))


def mark_of(node: Any) -> ReviewMark | None:
    """Return which review a node shows, None when it shows none."""
    try:
        data = json.loads(node.GetAttribute(MARK_ATTRIBUTE) or "")
        return ReviewMark(Path(data["folder"]), str(data["session"]), int(data["seq"]))
    except (KeyError, TypeError, ValueError):
        return None


def marked_nodes(scene: Any) -> list[tuple[ReviewMark, Any]]:
    """Return the reviews a scene shows: each mark and its segmentation node."""
    nodes = nodes_of_class(scene, "vtkMRMLSegmentationNode")
    found = [(mark_of(node), node) for node in nodes]
    return [(mark, node) for mark, node in found if mark is not None]


def node_of(scene: Any, folder: Path, session: str = "") -> Any:
    """Return the segmentation node of a review, None when the scene has none.

    Args:
        scene: the vtkMRMLScene.
        folder: of the session.
        session: its id; it may have been moved to another folder. Empty to go by the folder.
    """
    for mark, node in marked_nodes(scene):
        if mark.session == session if session else mark.folder == folder.absolute():
            return node
    return None


def volume_of(node: Any) -> Any:
    """Return the volume node a review's segmentation refers to, None without one."""
    return None if node is None else node.GetNodeReference(VOLUME_ROLE)

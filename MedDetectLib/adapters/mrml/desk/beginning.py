"""How a review comes onto the desk: begun, or gone on with."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from MedDetectLib.adapters.mrml.desk.keeping import Keeper
from MedDetectLib.adapters.mrml.desk.mirror import Mirror
from MedDetectLib.adapters.mrml.desk.offers import Offer
from MedDetectLib.adapters.mrml.desk.placing import VOLUME_ROLE, marked_nodes
from MedDetectLib.adapters.mrml.record import Record, read_record
from MedDetectLib.adapters.mrml.segmentation import findings_to_node, grid_in_node
from MedDetectLib.core.findings import Findings
from MedDetectLib.core.notes import Note
from MedDetectLib.review.session import ReviewSession

__all__ = ["Parts", "begin", "finished", "resume"]

T = TypeVar("T")


@dataclass(eq=False)
class Parts:
    """What a desk is made of.

    Args:
        scene: the vtkMRMLScene.
        session: open for writing.
        node: the segmentation, which shows the session's findings.
        volume_node: under review, or None.
        mirror: of the segmentation.
        keeper: of its record.
        notes: what had to be said.
        offers: edits the scene holds and the journal does not.
    """

    scene: Any
    session: ReviewSession
    node: Any
    volume_node: Any
    mirror: Mirror
    keeper: Keeper
    notes: tuple[Note, ...] = ()
    offers: tuple[Offer, ...] = ()


Steps = Generator[float, None, Parts]


def begin(
    scene: Any,
    volume_node: Any,
    findings: Findings,
    folder: str | PathLike[str],
    about: Mapping[str, Any] | None,
) -> Steps:
    """Begin a review in steps, see `ReviewDesk.begin_in_steps`."""
    grid_in_node(findings.geometry, volume_node)
    session = ReviewSession.start(
        folder, findings, volume_sha256=findings.provenance.input_sha256, about=about
    )
    yield 0.5
    try:
        return (yield from _shown(scene, session, volume_node))
    except BaseException:
        session.close()
        raise


def resume(
    scene: Any, folder: str | PathLike[str], volume_node: Any, segmentation_node: Any
) -> Steps:
    """Go on with a review in steps, see `ReviewDesk.resume`."""
    session = ReviewSession.open(folder)
    yield 0.5
    try:
        return (yield from _shown(scene, session, volume_node))
    except BaseException:
        session.close()
        raise


def finished(steps: Generator[float, None, T]) -> T:
    """Take all steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def _shown(scene: Any, session: ReviewSession, volume_node: Any) -> Steps:
    """Make the segmentation of a session."""
    node = findings_to_node(scene, session.findings, volume_node)
    yield 0.9
    record = read_record(node)
    if volume_node is not None:
        node.SetNodeReferenceID(VOLUME_ROLE, volume_node.GetID())
    mirror = Mirror(node, session, record.ijk_to_node)
    mirror.note(session.items)
    keeper = Keeper(mirror, session, record)
    keeper.write()
    return Parts(scene, session, node, volume_node, mirror, keeper, session.notes)

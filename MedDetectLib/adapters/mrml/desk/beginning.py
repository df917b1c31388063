"""How a review comes onto the desk: begun, or gone on with."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

from MedDetectLib.adapters.mrml.desk.keeping import Keeper
from MedDetectLib.adapters.mrml.desk.mirror import Mirror, wanted_patch
from MedDetectLib.adapters.mrml.desk.offers import Offer
from MedDetectLib.adapters.mrml.desk.offers_of_scene import offers_of_scene
from MedDetectLib.adapters.mrml.desk.placing import VOLUME_ROLE, node_of, volume_of
from MedDetectLib.adapters.mrml.desk.same_image import checked_image, voxels_mark
from MedDetectLib.adapters.mrml.desk.steps import in_background, scaled
from MedDetectLib.adapters.mrml.record import read_record
from MedDetectLib.adapters.mrml.segment_voxels import own_segments, read_segments
from MedDetectLib.adapters.mrml.segmentation import (
    SEGMENTS_A_STEP,
    ToShow,
    grid_in_node,
    node_in_steps,
)
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Findings
from MedDetectLib.core.notes import Note
from MedDetectLib.review.session import ReviewSession

__all__ = ["Parts", "begin", "resume"]


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
        voxels: `voxels_mark` of the image when it was known to be the session's; None when
            nobody has looked.
    """

    scene: Any
    session: ReviewSession
    node: Any
    volume_node: Any
    mirror: Mirror
    keeper: Keeper
    notes: tuple[Note, ...] = ()
    offers: tuple[Offer, ...] = ()
    voxels: int | None = None


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
    voxels = voxels_mark(volume_node)
    sha256 = findings.provenance.input_sha256
    session = yield from in_background(
        lambda: ReviewSession.start(folder, findings, volume_sha256=sha256, about=about),
        0.2,
        ReviewSession.close,
    )
    try:
        parts = yield from _shown(scene, session, volume_node)
    except BaseException:
        session.close()
        raise
    parts.voxels = voxels
    return parts


def resume(
    scene: Any, folder: str | PathLike[str], volume_node: Any, segmentation_node: Any
) -> Steps:
    """Go on with a review in steps, see `ReviewDesk.resume_in_steps`."""
    session = yield from in_background(lambda: ReviewSession.open(folder), 0.2, ReviewSession.close)
    try:
        node = segmentation_node
        if node is None:
            node = node_of(scene, session.folder, str(session.header["session"]))
        known, voxels = volume_of(node), None
        if volume_node is None:
            volume_node = known
        elif volume_node is not known:
            voxels = voxels_mark(volume_node)
            yield from _check_volume(volume_node, session)
        if node is None:
            parts = yield from _shown(scene, session, volume_node)
        else:
            parts = yield from _in_line(scene, session, node, volume_node)
    except BaseException:
        session.close()
        raise
    parts.voxels = voxels
    return parts


def _shown(scene: Any, session: ReviewSession, volume_node: Any) -> Steps:
    """Make the segmentation of a session."""
    about, patches = session.about, {}
    for item in session.items:
        if (patch := wanted_patch(item, session, about)) is not None:
            patches[item.id] = patch
    shown = ToShow(about, session.items, patches, session.unclaimed, session.has_label_map)
    steps = node_in_steps(scene, shown, volume_node)
    node = yield from scaled(steps, 0.3, 1.0)
    matrix = read_record(node).ijk_to_node
    return _parts(scene, session, node, volume_node, Mirror(node, session, matrix))


def _in_line(scene: Any, session: ReviewSession, node: Any, volume_node: Any) -> Steps:
    """Bring a segmentation that is there in line with the journal."""
    record = read_record(node)
    if record.shape_kji != session.about.geometry.shape_kji:
        raise InputError(
            "other-grid",
            f"the review lies on {session.about.geometry.shape_kji} voxels,"
            f" the segmentation on {record.shape_kji}",
            where=str(node.GetName()),
            todo="resume it without this segmentation; one will be made",
        )
    found = read_segments(node, record)
    yield 0.4
    offers = offers_of_scene(node, record, found, session)
    mirror = Mirror(node, session, record.ijk_to_node)
    mirror.patches = dict(found.patches)
    ids = [item.id for item in session.items]
    gone = [key for key in own_segments(node) if key not in set(ids)]
    for first in range(0, len(ids), SEGMENTS_A_STEP):
        yield 0.4 + 0.5 * first / len(ids)
        mirror.draw(ids[first : first + SEGMENTS_A_STEP])
    mirror.draw(gone)
    return _parts(scene, session, node, volume_node, mirror, offers)


def _parts(
    scene: Any,
    session: ReviewSession,
    node: Any,
    volume_node: Any,
    mirror: Mirror,
    offers: tuple[Offer, ...] = (),
) -> Parts:
    if volume_node is not None:
        node.SetNodeReferenceID(VOLUME_ROLE, volume_node.GetID())
    mirror.note(session.items)
    keeper = Keeper(mirror, session)
    keeper.realigned(volume_node)
    keeper.write()
    return Parts(scene, session, node, volume_node, mirror, keeper, session.notes, offers)


def _check_volume(volume_node: Any, session: ReviewSession) -> Generator[float, None, None]:
    """Refuse a volume that is not the one the review is of.

    Raises:
        InputError: ``other-grid``, ``other-volume``.
    """
    geometry = session.about.geometry
    grid_in_node(geometry, volume_node)
    wanted = str(session.header["volume_sha256"]).split()
    yield from checked_image(volume_node, geometry, wanted)

"""Finding the edits that a loaded scene holds and the journal does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from MedDetectLib.adapters.mrml.desk.handle import HANDLE_ROLE
from MedDetectLib.adapters.mrml.desk.mirror import wanted_patch
from MedDetectLib.adapters.mrml.desk.offers import Offer
from MedDetectLib.adapters.mrml.desk.placing import mark_of
from MedDetectLib.adapters.mrml.desk.scene_acts import DELETED, ERASED
from MedDetectLib.adapters.mrml.record import Record
from MedDetectLib.adapters.mrml.roi import finding_id_of_roi, moved_box
from MedDetectLib.adapters.mrml.segment_voxels import SegmentVoxels
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding
from MedDetectLib.review.acts import Act, EditBox, EditMask, Reject
from MedDetectLib.review.session import ReviewSession

__all__ = ["offers_of_scene"]


def offers_of_scene(
    node: Any, record: Record, found: SegmentVoxels, session: ReviewSession
) -> tuple[Offer, ...]:
    """Return what somebody changed in a scene after it was last brought in line.

    Args:
        node: the segmentation.
        record: what was written into it then.
        found: what its segments hold.
        session: as the journal tells it.
    """
    mark = mark_of(node)
    if mark is None or mark.session != session.header["session"]:
        return ()
    later = {
        key
        for entry in session.history[mark.seq :]
        for key in (*entry.effect.ids, entry.act.get("finding_id"))
    }
    return tuple(
        Offer(act.finding_id, act, act.finding_id in later, text)
        for act, text in _acts(node, record, found, session)
        if isinstance(act, (EditBox, EditMask, Reject))
    )


def _acts(
    node: Any, record: Record, found: SegmentVoxels, session: ReviewSession
) -> Iterator[tuple[Act, str]]:
    written = {str(item["id"]) for item in record.findings["findings"]}
    for item in session.items:
        if item.id not in written:
            continue
        if item.id not in found.segment_ids:
            if item.state != "rejected":
                yield Reject(item.id, DELETED), f"{item.id}: its segment was deleted"
            continue
        patch, before = found.patches.get(item.id), record.fingerprints.get(item.id)
        if (None if patch is None else patch.fingerprint) == before:
            continue
        if patch is None:
            if item.state != "rejected":
                yield Reject(item.id, ERASED), f"{item.id}: all of it was erased"
        elif not patch.is_same(wanted_patch(item, session, session.about)):
            yield EditMask(item.id, patch), f"{item.id}: its voxels were changed"
    yield from _dragged(node, record, session.items)


def _dragged(node: Any, record: Record, items: tuple[Finding, ...]) -> Iterator[tuple[Act, str]]:
    roi = node.GetNodeReference(HANDLE_ROLE)
    key = "" if roi is None else finding_id_of_roi(roi)
    item = next((each for each in items if each.id == key), None)
    if item is None:
        return
    try:
        box = moved_box(roi, record.world_geometry(node), item.box)
    except InputError:
        return  # dragged off the image: there is nothing to offer
    if box is not None and box != item.box:
        yield EditBox(item.id, box), f"{item.id}: its box was dragged"

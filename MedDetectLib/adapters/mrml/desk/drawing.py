"""What a desk draws: findings added at a place or from a segment, and cut in two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from MedDetectLib.adapters.mrml.segment_voxels import own_segments
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.review.acts import AddBox, AddMask, Plane, Split
from MedDetectLib.review.history import Entry
from MedDetectLib.review.places import box_around, plane_on_grid

if TYPE_CHECKING:
    from MedDetectLib.adapters.mrml.desk.joint import Joint
    from MedDetectLib.adapters.mrml.desk.review_desk import ReviewDesk

__all__ = ["add_box_at", "add_mask_from_segment", "split"]


def add_box_at(
    desk: ReviewDesk,
    geometry: Geometry,
    centre_ras_mm: Sequence[float],
    label: int,
    size_mm: float | Sequence[float],
) -> str:
    """Do what `ReviewDesk.add_box_at` says; `geometry` is the grid in the world now."""
    entry = desk.do(AddBox(box_around(geometry, centre_ras_mm, size_mm), label))
    return _new(entry)[0]


def add_mask_from_segment(
    desk: ReviewDesk, joint: Joint, segment_id: str, label: int, *, keep: bool
) -> str:
    """Do what `ReviewDesk.add_mask_from_segment` says."""
    segmentation = joint.node.GetSegmentation()
    if segmentation.GetSegment(segment_id) is None or segment_id in own_segments(joint.node):
        raise InputError(
            "unknown-segment", f"'{segment_id}' is no segment that a user made",
            where=str(joint.node.GetName()),
        )  # fmt: skip
    patch = joint.mirror.read(segment_id)
    if patch is None:
        raise InputError("empty-mask", "the segment has no voxel", todo="draw something first")
    desk.take_edits()
    if not keep:
        # first, so that its voxels make room in the image it may share with findings
        joint.remove_segment(segment_id, patch)
    return _new(desk.do(AddMask(patch, label)))[0]


def split(
    desk: ReviewDesk, geometry: Geometry, finding_id: str, plane: Plane | None
) -> tuple[str, ...]:
    """Do what `ReviewDesk.split` says; `geometry` is the grid in the world now."""
    if plane is not None:
        plane = plane_on_grid(plane, geometry, desk.session.about.geometry)
    return finding_id, *_new(desk.do(Split(finding_id, plane)))


def _new(entry: Entry) -> tuple[str, ...]:
    """Return the findings an act has added, in order."""
    return tuple(key for key, (before, _) in entry.effect.items.items() if before is None)

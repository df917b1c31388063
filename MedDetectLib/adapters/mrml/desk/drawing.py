"""Places in the patient, as the boxes and planes that acts are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from MedDetectLib.adapters.mrml.segment_voxels import own_segments
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Box
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.measure import as_box
from MedDetectLib.review.acts import AddBox, AddMask, Plane, Split
from MedDetectLib.review.history import Entry

if TYPE_CHECKING:
    from MedDetectLib.adapters.mrml.desk.joint import Joint
    from MedDetectLib.adapters.mrml.desk.review_desk import ReviewDesk

__all__ = ["add_box_at", "add_mask_from_segment", "box_around", "plane_on_grid", "split"]

HARDLY = 1e-6
"""In voxels: the same place gives the same box whatever rounding the way from RAS took."""


def box_around(
    geometry: Geometry, centre_ras_mm: npt.ArrayLike, size_kji_mm: float | Sequence[float]
) -> Box:
    """Return the box of whole voxels around a place.

    Args:
        geometry: the grid where it lies in the world now.
        centre_ras_mm: (3,) world RAS.
        size_kji_mm: its sides along the grid's axes, or one number for all; each side is at
            least one voxel long.

    Raises:
        InputError: ``box-outside`` when the place is not in the image, ``bad-size``.
    """
    size = np.broadcast_to(np.asarray(size_kji_mm, dtype=np.float64), 3)
    if not (np.isfinite(size).all() and (size > 0).all()):
        raise InputError("bad-size", f"a box of {size.tolist()} mm has no extent")
    centre = geometry.ras_to_edge(centre_ras_mm)
    if (centre < 0).any() or (centre > np.array(geometry.shape_kji)).any():
        raise InputError(
            "box-outside", "the place lies outside the volume", todo="choose one in the image"
        )
    voxels = np.maximum(np.rint(size / np.array(geometry.spacing_kji_mm)), 1)
    low = np.rint(centre - voxels / 2 + HARDLY)  # an even number reaches further ahead
    low = np.clip(low, 1 - voxels, np.array(geometry.shape_kji) - 1)
    return as_box([*low, *(low + voxels)])


def plane_on_grid(plane: Plane, now: Geometry, then: Geometry) -> Plane:
    """Return a plane where it cut the grid before transforms moved it.

    Args:
        plane: in the world as it is now.
        now: the grid in the world as it is now.
        then: the grid where the findings were made.
    """
    back = then.ijk_to_ras @ np.linalg.inv(now.ijk_to_ras)
    point = back @ [*plane.point_ras_mm, 1.0]
    normal = np.linalg.inv(back[:3, :3]).T @ np.array(plane.normal_ras)
    return Plane((float(point[0]), float(point[1]), float(point[2])),
                 (float(normal[0]), float(normal[1]), float(normal[2])))  # fmt: skip


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

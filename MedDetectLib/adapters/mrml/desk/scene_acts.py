"""What the user changed in the scene, as acts of the review."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from MedDetectLib.adapters.mrml.desk.mirror import SceneEdits, wanted_patch
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.review.acts import Act, Comment, EditMask, Reject, Relabel
from MedDetectLib.review.patches import Patch, patch_from_mask
from MedDetectLib.review.session import ReviewSession

__all__ = ["acts_of"]

DELETED, ERASED = "deleted in the scene", "erased in the scene"


def acts_of(edits: SceneEdits, session: ReviewSession, before: dict[str, Patch]) -> Iterator[Act]:
    """Yield acts, each to be done before the next is asked for.

    An edit that an act before it already took care of (voxels that one finding took from
    another) yields nothing.

    Args:
        edits: what differs in the segments.
        session: as it stands.
        before: the voxels segments were last given, by id.
    """
    about = session.about
    gained = [_gained(key, patch, before) for key, patch in edits.voxels.items()]
    for key, patch in edits.voxels.items():
        item = _item(session, key)
        if item is None:
            continue
        if patch is None:
            yield from _rejected(item, ERASED)
            continue
        now = wanted_patch(item, session, about)
        if patch.is_same(now):
            continue
        if item.mask_value is None:
            if _only_covered(before.get(key), patch, gained):
                continue  # somebody else was drawn over its box: that gives it no mask
            patch = _without_others(patch, _gained(key, patch, before), session)
        if patch is not None:
            yield EditMask(key, patch)
    for key in edits.deleted:
        if (item := _item(session, key)) is not None:
            yield from _rejected(item, DELETED)
    for key, name in edits.renamed.items():
        if (item := _item(session, key)) is not None:
            yield _renamed(item, name, about)


def _item(session: ReviewSession, key: str) -> Finding | None:
    return next((item for item in session.items if item.id == key), None)


def _rejected(item: Finding, reason: str) -> Iterator[Act]:
    if item.state != "rejected":
        yield Reject(item.id, reason)


def _renamed(item: Finding, name: str, about: Findings) -> Act:
    """Return another class where the new name says one, else a remark."""
    wanted = name.strip().casefold()
    for label in about.labels:
        if label.name.casefold() == wanted:
            return Relabel(item.id, label.value)
    return Comment(f"renamed in the scene: {name.strip() or '(no name)'}", item.id)


def _gained(key: str, patch: Patch | None, before: dict[str, Patch]) -> Patch | None:
    """Return the voxels a segment has now and had not."""
    old = before.get(key)
    if patch is None or old is None:
        return patch
    mask = patch.mask.copy()
    _clear(mask, patch, old)
    return Patch(patch.start_kji, mask)


def _without_others(patch: Patch, gained: Patch | None, session: ReviewSession) -> Patch | None:
    """Return what a box becomes when it is edited: of others' voxels only those drawn over.

    Its segment was its box filled, over whatever lies in it.
    """
    values = session.voxels(patch.slices)
    theirs = np.isin(values, [i.mask_value for i in session.items if i.mask_value is not None])
    if gained is not None:
        _clear(theirs, patch, gained)
    return patch_from_mask(patch.mask & ~theirs, patch.start_kji)


def _only_covered(old: Patch | None, new: Patch, gained: list[Patch | None]) -> bool:
    """Whether a segment lost just voxels that others gained."""
    if old is None:
        return False
    grown, lost = new.mask.copy(), old.mask.copy()
    _clear(grown, new, old)
    _clear(lost, old, new)
    for other in gained:
        if other is not None:
            _clear(lost, old, other)
    return not grown.any() and not lost.any()


def _clear(mask: npt.NDArray[np.bool_], own: Patch, other: Patch) -> None:
    """Take another patch's voxels out of a mask that lies where `own` does."""
    here, there = [], []
    for a, n, b, m in zip(
        own.start_kji, own.mask.shape, other.start_kji, other.mask.shape, strict=True
    ):
        first, last = max(a, b), min(a + n, b + m)
        if last <= first:
            return
        here.append(slice(first - a, last - a))
        there.append(slice(first - b, last - b))
    mask[tuple(here)] &= ~other.mask[tuple(there)]

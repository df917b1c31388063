"""Several findings that are one, and one that is several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding
from MedDetectLib.core.measure import as_box, measure_box
from MedDetectLib.review.acts import Merge, Plane, Split
from MedDetectLib.review.draft import Draft
from MedDetectLib.review.effect import Effect
from MedDetectLib.review.linked import edited_state, with_mask
from MedDetectLib.review.patches import Mask, Patch, patch_from_mask
from MedDetectLib.review.sketch import Sketch, effect_on_items, inside_grid

__all__ = ["plan_merge", "plan_split"]


def plan_merge(act: Merge, draft: Draft) -> Effect:
    """Work out a merge.

    The best scored finding keeps its id and score. Masks become one mask; a member without
    a mask widens the box and paints nothing.

    Raises:
        InputError: ``unknown-finding``, ``nothing-to-merge``, ``labels-differ``,
            ``unknown-label``.
    """
    members = [draft.item_to_edit(key) for key in dict.fromkeys(act.finding_ids)]
    if len(members) < 2:
        raise InputError("nothing-to-merge", "a merge needs two findings or more")
    best = max(members, key=lambda item: item.score)
    whole = replace(best, label=_one_label(act, members, draft), state=edited_state(best))
    gone: dict[str, Finding | None] = {item.id: None for item in members if item is not best}
    patches = [patch for item in members if (patch := draft.patch(item.id)) is not None]
    if not patches:
        return effect_on_items(draft, {best.id: _around(whole, members, draft), **gone})
    values = [item.mask_value for item in (best, *members) if draft.patch(item.id) is not None]
    value = int(values[0] or 0)
    whole = with_mask(whole, _union(patches), value, draft.geometry)
    boxes = [item for item in members if draft.patch(item.id) is None]
    if boxes:
        measured = whole
        whole = replace(
            _around(whole, [whole, *boxes], draft),
            diameter_mm=measured.diameter_mm,
            volume_ml=measured.volume_ml,
        )
    after: dict[str, Finding | None] = {best.id: whole, **gone}
    # only these change their value: what lies between findings far apart is not looked at
    painted = [
        patch
        for item in members
        if item.mask_value != value and (patch := draft.patch(item.id)) is not None
    ]
    if not painted:
        return effect_on_items(draft, after)
    sketch = Sketch(draft, painted)
    for patch in painted:
        sketch.paint(patch, value)
    return sketch.effect(after)


def plan_split(act: Split, draft: Draft) -> Effect:
    """Work out a split.

    Raises:
        InputError: ``unknown-finding``, ``nothing-to-split`` when it has no mask or only one
            part, ``bad-mask``, ``too-many-masks``.
    """
    item, patch = draft.item_to_edit(act.finding_id), draft.patch(act.finding_id)
    if patch is None or item.mask_value is None:
        raise InputError("nothing-to-split", f"{item.id} has no mask", todo="draw its mask first")
    if act.by is None:
        parts = _pieces(patch)
    elif isinstance(act.by, Plane):
        parts = _halves(patch, act.by, draft)
    else:
        parts = _given(patch, act.by, draft)
    if len(parts) < 2:
        raise InputError("nothing-to-split", f"{item.id} is one piece", todo="cut it by a plane")
    parts.sort(key=lambda part: -part.voxels)
    ids, values = draft.new_ids(len(parts) - 1), draft.new_values(len(parts) - 1)
    sketch = Sketch(draft, [patch])
    after: dict[str, Finding | None] = {
        item.id: with_mask(item, parts[0], item.mask_value, draft.geometry)
    }
    for new_id, value, part in zip(ids, values, parts[1:], strict=True):
        sketch.paint(part, value)
        named = replace(item, id=new_id)
        after[new_id] = with_mask(named, part, value, draft.geometry)
    return sketch.effect(after)


def _one_label(act: Merge, members: list[Finding], draft: Draft) -> int:
    labels = {item.label for item in members} if act.label is None else {act.label}
    if len(labels) > 1:
        names = ", ".join(f"{item.id} is class {item.label}" for item in members)
        raise InputError("labels-differ", names, todo="say which class the whole has")
    return draft.known_label(labels.pop())


def _around(whole: Finding, members: list[Finding], draft: Draft) -> Finding:
    """Return a finding whose box holds all members' boxes."""
    edges = np.array([item.box for item in members])
    box = as_box([*edges[:, :3].min(axis=0), *edges[:, 3:].max(axis=0)])
    diameter_mm, volume_ml = measure_box(box, draft.geometry)
    return replace(whole, box=box, diameter_mm=diameter_mm, volume_ml=volume_ml)


def _union(patches: list[Patch]) -> Patch:
    """Return all voxels of several patches."""
    starts = np.array([patch.start_kji for patch in patches])
    stops = starts + [patch.mask.shape for patch in patches]
    k, j, i = (int(n) for n in starts.min(axis=0))
    mask = np.zeros(stops.max(axis=0) - starts.min(axis=0), dtype=bool)
    for patch in patches:
        mask[_local(patch, (k, j, i))] |= patch.mask
    return Patch((k, j, i), mask)


def _local(patch: Patch, start_kji: tuple[int, int, int]) -> tuple[slice, ...]:
    return tuple(
        slice(a - b, a - b + n)
        for a, b, n in zip(patch.start_kji, start_kji, patch.mask.shape, strict=True)
    )


def _parts(patch: Patch, masks: list[Mask]) -> list[Patch]:
    """Return masks of the patch's own array as patches, empty ones left out."""
    found = (patch_from_mask(mask, patch.start_kji) for mask in masks)
    return [part for part in found if part is not None]


def _pieces(patch: Patch) -> list[Patch]:
    """Return the parts that touch one another nowhere, not even at a corner."""
    from scipy import ndimage

    numbers, count = ndimage.label(patch.mask, np.ones((3, 3, 3)))
    return _parts(patch, [numbers == number for number in range(1, count + 1)])


def _halves(patch: Patch, plane: Plane, draft: Draft) -> list[Patch]:
    """Return the voxels whose centres lie on either side; those on the plane go above."""
    normal = np.array(plane.normal_ras, dtype=np.float64)
    if not (np.isfinite(normal).all() and np.linalg.norm(normal) > 0):
        raise InputError("nothing-to-split", "the plane has no direction")
    voxels = np.argwhere(patch.mask)
    centres_ras_mm = draft.geometry.index_to_ras(voxels + np.array(patch.start_kji))
    above = (centres_ras_mm - np.array(plane.point_ras_mm)) @ normal >= 0
    upper = np.zeros_like(patch.mask)
    upper[tuple(voxels[above].T)] = True
    return _parts(patch, [upper, patch.mask & ~upper])


def _given(patch: Patch, masks: tuple[Patch, ...], draft: Draft) -> list[Patch]:
    """Return the given parts of the mask; what is in none goes to the largest of them."""
    left, inner = patch.mask.copy(), []
    for given in masks:
        tight = inside_grid(given, draft.geometry.shape_kji)
        part = np.zeros_like(patch.mask)
        cut = tight.cropped(patch.slices)
        if cut is not None:
            part[_local(cut, patch.start_kji)] = cut.mask
        inner.append(part & left)
        left &= ~part
    if inner:
        inner[int(np.argmax([part.sum() for part in inner]))] |= left
    return _parts(patch, inner)

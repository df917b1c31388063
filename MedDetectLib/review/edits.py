"""Whole findings redrawn at once, by the rules of `linked`: arrays only, no nodes.

Findings never share a voxel: what was drawn last covers what was there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Box, Finding, Findings
from MedDetectLib.core.notes import Note
from MedDetectLib.review.linked import clipped_box, with_box, with_mask, with_rest
from MedDetectLib.review.patches import Patch, patch_from_mask, patches_of, unclaimed_patches

__all__ = ["Redrawn", "apply_mask_edit", "apply_roi_edit", "redraw"]

HIGHEST_MASK_VALUE = 65535


@dataclass(frozen=True, eq=False)
class Redrawn:
    """Findings after their masks were drawn anew.

    Args:
        findings: without the removed ones.
        edited: ids of those whose voxels changed.
        removed: findings left without a voxel, as they were.
    """

    findings: Findings
    edited: tuple[str, ...]
    removed: tuple[Finding, ...]


def apply_mask_edit(findings: Findings, item_id: str, mask: npt.NDArray[np.bool_]) -> Findings:
    """Return findings with one mask replaced; the box becomes tight to it.

    Args:
        findings: before the edit.
        item_id: whose mask it is; a box-only finding gets a mask by this.
        mask: [k, j, i] on the findings' grid. Voxels of other findings under it are taken
            over. An empty mask removes the finding.

    Raises:
        InputError: ``unknown-finding``, ``bad-mask`` when the mask is on another grid.
    """
    _find(findings, item_id)
    if mask.shape != findings.geometry.shape_kji:
        raise InputError(
            "bad-mask", f"the mask is {mask.shape}, the grid {findings.geometry.shape_kji}"
        )
    before = patches_of(findings)
    after = {key: patch for key, patch in before.items() if key != item_id}
    patch = patch_from_mask(mask)
    if patch is not None:
        after[item_id] = patch
    prints = {key: patch.fingerprint for key, patch in before.items()}
    return redraw(findings, after, prints).findings


def apply_roi_edit(findings: Findings, item_id: str, box: Box) -> Findings:
    """Return findings with one box moved or resized; its mask is cropped to it.

    Args:
        findings: before the edit.
        item_id: whose box it is.
        box: voxel edges, possibly reaching outside the grid; cut to it.

    Raises:
        InputError: ``unknown-finding``, ``box-outside`` when the box misses the grid.
    """
    item = _find(findings, item_id)
    box = clipped_box(box, findings.geometry.shape_kji)
    if box == item.box:
        return findings
    label_map = findings.label_map
    patch = None if item.mask_value is None else patches_of(findings).get(item_id)
    moved, kept = with_box(item, box, patch, findings.geometry)
    if patch is not None and label_map is not None:
        label_map = label_map.copy()
        label_map[patch.slices][patch.mask] = 0
        if kept is not None and item.mask_value is not None:
            label_map[kept.slices][kept.mask] = item.mask_value
    items = tuple(moved if each.id == item_id else each for each in findings)
    return replace(findings, items=items, label_map=label_map)


def redraw(
    findings: Findings,
    patches: Mapping[str, Patch],
    fingerprints: Mapping[str, str],
) -> Redrawn:
    """Return findings whose voxels are `patches`, saying which of them changed.

    Args:
        findings: before; every id without a patch is removed.
        patches: the voxels now, by id.
        fingerprints: of the voxels before, by id. Those that agree keep box, sizes and
            state to the last bit.
    """
    drawn = [f.id for f in findings if _differs(f.id, patches, fingerprints) and f.id in patches]
    masked = [f for f in findings if f.mask_value is not None or f.id in drawn]
    values = _mask_values(findings, drawn)
    label_map = _background(findings)
    if label_map is None and masked:
        label_map = np.zeros(findings.geometry.shape_kji, np.uint16)
    current, covered = dict(patches), set[str]()
    if label_map is not None:
        last_drawn_wins = sorted(masked, key=lambda f: f.id in drawn)
        covered = _paint(label_map, [f.id for f in last_drawn_wins], current, values)
    changed = {f.id for f in findings if f.id in covered or f.id in drawn}
    items = [
        (with_mask if f.id in drawn else with_rest)(
            f, current[f.id], values[f.id], findings.geometry
        )
        if f.id in changed
        else f
        for f in findings
        if f.id in current or (f.id not in fingerprints and f.id not in changed)
    ]
    kept = {item.id for item in items}
    after = replace(findings, items=tuple(items), label_map=label_map)
    if covered:
        after = after.with_notes(_covered_note(covered))
    return Redrawn(
        after,
        tuple(item.id for item in items if item.id in changed),
        tuple(item for item in findings if item.id not in kept),
    )


def _paint(
    label_map: npt.NDArray[np.uint16],
    ids: list[str],
    patches: dict[str, Patch],
    values: Mapping[str, int],
) -> set[str]:
    """Paint findings one over the other, in place.

    Returns:
        Those that lost voxels; `patches` then holds what is left of them.
    """
    covered: set[str] = set()
    owner = {value: item_id for item_id, value in values.items()}
    for item_id in ids:
        if (patch := patches.get(item_id)) is not None:
            area = label_map[patch.slices]
            covered.update(owner[v] for v in np.unique(area[patch.mask]).tolist() if v in owner)
            area[patch.mask] = values[item_id]
    for item_id in covered:
        before = patches.pop(item_id)
        left = patch_from_mask(label_map[before.slices] == values[item_id], before.start_kji)
        if left is not None:
            patches[item_id] = left
    return covered


def _differs(item_id: str, patches: Mapping[str, Patch], before: Mapping[str, str]) -> bool:
    patch = patches.get(item_id)
    return (None if patch is None else patch.fingerprint) != before.get(item_id)


def _background(findings: Findings) -> npt.NDArray[np.uint16] | None:
    """Return the label map without its findings, None if there is no label map."""
    if findings.label_map is None:
        return None
    label_map = np.zeros(findings.geometry.shape_kji, np.uint16)
    for value, patch in unclaimed_patches(findings).items():
        label_map[patch.slices][patch.mask] = value
    return label_map


def _mask_values(findings: Findings, drawn: list[str]) -> dict[str, int]:
    """Return the label-map value of every finding that has or gets a mask."""
    values = {f.id: f.mask_value for f in findings if f.mask_value is not None}
    free = 1 + max(
        [
            0 if findings.label_map is None else int(findings.label_map.max(initial=0)),
            *values.values(),
        ]
    )
    for item_id in drawn:
        if item_id not in values:
            if free > HIGHEST_MASK_VALUE:
                raise InputError("too-many-masks", "the label map has no value left")
            values[item_id] = free
            free += 1
    return values


def _covered_note(covered: set[str]) -> Note:
    return Note(
        "masks-overlap",
        f"voxels of {', '.join(sorted(covered))} were drawn over by another finding and left to it",
    )


def _find(findings: Findings, item_id: str) -> Finding:
    for item in findings:
        if item.id == item_id:
            return item
    raise InputError("unknown-finding", f"there is no finding '{item_id}'")

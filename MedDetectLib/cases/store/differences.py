"""What changed from one version of a case to another, finding by finding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding, Findings

__all__ = ["Change", "Difference", "difference_of"]

_Pair = tuple[int | None, int | None]
"""A value before and one after; None for any."""
FIELDS = ("label", "score", "state", "box")


@dataclass(frozen=True)
class Change:
    """One finding that is in both versions, and not the same.

    Args:
        id: of the finding.
        fields: name to (before, after), of label (class name), score, state and box.
        voxels_added: of its mask.
        voxels_removed: of its mask.
        dice: of both masks; None when one has no mask.
    """

    id: str
    fields: dict[str, tuple[Any, Any]]
    voxels_added: int
    voxels_removed: int
    dice: float | None


@dataclass(frozen=True)
class Difference:
    """What changed: ids of findings, by what happened to them."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[Change, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        return not (self.added or self.removed or self.changed)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "added": list(self.added),
            "removed": list(self.removed),
            "changed": [
                {**vars(change), "fields": {k: list(v) for k, v in change.fields.items()}}
                for change in self.changed
            ],
        }


def difference_of(before: Findings, after: Findings) -> Difference:
    """Compare two versions of one case; findings are the same when their ids are.

    Raises:
        InputError: ``other-grid``.
    """
    if not before.geometry.is_close(after.geometry):
        raise InputError("other-grid", "the two versions lie on different grids")
    old = {item.id: item for item in before}
    new = {item.id: item for item in after}
    shared = _shared(before, after)
    changes = (
        _change(before, old[item.id], after, item, shared) for item in after if item.id in old
    )
    return Difference(
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changed=tuple(change for change in changes if change is not None),
    )


def _change(
    before: Findings, old: Finding, after: Findings, new: Finding, shared: Mapping[_Pair, int]
) -> Change | None:
    said: dict[str, tuple[Any, Any]] = {}
    for name in FIELDS:
        pair = (getattr(old, name), getattr(new, name))
        if name == "label":
            pair = (before.label_of(old).name, after.label_of(new).name)
        if pair[0] != pair[1]:
            said[name] = pair
    was, now = old.mask_value, new.mask_value
    size_before = 0 if was is None else shared.get((was, None), 0)
    size_after = 0 if now is None else shared.get((None, now), 0)
    both = 0 if was is None or now is None else shared.get((was, now), 0)
    added, removed = size_after - both, size_before - both
    dice = None
    if was is not None and now is not None:
        total = size_before + size_after
        dice = 2 * both / total if total else 1.0
    if not said and not added and not removed and (was is None) == (now is None):
        return None
    return Change(new.id, said, added, removed, dice)


def _shared(before: Findings, after: Findings) -> dict[_Pair, int]:
    """Count voxels by their values in both label maps, and in one of them, 0 left aside.

    One walk over the grid, however many findings there are.
    """
    counts: dict[_Pair, int] = defaultdict(int)
    one, two = before.label_map, after.label_map
    for k in range(before.geometry.shape_kji[0]):
        planes = [None if each is None else each[k] for each in (one, two)]
        held = [plane for plane in planes if plane is not None]
        if not held:
            break
        here = np.flatnonzero(np.any([plane != 0 for plane in held], axis=0))
        joint = np.zeros(len(here), np.uint32)
        for plane in planes:
            joint <<= np.uint32(16)
            if plane is not None:
                joint |= plane.reshape(-1)[here]
        for value, number in zip(*np.unique(joint, return_counts=True), strict=True):
            was, now = int(value) >> 16, int(value) & 0xFFFF
            counts[was, now] += int(number)
            counts[was, None] += int(number)
            counts[None, now] += int(number)
    return counts

"""What changed from one version of a case to another, finding by finding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from MedDetectLib.cases.store.agreement import dice_of
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding, Findings

__all__ = ["Change", "Difference", "difference_of"]

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
    changes = (_change(before, old[item.id], after, item) for item in after if item.id in old)
    return Difference(
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changed=tuple(change for change in changes if change is not None),
    )


def _change(before: Findings, old: Finding, after: Findings, new: Finding) -> Change | None:
    said: dict[str, tuple[Any, Any]] = {}
    for name in FIELDS:
        pair = (getattr(old, name), getattr(new, name))
        if name == "label":
            pair = (before.label_of(old).name, after.label_of(new).name)
        if pair[0] != pair[1]:
            said[name] = pair
    mask, other = before.mask_of(old), after.mask_of(new)
    there = np.count_nonzero
    if mask is not None and other is not None:
        added, removed = int(there(other & ~mask)), int(there(mask & ~other))
        dice: float | None = dice_of(mask, other)
    else:
        added = 0 if other is None else int(there(other))
        removed = 0 if mask is None else int(there(mask))
        dice = None
    if not said and not added and not removed and (mask is None) == (other is None):
        return None
    return Change(new.id, said, added, removed, dice)

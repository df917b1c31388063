"""One act's drawing, beside the draft: becomes an `Effect`, or nothing when it is refused."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding
from MedDetectLib.review.acts import Overlap
from MedDetectLib.review.draft import Draft, window_around
from MedDetectLib.review.effect import Effect, Values, VoxelChange
from MedDetectLib.review.linked import with_rest
from MedDetectLib.review.patches import Patch, patch_from_mask

__all__ = ["Sketch", "effect_on_items", "inside_grid"]


class Sketch:
    """A copy of one window of the label map, to draw in.

    Args:
        draft: the findings as they stand; only read.
        places: what the act touches; the window reaches around all of it.
    """

    def __init__(self, draft: Draft, places: list[Patch]) -> None:
        self.draft = draft
        window = window_around(places)
        k, j, i = (part.start for part in window)
        self._start = (k, j, i)
        self._old = draft.voxels(window)
        self._new = self._old.copy()

    def erase(self, patch: Patch) -> None:
        """Give voxels to nobody."""
        self._window(patch)[patch.mask] = 0

    def paint(self, patch: Patch, value: int, overlap: Overlap = "take") -> Patch:
        """Give voxels to a finding.

        Args:
            patch: which; inside the window.
            value: the finding's value in the label map.
            overlap: what happens to voxels of other findings among them.

        Returns:
            The voxels painted.

        Raises:
            InputError: ``masks-overlap`` with ``refuse``, ``empty-mask`` when others keep all.
        """
        window, mask = self._window(patch), patch.mask
        if overlap != "take":
            others = [each for each in self.draft.owners() if each != value]
            taken = np.isin(window, others) & mask
            if overlap == "refuse" and taken.any():
                ids = [self.draft.owners()[v] for v in np.unique(window[taken]).tolist()]
                raise InputError(
                    "masks-overlap",
                    f"the mask covers voxels of {', '.join(ids)}",
                    todo="draw around them, merge them, or let the mask take their voxels",
                )
            left = patch_from_mask(mask & ~taken, patch.start_kji)
            if left is None:
                raise InputError("empty-mask", "other findings hold every voxel of the mask")
            patch, window, mask = left, self._window(left), left.mask
        window[mask] = value
        return patch

    def effect(self, after: Mapping[str, Finding | None]) -> Effect:
        """Return what changed.

        Args:
            after: the findings the act is about, as they will be; None for those that go.
                Others whose voxels were taken are added: their boxes become tight to what is
                left, and those left without a voxel go.
        """
        changed = self._old != self._new
        if not changed.any():
            return effect_on_items(self.draft, after)
        owners = self.draft.owners()
        owners.update({f.mask_value: f.id for f in after.values() if f and f.mask_value})
        counts = _counts(owners, self._old[changed], self._new[changed])
        whole = dict(after)
        for key, (_, lost) in counts.items():
            if lost and key not in whole:
                whole[key] = self._what_is_left(key)
        items = effect_on_items(self.draft, whole)
        change = VoxelChange.between(self._start, self._old, self._new)
        return Effect(items.items, items.order, change.to_json(), counts)

    def _what_is_left(self, key: str) -> Finding | None:
        """Return a finding without the voxels that were taken, None when all were."""
        item, before = self.draft.item(key), self.draft.patch(key)
        if before is None or item.mask_value is None:
            return item
        mask = before.mask.copy()
        inner = before.cropped(self._slices())
        if inner is not None:
            local = tuple(
                slice(a - b, a - b + n)
                for a, b, n in zip(inner.start_kji, before.start_kji, inner.mask.shape, strict=True)
            )
            mask[local] &= self._window(inner) == item.mask_value
        left = patch_from_mask(mask, before.start_kji)
        return None if left is None else with_rest(item, left, item.mask_value, self.draft.geometry)

    def _slices(self) -> tuple[slice, ...]:
        return tuple(slice(a, a + n) for a, n in zip(self._start, self._new.shape, strict=True))

    def _window(self, patch: Patch) -> Values:
        """Return the view of the new voxels that a patch covers."""
        k, j, i = (
            slice(a - b, a - b + n)
            for a, b, n in zip(patch.start_kji, self._start, patch.mask.shape, strict=True)
        )
        return self._new[k, j, i]


def effect_on_items(draft: Draft, after: Mapping[str, Finding | None]) -> Effect:
    """Return the effect of findings becoming others; those that stay the same are left out."""
    before = {key: draft.items.get(key) for key in after}
    items = {key: (before[key], item) for key, item in after.items() if before[key] != item}
    old = tuple(draft.items)
    new = tuple(key for key in old if after.get(key, draft.items[key]) is not None)
    new += tuple(key for key, item in after.items() if item is not None and key not in old)
    return Effect(items, None if old == new else (old, new))


def inside_grid(patch: Patch, shape_kji: tuple[int, int, int]) -> Patch:
    """Return a drawn patch cut down to its voxels.

    Raises:
        InputError: ``empty-mask``, ``bad-mask`` when it reaches outside the grid.
    """
    tight = patch_from_mask(patch.mask, patch.start_kji)
    if tight is None:
        raise InputError("empty-mask", "the mask has no voxel", todo="reject the finding instead")
    if any(s.start < 0 or s.stop > n for s, n in zip(tight.slices, shape_kji, strict=True)):
        raise InputError("bad-mask", f"the mask {tight.box} reaches outside the grid {shape_kji}")
    return tight


def _counts(
    owners: Mapping[int, str], old: Values, new: npt.NDArray[np.uint16]
) -> dict[str, tuple[int, int]]:
    """Return (gained, lost) voxels by finding."""
    gained, lost = (np.bincount(part, minlength=1 << 16) for part in (new, old))
    values = [int(v) for v in np.flatnonzero(gained + lost) if int(v) in owners]
    return {owners[v]: (int(gained[v]), int(lost[v])) for v in values}

"""Findings in work: cheap to change, one window of voxels at a time."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding, Findings, State
from MedDetectLib.review.effect import Effect, Values, VoxelChange
from MedDetectLib.review.patches import Patch, patch_from_mask, patches_by_value

__all__ = ["Draft", "Window", "window_around"]

Window = tuple[slice, slice, slice]
HIGHEST_MASK_VALUE = 65535


class Draft:
    """The findings as they stand, and the voxels of each.

    A `Findings` of a large volume is copied only when somebody asks for it (`findings`); an
    act touches the voxels it is about and no others.

    Args:
        start: the findings before the first act.
        copy: whether the label map is somebody else's and must be left alone.
    """

    def __init__(self, start: Findings, *, copy: bool = True) -> None:
        self.start = start
        self.geometry, self.labels = start.geometry, start.labels
        self.items = {item.id: item for item in start}
        shared = start.label_map
        self._label_map = shared.copy() if copy and shared is not None else shared
        self._patches: dict[str, Patch] = {}
        self._drawn: dict[str, State] = {}
        for item in start:
            self._note_who_drew(item)
        self._highest_id = max([0, *map(_number, self.items)])
        values = [item.mask_value or 0 for item in start]
        self._highest_value = max([0 if shared is None else int(shared.max(initial=0)), *values])
        masks = self.find_voxels()
        claimed = {item.mask_value for item in start}
        self.unclaimed = {value: patch for value, patch in masks.items() if value not in claimed}

    def item(self, finding_id: str) -> Finding:
        """Return one finding.

        Raises:
            InputError: ``unknown-finding``.
        """
        if finding_id not in self.items:
            raise InputError("unknown-finding", f"there is no finding '{finding_id}'")
        return self.items[finding_id]

    def known_label(self, label: int) -> int:
        """Return a class number the model knows.

        Raises:
            InputError: ``unknown-label``.
        """
        if label not in {each.value for each in self.labels}:
            names = ", ".join(f"{each.value} {each.name}" for each in self.labels)
            raise InputError(
                "unknown-label", f"there is no class {label}", todo=f"choose from {names}"
            )
        return int(label)

    def accepted_state(self, item: Finding) -> State:
        """Return the state of a finding that is right: that a person drew it stays known."""
        return self._drawn.get(item.id, "accepted")

    def item_to_edit(self, finding_id: str) -> Finding:
        """Return one finding; a rejected one that a person added is theirs again once edited.

        Raises:
            InputError: ``unknown-finding``.
        """
        item = self.item(finding_id)
        if item.state == "rejected" and self._drawn.get(finding_id) == "added":
            return replace(item, state="added")
        return item

    def patch(self, finding_id: str) -> Patch | None:
        """Return a finding's voxels, None when it has none."""
        return self._patches.get(finding_id)

    def voxels(self, window: Window) -> Values:
        """Return a copy of a window of the label map."""
        if self._label_map is None:
            return np.zeros([part.stop - part.start for part in window], np.uint16)
        return self._label_map[window].copy()

    def owners(self) -> dict[int, str]:
        """Return whose voxels a value of the label map is."""
        return {
            item.mask_value: item.id for item in self.items.values() if item.mask_value is not None
        }

    def new_ids(self, count: int) -> list[str]:
        """Return ids that no finding ever had."""
        return [f"F{self._highest_id + n}" for n in range(1, count + 1)]

    def new_values(self, count: int) -> list[int]:
        """Return label-map values that are free.

        Raises:
            InputError: ``too-many-masks``.
        """
        if self._highest_value + count <= HIGHEST_MASK_VALUE:
            return [self._highest_value + n for n in range(1, count + 1)]
        used = {0, *self.owners()}
        if self._label_map is not None:
            used.update(np.unique(self._label_map).tolist())
        free = [value for value in range(1, HIGHEST_MASK_VALUE + 1) if value not in used]
        if len(free) < count:
            raise InputError("too-many-masks", "the label map has no value left")
        return free[:count]

    def apply(self, effect: Effect, change: VoxelChange | None, *, follow: bool = True) -> None:
        """Change findings and voxels.

        Args:
            effect: planned on this very state.
            change: its voxels, see `Effect.change`.
            follow: keep the voxels of each finding up to date; if not, call `find_voxels`.
        """
        owners, known = self.owners(), dict(self._patches)
        for key, (_, item) in effect.items.items():
            if item is None:
                self.items.pop(key, None)
                continue
            self.items[key] = item
            self._note_who_drew(item)
            self._highest_id = max(self._highest_id, _number(key))
            self._highest_value = max(self._highest_value, item.mask_value or 0)
        if effect.order is not None:
            self.items = {key: self.items[key] for key in effect.order[1]}
        if change is not None:
            if self._label_map is None:
                self._label_map = np.zeros(self.geometry.shape_kji, np.uint16)
            change.paint(self._label_map)
        changed = [] if change is None else [change.where]
        for key in effect.ids if follow else ():
            # a merge may give a finding the value, and the voxels, of another
            value = self.items[key].mask_value if key in self.items else None
            before = [known[one] for one in {key, owners.get(value or 0)} if one in known]
            self._follow(key, [*before, *changed])

    def find_voxels(self) -> dict[int, Patch]:
        """Find the voxels of every finding anew; return those of every value."""
        masks = {} if self._label_map is None else patches_by_value(self._label_map)
        mine = {key: masks.get(item.mask_value or 0) for key, item in self.items.items()}
        self._patches = {key: patch for key, patch in mine.items() if patch is not None}
        return masks

    @property
    def has_label_map(self) -> bool:
        """Whether `findings` has one: from the start, or since a finding has a mask."""
        masks = any(item.mask_value is not None for item in self.items.values())
        return self.start.label_map is not None or masks

    def findings(self, *, copy: bool = True) -> Findings:
        """Return the findings as they stand, for reading only.

        Args:
            copy: whether they outlive the next `apply`.
        """
        label_map = self._label_map if self.has_label_map else None
        if label_map is not None:
            label_map = label_map.copy() if copy else label_map.view()
            label_map.setflags(write=False)
        return replace(self.start, items=tuple(self.items.values()), label_map=label_map)

    def _note_who_drew(self, item: Finding) -> None:
        """Remember which findings a person drew; a rejection does not make it forgotten."""
        if item.state in ("edited", "added"):
            self._drawn[item.id] = item.state
        elif item.state != "rejected":
            self._drawn.pop(item.id, None)

    def _follow(self, key: str, places: list[Patch]) -> None:
        """Find one finding's voxels where they were or where voxels changed."""
        item = self.items.get(key)
        self._patches.pop(key, None)
        if item is None or item.mask_value is None or self._label_map is None or not places:
            return
        window = window_around(places)
        k, j, i = (part.start for part in window)
        patch = patch_from_mask(self._label_map[window] == item.mask_value, (k, j, i))
        if patch is not None:
            self._patches[key] = patch


def window_around(patches: list[Patch]) -> Window:
    """Return the smallest window that holds all of some patches."""
    slices = [patch.slices for patch in patches]
    k, j, i = (
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*slices, strict=True)
    )
    return k, j, i


def _number(finding_id: str) -> int:
    """Return the number in an id like ``F12``, 0 for other ids."""
    found = re.fullmatch(r"F(\d{1,9})", finding_id)
    return int(found[1]) if found else 0

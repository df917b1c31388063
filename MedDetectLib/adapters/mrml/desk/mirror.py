"""What the segments of a review hold, and which of them somebody changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from MedDetectLib.adapters.mrml.images import GridView, array_on_grid, grid_view, is_on, matrix_of
from MedDetectLib.adapters.mrml.placement import matrix_from_array
from MedDetectLib.adapters.mrml.segment_update import remove_findings, update_findings
from MedDetectLib.adapters.mrml.segment_voxels import LABELMAP, own_segments
from MedDetectLib.cases.label_files import finding_title
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.core.geometry import FloatArray
from MedDetectLib.review.patches import Patch, filled_box, patch_of_value, patches_by_value
from MedDetectLib.review.session import ReviewSession

__all__ = ["Mirror", "SceneEdits", "wanted_patch"]

FEW = 3
"""Up to so many segments of one image are looked for one by one; more in one walk."""


@dataclass(frozen=True)
class SceneEdits:
    """What differs from what was last written to the segments.

    Args:
        voxels: the voxels of changed segments now, None for none left; first those that were
            named as changed, in that order.
        deleted: findings whose segment is gone.
        renamed: new names by id.
    """

    voxels: dict[str, Patch | None] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()
    renamed: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.voxels or self.deleted or self.renamed)


class Mirror:
    """The segments of one review's findings.

    Args:
        node: vtkMRMLSegmentationNode made by `findings_to_node`.
        session: whose findings they are.
        ijk_to_node: (4, 4), the grid's voxel centres to node mm.
    """

    def __init__(self, node: Any, session: ReviewSession, ijk_to_node: FloatArray) -> None:
        self.node, self._session, self.ijk_to_node = node, session, ijk_to_node
        self.about = session.about
        self.patches: dict[str, Patch] = {}
        self._titles: dict[str, str] = {}
        self._images: dict[str, _Held] = {}

    def note(self, items: Iterable[Finding]) -> None:
        """Take it that the segments hold these findings, all of them, as the session has them."""
        self.patches = {}
        for item in items:
            patch = wanted_patch(item, self._session, self.about)
            if patch is not None:
                self.patches[item.id] = patch
            self._titles[item.id] = finding_title(self.about, item)
        self.settle()

    def settle(self) -> None:
        """Take it that the segments are as they should be: what changes from now on is news."""
        self._images = self._held(own_segments(self.node))

    def _settle_some(self, ids: Collection[str], gone: Collection[str]) -> None:
        """Do what `settle` does, after only some segments were drawn."""
        for key in gone:
            self._images.pop(key, None)
        self._images.update(self._held(ids))
        times = {image: image.GetMTime() for image in {h.image for h in self._images.values()}
                 if image is not None}  # fmt: skip
        for key, held in self._images.items():
            time = times.get(held.image, 0)
            if held.time != time:
                self._images[key] = _Held(held.image, held.value, time)

    def draw(self, ids: Collection[str]) -> None:
        """Bring the segments of some findings in line with the session; others stay."""
        items = {item.id: item for item in self._session.items}
        gone = [key for key in ids if key not in items]
        here = [items[key] for key in ids if key in items]
        drawn = [(item, wanted_patch(item, self._session, self.about)) for item in here]
        remove_findings(self.node, gone, self.patches, self.ijk_to_node)
        update_findings(self.node, self.about, drawn, self.patches, self.ijk_to_node)
        for key in gone:
            self.patches.pop(key, None)
            self._titles.pop(key, None)
        for item, patch in drawn:
            self._titles[item.id] = finding_title(self.about, item)
            if patch is None:
                self.patches.pop(item.id, None)
            else:
                self.patches[item.id] = patch
        self._settle_some([item.id for item in here], gone)

    def edits(self, named: Collection[str], *, everything: bool) -> SceneEdits:
        """Return what somebody changed since `settle`; nothing is changed by this.

        Args:
            named: segments that are said to have changed, the earliest first.
            everything: look at every voxel, not only where something is said to have changed.
        """
        own = own_segments(self.node)
        present, held = set(own), self._held(own)
        expected = list(self._titles)
        by_image: dict[Any, dict[str, int]] = {}
        for key in expected:
            if key in present and (everything or held.get(key) != self._images.get(key)):
                by_image.setdefault(held[key].image, {})[key] = held[key].value
        found: dict[str, Patch | None] = {}
        for image, values in by_image.items():
            found.update(self._changed(image, values, named, everything))
        first = [key for key in named if key in found]
        ordered = {key: found[key] for key in (*first, *found)}
        return SceneEdits(
            ordered, tuple(key for key in expected if key not in present), self._renamed(present)
        )

    def accept(self, edits: SceneEdits) -> None:
        """Take it that the segments now hold what was found in them."""
        for key, patch in edits.voxels.items():
            if patch is None:
                self.patches.pop(key, None)
            else:
                self.patches[key] = patch
        for key in edits.deleted:
            self.patches.pop(key, None)

    def moved_to(self, ijk_to_node: FloatArray, hardened: FloatArray) -> bool:
        """Have the segments' voxels lie on a grid that moved; whether anything had to be done.

        Args:
            ijk_to_node: (4, 4), the grid's voxel centres to node mm, now.
            hardened: (4, 4), a transform that may have been hardened into the images. It is
                taken back; where voxels were interpolated on the way they are drawn anew.
        """
        motion = ijk_to_node @ np.linalg.inv(self.ijk_to_node)
        moved: dict[Any, None] = {}
        for image in dict.fromkeys(
            held.image for held in self._held(own_segments(self.node)).values()
        ):
            if image is None:
                continue
            if is_on(image, hardened @ self.ijk_to_node):
                matrix = ijk_to_node
            elif grid_view(image, self.ijk_to_node) is not None:
                matrix = motion @ matrix_of(image)
            else:
                continue  # somebody chose another source geometry: it is read by nearest voxel
            if not is_on(image, matrix):
                image.SetImageToWorldMatrix(matrix_from_array(matrix))
                moved[image] = None
        if not moved and np.array_equal(self.ijk_to_node, ijk_to_node):
            return False
        self.ijk_to_node = ijk_to_node
        broken = [key for key, held in self._images.items() if not self._is_whole(key, held, moved)]
        if len(broken) > FEW:
            for key in broken:
                self.patches.pop(key, None)
            self.draw(broken)
        return True

    def _is_whole(self, key: str, held: _Held, moved: Collection[Any]) -> bool:
        """Whether a segment's voxels are where they were; its image is taken as known then."""
        if held.image not in moved:
            return True
        self._images[key] = held._replace(time=held.image.GetMTime())
        return self._is_there(key, held.value, self._view(held.image))

    def forget(self) -> None:
        """Take nothing for known: the next look compares every voxel."""
        self._images = {}

    def remove(self, segment_id: str, patch: Patch) -> None:
        """Remove a segment of the user's, whose voxels are `patch`."""
        remove_findings(self.node, [segment_id], {segment_id: patch}, self.ijk_to_node)
        self.settle()

    def read(self, segment_id: str) -> Patch | None:
        """Return the voxels of any segment on the findings' grid, None when it has none."""
        segment = self.node.GetSegmentation().GetSegment(segment_id)
        image = None if segment is None else segment.GetRepresentation(LABELMAP)
        if image is None:
            return None
        view = self._view(image)
        return patch_of_value(view.array, segment.GetLabelValue(), view.start_kji)

    def _changed(
        self, image: Any, values: Mapping[str, int], named: Collection[str], everything: bool
    ) -> dict[str, Patch | None]:
        """Return the segments of one image whose voxels differ."""
        if image is None:
            return {key: None for key in values if key in self.patches}
        view = self._view(image)
        moved = [k for k in values if self._images.get(k, _NOT_HELD).image is not image]
        told = {key for key in (*named, *moved) if key in values}
        found = self._few(view, values, told, is_all=bool(told) and not everything)
        if found is None:
            whole, found = patches_by_value(view.array), {}
            for key, value in values.items():
                patch = whole.get(value)
                found[key] = patch and Patch(_add(patch.start_kji, view.start_kji), patch.mask)
        return {key: patch for key, patch in found.items() if not self._same(key, patch)}

    def _few(
        self, view: GridView, values: Mapping[str, int], told: Collection[str], *, is_all: bool
    ) -> dict[str, Patch | None] | None:
        """Return the segments that may differ where they are few; None when a walk is needed.

        Args:
            view: the image.
            values: of the segments to look at.
            told: those that are said to have changed.
            is_all: whether nobody else can have grown beyond the old place. If not, the image
                must hold no voxel but those found and those that are where they were.
        """
        suspects = [
            key
            for key, value in values.items()
            if key in told or not self._is_there(key, value, view)
        ]
        if len(suspects) > FEW:
            return None
        found = {key: patch_of_value(view.array, values[key], view.start_kji) for key in suspects}
        if not is_all:
            resting = [p for key in values if key not in found and (p := self.patches.get(key))]
            known = sum(p.voxels for p in (*resting, *found.values()) if p is not None)
            if known != np.count_nonzero(view.array):
                return None
        return found

    def _same(self, key: str, patch: Patch | None) -> bool:
        before = self.patches.get(key)
        return before is None if patch is None else patch.is_same(before)

    def _is_there(self, key: str, value: int, view: GridView) -> bool:
        """Whether a segment's voxels are where they were, as far as its old place tells.

        Asked of every segment after each stroke, and written out for that.
        """
        patch = self.patches.get(key)
        if patch is None:
            return True
        mask, (first_k, first_j, first_i) = patch.mask, view.start_kji
        k, j, i = patch.start_kji
        k, j, i = k - first_k, j - first_j, i - first_i
        if k < 0 or j < 0 or i < 0:
            return False
        part = view.array[k : k + mask.shape[0], j : j + mask.shape[1], i : i + mask.shape[2]]
        return part.shape == mask.shape and bool(((part == value) == mask).all())

    def _view(self, image: Any) -> GridView:
        view = grid_view(image, self.ijk_to_node)
        if view is not None and view.array.dtype.kind in "iu":
            return view
        array = array_on_grid(image, self.ijk_to_node, self.about.geometry.shape_kji)
        return GridView(array, (0, 0, 0))

    def _renamed(self, present: Collection[str]) -> dict[str, str]:
        segmentation = self.node.GetSegmentation()
        names = {key: str(segmentation.GetSegment(key).GetName() or "") for key in present}
        return {
            key: names[key]
            for key, title in self._titles.items()
            if key in names and names[key] != title
        }

    def _held(self, ids: Iterable[str]) -> dict[str, _Held]:
        segmentation, held = self.node.GetSegmentation(), {}
        times: dict[Any, int] = {None: 0}
        for key in ids:
            segment = segmentation.GetSegment(key)
            image = segment.GetRepresentation(LABELMAP)
            if image not in times:
                times[image] = image.GetMTime()
            held[key] = _Held(image, segment.GetLabelValue(), times[image])
        return held


class _Held(NamedTuple):
    """In which image a segment's voxels lie, under which value, and when it last changed."""

    image: Any
    value: int
    time: int


_NOT_HELD = _Held(None, -1, -1)


def wanted_patch(item: Finding, session: ReviewSession, about: Findings) -> Patch | None:
    """Return the voxels a finding's segment is to hold: its mask, or its box filled."""
    if item.mask_value is None:
        return filled_box(item.box, about.geometry.shape_kji)
    return session.patch_of(item.id)


def _add(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]

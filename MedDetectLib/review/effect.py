"""What an act changed, to the bit, and back: the part of the journal that is replayed."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.findings import Finding
from MedDetectLib.review.patches import Patch

__all__ = ["Effect", "ReadVoxels", "Values", "VoxelChange"]

Values = npt.NDArray[np.uint16]
"""(N,) label-map values, one per changed voxel in [k, j, i] order, or (1,) for all of them."""


@dataclass(frozen=True, eq=False)
class VoxelChange:
    """Voxels of the label map that have another value than before.

    Args:
        where: exactly those voxels.
        before: (N,) their values, or (1,) when all had the same.
        after: (N,) their values now, or (1,).
    """

    where: Patch
    before: Values
    after: Values

    @classmethod
    def between(cls, start_kji: tuple[int, int, int], old: Values, new: Values) -> VoxelChange:
        """Compare two [k, j, i] windows of the label map that differ somewhere.

        Args:
            start_kji: index of the windows' first voxel.
            old: values before.
            new: values after.
        """
        mask = old != new
        spans = []
        for axis in range(3):
            others = tuple(n for n in range(3) if n != axis)
            hit = np.flatnonzero(np.any(mask, axis=others))
            spans.append(slice(int(hit[0]), int(hit[-1]) + 1))
        window = (spans[0], spans[1], spans[2])
        k, j, i = (a + span.start for a, span in zip(start_kji, window, strict=True))
        return cls(Patch((k, j, i), mask[window]), _values(old[mask]), _values(new[mask]))

    def paint(self, label_map: Values) -> None:
        """Bring a [k, j, i] label map from before to after, in place."""
        label_map[self.where.slices][self.where.mask] = self.after

    def inverted(self) -> VoxelChange:
        """Return the way back."""
        return replace(self, before=self.after, after=self.before)

    def to_json(self) -> dict[str, Any]:
        """Return plain data: a few hundred bytes for an ordinary lesion."""
        before, after = (_packed(values) for values in (self.before, self.after))
        return {"where": self.where.to_json(), "before": before, "after": after}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> VoxelChange:
        """Rebuild what `to_json` returned."""
        before, after = (_unpacked(data[key]) for key in ("before", "after"))
        return cls(Patch.from_json(data["where"]), before, after)


ReadVoxels = Callable[[str], Mapping[str, Any]]
"""Reads a large change back from the file of its sha256."""


@dataclass(frozen=True, eq=False)
class Effect:
    """What an act changed.

    Args:
        items: findings that are new, gone or different, by id: (before, after).
        order: all ids (before, after), where findings came or went; None elsewhere.
        voxels: `VoxelChange` as plain data, ``{"file": sha256}`` for one kept in a file of
            its own, None when no voxel changed.
        counts: voxels each finding (gained, lost), by id.
    """

    items: Mapping[str, tuple[Finding | None, Finding | None]] = field(default_factory=dict)
    order: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    voxels: Mapping[str, Any] | None = None
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.items) or self.order is not None or self.voxels is not None

    @property
    def ids(self) -> tuple[str, ...]:
        """Findings it touches."""
        return tuple(dict.fromkeys((*self.items, *self.counts)))

    def inverted(self) -> Effect:
        """Return the way back."""
        voxels = self.voxels
        return Effect(
            {key: (after, before) for key, (before, after) in self.items.items()},
            None if self.order is None else (self.order[1], self.order[0]),
            None if voxels is None else {**voxels, "inverted": not voxels.get("inverted", False)},
            {key: (lost, gained) for key, (gained, lost) in self.counts.items()},
        )

    def change(self, read_voxels: ReadVoxels) -> VoxelChange | None:
        """Return the voxel change, read from its file where it has one."""
        if self.voxels is None:
            return None
        name = self.voxels.get("file")
        change = VoxelChange.from_json(self.voxels if name is None else read_voxels(name))
        return change.inverted() if self.voxels.get("inverted") else change

    def to_json(self) -> dict[str, Any]:
        """Return plain data; what is empty is left out."""
        data: dict[str, Any] = {}
        if self.items:
            data["items"] = {
                key: [None if item is None else item.to_json() for item in pair]
                for key, pair in self.items.items()
            }
        if self.order is not None:
            data["order"] = [list(ids) for ids in self.order]
        if self.voxels is not None:
            data["voxels"] = dict(self.voxels)
        if self.counts:
            data["counts"] = {key: list(pair) for key, pair in self.counts.items()}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Effect:
        """Rebuild what `to_json` returned."""
        order = data.get("order")
        return cls(
            {
                key: (_finding(before), _finding(after))
                for key, (before, after) in data.get("items", {}).items()
            },
            None if order is None else (tuple(order[0]), tuple(order[1])),
            data.get("voxels"),
            {key: (gained, lost) for key, (gained, lost) in data.get("counts", {}).items()},
        )


def _finding(data: dict[str, Any] | None) -> Finding | None:
    return None if data is None else Finding.from_json(data)


def _values(values: Values) -> Values:
    """Return one value where all are the same."""
    return values[:1] if (values == values[0]).all() else values


def _packed(values: Values) -> int | str:
    if len(values) == 1:
        return int(values[0])
    packed = zlib.compress(values.astype("<u2").tobytes(), 1)  # long runs: more effort gains little
    return base64.b64encode(packed).decode("ascii")


def _unpacked(data: int | str) -> Values:
    if isinstance(data, int):
        return np.array([data], np.uint16)
    return np.frombuffer(zlib.decompress(base64.b64decode(data)), "<u2").astype(np.uint16)

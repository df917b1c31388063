"""The voxels of one finding, cut out of their grid: start index and a small mask.

A hundred findings in a large volume are compared, painted and measured through these
without ever touching a whole grid per finding.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.findings import Box, Findings
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.measure import as_box, measure_mask
from MedDetectLib.core.rasterise import box_slices

__all__ = [
    "Patch",
    "all_patches",
    "filled_box",
    "patch_from_mask",
    "patch_of_value",
    "patches_by_value",
    "patches_of",
    "shared_voxels",
    "unclaimed_patches",
]

Mask = npt.NDArray[np.bool_]
SLAB_VOXELS = 1 << 21
"""Walked at a time: SciPy keeps Python's lock meanwhile, and others wait for it."""


@dataclass(frozen=True, eq=False)
class Patch:
    """A mask that touches all six sides of its own small array.

    Args:
        start_kji: index of the array's first voxel in the grid.
        mask: [k, j, i]; every face of the array holds at least one true voxel.
    """

    start_kji: tuple[int, int, int]
    mask: Mask

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Where the small array lies in the grid."""
        k, j, i = (slice(a, a + n) for a, n in zip(self.start_kji, self.mask.shape, strict=True))
        return k, j, i

    @property
    def box(self) -> Box:
        """The tight box in voxel edges of the grid."""
        stop = [a + n for a, n in zip(self.start_kji, self.mask.shape, strict=True)]
        return as_box([*self.start_kji, *stop])

    @property
    def fingerprint(self) -> str:
        """Short text that differs when a voxel or the place differs."""
        place = ",".join(str(n) for n in (*self.start_kji, *self.mask.shape))
        digest = hashlib.blake2b(np.packbits(self.mask).tobytes(), digest_size=8)
        return f"{place}:{digest.hexdigest()}"

    @property
    def voxels(self) -> int:
        """How many voxels it holds."""
        return int(np.count_nonzero(self.mask))

    def to_json(self) -> list[Any]:
        """Return place, size and compressed voxels as plain data."""
        bits = base64.b64encode(zlib.compress(np.packbits(self.mask).tobytes())).decode("ascii")
        return [list(self.start_kji), list(self.mask.shape), bits]

    @classmethod
    def from_json(cls, data: list[Any]) -> Patch:
        """Rebuild what `to_json` returned."""
        start, shape, text = data
        bits = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
        count = int(np.prod(shape))
        k, j, i = (int(n) for n in start)
        return cls((k, j, i), np.unpackbits(bits, count=count).astype(bool).reshape(shape))

    def is_same(self, other: Patch | None) -> bool:
        """Whether both hold exactly the same voxels of the grid."""
        return (
            other is not None
            and self.start_kji == other.start_kji
            and np.array_equal(self.mask, other.mask)
        )

    def measure(self, geometry: Geometry) -> tuple[float, float]:
        """Return (diameter_mm, volume_ml) on the grid the patch was cut from."""
        stop = [a + n for a, n in zip(self.start_kji, self.mask.shape, strict=True)]
        return measure_mask(self.mask, geometry.cropped(self.start_kji, stop))

    def cropped(self, window: tuple[slice, ...]) -> Patch | None:
        """Return the part inside grid slices, None when nothing is left."""
        inside = np.zeros_like(self.mask)
        own = tuple(
            slice(max(w.start - a, 0), max(w.stop - a, 0))
            for w, a in zip(window, self.start_kji, strict=True)
        )
        inside[own] = self.mask[own]
        return patch_from_mask(inside, self.start_kji)


def patch_from_mask(mask: Mask, start_kji: tuple[int, ...] = (0, 0, 0)) -> Patch | None:
    """Cut a mask down to its true voxels; None when there are none.

    Args:
        mask: [k, j, i].
        start_kji: index of the mask's first voxel in the grid.
    """
    mask = np.asarray(mask, dtype=bool)
    slabs = np.flatnonzero(np.any(mask, axis=(1, 2)))
    if not len(slabs):
        return None
    outline = np.any(mask[slabs[0] : slabs[-1] + 1], axis=0)
    spans = [slabs, *(np.flatnonzero(np.any(outline, axis=1 - axis)) for axis in (0, 1))]
    where = tuple(slice(int(hit[0]), int(hit[-1]) + 1) for hit in spans)
    return _patch(mask, where, start_kji)


def shared_voxels(one: Patch, two: Patch) -> bool:
    """Whether two patches have a voxel in common."""
    here, there = [], []
    for a, b in zip(one.slices, two.slices, strict=True):
        first, last = max(a.start, b.start), min(a.stop, b.stop)
        if last <= first:
            return False
        here.append(slice(first - a.start, last - a.start))
        there.append(slice(first - b.start, last - b.start))
    return bool((one.mask[tuple(here)] & two.mask[tuple(there)]).any())


def patch_of_value(
    array: npt.NDArray[Any], value: int, start_kji: tuple[int, int, int] = (0, 0, 0)
) -> Patch | None:
    """Return the voxels of one value of a large [k, j, i] array, None when there are none.

    Args:
        array: integers.
        value: which.
        start_kji: index of the array's first voxel in the grid.
    """
    same = np.empty(array.shape[1:], bool)
    # plane by plane: what is compared stays in the processor's cache
    planes = [k for k in range(array.shape[0]) if np.equal(array[k], value, out=same).any()]
    if not planes:
        return None
    first, last = planes[0], planes[-1] + 1
    k, j, i = start_kji
    return patch_from_mask(array[first:last] == value, (k + first, j, i))


def patches_by_value(array: npt.NDArray[Any]) -> dict[int, Patch]:
    """Return the voxels of every positive value of a [k, j, i] integer array."""
    found: dict[int, tuple[slice, slice, slice]] = {}
    planes = max(1, SLAB_VOXELS // max(1, array[:1].size))
    for first in range(0, array.shape[0], planes):
        for value, where in _objects(array[first : first + planes]):
            here = (slice(where[0].start + first, where[0].stop + first), where[1], where[2])
            found[value] = _joined(found[value], here) if value in found else here
    return {value: _patch(array, found[value], (0, 0, 0), value) for value in sorted(found)}


def _objects(slab: npt.NDArray[Any]) -> Iterator[tuple[int, tuple[slice, slice, slice]]]:
    from scipy import ndimage

    for value, where in enumerate(ndimage.find_objects(slab), start=1):
        if where is not None:
            yield value, where


def _joined(
    one: tuple[slice, slice, slice], two: tuple[slice, slice, slice]
) -> tuple[slice, slice, slice]:
    k, j, i = (
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, two, strict=True)
    )
    return k, j, i


def patches_of(findings: Findings) -> dict[str, Patch]:
    """Return each finding's voxels by id: its mask, or its box filled.

    A finding without a voxel (empty mask, box off the grid) is left out.
    """
    return all_patches(findings)[0]


def all_patches(findings: Findings) -> tuple[dict[str, Patch], dict[int, Patch]]:
    """Return `patches_of` and `unclaimed_patches` from one walk over the label map."""
    masks = {} if findings.label_map is None else patches_by_value(findings.label_map)
    patches: dict[str, Patch] = {}
    for item in findings:
        if item.mask_value is None:
            patch = filled_box(item.box, findings.geometry.shape_kji)
        else:
            patch = masks.pop(item.mask_value, None)
        if patch is not None:
            patches[item.id] = patch
    return patches, masks


def unclaimed_patches(findings: Findings) -> dict[int, Patch]:
    """Return the voxels of the label map that belong to no finding, by value."""
    return all_patches(findings)[1]


def filled_box(box: Box, shape_kji: tuple[int, int, int]) -> Patch | None:
    """Return the voxels whose centre lies in a box; None when there are none."""
    window = box_slices(box, shape_kji)
    sizes = [part.stop - part.start for part in window]
    k, j, i = (part.start for part in window)
    return Patch((k, j, i), np.ones(sizes, dtype=bool)) if all(sizes) else None


def _patch(
    array: npt.NDArray[Any],
    where: tuple[slice, ...],
    start_kji: tuple[int, ...],
    value: int = 1,
) -> Patch:
    k, j, i = (int(part.start) + a for part, a in zip(where, start_kji, strict=True))
    return Patch((k, j, i), np.asarray(array[where] == value))

"""A finding's voxels out of a segmentation or label map that another program wrote."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from MedDetectLib.cases.label_files import read_label_map, read_segmentation
from MedDetectLib.cases.segments import Segment, Segmentation
from MedDetectLib.cases.sniff import kind_of
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.review.patches import Patch, patch_from_mask

__all__ = ["mask_from_file"]

GREY = (128, 174, 128)


def mask_from_file(
    path: str | PathLike[str], geometry: Geometry, segment: str | None = None, known: str = ""
) -> Patch:
    """Read one segment as voxels of a grid.

    Args:
        path: ``.seg.nrrd``, or a label map in NIfTI, NRRD or MetaImage; on the grid, or on a
            part of it that the program has cut out.
        geometry: the findings' grid.
        segment: which one, by its id, its name or its value; None where there is one, or one
            whose id is `known`.
        known: the finding's id, which our own files give to its segment.

    Raises:
        InputError: ``other-grid``, ``which-segment`` when there are several, ``no-segment``
            when there is no such one, ``empty-mask``; what `read_segmentation` and
            `read_label_map` refuse.
    """
    path = Path(path)
    try:
        whole = _segmentation(path).on_grid(geometry)
    except InputError as error:
        raise InputError(
            error.code, error.what, where=error.where or path, todo=error.todo
        ) from error
    chosen = _chosen(whole, path, segment, known)
    patch = patch_from_mask(whole.mask_of(chosen))
    if patch is None:
        raise InputError(
            "empty-mask", f"the segment '{chosen.name}' has no voxel", where=path,
            todo="reject the finding instead",
        )  # fmt: skip
    return patch


def _segmentation(path: Path) -> Segmentation:
    """Read any label file; the values of a plain label map are its segments."""
    if kind_of(path) == "nrrd":
        return read_segmentation(path)
    labels, geometry = read_label_map(path)
    segments = [Segment(str(v), str(v), GREY, int(v)) for v in np.unique(labels) if v]
    return Segmentation(geometry, labels[np.newaxis], tuple(segments))


def _chosen(whole: Segmentation, path: Path, wanted: str | None, known: str) -> Segment:
    names = ", ".join(f"'{each.name}' ({each.value})" for each in whole.segments) or "none"
    if wanted is None:
        found = [each for each in whole.segments if each.id == known] or list(whole.segments)
    else:
        found = [
            each
            for each in whole.segments
            if wanted in (each.id, str(each.value)) or wanted.casefold() == each.name.casefold()
        ]
    if not found:
        what = "there is no segment" + (f" '{wanted}'" if wanted is not None else "")
        raise InputError("no-segment", what, where=path, todo=f"there are: {names}")
    if len(found) > 1:
        raise InputError(
            "which-segment", f"the file holds several segments: {names}", where=path,
            todo="choose one with --segment",
        )  # fmt: skip
    return found[0]

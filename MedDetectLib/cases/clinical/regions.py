"""Where a finding without a mask lies, for the report: its box, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from MedDetectLib.cases.clinical.source import SourceSeries
from MedDetectLib.cases.clinical.stand_ins import frame_of_reference
from MedDetectLib.cases.lps import points_flipped
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Box, Finding
from MedDetectLib.core.geometry import FloatArray
from MedDetectLib.core.rasterise import box_slices

if TYPE_CHECKING:
    from highdicom.sr import ImageRegion, VolumeSurface

__all__ = ["box_regions", "box_surface"]


def box_regions(source: SourceSeries, item: Finding) -> list[ImageRegion]:
    """Return a rectangle on each source image whose middle plane the box meets.

    Columns and rows are as SCOORD counts them: 0 is the outer edge of the first pixel
    (PS3.3 C.10.5.1.2), which is how boxes are given here anyway.

    Raises:
        InputError: ``other-grid`` when the box misses the series.
    """
    from highdicom.sr import ImageRegion, SourceImageForRegion

    box, slices = _box_and_slices(source, item)
    regions = []
    for frame in source.frames[slices]:
        several = frame.file.frames > 1
        image = SourceImageForRegion(
            frame.file.text("SOPClassUID"),
            frame.file.text("SOPInstanceUID"),
            referenced_frame_numbers=[frame.index + 1] if several else None,
        )
        regions.append(ImageRegion("POLYLINE", _corners_ij(box), image))
    return regions


def box_surface(source: SourceSeries, item: Finding) -> VolumeSurface:
    """Return the box as one polygon per slice in patient space, for a resampled series.

    Raises:
        InputError: ``other-grid`` when the box misses the series.
    """
    from highdicom.sr import SourceSeriesForSegmentation, VolumeSurface

    box, slices = _box_and_slices(source, item)
    ij = _corners_ij(box) - 0.5
    polygons: Sequence[FloatArray] = [
        points_flipped(
            source.geometry.index_to_ras(
                np.column_stack([np.full(len(ij), float(k)), ij[:, 1], ij[:, 0]])
            )
        )
        for k in range(slices.start, slices.stop)
    ]
    series = SourceSeriesForSegmentation(source.frames[0].file.text("SeriesInstanceUID"))
    return VolumeSurface("POLYGON", polygons, frame_of_reference(source), source_series=series)


def _box_and_slices(source: SourceSeries, item: Finding) -> tuple[Box, slice]:
    """Return the box on the source grid, cut to it in the image plane, and its slices."""
    k0, j0, i0, k1, j1, i1 = source.match.box_to_source(item.box)
    _, rows, columns = source.geometry.shape_kji
    box = (k0, max(j0, 0.0), max(i0, 0.0), k1, min(j1, float(rows)), min(i1, float(columns)))
    slices = box_slices(box, source.geometry.shape_kji)[0]
    if slices.stop <= slices.start:
        raise InputError(
            "other-grid", f"the box of {item.id} misses the series",
            todo="give the series the findings were found in",
        )  # fmt: skip
    return box, slices


def _corners_ij(box: Box) -> FloatArray:
    """(5, 2) corners [column, row] of a box in its image plane, closed."""
    _, j0, i0, _, j1, i1 = box
    return np.array([[i0, j0], [i1, j0], [i1, j1], [i0, j1], [i0, j0]])

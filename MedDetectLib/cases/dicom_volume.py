"""One DICOM series, or one stack of it, into a `Volume`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.cases.dicom_frames import Frame
from MedDetectLib.cases.dicom_pixels import frame_bytes, stored_pixels
from MedDetectLib.cases.dicom_stack import Layout, Stack, check_alike, lay_out
from MedDetectLib.cases.lps import geometry_from_lps
from MedDetectLib.cases.raw_image import luminance, rescaled
from MedDetectLib.cases.stack_resample import even_slices, straightened, straightened_size
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import FloatArray, Geometry
from MedDetectLib.core.memory import require_memory
from MedDetectLib.core.quality import Intake
from MedDetectLib.core.volume import Volume

__all__ = ["place_stack", "read_stack"]


def read_stack(stack: Stack, intake: Intake, memory_limit_bytes: int | None = None) -> Volume:
    """Read one stack of slices; its flaws are judged before any pixel is decoded.

    Raises:
        InputError: ``mixed-geometry``, ``mixed-patients``, ``crooked-stack``,
            ``no-position``, ``no-spacing``, ``no-orientation``, ``duplicate-slice``,
            ``gantry-tilt``, ``slice-gap``, ``rgb``, ``unsupported-lut``, ``too-large``, and
            what `stored_pixels` raises.
    """
    layout, geometry = place_stack(stack, intake)
    first = layout.frames[0]
    files = {frame.file.path: frame.file for frame in stack.frames}
    per_frame = frame_bytes(first.file)
    stored = per_frame * sum(file.frames for file in files.values())
    require_memory(
        2 * stored + 4 * int(np.prod(geometry.shape_kji, dtype=object)), memory_limit_bytes,
        what="the series", where=intake.where,
    )  # fmt: skip
    array = _voxels(layout, intake)
    if layout.is_tilted:
        array = straightened(array, _shift_ji_vox(layout, _spacing_ij(first, intake)))
    if not layout.even:
        array = even_slices(array, layout.distance_mm, layout.step_mm)
    return Volume(array, geometry, first.file.text("Modality"), _name(first), (), _source(layout))


def place_stack(stack: Stack, intake: Intake) -> tuple[Layout, Geometry]:
    """Return how one stack's slices lie and the grid they are read on; decodes no pixel.

    Slice n of the grid is frame n of the layout, unless the stack is tilted or uneven.

    Raises:
        InputError: what `read_stack` raises about headers.
    """
    check_alike(stack.frames, intake)
    layout = _layout(stack.frames, intake)
    _judge(layout, intake)
    first = layout.frames[0]
    spacing_ij = _spacing_ij(first, intake)
    shape, first_ji = _grid(layout, spacing_ij)
    position = np.zeros(3) if first.position_lps is None else first.position_lps
    origin_lps = (
        position
        + first.column_lps * first_ji[0] * spacing_ij[1]
        + first.row_lps * first_ji[1] * spacing_ij[0]
    )
    try:
        geometry = geometry_from_lps(
            shape,
            origin_lps,
            (*spacing_ij, layout.step_mm),
            np.stack([first.row_lps, _upright(first), first.normal_lps], axis=1),
        )
    except InputError as error:
        raise intake.error(error.code, error.what, error.todo) from error
    return layout, geometry


def _upright(frame: Frame) -> FloatArray:
    """Return the column direction, freed of what rounding left of the row direction."""
    column = np.cross(frame.normal_lps, frame.row_lps)
    return np.asarray(column / np.linalg.norm(column), dtype=np.float64)


def _layout(frames: Sequence[Frame], intake: Intake) -> Layout:
    """Lay the slices out; one slice, or none with a place, has its own rules."""
    first = frames[0]
    if len(frames) > 1 and any(f.position_lps is None or not f.oriented for f in frames):
        raise intake.error(
            "no-position",
            f"its {len(frames)} images do not say where in the patient they lie",
            "export the original series; captures and cine loops are no volumes",
        )
    if len(frames) > 1:
        layout = lay_out(frames, intake)
        if len(layout.frames) > 1:
            return layout
    else:
        layout = Layout((first,), {}, np.zeros(1), np.zeros(2), 0.0, True)
    if first.position_lps is None or not first.oriented:
        intake.flaw(
            "no-orientation", "the image does not say how it lies in the patient",
            todo="export the original image",
        )  # fmt: skip
    thickness = first.thickness_mm
    if thickness <= 0:
        intake.flaw("no-spacing", "a single slice states no thickness", todo="give a whole series")
        thickness = 1.0
    return replace(layout, step_mm=thickness)


def _judge(layout: Layout, intake: Intake) -> None:
    """Refuse or note what is wrong with the stack as a whole."""
    copies = sum(len(c) for c in layout.copies.values())
    if copies:
        n, twins = next(iter(layout.copies.items()))
        intake.flaw(
            "duplicate-slice",
            f"{copies} slices lie where another one is, first {twins[0].file.path.name} on"
            f" {layout.frames[n].file.path.name}",
            todo="remove the copies",
        )
    if layout.is_tilted:
        degrees = float(np.degrees(np.arctan(np.linalg.norm(layout.shift_ij_mm))))
        intake.flaw(
            "gantry-tilt",
            f"the slices are sheared by {degrees:.1f} degrees (gantry tilt)",
            todo="re-export the series with the tilt corrected",
        )
    if not layout.even:
        steps = np.diff(layout.distance_mm)
        worst = int(np.abs(steps - layout.step_mm).argmax())
        intake.flaw(
            "slice-gap",
            f"slices {worst + 1} and {worst + 2} are {steps[worst]:.2f} mm apart,"
            f" the rest {layout.step_mm:.2f} mm",
            todo="re-export the series complete",
        )
    if layout.frames[0].file.header.get("ModalityLUTSequence"):
        raise intake.error(
            "unsupported-lut", "its numbers are to be looked up in a table",
            "export it with a rescale slope and intercept",
        )  # fmt: skip


def _spacing_ij(first: Frame, intake: Intake) -> tuple[float, float]:
    """Return the pixel spacing along i and j."""
    if first.spacing_ij_mm is None:
        intake.flaw("no-spacing", "the image states no pixel spacing", todo="export the original")
        return 1.0, 1.0
    return first.spacing_ij_mm


def _grid(
    layout: Layout, spacing_ij: tuple[float, float]
) -> tuple[tuple[int, int, int], FloatArray]:
    """Return the final shape, and the place of its first voxel [j, i] in the first slice."""
    columns, rows = layout.frames[0].size_ij
    shape, first_ji = (len(layout.frames), rows, columns), np.zeros(2)
    if layout.is_tilted:
        shape, first_ji = straightened_size(shape, _shift_ji_vox(layout, spacing_ij))
    if not layout.even:
        shape = (round(float(layout.distance_mm[-1]) / layout.step_mm) + 1, *shape[1:])
    return shape, first_ji


def _shift_ji_vox(layout: Layout, spacing_ij: tuple[float, float]) -> FloatArray:
    """Return (k, 2) how far each slice lies from the first, in rows and columns."""
    shift_ij = layout.distance_mm[:, None] * layout.shift_ij_mm / np.array(spacing_ij)
    return np.asarray(shift_ij[:, ::-1], dtype=np.float64)


def _voxels(layout: Layout, intake: Intake) -> npt.NDArray[Any]:
    """Decode, rescale and stack the slices; copies must be equal to what they copy."""
    decoded: dict[Path, npt.NDArray[Any]] = {}

    def stored(frame: Frame) -> npt.NDArray[Any]:
        if frame.file.path not in decoded:
            if frame.file.frames == 1:
                decoded.clear()
            decoded[frame.file.path] = stored_pixels(frame.file, intake)
        return np.asarray(decoded[frame.file.path][frame.index])

    planes = []
    for n, frame in enumerate(layout.frames):
        plane = stored(frame)
        for twin in layout.copies.get(n, ()):
            same = (twin.slope, twin.intercept) == (frame.slope, frame.intercept)
            if not (same and np.array_equal(stored(twin), plane)):
                raise InputError(
                    "duplicate-slice",
                    f"{twin.file.path.name} and {frame.file.path.name} lie at the same place and"
                    " differ in their pixels",
                    where=intake.where,
                    todo="remove the wrong one; this cannot be accepted",
                )
        planes.append(plane)
    first = layout.frames[0]
    array = np.stack(planes)
    if array.ndim == 4:
        intake.flaw("rgb", "its pixels are colours", todo="export the original grey image")
        array = luminance(array)
    array = _rescaled(array, layout.frames)
    if first.file.text("PhotometricInterpretation") == "MONOCHROME1":
        if first.file.text("Modality") in ("CT", "MR", "PT"):
            intake.note("monochrome1", "viewers show it inverted; its numbers are used as stored")
        else:
            intake.note("monochrome1", "stored with white as 0; inverted so that bright is dense")
            array = np.asarray(array.max() + array.min() - array, dtype=array.dtype)
    return array


def _rescaled(array: npt.NDArray[Any], frames: Sequence[Frame]) -> npt.NDArray[Any]:
    """Apply each slice's own rescaling."""
    factors = {(frame.slope, frame.intercept) for frame in frames}
    if len(factors) == 1:
        return rescaled(array, *factors.pop())
    planes = [rescaled(p, f.slope, f.intercept) for p, f in zip(array, frames, strict=True)]
    whole = all(plane.dtype.kind in "iu" for plane in planes)
    kind = np.result_type(*planes) if whole else np.dtype(np.float32)
    return np.stack([plane.astype(kind) for plane in planes])


def _name(frame: Frame) -> str:
    """Return what a person calls the series."""
    return frame.file.text("SeriesDescription") or frame.file.path.parent.name


def _source(layout: Layout) -> dict[str, Any]:
    """Return where the voxels came from, without saying whose they are."""
    first = layout.frames[0].file
    source: dict[str, Any] = {
        "kind": "dicom",
        "series_instance_uid": first.series_uid,
        "study_instance_uid": first.text("StudyInstanceUID"),
        "frame_of_reference_uid": first.text("FrameOfReferenceUID"),
        "sop_class_uid": first.text("SOPClassUID"),
        "sop_instance_uids": [frame.file.text("SOPInstanceUID") for frame in layout.frames],
        "resampled": layout.is_tilted or not layout.even,
    }
    if any(frame.file.frames > 1 for frame in layout.frames):
        source["frame_numbers"] = [frame.index + 1 for frame in layout.frames]
    return source

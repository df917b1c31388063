"""Sorting the images of a DICOM series into volumes, and how each volume's slices lie.

Slices are sorted by their place along the normal, never by file name or instance number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from MedDetectLib.cases.dicom_frames import SPLIT_KEYS, Frame
from MedDetectLib.core.geometry import MAX_SHEAR_COSINE, FloatArray
from MedDetectLib.core.quality import Intake

__all__ = ["Layout", "Stack", "check_alike", "lay_out", "split_stacks"]

SAME_PLACE_MM = 0.01
SAME_DIRECTION = 5e-3
"""Largest difference of direction cosines within one stack (0.3 degrees)."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Images of one series that make up one volume.

    Args:
        frames: sorted by place along the normal.
        label: what tells it from the series' other stacks; empty when there are none.
        reason: ``"four-d"``, ``"mixed-orientation"`` or empty: why there are several.
    """

    frames: tuple[Frame, ...]
    label: str = ""
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Layout:
    """How the slices of one stack lie.

    Args:
        frames: one per place, by rising distance along the normal.
        copies: further frames at the place of ``frames[n]``, by n.
        distance_mm: (n,) along the normal, from the first slice.
        shift_ij_mm: (2,) how far a slice is moved along rows and columns per mm of distance;
            zero when the stack is at right angles.
        step_mm: distance between neighbours; the median where it is uneven.
        even: whether every step is the same.
    """

    frames: tuple[Frame, ...]
    copies: dict[int, tuple[Frame, ...]]
    distance_mm: FloatArray
    shift_ij_mm: FloatArray
    step_mm: float
    even: bool

    @property
    def is_tilted(self) -> bool:
        """Whether the slices are sheared against each other."""
        return bool(np.abs(self.shift_ij_mm).max() > 0)


def split_stacks(frames: Sequence[Frame]) -> list[Stack]:
    """Divide the images of one series into volumes.

    Scouts and different orientations are apart; where several images share each place
    (time points, echoes, b-values), they are divided by the first of `SPLIT_KEYS` that tells
    them apart wholly, else by the order of acquisition at each place.
    """
    directions: list[list[Frame]] = []
    for frame in frames:
        for group in directions:
            first = group[0]
            apart = max(
                float(np.abs(first.row_lps - frame.row_lps).max()),
                float(np.abs(first.column_lps - frame.column_lps).max()),
            )
            if apart < SAME_DIRECTION and first.is_localizer == frame.is_localizer:
                group.append(frame)
                break
        else:
            directions.append([frame])
    stacks: list[Stack] = []
    for number, group in enumerate(directions, 1):
        for stack in _phases(group):
            if len(directions) > 1:
                name = "scout" if group[0].is_localizer else f"orientation {number}"
                label = f"{name}, {stack.label}" if stack.label else name
                stack = Stack(stack.frames, label, "mixed-orientation")
            stacks.append(stack)
    return stacks


def _phases(frames: list[Frame]) -> list[Stack]:
    """Divide images of one direction by what differs where they share a place."""
    positions = [f.position_lps for f in frames if f.position_lps is not None]
    if len(positions) < len(frames):
        return [Stack(tuple(sorted(frames, key=lambda f: f.order)))]
    distance = np.stack(positions) @ frames[0].normal_lps
    order = np.argsort(distance, kind="stable")
    place = np.zeros(len(frames), np.int64)
    place[order[1:]] = np.cumsum(np.diff(distance[order]) > SAME_PLACE_MM)
    by_place = [frames[n] for n in sorted(range(len(frames)), key=lambda n: (place[n], n))]
    counts = np.bincount(place)
    most = int(counts.max())
    names = {(f.keys.get("SOPInstanceUID"), f.index) for f in frames}
    if most == 1 or len(names) == len(counts):
        return [Stack(tuple(by_place))]  # what repeats are copies of the same objects
    where = dict(zip(map(id, frames), place.tolist(), strict=True))
    for key in SPLIT_KEYS:
        groups: dict[str, list[Frame]] = {}
        for frame in by_place:
            groups.setdefault(frame.keys.get(key, ""), []).append(frame)
        single = all(len({where[id(f)] for f in g}) == len(g) for g in groups.values())
        enough = all(2 * len(g) >= len(counts) for g in groups.values())
        if len(groups) == most and single and enough:
            ranked = sorted(groups, key=lambda text: _rank(text, groups[text]))
            return [Stack(tuple(groups[t]), f"{key} {t}".strip(), "four-d") for t in ranked]
    if (counts != most).any():
        return [Stack(tuple(by_place))]
    stacked: list[list[Frame]] = [[] for _ in range(most)]
    for n in range(len(counts)):
        here = sorted((f for f in frames if where[id(f)] == n), key=lambda f: f.order)
        for phase, frame in zip(stacked, here, strict=True):
            phase.append(frame)
    return [
        Stack(tuple(phase), f"image {n} at each place", "four-d")
        for n, phase in enumerate(stacked, 1)
    ]


def _rank(text: str, frames: list[Frame]) -> tuple[float, tuple[int, int], str]:
    """Sort phases by number where the key is one, else by acquisition."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    return number, min(frame.order for frame in frames), text


def check_alike(frames: Sequence[Frame], intake: Intake) -> None:
    """Refuse a stack whose images differ in size, spacing, frame of reference or patient.

    Raises:
        InputError: ``mixed-geometry``, ``mixed-patients``.
    """
    first = frames[0]
    for frame in frames[1:]:
        for what, mine, other in (
            ("size", first.size_ij, frame.size_ij),
            ("pixel spacing", first.spacing_ij_mm, frame.spacing_ij_mm),
            ("frame of reference", *(f.file.text("FrameOfReferenceUID") for f in (first, frame))),
            ("kind of pixels", *(f.file.text("PhotometricInterpretation") for f in (first, frame))),
        ):
            same = mine == other
            if what == "pixel spacing" and mine and other:
                same = bool(np.allclose(np.array(mine, float), np.array(other, float), rtol=1e-3))
            if not same:
                raise intake.error(
                    "mixed-geometry",
                    f"{first.file.path.name} and {frame.file.path.name} of one series differ in"
                    f" {what}: {mine} and {other}",
                    "export one reconstruction per series",
                )
        if first.file.text("PatientID") != frame.file.text("PatientID"):
            raise intake.error(
                "mixed-patients",
                f"{first.file.path.name} and {frame.file.path.name} of one series are of"
                " different patients",
                "export each patient's series into its own folder",
            )


def lay_out(frames: Sequence[Frame], intake: Intake) -> Layout:
    """Find step, gaps, copies and tilt of a stack of at least two images with positions.

    Nothing is judged here but what can never be a volume.

    Raises:
        InputError: ``crooked-stack`` when the first pixels do not lie on one line.
    """
    row, column, normal = frames[0].row_lps, frames[0].column_lps, frames[0].normal_lps
    places = np.stack([f.position_lps for f in frames if f.position_lps is not None])
    from_first = places - places[0]
    distance = from_first @ normal
    kept: list[int] = []
    copies: dict[int, tuple[Frame, ...]] = {}
    for n in range(len(frames)):
        if kept and distance[n] - distance[kept[-1]] <= SAME_PLACE_MM:
            copies[len(kept) - 1] = (*copies.get(len(kept) - 1, ()), frames[n])
        else:
            kept.append(n)
    distance = distance[kept]
    sideways = np.stack([from_first[kept] @ row, from_first[kept] @ column], axis=1)
    if len(kept) < 2:
        return Layout((frames[0],), copies, np.zeros(1), np.zeros(2), 0.0, True)
    steps = np.diff(distance)
    median = float(np.median(steps))
    shift = sideways[-1] / distance[-1]
    off_line = np.abs(sideways - distance[:, None] * shift).max()
    if off_line > max(0.05 * median, 0.051):
        raise intake.error(
            "crooked-stack",
            f"the slices are moved against each other by up to {off_line:.2f} mm without a rule",
            "export the series again; this is no regular volume",
        )
    if np.abs(shift).max() <= MAX_SHEAR_COSINE:
        shift = np.zeros(2)
    mean = float(distance[-1]) / (len(kept) - 1)
    line = np.polynomial.Polynomial.fit(np.arange(len(kept)), distance, 1)
    off_grid = np.abs(distance - line(np.arange(len(kept)))).max() if len(kept) > 2 else 0.0
    # Positions may be written with one decimal only; a lost slice is always more than this.
    even = bool(off_grid <= max(0.05 * mean, min(0.06, 0.15 * mean)))
    chosen = tuple(frames[n] for n in kept)
    return Layout(chosen, copies, distance, shift, mean if even else median, even)

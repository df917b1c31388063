"""What is refused or flagged before a model sees a volume, whichever door it came through."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.notes import Note
from MedDetectLib.core.volume import Volume

__all__ = ["ACCEPTABLE", "Intake", "check_voxels"]

ACCEPTABLE: dict[str, str] = {
    "slice-gap": "interpolate missing or uneven slices linearly onto the even grid",
    "duplicate-slice": "drop the second of two identical slices",
    "not-finite": "replace NaN and infinite voxels by the lowest finite value",
    "padded-data": "ignore the bytes after the voxels",
    "gantry-tilt": "resample the tilted stack onto a right-angled grid",
    "rgb": "use the brightness of the colours",
    "no-spacing": "assume 1 mm where the spacing is missing",
    "no-orientation": "assume axes along Left, Posterior, Superior where none are stated",
    "frames-disagree": "use the sform of a NIfTI whose qform says otherwise",
}
"""Flaws a caller may accept by name (``--accept CODE``), and what is then done. The result
carries a `Note` for each one that was met. Anything else is refused for good."""


class Intake:
    """Judges one input: refuses its flaws, or notes those the caller accepts.

    Args:
        where: the file, folder or node the messages name.
        accept: codes out of `ACCEPTABLE`; one that is not met is simply unused.

    Raises:
        InputError: ``unknown-accept``.
    """

    def __init__(self, where: str | PathLike[str], accept: Collection[str] = ()) -> None:
        self.where = where
        codes = {accept} if isinstance(accept, str) else set(accept)
        unknown = sorted(codes - ACCEPTABLE.keys())
        if unknown:
            raise InputError(
                "unknown-accept",
                f"'{unknown[0]}' cannot be accepted",
                todo=f"choose from {', '.join(ACCEPTABLE)}",
            )
        self.accept = frozenset(codes)
        self.notes: list[Note] = []

    def flaw(self, code: str, what: str, *, todo: str = "re-export it", done: str = "") -> None:
        """Refuse an acceptable flaw, or note it when the caller accepts it.

        Args:
            code: a key of `ACCEPTABLE`.
            what: what is wrong, as one clause.
            todo: the way out that needs no acceptance.
            done: what is done instead, for the note; the table's text if empty.

        Raises:
            InputError: `code`, unless it is accepted.
        """
        if code not in self.accept:
            raise self.error(code, what, f"{todo}, or pass --accept {code} to {ACCEPTABLE[code]}")
        self.note(code, f"{what}; accepted: {done or ACCEPTABLE[code]}")

    def note(self, code: str, text: str) -> None:
        """Add a remark to the result, once."""
        note = Note(code, text)
        if note not in self.notes:
            self.notes.append(note)

    def error(self, code: str, what: str, todo: str = "") -> InputError:
        """Return the `InputError` that names this input, to be raised."""
        return InputError(code, what, where=self.where, todo=todo)


def check_voxels(volume: Volume, accept: Collection[str] = ()) -> Volume:
    """Refuse voxels that are not numbers; flag an image without any contrast.

    Both file intake and the volume nodes of a scene pass through here.

    Args:
        volume: what was read.
        accept: ``not-finite`` replaces NaN and infinite voxels by the lowest finite value.

    Returns:
        The volume, with a `Note` for what was replaced or is remarkable.

    Raises:
        InputError: ``not-finite``; always when no voxel is finite.
    """
    intake = Intake(volume.source.get("path") or volume.name, accept)
    array = _finite(volume.array, intake)
    if array.size and array.min() == array.max():
        intake.note("constant-image", f"every voxel has the value {array.flat[0]:g}")
    new = tuple(note for note in intake.notes if note not in volume.notes)
    return replace(volume, array=array, notes=volume.notes + new)


def _finite(array: npt.NDArray[Any], intake: Intake) -> npt.NDArray[Any]:
    """Return the array, non-finite voxels replaced if that is accepted."""
    if array.dtype.kind != "f":
        return array
    if all(np.isfinite(plane).all() for plane in array):
        return array
    finite = np.isfinite(array)
    bad = np.argwhere(~finite)
    if len(bad) == array.size:
        raise intake.error("not-finite", "no voxel is a finite number", "re-export the image")
    k, j, i = (int(n) for n in bad[0])
    lowest = array[finite].min()
    intake.flaw(
        "not-finite",
        f"{len(bad)} voxels NaN or infinite, the first at slice {k}, row {j}, column {i}",
        done=f"replaced by the lowest finite value, {lowest:g}",
    )
    return np.where(finite, array, lowest).astype(array.dtype)

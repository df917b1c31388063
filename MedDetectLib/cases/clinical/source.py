"""The series findings belong to, found again in a folder and proved to be the one.

Findings carry the fingerprint of the image they were found in (`Provenance.input_sha256`).
The series is read again and must give the same fingerprint: a result can never be sent out
under another patient's name because two folders were mixed up. A de-identified copy has the
same voxels and is recognised too.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from MedDetectLib.cases.clinical.grid_match import VoxelMatch, match_voxels
from MedDetectLib.cases.dicom_frames import Frame
from MedDetectLib.cases.dicom_series import find_stacks
from MedDetectLib.cases.dicom_stack import Stack
from MedDetectLib.cases.dicom_volume import place_stack, read_stack
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Findings
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.notes import Note
from MedDetectLib.core.quality import ACCEPTABLE, Intake, check_voxels
from MedDetectLib.core.volume import Volume

__all__ = ["EXPORT_ACCEPTABLE", "SourceSeries", "intake_for", "open_source"]

EXPORT_ACCEPTABLE: dict[str, str] = {
    "no-frame-of-reference": "make up a frame of reference for a series that states none",
    "bad-values": "leave out patient and study values that are not valid DICOM",
    "unverified-image": "export findings that do not say which image they were found in",
}
"""What an export accepts by name beside the flaws of the image itself (`ACCEPTABLE`)."""


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """One volume of a DICOM series.

    Args:
        frames: slice n of the grid, unless the stack was resampled; sorted by place.
        geometry: the grid the series is read on.
        resampled: whether the grid's voxels are not the frames' (tilt, gaps).
        match: where the findings' voxels lie on the grid.
        notes: what was accepted.
    """

    frames: tuple[Frame, ...]
    geometry: Geometry
    resampled: bool
    match: VoxelMatch
    notes: tuple[Note, ...] = ()

    @property
    def key(self) -> str:
        """What tells this image from every other, the phases of one series too."""
        first = self.frames[0]
        return f"{first.file.series_uid} {first.file.text('SOPInstanceUID')} {first.index}"

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self.frames[0].file.path.parent


@dataclass(frozen=True, eq=False)
class _Candidate:
    stack: Stack
    frames: tuple[Frame, ...]
    geometry: Geometry
    resampled: bool
    match: VoxelMatch


def intake_for(path: Path, accept: Collection[str]) -> Intake:
    """Return the judge of an image; `accept` may hold codes of both tables.

    Raises:
        InputError: ``unknown-accept``.
    """
    unknown = sorted(set(accept) - ACCEPTABLE.keys() - EXPORT_ACCEPTABLE.keys())
    if unknown:
        raise InputError(
            "unknown-accept", f"'{unknown[0]}' cannot be accepted",
            todo=f"choose from {', '.join([*ACCEPTABLE, *EXPORT_ACCEPTABLE])}",
        )  # fmt: skip
    return Intake(path, [code for code in accept if code in ACCEPTABLE])


def open_source(
    path: str | PathLike[str],
    findings: Findings,
    *,
    series: str | None = None,
    accept: Collection[str] = (),
) -> SourceSeries:
    """Find the volume the findings lie in.

    Args:
        path: the folder of the series, or of the whole study.
        findings: on the volume's own grid, turned or cropped by whole voxels at most.
        series: only this series or volume, see `read_volume`.
        accept: codes out of `ACCEPTABLE` and `EXPORT_ACCEPTABLE`.

    Raises:
        InputError: ``no-file``, ``other-grid`` when no volume there has the findings' voxels,
            ``other-image`` when one has but with other values, ``several-series`` when more
            than one could be meant, ``unverified-image``, and what reading it raises.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("no-file", "there is no such folder", where=path, todo="check the path")
    intake = intake_for(path, accept)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks, as in read_volume
        candidates = _candidates(find_stacks(path, intake, series=series), findings, intake)
        chosen = _same_image(candidates, findings, intake, accept)
    return SourceSeries(
        chosen.frames, chosen.geometry, chosen.resampled, chosen.match, tuple(intake.notes)
    )


def _candidates(stacks: list[Stack], findings: Findings, intake: Intake) -> list[_Candidate]:
    """Return the volumes on whose voxels the findings lie.

    With a single volume its own trouble is the answer, with several those in trouble are out.
    """
    found: list[_Candidate] = []
    trouble: list[InputError] = []
    for stack in stacks:
        own = intake if len(stacks) == 1 else Intake(intake.where, intake.accept)
        try:
            layout, geometry = place_stack(stack, own)
            match = match_voxels(findings.geometry, geometry)
        except InputError as error:
            trouble.append(error)
            continue
        resampled = layout.is_tilted or not layout.even
        found.append(_Candidate(stack, layout.frames, geometry, resampled, match))
    if not found and len(trouble) > 1:
        raise intake.error(
            "other-grid",
            f"none of the {len(trouble)} volumes there has the findings' voxels",
            "give the series the findings were found in",
        )
    if not found:
        raise intake.error(trouble[0].code, trouble[0].what, trouble[0].todo)
    return found


def _same_image(
    candidates: list[_Candidate], findings: Findings, intake: Intake, accept: Collection[str]
) -> _Candidate:
    """Return the volume whose voxels have the values the findings were found in."""
    wanted = findings.provenance.input_sha256.split()
    if not wanted:
        if "unverified-image" not in accept:
            raise intake.error(
                "unverified-image", "the findings do not say which image they were found in",
                "pass --accept unverified-image after making sure it is this series",
            )  # fmt: skip
        intake.note("unverified-image", "nothing proves that the findings belong to this series")
        if len(candidates) > 1:
            raise intake.error(
                "several-series", f"{len(candidates)} volumes there have the findings' voxels",
                "choose one with --series UID#n",
            )  # fmt: skip
        return candidates[0]
    for candidate in candidates:
        own = Intake(intake.where, intake.accept)
        volume = check_voxels(read_stack(candidate.stack, own), own.accept)
        if _fingerprint(volume, candidate.match, findings.geometry) in wanted:
            for note in own.notes:
                intake.note(note.code, note.text)
            return candidate
    raise intake.error(
        "other-image",
        "the series has the findings' voxels but other values in them: it is another image",
        "give the series the findings were found in",
    )


def _fingerprint(volume: Volume, match: VoxelMatch, geometry: Geometry) -> str:
    """Return the fingerprint the image would have had on the findings' grid."""
    if volume.geometry.is_close(geometry, 1e-9):
        return replace(volume, geometry=geometry).sha256
    return Volume(match.from_source(volume.array), geometry).sha256

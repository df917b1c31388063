"""Everything a series lacks for SEG and SR, listed before anything is converted.

Both objects take patient and study as the images state them (PS3.3 C.7.1.1, C.7.2.1), point
at the images by their UIDs, and place voxels in the images' frame of reference (C.7.4.1).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from MedDetectLib.cases.clinical.source import intake_for
from MedDetectLib.cases.dicom_frames import Frame
from MedDetectLib.cases.dicom_scan import DicomFile
from MedDetectLib.cases.dicom_series import find_stacks
from MedDetectLib.cases.dicom_stack import Stack
from MedDetectLib.cases.dicom_volume import place_stack
from MedDetectLib.core.errors import InputError

__all__ = ["COPIED", "Problem", "check_frames", "grouped", "is_valid", "preflight"]

COPIED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "AccessionNumber", "StudyID", "ReferringPhysicianName",
)  # fmt: skip
"""Elements of type 2: copied, and written empty where the images have none."""
UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
SEXES = ("M", "F", "O")


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one file.

    Args:
        file: which.
        keyword: the element, or what else is wrong.
        tag: ``(gggg,eeee)``, empty when it is no single element.
        what: what is wrong with it.
        todo: what to do about it.
        code: short.
        blocks: whether nothing can be made of the series until it is put right or accepted.
    """

    file: Path
    keyword: str
    tag: str
    what: str
    todo: str
    code: str
    blocks: bool

    def __str__(self) -> str:
        """Return one line."""
        kind = "problem" if self.blocks else "note"
        element = f"{self.keyword} {self.tag}".strip()
        return f"{kind}[{self.code}]: {element} {self.what}; {self.file.name}; {self.todo}"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**vars(self), "file": str(self.file)}


def preflight(
    path: str | PathLike[str], *, series: str | None = None, accept: Collection[str] = ()
) -> list[Problem]:
    """List everything that is missing or invalid in a series, or in all series of a folder.

    Args:
        path: the folder, or one file of the series.
        series: only this one.
        accept: codes that are no problem, see `open_source`.

    Returns:
        Every problem of every file; empty when all is well.

    Raises:
        InputError: ``no-file``, ``no-series``, ``ambiguous-series``.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("no-file", "there is no such folder", where=path, todo="check the path")
    intake = intake_for(path, accept)
    problems: list[Problem] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            stacks = find_stacks(path, intake, series=series)
        except InputError as error:
            if error.code in ("no-series", "ambiguous-series", "no-file"):
                raise
            where = Path(error.where)
            return [Problem(where, "the file", "", error.what, error.todo, error.code, True)]
        for stack in stacks:
            problems += _of_stack(stack, path, accept)
    return list(dict.fromkeys(problems))


def _of_stack(stack: Stack, path: Path, accept: Collection[str]) -> list[Problem]:
    """List what is wrong with one volume: its images, and how they lie together.

    As in an export, copies of slices that were accepted do not count.
    """
    try:
        layout, _ = place_stack(stack, intake_for(path, accept))
        return check_frames(layout.frames, accept)
    except InputError as error:
        found = check_frames(stack.frames, accept)
        if not any(p.code in ("no-position", "no-orientation", "no-spacing") for p in found):
            file = stack.frames[0].file.path
            found.append(Problem(file, "the stack", "", error.what, error.todo, error.code, True))
        return found


def check_frames(frames: Sequence[Frame], accept: Collection[str] = ()) -> list[Problem]:
    """List what is missing or invalid in the files of some frames."""
    files = list({frame.file.path: frame.file for frame in frames}.values())
    first = files[0]
    problems: list[Problem] = []
    for file in files:
        problems += _uids(file, accept)
        problems += _copied(file, accept)
        problems += _differing(file, first)
    problems += _repeated(files)
    for frame in frames:
        problems += _placed(frame)
    return problems


def grouped(problems: Iterable[Problem]) -> list[tuple[Problem, int]]:
    """Return the first of each kind of problem, and in how many files it is."""
    kinds: dict[tuple[str, str, str], list[Problem]] = {}
    for problem in problems:
        kinds.setdefault((problem.code, problem.keyword, problem.what), []).append(problem)
    return [(same[0], len({p.file for p in same})) for same in kinds.values()]


def is_valid(keyword: str, value: Any) -> bool:
    """Whether a value may stand in an element, by its value representation (PS3.5 6.2)."""
    from pydicom.config import RAISE
    from pydicom.datadict import dictionary_VR
    from pydicom.valuerep import validate_value

    if value is None or str(value) == "":
        return True
    if keyword == "PatientSex":
        return str(value) in SEXES
    if not isinstance(value, (str, int, float)) and not hasattr(value, "original_string"):
        return False  # several values where one is due
    try:
        validate_value(dictionary_VR(keyword), str(value), RAISE)
    except (ValueError, TypeError):
        return False
    return True


def _uids(file: DicomFile, accept: Collection[str]) -> list[Problem]:
    found = []
    for keyword in (*UIDS, "Modality", "FrameOfReferenceUID"):
        text = file.text(keyword)
        if text and (keyword == "Modality" or _is_uid(text)):
            continue
        code, todo = ("missing-tag", "export the series again") if not text else (
            "bad-uid", "export the series again, or correct it"
        )  # fmt: skip
        if keyword == "FrameOfReferenceUID" and not text:
            code = "no-frame-of-reference"
            todo = "export the original series, or accept no-frame-of-reference to make one up"
        what = "is missing" if not text else f"is no valid UID: '{text[:70]}'"
        found.append(_problem(file, keyword, what, todo, code, code not in accept))
    return found


def _copied(file: DicomFile, accept: Collection[str]) -> list[Problem]:
    found = []
    for keyword in COPIED:
        value = file.header.get(keyword)
        if value is None and keyword not in file.header:
            found.append(
                _problem(
                    file, keyword, "is missing", "it is written empty, as the standard allows",
                    "written-empty", False,
                )
            )  # fmt: skip
        elif not is_valid(keyword, value):
            found.append(
                _problem(
                    file, keyword, f"has a value DICOM does not allow: {str(value)[:70]!r}",
                    "correct it, or accept bad-values to leave it out",
                    "bad-values", "bad-values" not in accept,
                )
            )  # fmt: skip
    if not file.text("PatientID") and "PatientID" in file.header:
        found.append(
            _problem(
                file, "PatientID", "is empty",
                "a PACS may not know whose it is; export the series with it",
                "no-patient-id", False,
            )
        )  # fmt: skip
    return found


def _differing(file: DicomFile, first: DicomFile) -> list[Problem]:
    """Return what a file says of patient and study other than the first one does."""
    found = []
    for keyword in (*COPIED, "StudyInstanceUID", "FrameOfReferenceUID"):
        mine, other = file.text(keyword), first.text(keyword)
        if mine != other:
            found.append(
                _problem(
                    file, keyword, f"is '{mine}', but '{other}' in {first.path.name}",
                    "export one series of one patient and study", "differing-tag", True,
                )
            )  # fmt: skip
    return found


def _repeated(files: Sequence[DicomFile]) -> list[Problem]:
    seen: dict[str, DicomFile] = {}
    found = []
    for file in files:
        uid = file.text("SOPInstanceUID")
        if uid and uid in seen:
            found.append(
                _problem(
                    file, "SOPInstanceUID", f"is that of {seen[uid].path.name} too",
                    "remove the copy", "repeated-instance", True,
                )
            )  # fmt: skip
        seen.setdefault(uid, file)
    return found


def _placed(frame: Frame) -> list[Problem]:
    """Return what a frame does not say of its place."""
    needs = (
        ("ImagePositionPatient", "no-position", frame.position_lps is not None),
        ("ImageOrientationPatient", "no-orientation", frame.oriented),
        ("PixelSpacing", "no-spacing", frame.spacing_ij_mm is not None),
    )
    return [
        _problem(frame.file, keyword, "is missing", "export the original series", code, True)
        for keyword, code, there in needs
        if not there
    ]


def _is_uid(text: str) -> bool:
    from pydicom.uid import UID

    return bool(UID(text).is_valid)


def _problem(
    file: DicomFile, keyword: str, what: str, todo: str, code: str, blocks: bool
) -> Problem:
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword)
    text = "" if tag is None else f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    return Problem(file.path, keyword, text, what, todo, code, blocks)

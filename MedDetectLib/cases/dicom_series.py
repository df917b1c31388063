"""Which series a DICOM folder holds, and which of them is meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from MedDetectLib.cases.dicom_frames import frames_of
from MedDetectLib.cases.dicom_scan import DicomFile, Scan, is_image, read_header, scan_folder
from MedDetectLib.cases.dicom_stack import Stack, split_stacks
from MedDetectLib.cases.dicom_volume import read_stack
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.quality import Intake
from MedDetectLib.core.volume import Volume

__all__ = ["SeriesInfo", "find_stacks", "list_dicom", "read_dicom"]


@dataclass(frozen=True)
class SeriesInfo:
    """One series of a folder, as offered for choice.

    Args:
        uid: Series Instance UID.
        number: series number, None when it has none.
        description: what the scanner called it.
        modality: DICOM code.
        slices: images in all.
        size_ij: columns and rows of the first image.
        groups: one text per volume in it (phases, orientations), to be chosen as
            ``UID#1``, ``UID#2``, ...; empty when it is one volume.
    """

    uid: str
    number: int | None
    description: str
    modality: str
    slices: int
    size_ij: tuple[int, int]
    groups: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return one line for a list."""
        columns, rows = self.size_ij
        text = f"{self.uid} '{self.description}' {self.modality} {columns}x{rows}x{self.slices}"
        return f"{text} ({len(self.groups)} volumes)" if self.groups else text


def list_dicom(folder: Path) -> tuple[SeriesInfo, ...]:
    """List the image series of a folder and those below it, by series number."""
    scan = scan_folder(folder)
    return tuple(_info(files) for files in scan.series.values())


def read_dicom(
    path: Path, intake: Intake, *, series: str | None, memory_limit_bytes: int | None
) -> Volume:
    """Read the series of a folder that is meant, or the one a file belongs to.

    Raises:
        InputError: ``no-series``, ``several-series``, ``ambiguous-series``, ``four-d``,
            ``mixed-orientation``, ``not-an-image``, ``truncated-data``, and what
            `read_stack` raises.
    """
    wanted, _, phase = (series or "").partition("#")
    if path.is_dir():
        scan = scan_folder(path)
        files = _choose(scan, wanted, intake)
    else:
        files = _series_of_file(path, wanted, intake)
    stacks = split_stacks([frame for file in files for frame in frames_of(file)])
    return read_stack(_pick(stacks, files[0].series_uid, phase, intake), intake, memory_limit_bytes)


def find_stacks(path: Path, intake: Intake, *, series: str | None) -> list[Stack]:
    """Return every volume a folder or file holds, by headers alone.

    Args:
        path: as for `read_dicom`.
        intake: names the input in errors.
        series: only this series, or with ``UID#2`` only this volume of it.

    Raises:
        InputError: ``no-series``, ``ambiguous-series``, ``truncated-data``, and what
            `frames_of` raises for the only series there is.
    """
    wanted, _, phase = (series or "").partition("#")
    if not path.is_dir():
        chosen = [_series_of_file(path, wanted, intake)]
    elif wanted:
        chosen = [_choose(scan_folder(path), wanted, intake)]
    else:
        scan = scan_folder(path)
        chosen = list(scan.series.values()) or [_choose(scan, "", intake)]
    stacks: list[Stack] = []
    trouble: list[InputError] = []
    for files in chosen:
        try:
            volumes = split_stacks([frame for file in files for frame in frames_of(file)])
        except InputError as error:  # captures and the like among the series of a study
            trouble.append(error)
            continue
        uid = files[0].series_uid
        stacks += [_pick(volumes, uid, phase, intake)] if phase else volumes
    if not stacks:
        raise trouble[0]
    return stacks


def _info(files: list[DicomFile]) -> SeriesInfo:
    """Describe one series."""
    first = files[0]
    try:
        stacks = split_stacks([frame for file in files for frame in frames_of(file)])
    except InputError:
        stacks = []  # what is wrong is said when it is read
    number = first.text("SeriesNumber")
    return SeriesInfo(
        first.series_uid,
        int(number) if number.lstrip("-").isdigit() else None,
        first.text("SeriesDescription"),
        first.text("Modality"),
        sum(file.frames for file in files),
        (int(first.header.Columns), int(first.header.Rows)),
        tuple(_label(stack) for stack in stacks) if len(stacks) > 1 else (),
    )


def _label(stack: Stack) -> str:
    return f"{stack.label} ({len(stack.frames)} slices)"


def _choose(scan: Scan, wanted: str, intake: Intake) -> list[DicomFile]:
    """Return the files of the series that is meant."""
    if scan.damaged and not scan.series:
        raise _damaged(next(iter(scan.damaged)))
    if not scan.series:
        others = f" ({scan.passed_over} other DICOM objects)" if scan.passed_over else ""
        raise intake.error(
            "no-series", f"the folder holds no DICOM images{others}",
            "give a folder with a CT or MR series, or an image file",
        )  # fmt: skip
    matches = _matching(scan, wanted)
    listed = ", ".join(str(_info(files)) for files in scan.series.values())
    if not matches:
        raise intake.error(
            "no-series", f"no series '{wanted}' is among {listed}", "choose one with --series UID"
        )
    if len(matches) > 1:
        code = "ambiguous-series" if wanted else "several-series"
        raise intake.error(
            code, f"{len(matches)} series are there: {listed}", "choose one with --series UID"
        )
    for path, uid in scan.damaged.items():
        if uid in ("", matches[0]):
            raise _damaged(path)
    return scan.series[matches[0]]


def _matching(scan: Scan, wanted: str) -> list[str]:
    """Return series whose UID, number, or beginning or end of the UID is `wanted`."""
    if not wanted or wanted in scan.series:
        return [wanted] if wanted else list(scan.series)
    by_number = [u for u, files in scan.series.items() if files[0].text("SeriesNumber") == wanted]
    return by_number or [u for u in scan.series if u.startswith(wanted) or u.endswith(wanted)]


def _damaged(path: Path) -> InputError:
    return InputError(
        "truncated-data", "the file ends inside its header", where=path,
        todo="the file was cut short: copy or export it again",
    )  # fmt: skip


def _series_of_file(path: Path, wanted: str, intake: Intake) -> list[DicomFile]:
    """Return the file alone if it is multi-frame, else its series in its folder."""
    header = read_header(path)
    if header is None:
        raise intake.error("bad-header", "this is no DICOM file", "export it again")
    if not is_image(header):
        kind = str(header.get("Modality") or "")
        if not kind:
            raise _damaged(path)
        raise intake.error(
            "not-an-image", f"it holds a {kind} object, not an image", "give the image series"
        )
    file = DicomFile(path, header, str(header.get("SeriesInstanceUID") or ""))
    if file.frames > 1:
        return [file]
    return _choose(scan_folder(path.parent, deep=False), wanted or file.series_uid, intake)


def _pick(stacks: list[Stack], uid: str, phase: str, intake: Intake) -> Stack:
    """Return the stack that is meant."""
    count = len(stacks)
    if phase:
        if not phase.isdigit() or not 1 <= int(phase) <= count:
            raise intake.error(
                "no-series", f"series {uid} has no volume #{phase}", f"choose #1 to #{count}"
            )
        return stacks[int(phase) - 1]
    if count == 1:
        return stacks[0]
    choices = ", ".join(f"#{n} {_label(stack)}" for n, stack in enumerate(stacks[:12], 1))
    more = f" and {count - 12} more" if count > 12 else ""
    raise intake.error(
        stacks[0].reason, f"series {uid} holds {count} volumes: {choices}{more}",
        f"choose one with --series '{uid}#1' to '{uid}#{count}'",
    )  # fmt: skip

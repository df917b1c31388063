"""Findings out as DICOM: one SEG and one SR, both or neither.

    made = export_clinical(findings, "series", "out", reader=Reader("Doe^Jane", signed=time))
    made.seg, made.sr, made.tracking["F1"], made.notes

Runs inside Slicer too: pydicom, highdicom and numpy are all it takes.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from MedDetectLib import __version__
from MedDetectLib.cases.atomic import make_folder, replacing
from MedDetectLib.cases.clinical.identity import tracking_uid, uid_from
from MedDetectLib.cases.clinical.preflight import check_frames, grouped
from MedDetectLib.cases.clinical.reader import Reader, moment_of
from MedDetectLib.cases.clinical.report import build_sr
from MedDetectLib.cases.clinical.segmentation import Uids, build_seg, masked
from MedDetectLib.cases.clinical.source import SourceSeries, open_source
from MedDetectLib.cases.clinical.stand_ins import frame_of_reference, patient_and_study
from MedDetectLib.cases.dicom_frames import Frame
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.core.notes import Note

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["Exported", "Reader", "export_clinical"]

SEG_FILE, SR_FILE = "seg.dcm", "sr.dcm"
SERIES_NUMBERS = 9000
"""Our series go behind those of the scanner."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        seg: the segmentation's file; None when no finding has a mask.
        sr: the report's file.
        seg_uid, sr_uid: SOP Instance UIDs.
        tracking: tracking UIDs by finding id.
        notes: what was accepted or left out on the way.
    """

    seg: Path | None
    sr: Path
    seg_uid: str
    sr_uid: str
    tracking: dict[str, str]
    notes: tuple[Note, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Both files, or the report alone."""
        return (self.sr,) if self.seg is None else (self.seg, self.sr)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        data = asdict(self)
        return {**data, "seg": str(self.seg) if self.seg else None, "sr": str(self.sr)}


def export_clinical(
    findings: Findings,
    series_folder: str | PathLike[str],
    out: str | PathLike[str],
    *,
    reader: Reader | None = None,
    series: str | None = None,
    accept: Collection[str] = (),
    include_rejected: bool = False,
    added_by: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> Exported:
    """Write findings as ``seg.dcm`` and ``sr.dcm``, for the images they were found in.

    The same findings, signed at the same time, give the same bytes under the same UIDs.

    Args:
        findings: on the voxels of the series, see `open_source`.
        series_folder: the source images.
        out: a folder; made where it is missing, older exports in it are replaced.
        reader: who stands for the review; with a time of signing the report is COMPLETE, with
            an organisation too it is VERIFIED.
        series: which series or volume of the folder, where it matters.
        accept: flaws to accept by code, see `open_source`.
        include_rejected: also what the reader rejected, marked as such.
        added_by: who drew a finding that no model found, by finding id, see `identity.added_by`;
            for a review of one person alone the reader, which is the default.
        now: when an unsigned export is made; the computer's time if None.

    Raises:
        InputError: ``missing-tags`` when the pre-flight finds what blocks, and what
            `open_source` raises. Nothing is written then.
        StoreError: ``cannot-write``.
    """
    source = open_source(series_folder, findings, series=series, accept=accept)
    authors = _authors(findings, reader) if added_by is None else added_by
    items = _reported(findings, authors, include_rejected=include_rejected)
    tracking = {
        item.id: tracking_uid(findings, item, source.key, authors.get(item.id, ""))
        for item in items
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on the style of names, which quote them
        notes = [*source.notes, *_must_be_complete(source, accept)]
        seg, sr = _built(source, findings, items, tracking, reader, _moment(reader, now))
    if left_out := len(findings) - len(items):
        notes.append(Note("rejected", f"{left_out} rejected findings were left out"))
    notes += _without_voxels(findings, items)
    files = _write(Path(out), seg, sr)
    return Exported(
        files[0] if seg is not None else None,
        files[-1],
        str(seg.SOPInstanceUID) if seg is not None else "",
        str(sr.SOPInstanceUID),
        tracking,
        tuple(notes),
    )


def _authors(findings: Findings, reader: Reader | None) -> dict[str, str]:
    """Return who added what no model found, when one person alone reviewed."""
    if reader is None:
        return {}
    return {item.id: reader.name for item in findings if item.state == "added"}


def _reported(
    findings: Findings, authors: Mapping[str, str], *, include_rejected: bool
) -> list[Finding]:
    """Return what goes out; what a person drew stays theirs when another one accepts it."""
    return [
        replace(item, state="added") if item.id in authors and item.state != "rejected" else item
        for item in findings
        if include_rejected or item.state != "rejected"
    ]


def _must_be_complete(source: SourceSeries, accept: Collection[str]) -> list[Note]:
    """Refuse a series that lacks what both objects need; note what is made up or left empty."""
    problems = grouped(check_frames(source.frames, accept))
    blocking = [(problem, count) for problem, count in problems if problem.blocks]
    if blocking:
        listed = "; ".join(
            f"{p.keyword} {p.tag} {p.what} in {n} file{'s' if n > 1 else ''}" for p, n in blocking
        )
        only = {problem.code for problem, _ in blocking}
        hint = blocking[0][0].todo if len(only) == 1 else "'dicom check' lists every file"
        raise InputError(
            "missing-tags", f"the series cannot be referred to: {listed}",
            where=source.folder, todo=hint,
        )  # fmt: skip
    return [Note(p.code, f"{p.keyword} {p.what}; {p.todo}") for p, _ in problems]


def _without_voxels(findings: Findings, items: Sequence[Finding]) -> list[Note]:
    """Note findings whose mask lost all its voxels to others."""
    there = {item.id for item in masked(findings, items)}
    empty = [item.id for item in items if item.mask_value is not None and item.id not in there]
    if not empty:
        return []
    said = ", ".join(empty)
    return [Note("empty-mask", f"{said}: the mask has no voxels; reported with the box")]


def _moment(reader: Reader | None, now: datetime | None) -> datetime:
    """Return when the content came to be, in local time as DICOM dates are."""
    moment = moment_of(reader.signed) if reader and reader.signed else now or datetime.now(UTC)
    return moment.astimezone().replace(tzinfo=None)


def _built(
    source: SourceSeries,
    findings: Findings,
    items: Sequence[Finding],
    tracking: Mapping[str, str],
    reader: Reader | None,
    moment: datetime,
) -> tuple[Dataset | None, Dataset]:
    """Return both objects; their UIDs follow from everything they say."""
    content = _fingerprint(source, findings, tracking, reader, moment)
    segments = masked(findings, items)
    seg = None
    if segments:
        uids = Uids(
            uid_from("seg series", content), uid_from("seg", content), SERIES_NUMBERS, moment
        )
        seg = build_seg(source, findings, segments, uids, tracking, reader)
    uids = Uids(uid_from("sr series", content), uid_from("sr", content), SERIES_NUMBERS + 1, moment)
    return seg, build_sr(source, findings, items, seg, segments, uids, tracking, reader)


def _fingerprint(
    source: SourceSeries,
    findings: Findings,
    tracking: Mapping[str, str],
    reader: Reader | None,
    moment: datetime,
) -> str:
    """Return the SHA-256 of everything the two objects say, patient and images included."""
    data = findings.to_json()
    data["provenance"].pop("seconds")
    said = {
        "source": source.key,
        "study": dict(patient_and_study(source)),
        "images": [_place_of(frame) for frame in source.frames],
        "frame_of_reference": frame_of_reference(source),
        "grid": source.geometry.to_json(),
        "findings": data,
        "tracking": dict(tracking),
        "reader": asdict(reader) if reader else None,
        "moment": moment.isoformat(),
        "program": __version__,
    }
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    if findings.label_map is not None:
        digest.update(np.ascontiguousarray(findings.label_map, dtype="<u2").data)
    return digest.hexdigest()


def _place_of(frame: Frame) -> list[Any]:
    """Return which image a slice is, and where it lies."""
    position = None if frame.position_lps is None else frame.position_lps.tolist()
    names = [frame.file.text(key) for key in ("StudyInstanceUID", "SOPInstanceUID")]
    return [*names, frame.index, position, *frame.row_lps.tolist(), *frame.column_lps.tolist()]


def _write(out: Path, seg: Dataset | None, sr: Dataset) -> list[Path]:
    """Write both files; when either cannot be written, neither is replaced.

    Once both are on the disk an older report goes first and the new one comes last, so that
    at no time a report stands beside a segmentation it does not speak of.
    """
    make_folder(out)
    files: list[Path] = []
    with ExitStack() as places:  # left in reverse order
        for name, made in ((SR_FILE, sr), (SEG_FILE, seg)):
            if made is None:
                continue
            temporary = places.enter_context(replacing(out / name))
            made.save_as(temporary, enforce_file_format=True)
            files.insert(0, out / name)
        (out / SR_FILE).unlink(missing_ok=True)
        if seg is None:
            (out / SEG_FILE).unlink(missing_ok=True)
    return files

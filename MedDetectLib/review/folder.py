"""A session's folder: made whole or not at all, and read back.

journal.jsonl    every act, see `journal`
start/           the findings before the first act, see `cases.findings_files`
voxels/          changes too large for a line, named by their SHA-256
session.lock     who writes now
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from MedDetectLib.cases.durable import make_folder, sync_folder, unreadable, write_over
from MedDetectLib.cases.findings_files import read_findings, write_findings
from MedDetectLib.core.errors import InputError, StoreError
from MedDetectLib.core.findings import Findings
from MedDetectLib.review.disk import saying_plainly
from MedDetectLib.review.fingerprint import findings_sha256
from MedDetectLib.review.journal import Journal, line_of, parse_journal
from MedDetectLib.review.one_writer import OneWriter

__all__ = ["JOURNAL", "create", "damaged", "read_journal", "read_start", "read_voxels", "set_aside"]

JOURNAL, START, VOXELS = "journal.jsonl", "start", "voxels"


def create(folder: Path, findings: Findings, header: Mapping[str, Any]) -> OneWriter:
    """Make a session's folder with nothing done yet; all of it is flushed.

    It is made under another name beside `folder` and renamed, so that a crash leaves no
    session or a whole one.

    Returns:
        The right to write to it.

    Raises:
        StoreError: ``session-exists``, ``not-empty``, ``busy``, ``disk-full``,
            ``cannot-write``.
    """
    with saying_plainly(folder):
        _must_be_free(folder)
        if not folder.parent.is_dir():
            make_folder(folder.parent)
        staging = folder.with_name(f".{folder.name}.starting")
        staging.mkdir(exist_ok=True)
        writer = OneWriter(staging)
        try:
            _must_be_free(folder)
            _clear(staging)
            (staging / VOXELS).mkdir()
            write_findings(findings, staging / START)
            write_over(staging / JOURNAL, line_of(header, "")[0])
            return _published(staging, folder, writer)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            writer.release()
            raise


def read_journal(folder: Path) -> Journal:
    """Read a session's journal as far as it is whole.

    Raises:
        StoreError: ``not-a-session``, ``newer-session``, ``cannot-read``.
    """
    path = folder / JOURNAL
    try:
        return parse_journal(path.read_bytes(), path)
    except FileNotFoundError as error:
        raise StoreError(
            "not-a-session", "there is no review here", where=folder, todo="start one"
        ) from error
    except OSError as error:
        raise unreadable(error, path, "the review") from error


def read_start(folder: Path, sha256: str) -> Findings:
    """Read the findings before the first act.

    Raises:
        StoreError: ``damaged-session`` when they are not those the journal was started with,
            ``cannot-read``.
    """
    try:
        findings = read_findings(folder / START)
    except InputError as error:
        raise damaged(folder, error.what) from error
    except OSError as error:
        raise unreadable(error, folder / START, "the review") from error
    if findings_sha256(findings) != sha256:
        raise damaged(folder, "the findings are not those the review was started with")
    return findings


def set_aside(folder: Path, voxels: Mapping[str, Any]) -> dict[str, str]:
    """Write a large voxel change to a file of its own, flushed; return how a line names it.

    Raises:
        StoreError: ``disk-full``, ``cannot-write``.
    """
    data = json.dumps(voxels, sort_keys=True, separators=(",", ":")).encode("ascii")
    name = hashlib.sha256(data).hexdigest()
    with saying_plainly(folder):
        # also when it is there: nobody knows whether its name was flushed
        write_over(folder / VOXELS / f"{name}.json", data)
    return {"file": name}


def read_voxels(folder: Path, name: str) -> dict[str, Any]:
    """Read what `set_aside` wrote.

    Raises:
        StoreError: ``damaged-session`` when it is missing or changed, ``cannot-read``.
    """
    path = folder / VOXELS / f"{name}.json"
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise damaged(folder, f"the voxels {name} are missing") from error
    except OSError as error:
        raise unreadable(error, path, "the review") from error
    if hashlib.sha256(data).hexdigest() != name:
        raise damaged(folder, f"the voxels {name} were changed")
    loaded: dict[str, Any] = json.loads(data)
    return loaded


def damaged(folder: Path, what: str) -> StoreError:
    """Return the refusal of a session that is not as it was written, to be raised."""
    return StoreError(
        "damaged-session", what, where=folder,
        todo="restore the folder from a backup; 'meddetect review export --up-to-damage' saves"
        " what is before the damage",
    )  # fmt: skip


def _must_be_free(folder: Path) -> None:
    if (folder / JOURNAL).exists():
        raise StoreError(
            "session-exists", "there is a review already", where=folder, todo="open it instead"
        )
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise StoreError(
            "not-empty", "the folder holds other things", where=folder, todo="choose another"
        )


def _clear(staging: Path) -> None:
    """Remove what a start that crashed has left, but for the lock."""
    for name in (START, VOXELS):
        if (staging / name).exists():
            shutil.rmtree(staging / name)
    for path in staging.glob(f"*{JOURNAL}"):
        path.unlink()


def _published(staging: Path, folder: Path, writer: OneWriter) -> OneWriter:
    if os.name == "posix":
        os.replace(staging, folder)  # an empty folder of that name is replaced
        sync_folder(folder.parent)
        writer.path = folder / writer.path.name
        return writer
    writer.release()  # Windows moves no folder with an open file, and replaces none
    if folder.exists():
        folder.rmdir()
    os.replace(staging, folder)
    return OneWriter(folder)

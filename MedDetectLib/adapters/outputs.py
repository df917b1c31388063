"""Everything `detect` leaves in a folder, written so that no half of it is ever seen."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from MedDetectLib.adapters.montage import draw_montage
from MedDetectLib.adapters.report import write_report
from MedDetectLib.cases.findings_files import write_findings
from MedDetectLib.core.errors import StoreError
from MedDetectLib.core.findings import Findings
from MedDetectLib.core.notes import Note
from MedDetectLib.core.volume import Volume

__all__ = ["check_folder", "write_outputs"]

_FINDINGS = "findings.json"
_NAMES = {
    _FINDINGS,
    "segmentation.seg.nrrd",
    "boxes.json",
    "boxes.mrk.json",
    "montage.png",
    "report.html",
    "scene.mrb",
}


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that cannot take the results, before any work is done.

    Raises:
        StoreError: ``exists`` (73) when something is there already and may be somebody's
            work, ``cannot-create`` (73) when the folder cannot be made.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise StoreError("exists", "is not a folder", where=folder, todo="give --out", exit_code=73)
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise StoreError(
            "exists",
            "the output folder is not empty",
            where=folder,
            todo="give another --out, or --overwrite to replace the results in it",
            exit_code=73,
        )
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise StoreError(
            "cannot-create",
            "the output folder cannot be written",
            where=folder,
            todo="give an --out you may write to",
            exit_code=73,
        )


def write_outputs(
    volume: Volume, findings: Findings, folder: Path, *, scene: bool = True
) -> tuple[Findings, dict[str, Path]]:
    """Write findings.json, segmentation, boxes, scene, montage and report.

    They are made in a folder beside `folder` and moved in when all are complete.

    Args:
        volume: what was looked at (the first channel of several).
        findings: what was found in it.
        folder: where to; made if it is not there.
        scene: whether to write `scene.mrb` (needs slicer-core).

    Returns:
        The findings as written (with a note when the scene had to be left out), and the
        files by name.

    Raises:
        StoreError: a file cannot be written; `folder` is then as it was before.
    """
    folder = folder.absolute()
    if scene and not _has_slicer():
        text = "scene.mrb was not written: Python package 'slicer-core' is not installed"
        findings, scene = findings.with_notes(Note("no-scene", text)), False
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise StoreError(
            "cannot-create", error.strerror or str(error), where=folder, exit_code=73
        ) from error
    try:
        _write_all(volume, findings, staging, scene)
        names = sorted(path.name for path in staging.iterdir())
        _move_in(staging, folder)
    except OSError as error:
        raise StoreError(
            "cannot-write", error.strerror or str(error), where=folder, todo="free some space"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return findings, {name: folder / name for name in names}


def _move_in(staging: Path, folder: Path) -> None:
    """Bring complete results to their place; earlier ones never mix with them."""
    if not folder.exists():
        staging.chmod(0o777 & ~_umask())
        staging.rename(folder)
        return
    # findings.json vouches for the rest: it goes first and comes last
    for name in (_FINDINGS, *sorted(_NAMES - {_FINDINGS})):
        (folder / name).unlink(missing_ok=True)
    fresh = sorted(path.name for path in staging.iterdir())
    for name in (*(n for n in fresh if n != _FINDINGS), _FINDINGS):
        os.replace(staging / name, folder / name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_all(volume: Volume, findings: Findings, folder: Path, scene: bool) -> None:
    write_findings(findings, folder)
    draw_montage(volume, findings, folder / "montage.png")
    write_report(volume, findings, folder / "montage.png", folder / "report.html")
    if scene:
        from MedDetectLib.adapters.mrml.findings_scene import findings_scene
        from MedDetectLib.adapters.mrml.scene_file import save_scene

        quiet = replace(volume, source={})
        save_scene(findings_scene(quiet, findings), folder / "scene.mrb")


def _has_slicer() -> bool:
    """Whether scenes can be made here: by the package slicer-core, or inside Slicer itself.

    Slicer's own Python finds a package `slicer` in the worker too, where it is of no use.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    if hasattr(sys.modules.get("slicer"), "app"):
        return True
    try:
        distribution("slicer-core")
    except PackageNotFoundError:
        return False
    return True

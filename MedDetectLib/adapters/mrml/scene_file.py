"""Scenes as .mrb files, with or without the Slicer application."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

import slicer
import vtk

from MedDetectLib.adapters.mrml.scene import new_scene
from MedDetectLib.core.errors import InputError, StoreError

__all__ = ["load_scene", "save_scene"]

CANNOT_CREATE = 73
IO_ERROR = 74
_BROKEN_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What `zipfile` raises on files that are cut short, changed or encrypted."""


def save_scene(scene: Any, path: str | os.PathLike[str]) -> Path:
    """Write a whole scene into one .mrb file.

    The file appears complete or not at all: it is built in a hidden folder beside its
    place and renamed. Slicer's own `WriteToMRB` is not used because it writes progress
    to stdout.

    Args:
        scene: vtkMRMLScene; gets storage nodes where it lacks them, else unchanged.
        path: ends in ``.mrb``; an existing file is replaced.

    Returns:
        The path.

    Raises:
        StoreError: ``cannot-write`` (exit 73) when the file cannot be created there,
            ``write-failed`` (exit 74) when something broke off half-way.
        InputError: ``bad-scene-file`` for another file ending, ``one-voxel-segmentation``
            for a scene that Slicer could not load again.
    """
    target = Path(os.path.abspath(path))
    if target.suffix.lower() != ".mrb":
        raise InputError("bad-scene-file", "a scene file ends in .mrb", where=path)
    try:
        workplace = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise StoreError(
            "cannot-write",
            f"the scene cannot be saved: {error.strerror}",
            where=path,
            todo="choose a folder that exists and can be written",
            exit_code=CANNOT_CREATE,
        ) from error
    try:
        bundle = workplace / (target.stem.strip() or "scene")
        bundle.mkdir()
        _write_bundle(scene, bundle, path)
        archive = workplace / "scene.zip"
        _zip(bundle, archive)
        _check_archive(archive, path)
        os.replace(archive, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise StoreError(
            "write-failed",
            f"the scene could not be saved: {error.strerror or error}",
            where=path,
            todo="check the disk's free space and the folder's permissions",
            exit_code=IO_ERROR,
        ) from error
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return target


def load_scene(path: str | os.PathLike[str]) -> Any:
    """Return a new scene with everything an .mrb file holds.

    Args:
        path: written by `save_scene` or by Slicer.

    Raises:
        StoreError: ``cannot-read`` when the file is missing or unreadable.
        InputError: ``bad-scene-file`` when it is no scene, or is damaged;
            ``one-voxel-segmentation``.
    """
    source = Path(os.path.abspath(path))
    _check_archive(source, path)
    scene = new_scene()
    messages = slicer.vtkMRMLMessageCollection()
    with tempfile.TemporaryDirectory() as folder:
        cache = slicer.vtkCacheManager()
        cache.SetRemoteCacheDirectory(folder)
        files = slicer.vtkDataIOManager()
        files.SetCacheManager(cache)
        scene.SetDataIOManager(files)
        loaded = scene.ReadFromMRB(str(source), True, messages)
        scene.SetDataIOManager(None)
    if not loaded:
        raise InputError(
            "bad-scene-file",
            f"the scene could not be loaded: {_first_line(messages)}",
            where=path,
            todo="save it anew",
        )
    return scene


def _write_bundle(scene: Any, bundle: Path, path: str | os.PathLike[str]) -> None:
    messages = slicer.vtkMRMLMessageCollection()
    if not scene.SaveSceneToSlicerDataBundleDirectory(str(bundle), None, messages):
        raise StoreError(
            "write-failed",
            f"the scene could not be saved: {_first_line(messages)}",
            where=path,
            todo="check the disk's free space and the folder's permissions",
            exit_code=IO_ERROR,
        )


def _zip(bundle: Path, archive: Path) -> None:
    """Pack a folder, the folder itself being the archive's only root, down to the disk."""
    with archive.open("wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            for member in sorted(bundle.rglob("*")):
                packed.write(member, member.relative_to(bundle.parent))
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _check_archive(source: Path, path: str | os.PathLike[str]) -> None:
    """Refuse what is not an intact archive, or would unpack outside its folder."""
    try:
        with zipfile.ZipFile(source) as packed:
            names = [PurePosixPath(name.replace("\\", "/")) for name in packed.namelist()]
            damaged = packed.testzip()
            headers = [
                _nrrd_header(packed, n) for n in packed.namelist() if n.endswith(".seg.nrrd")
            ]
    except OSError as error:
        raise StoreError(
            "cannot-read", f"the scene cannot be read: {error.strerror}", where=path
        ) from error
    except _BROKEN_ARCHIVE as error:
        raise InputError("bad-scene-file", f"not a scene archive: {error}", where=path) from error
    if damaged is not None:
        raise InputError("bad-scene-file", f"'{damaged}' in it is damaged", where=path)
    if any(name.is_absolute() or ".." in name.parts or ":" in name.parts[0] for name in names):
        raise InputError("bad-scene-file", "it would unpack outside its own folder", where=path)
    if any(_is_single_voxel(header) for header in headers):
        raise InputError(
            "one-voxel-segmentation",
            "a segmentation in it was cut to a single voxel, which crashes Slicer on loading",
            where=path,
            todo="save it with 'crop to minimum extent' switched off",
        )
    if not any(name.suffix == ".mrml" for name in names):
        raise InputError("bad-scene-file", "it holds no .mrml scene", where=path)


def _nrrd_header(packed: zipfile.ZipFile, name: str) -> list[str]:
    with packed.open(name) as file:
        return [line.decode("latin-1").rstrip("\r\n") for line in iter(file.readline, b"\n")]


def _is_single_voxel(header: list[str]) -> bool:
    """Whether a segmentation file has segments but only one voxel; layers come first."""
    sizes = next((line.split(":")[1].split() for line in header if line.startswith("sizes:")), [])
    has_segments = any(line.startswith("Segment0_ID:") for line in header)
    return has_segments and len(sizes) >= 3 and set(sizes[-3:]) == {"1"}


def _first_line(messages: Any) -> str:
    """Return the first error Slicer reported, or the first message of any kind."""
    numbers = sorted(
        range(messages.GetNumberOfMessages()),
        key=lambda n: messages.GetNthMessageType(n) != vtk.vtkCommand.ErrorEvent,
    )
    texts = [str(messages.GetNthMessageText(n)).strip() for n in numbers]
    return next((text.splitlines()[0] for text in texts if text), "no reason given")

"""What a file is, by its first bytes; what is no image at all is named and refused."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Literal

from MedDetectLib.core.errors import InputError

__all__ = ["FileKind", "kind_of", "refuse_impostors", "stem_of"]

FileKind = Literal["nifti", "nrrd", "meta", "dicom", "picture"]

SUFFIXES: dict[str, FileKind] = {
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".hdr": "nifti",
    ".hdr.gz": "nifti",
    ".img": "nifti",
    ".img.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "meta",
    ".mhd": "meta",
    ".dcm": "dicom",
    ".ima": "dicom",
    ".png": "picture",
    ".jpg": "picture",
    ".jpeg": "picture",
}
HEAD_BYTES = 2048


def kind_of(path: Path) -> FileKind:
    """Return what a file holds, judged by its first bytes and only then by its name.

    Raises:
        InputError: ``no-file``, ``empty-file``, ``lfs-pointer``, ``html-file``,
            ``bad-gzip``, or ``unknown-format``.
    """
    head = _head(path)
    refuse_impostors(head, path)
    if head[:2] == b"\x1f\x8b":
        try:
            head = zlib.decompressobj(31).decompress(head, HEAD_BYTES)
        except zlib.error as error:
            raise InputError(
                "bad-gzip", "the gzip data is damaged", where=path, todo="copy the file again"
            ) from error
        refuse_impostors(head, path)
    found = _by_content(head)
    if found is None:
        found = _by_name(path)
        known = ", ".join(sorted(SUFFIXES))
        if found is None:
            raise InputError(
                "unknown-format",
                "this is no image file that can be read here",
                where=path,
                todo=f"give a DICOM folder or one of {known}",
            )
    return found


def refuse_impostors(head: bytes, path: Path) -> None:
    """Refuse an empty file, a web page, and a Git LFS or annex pointer, by the first bytes.

    Raises:
        InputError: ``empty-file``, ``html-file``, ``lfs-pointer``.
    """
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    if not head:
        raise InputError(
            "empty-file", "the file has no bytes", where=path, todo="copy or download it again"
        )
    if start.startswith(b"version https://git-lfs") or b"/annex/objects/" in start[:120]:
        raise InputError(
            "lfs-pointer",
            "this is a pointer left by Git LFS or git-annex, not the image",
            where=path,
            todo="fetch the content: 'git lfs pull' or 'git annex get'",
        )
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        raise InputError(
            "html-file",
            "this is a web page, not an image",
            where=path,
            todo="download the file itself; the link may need a login",
        )


def stem_of(path: Path) -> str:
    """Return the file name without its image suffix (``.nii.gz`` counts as one)."""
    lower = path.name.lower()
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if lower.endswith(suffix) and len(lower) > len(suffix):
            return path.name[: -len(suffix)]
    return path.name


def _head(path: Path) -> bytes:
    """First bytes of a file that exists."""
    if not path.exists():
        raise InputError("no-file", "there is no such file", where=path, todo="check the path")
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(
            "no-file",
            f"the file cannot be read ({error.strerror})",
            where=path,
            todo="check that it is a file you may read",
        ) from error


def _by_content(head: bytes) -> FileKind | None:
    """Say what the first bytes are, None when they say nothing."""
    if head[128:132] == b"DICM":
        return "dicom"
    if head[:4] == b"NRRD":
        return "nrrd"
    if head[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0", b"\0\0\x02\x1c"):
        return "nifti"
    if head[:8] == b"\x89PNG\r\n\x1a\n" or head[:3] == b"\xff\xd8\xff":
        return "picture"
    if head[:4] in (b"\x08\0\x05\0", b"\x08\0\x08\0", b"\x08\0\x16\0", b"\x08\0\0\0"):
        return "dicom"
    if b"ElementDataFile" in head or b"ObjectType" in head[:200] or b"NDims" in head[:200]:
        return "meta"
    return None


def _by_name(path: Path) -> FileKind | None:
    """Say what the name claims; its reader then says what is wrong inside."""
    lower = path.name.lower()
    return next((kind for suffix, kind in SUFFIXES.items() if lower.endswith(suffix)), None)

"""The key: which UID, patient or file became which. Kept apart, readable by its owner only."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from MedDetectLib.cases.atomic import make_folder
from MedDetectLib.cases.byte_lock import ByteLock
from MedDetectLib.cases.durable import (
    flush,
    said_plainly,
    sync_folder,
    temporary_name,
    write_all,
)
from MedDetectLib.core.errors import InputError, StoreError

__all__ = ["Key", "check_outside", "open_key"]

FORMAT = "meddetect.deidentify-key/1"
NOT_ALLOWED = 77
LEAST_DAYS, MOST_DAYS = 365, 3650
DICOM_ROOT = "1.2.840.10008."


class Key:
    """Gives out pseudonyms; the same for the same original, in every run with this key.

    Args:
        data: what an earlier run kept.
    """

    def __init__(self, data: dict[str, Any] | None = None) -> None:
        data = data or {}
        self.uids: dict[str, str] = dict(data.get("uids", {}))
        self.patients: dict[str, dict[str, Any]] = dict(data.get("patients", {}))
        self.readers: dict[str, str] = dict(data.get("readers", {}))
        self.cases: dict[str, str] = dict(data.get("cases", {}))
        self.runs: list[dict[str, Any]] = list(data.get("runs", []))
        self._made = set(self.uids.values())
        self._pseudonyms = {str(known["pseudonym"]) for known in self.patients.values()}

    def uid(self, original: str) -> str:
        """Return the UID that takes an original's place; DICOM's own and ours stay."""
        if original in self._made or _is_dicoms_own(original):
            return original
        if original not in self.uids:
            self.uids[original] = f"2.25.{uuid.uuid4().int}"
            self._made.add(self.uids[original])
        return self.uids[original]

    def is_ours(self, uid: str) -> bool:
        """Whether a UID was made here, or is DICOM's own."""
        return uid in self._made or _is_dicoms_own(uid)

    def patient(self, original: str) -> str:
        """Return a patient's pseudonym."""
        return str(self._patient(original)["pseudonym"])

    def shift_days(self, original: str) -> int:
        """Return by how many days a patient's dates move back: one to ten years."""
        return int(self._patient(original)["shift_days"])

    def reader(self, name: str) -> str:
        """Return a reader's pseudonym."""
        if name not in self.readers:
            self.readers[name] = _unused("reader-", set(self.readers.values()))
        return self.readers[name]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        data = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return {"format": FORMAT, **data}

    def _patient(self, original: str) -> dict[str, Any]:
        if original not in self.patients:
            self.patients[original] = {
                "pseudonym": _unused("P-", self._pseudonyms),
                "shift_days": -(LEAST_DAYS + secrets.randbelow(MOST_DAYS - LEAST_DAYS)),
            }
            self._pseudonyms.add(self.patients[original]["pseudonym"])
        return self.patients[original]


def _is_dicoms_own(uid: str) -> bool:
    """Whether the standard defines a UID; a scanner that numbers under its root means a patient."""
    if not uid.startswith(DICOM_ROOT):
        return False
    from pydicom.uid import UID

    return bool(UID(uid).name != uid)


def _unused(prefix: str, taken: set[str]) -> str:
    """Draw a name nobody has: among 100,000 patients two would share one of eight digits."""
    while (name := f"{prefix}{secrets.token_hex(4)}") in taken:
        pass
    return name


@contextlib.contextmanager
def open_key(path: Path, outside: Path) -> Iterator[tuple[Key, Any]]:
    """Yield the key of a file, new where there is none, and a function that saves it.

    Args:
        path: the key file; made with mode 0600.
        outside: the export; the key may not lie in it.

    Raises:
        InputError: ``key-inside``, ``key-open`` when others may read it (77); ``bad-key``.
        StoreError: ``busy`` (75) while another run uses it; ``cannot-write`` (73).
    """
    path = path.absolute()
    check_outside(path, outside)
    make_folder(path.parent)
    lock = ByteLock(path.with_name(f".{path.name}.lock"))
    try:
        taken = lock.take()
    except OSError as error:
        raise StoreError(
            "cannot-write",
            f"the key cannot be kept ({error.strerror or error})",
            where=path,
            todo="give another place for it",
            exit_code=73,
        ) from error
    if not taken:
        raise StoreError(
            "busy", "another run uses this key", where=path, todo="wait for it", exit_code=75
        )
    try:
        key = _read(path)
        yield key, lambda: _save(key, path)
    finally:
        lock.drop()


def check_outside(path: Path, outside: Path) -> None:
    """Refuse a key file that would lie in an export.

    Raises:
        InputError: ``key-inside`` (77).
    """
    if path.resolve().is_relative_to(outside.resolve()):
        raise _refused("key-inside", "the key would lie in the export", path)


def _read(path: Path) -> Key:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return Key()
    except OSError as error:
        raise _no_key(path, error) from error
    if os.name == "posix" and mode & 0o077:
        raise _refused("key-open", "others may read the key", path, "chmod 600 it")
    try:
        data = json.loads(path.read_text("utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']}")
        return Key(data)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _no_key(path, error) from error


def _no_key(path: Path, error: Exception) -> InputError:
    return InputError(
        "bad-key", f"it is no key of ours ({error})", where=path, todo="give another file"
    )


def _save(key: Key, path: Path) -> None:
    """Replace the file as a whole; it is never readable by others, not even while written."""
    text = json.dumps(key.to_json(), indent=1, ensure_ascii=False) + "\n"
    made = temporary_name(path.parent)
    with said_plainly(path, "the key"):
        handle = os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            try:
                write_all(handle, text.encode("utf-8"))
                flush(handle)
            finally:
                os.close(handle)
            os.replace(made, path)
        except BaseException:
            made.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def _refused(code: str, what: str, path: Path, todo: str = "keep it apart") -> InputError:
    return InputError(code, what, where=path, todo=todo, exit_code=NOT_ALLOWED)

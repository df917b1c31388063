"""A PACS, by either of its two doors: DIMSE (C-STORE, C-FIND, C-GET) or DICOMweb.

Sending again what was sent before changes nothing: an export has the same UIDs each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urlsplit

from MedDetectLib.core.errors import InputError, StoreError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = [
    "Found",
    "Level",
    "Pacs",
    "Query",
    "Sent",
    "dicom_files",
    "file_of",
    "open_pacs",
    "partly",
    "partly_fetched",
    "unreachable",
]

Level = Literal["study", "series", "instance"]
UNREACHABLE = 69
ADDRESS = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/@\s]+):(?P<port>\d{1,5})/(?P<aet>[ -~]{1,16})"
)


@dataclass(frozen=True)
class Sent:
    """What a PACS took.

    Args:
        files: that were stored.
        warnings: what the PACS remarked, by file name.
    """

    files: tuple[Path, ...]
    warnings: dict[str, str]


@dataclass(frozen=True)
class Query:
    """What is looked for; empty fields match everything.

    Args:
        level: studies, series or instances.
        patient: Patient ID.
        study, series, instance: UIDs.
        modality: DICOM code.
    """

    level: Level = "series"
    patient: str = ""
    study: str = ""
    series: str = ""
    instance: str = ""
    modality: str = ""


@dataclass(frozen=True)
class Found:
    """One match; fields that do not belong to the level are empty."""

    patient: str
    study: str
    series: str
    instance: str
    modality: str
    description: str
    number: str
    sop_class: str

    @classmethod
    def of(cls, data: Dataset) -> Found:
        """Return the fields of an answer."""

        def text(*keywords: str) -> str:
            for keyword in keywords:
                value = data.get(keyword)
                if value not in (None, ""):
                    return "\\".join(value) if isinstance(value, (list, tuple)) else str(value)
            return ""

        return cls(
            text("PatientID"), text("StudyInstanceUID"), text("SeriesInstanceUID"),
            text("SOPInstanceUID"), text("Modality", "ModalitiesInStudy"),
            text("SeriesDescription", "StudyDescription"),
            text("InstanceNumber", "SeriesNumber"), text("SOPClassUID"),
        )  # fmt: skip


class Pacs(Protocol):
    """What both doors do."""

    def push(self, paths: Sequence[Path]) -> Sent:
        """Store objects.

        Raises:
            StoreError: ``pacs-unreachable``, ``pacs-rejected``, ``pacs-timeout`` (69) when
                nothing was sent, ``pacs-partly`` (74) when some objects were not taken.
        """
        ...

    def find(self, query: Query) -> list[Found]:
        """Return what matches.

        Raises:
            StoreError: as `push`, and ``pacs-failed`` (74).
        """
        ...

    def fetch(self, query: Query, out: Path) -> tuple[Path, ...]:
        """Store what matches as ``<SOP Instance UID>.dcm`` in a folder; needs a study.

        Raises:
            InputError: ``no-match``.
            StoreError: as `find`; ``pacs-partly``.
        """
        ...


def open_pacs(
    *,
    to: str = "",
    web: str = "",
    calling: str = "MEDDETECT",
    timeout_s: float = 30.0,
    login: tuple[str, str] | None = None,
    token: str = "",
    ca: Path | None = None,
    client_cert: Path | None = None,
) -> Pacs:
    """Return a PACS; nothing is connected yet.

    Args:
        to: ``host:port/AET`` for DIMSE (needs pynetdicom).
        web: the service's address for DICOMweb, such as ``https://pacs/dicom-web``.
        calling: our own AE title.
        timeout_s: how long an answer may take.
        login: user and password for DICOMweb.
        token: bearer token for DICOMweb.
        ca: certificates to trust for https (PEM); those of the system if None.
        client_cert: our own certificate with its key (PEM), for services that ask for one.

    Raises:
        InputError: ``bad-address``, ``no-file``.
        BackendUnavailable: ``no-package``, when it is used.
    """
    if bool(to) == bool(web):
        raise InputError("bad-address", "one address is needed", todo="give --to or --web")
    if web:
        from MedDetectLib.cases.clinical.pacs_web import WebPacs

        _check_web(web)
        for file in (ca, client_cert):
            if file is not None and not file.is_file():
                raise InputError("no-file", "there is no such certificate", where=file)
        return WebPacs(web.rstrip("/"), timeout_s, login, token, ca, client_cert)
    from MedDetectLib.cases.clinical.pacs_dimse import DimsePacs

    match = ADDRESS.fullmatch(to)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise InputError("bad-address", f"'{to}' is no address", todo="give host:port/AETITLE")
    if not 0 < len(calling.strip()) <= 16 or not calling.isascii():
        raise InputError("bad-address", f"'{calling}' is no AE title", todo="give 1 to 16 letters")
    host = match["host"].strip("[]")
    return DimsePacs(host, int(match["port"]), match["aet"].strip(), calling.strip(), timeout_s)


def _check_web(web: str) -> None:
    """Refuse what is no address; one that holds a password would be in every message."""
    try:
        parts = urlsplit(web)
    except ValueError:
        raise InputError(
            "bad-address", "that is no address", todo="give http(s)://host/…"
        ) from None
    if parts.username is not None or parts.password is not None or parts.query:
        raise InputError(
            "bad-address", "the address holds a user, a password or a query",
            todo="give --user, and the password or token by the environment",
        )  # fmt: skip
    if not re.match(r"https?://[^/\s]+", web):
        raise InputError("bad-address", f"'{web}' is no address", todo="give http(s)://host/…")


def dicom_files(paths: Iterable[str | PathLike[str]]) -> list[Path]:
    """Return the DICOM files of folders and files, in order.

    Raises:
        InputError: ``no-file`` when there is none.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        found += [file for file in files if _is_dicom(file)]
        if not path.exists() or (not path.is_dir() and path not in found):
            raise InputError("no-file", "there is no such DICOM file", where=path)
    if not found:
        raise InputError("no-file", "there is nothing to send", todo="run 'dicom export' first")
    return found


def unreachable(code: str, what: str, where: str, hint: str = "") -> StoreError:
    """Return the error for a PACS that does not talk to us; nothing was sent."""
    hints = {
        "pacs-rejected": "check both AE titles with the PACS administrator",
        "pacs-timeout": "check the address, or give more time with --timeout",
    }
    return StoreError(
        code, what, where=where, exit_code=UNREACHABLE,
        todo=hint or hints.get(code, "check host, port and network"),
    )  # fmt: skip


def partly(failed: Sequence[tuple[Path, str]], count: int, where: str) -> StoreError:
    """Return the error for objects that were not taken."""
    return _partly(failed, count, where, "stored", "send")


def partly_fetched(failed: Sequence[tuple[Path, str]], count: int, where: str) -> StoreError:
    """Return the error for objects that did not come."""
    return _partly(failed, count, where, "fetched", "fetch")


def _partly(
    failed: Sequence[tuple[Path, str]], count: int, where: str, done: str, again: str
) -> StoreError:
    path, why = failed[0]
    return StoreError(
        "pacs-partly",
        f"{len(failed)} of {count} objects were not {done}, first {path.name}: {why}",
        where=where, todo=f"{again} again; what is there already stays as it is",
    )  # fmt: skip


def file_of(folder: Path, uid: str) -> Path:
    """Return where an object is kept; what a PACS calls a UID need not be one.

    Raises:
        ValueError: it is none, and as a file name could lead anywhere.
    """
    if not re.fullmatch(r"[0-9.]{1,64}", uid) or uid.startswith("."):
        raise ValueError("the PACS named an object by what is no UID")
    return folder / f"{uid}.dcm"


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False

"""Looking through what was written, and the file that says what was done."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import MedDetectLib
from MedDetectLib.cases.deidentify.dicom_object import remains_in, violations_in
from MedDetectLib.cases.deidentify.identity import Identity
from MedDetectLib.cases.deidentify.key_file import Key
from MedDetectLib.cases.deidentify.plain_files import gunzip
from MedDetectLib.cases.deidentify.profile_table import EDITION, ROWS, TABLE_SHA256
from MedDetectLib.cases.durable import write_inside

if TYPE_CHECKING:
    from MedDetectLib.cases.deidentify.one_file import Taken

__all__ = ["PROOF", "Checked", "Proof", "check_outputs", "look_through", "write_proof"]

PROOF = "proof.json"
WHOLE_GROUPS = 4
"""Rows of the table that stand for whole groups: curves, overlay data and comments, private."""
HEADER_BYTES = 1 << 16
LIMITS = (
    "voxels are not searched for text or faces; what may show them was set aside or accepted",
    "a time of day is kept when dates are shifted",
    "numbers and defined terms that equal a removed value are kept and listed",
)


@dataclass(frozen=True)
class Proof:
    """``proof.json`` as plain data.

    Args:
        data: what it states.
        sha256: of the file.
    """

    data: dict[str, Any]
    sha256: str

    @property
    def files(self) -> int:
        """How many files left."""
        return len(self.data["files"])

    @property
    def set_aside(self) -> dict[str, int]:
        """How many did not, by reason."""
        return dict(self.data["set_aside"])


@dataclass(frozen=True)
class Checked:
    """The result of looking through what was written.

    Args:
        files: how many were read again.
        guilty: those that hold what they must not.
    """

    files: int
    guilty: tuple[str, ...]


def check_outputs(
    made: Path, outputs: Mapping[str, Taken], identity: Identity, key: Key, shift_dates: bool
) -> Checked:
    """Read every file again from disk and look for all that was in any of the originals."""
    guilty = []
    for name, taken in outputs.items():
        raw = (made / name).read_bytes()
        if taken.kind.value == "dicom":
            wrong: list[str] = violations_in(raw, key, shift_dates=shift_dates)
            wrong += remains_in(raw, identity)
        else:
            wrong = look_through(raw, identity)
        if wrong:
            guilty.append(name)
    return Checked(len(outputs), tuple(guilty))


def look_through(raw: bytes, identity: Identity) -> list[str]:
    """Return which identifying values a file holds, packed parts unpacked."""
    found = set(identity.found_in(raw))
    start = 0 if raw[:2] == b"\x1f\x8b" else raw[:HEADER_BYTES].find(b"\x1f\x8b\x08")
    if start >= 0:
        with contextlib.suppress(ValueError):  # bytes that only look like gzip
            found |= set(identity.found_in(gunzip(raw[start:])))
    return sorted(found)


def write_proof(made: Path, facts: dict[str, Any]) -> Proof:
    """Write ``proof.json``; it names no patient, no original file and no value."""
    data = {
        "format": "meddetect.deidentification-proof/1",
        "meddetect": MedDetectLib.__version__,
        "profile": {
            "name": "Basic Application Level Confidentiality Profile",
            "table": EDITION,
            "table_sha256": TABLE_SHA256,
            "rows": len(ROWS) + WHOLE_GROUPS,
        },
        **facts,
        "limits": list(LIMITS),
    }
    raw = (json.dumps(data, indent=1, allow_nan=False) + "\n").encode()
    write_inside(made / PROOF, raw)
    return Proof(data, hashlib.sha256(raw).hexdigest())

"""The journal's lines: one JSON object each, bound to all lines before it.

    {"format": "meddetect.review", "version": 1, ..., "hash": "..."}       the header
    {"seq": 1, "time": "...", "act": {...}, "effect": {...}, "hash": "..."}

A line's hash is the SHA-256 of the hash before it and of its own text without the hash. So a
line that was changed, lost, inserted or torn is known, and which one.

A crash can leave the beginning of one line at the very end, or a line with stretches of zeros
where the disk never got them: nobody was told that this act is kept, and it is cut off.
Anything else is damage, the last line not excepted, and refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MedDetectLib.core.errors import StoreError

__all__ = ["FORMAT", "READABLE_BY", "VERSION", "Journal", "line_of", "parse_journal"]

FORMAT = "meddetect.review"
VERSION, READABLE_BY = 1, 1
"""The version written here, and the oldest that can still read it."""
NO_HASH = "0" * 64
ENDING = len(',"hash":""}') + 64


@dataclass(frozen=True)
class Journal:
    """A journal as far as it is whole.

    Args:
        header: who, what and when.
        lines: the acts, in order.
        last_hash: binds the next line to these.
        size: length of the whole part in bytes.
        torn: bytes after it that a crash left.
        damage: what is wrong after the whole part, empty when nothing is.
    """

    header: dict[str, Any]
    lines: tuple[dict[str, Any], ...]
    last_hash: str
    size: int
    torn: int = 0
    damage: str = ""


def line_of(data: Mapping[str, Any], previous_hash: str) -> tuple[bytes, str]:
    """Return one line and its hash.

    Args:
        data: plain JSON data, all of it finite.
        previous_hash: of the line before; empty for the header.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    digest = _hash(text.encode("ascii"), previous_hash or NO_HASH)
    return f'{text[:-1]},"hash":"{digest}"}}\n'.encode("ascii"), digest


def parse_journal(data: bytes, where: Path) -> Journal:
    """Read a journal's bytes up to the end, a torn last line, or damage.

    Args:
        data: the whole file.
        where: its path, for messages.

    Raises:
        StoreError: ``not-a-session`` when the header is not one, ``newer-session`` when this
            version cannot read it.
    """
    first, newline, rest = data.partition(b"\n")
    header, last_hash = _parsed(first, NO_HASH)
    if not newline or header is None or header.get("format") != FORMAT:
        raise _not_a_session(where)
    if int(header.get("readable_by", VERSION + 1)) > VERSION:
        raise newer_session(where)
    size = len(first) + 1
    lines: list[dict[str, Any]] = []
    for text in rest.splitlines(keepends=True):
        line, digest = _parsed(text[:-1], last_hash)
        if line is None or not text.endswith(b"\n") or line.get("seq") != len(lines) + 1:
            break
        lines.append(line)
        last_hash, size = digest, size + len(text)
    tail, damage = data[size:], ""
    if tail and not _is_torn(tail, last_hash):
        damage = f"line {len(lines) + 2} is damaged or does not follow line {len(lines) + 1}"
    return Journal(header, tuple(lines), last_hash, size, 0 if damage else len(tail), damage)


def newer_session(where: Path) -> StoreError:
    """Return the refusal of a session that a newer MedDetect wrote, to be raised."""
    return StoreError(
        "newer-session",
        "a newer MedDetect wrote this review",
        where=where,
        todo="open it with that version, or read-only",
        exit_code=77,
    )


def _is_torn(tail: bytes, previous_hash: str) -> bool:
    """Whether a crash can have left this behind the last whole line."""
    if b"\n" in tail[:-1]:
        return False
    if b"\0" in tail:
        return True
    # a whole line whose newline became something else was acknowledged once
    return not tail.endswith(b"\n") and _parsed(tail[:-1], previous_hash)[0] is None


def _parsed(text: bytes, previous_hash: str) -> tuple[dict[str, Any] | None, str]:
    """Return a line's data and hash; None when it is not whole or not the next."""
    body, ending = text[:-ENDING] + b"}", text[-ENDING:]
    digest = _hash(body, previous_hash)
    if ending != f',"hash":"{digest}"}}'.encode("ascii"):
        return None, ""
    data = json.loads(body)
    return (data, digest) if isinstance(data, dict) else (None, "")


def _hash(body: bytes, previous_hash: str) -> str:
    digest = hashlib.sha256(previous_hash.encode("ascii"))
    digest.update(body)
    return digest.hexdigest()


def _not_a_session(where: Path) -> StoreError:
    return StoreError(
        "not-a-session",
        "the first line is not the header of a review, or damaged",
        where=where,
        todo="restore it from a backup",
    )

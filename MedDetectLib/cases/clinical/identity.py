"""Unique identifiers that are worked out, not drawn: the same thing always has the same one.

A finding keeps its tracking UID through every export, so that SEG and SR of one review, and of
the reviews after it, speak of the same lesion; a signed review exported twice is the same
instances, so that a PACS that is sent them twice holds them once.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from MedDetectLib.core.findings import Finding, Findings

if TYPE_CHECKING:
    from MedDetectLib.cases.store.records import VersionRecord

__all__ = ["added_by", "one_line", "tracking_id", "tracking_uid", "uid_from"]

NAMESPACE = uuid.UUID("6f8d4a0e-6c6e-5f0b-9f43-3b1d2c7e9a55")
LONGEST = 64


class Versions(Protocol):
    """What of a case store tells who added a finding."""

    def versions(self, case_id: str) -> tuple[VersionRecord, ...]:
        """Return a case's versions."""

    def findings(self, case_id: str, number: int) -> Findings:
        """Return what one version says."""


def uid_from(*parts: str) -> str:
    """Return a UID under 2.25 (PS3.5 B.2: a UUID as a number) of some text."""
    text = "\n".join(f"{len(part)}:{part}" for part in parts)
    return f"2.25.{uuid.uuid5(NAMESPACE, text).int}"


def tracking_uid(findings: Findings, item: Finding, image_key: str, author: str = "") -> str:
    """Return a finding's UID: of the image, of what found it, and of its number there.

    Args:
        findings: all of them.
        item: one.
        image_key: what tells this image from every other, such as its series UID and first
            SOP Instance UID.
        author: who added it, empty when the model found it. Two readers of one image number
            what they add alike.
    """
    made = findings.provenance
    parts = ("finding", image_key, made.model, made.model_sha256, item.id)
    return uid_from(*parts, author) if author else uid_from(*parts)


def tracking_id(findings: Findings, item: Finding) -> str:
    """Return what a person calls the finding: ``"F1 nodule"``."""
    return one_line(f"{item.id} {findings.label_of(item).name}")


def one_line(text: str) -> str:
    """Return a text as it may stand in LO: one line of 64 characters without backslash."""
    plain = "".join(c if c.isprintable() else " " for c in text.replace("\\", "/"))
    return " ".join(plain.split())[:LONGEST].strip()


def added_by(store: Versions, case_id: str, number: int) -> Mapping[str, str]:
    """Return who added each finding of a stored version that no model found, by finding id.

    A finding is followed back through the versions it was taken over from, and through those
    of the same review, to the one in which it was new. Where a person has given one number to
    two findings (the first was gone when the second came, or both were drawn in reviews that
    knew nothing of each other), the later one is told apart by that version's number.
    """
    records = {record.number: record for record in store.versions(case_id)}
    items: dict[int, dict[str, Finding]] = {}

    def items_of(which: int) -> dict[str, Finding]:
        if which not in items:
            items[which] = {item.id: item for item in store.findings(case_id, which)}
        return items[which]

    def origin_of(finding: str, which: int) -> int:
        record = records[which]
        before: list[int] = [*record.of, *([record.parent] if record.parent else [])]
        session = record.details.get("session")
        before += [n for n in records if session and records[n].details.get("session") == session]
        for earlier in before:
            if earlier in records and earlier < which and finding in items_of(earlier):
                return origin_of(finding, earlier)
        return which

    authors: dict[str, str] = {}
    for finding in items_of(number):
        origin = origin_of(finding, number)
        record = records[origin]
        if record.kind == "ai" or items_of(origin)[finding].state != "added":
            continue
        others = {
            origin_of(finding, earlier)
            for earlier in records
            if earlier < origin
            and records[earlier].author == record.author
            and finding in items_of(earlier)
        }
        authors[finding] = f"{record.author}\n{origin}" if others - {origin} else record.author
    return authors

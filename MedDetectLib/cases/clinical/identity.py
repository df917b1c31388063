"""Unique identifiers that are worked out, not drawn: the same thing always has the same one.

A finding keeps its tracking UID through every export, so that SEG and SR of one review, and of
the reviews after it, speak of the same lesion; a signed review exported twice is the same
instances, so that a PACS that is sent them twice holds them once.
"""

from __future__ import annotations

import uuid

from MedDetectLib.core.findings import Finding, Findings

__all__ = ["tracking_id", "tracking_uid", "uid_from"]

NAMESPACE = uuid.UUID("6f8d4a0e-6c6e-5f0b-9f43-3b1d2c7e9a55")


def uid_from(*parts: str) -> str:
    """Return a UID under 2.25 (PS3.5 B.2: a UUID as a number) of some text."""
    text = "\n".join(f"{len(part)}:{part}" for part in parts)
    return f"2.25.{uuid.uuid5(NAMESPACE, text).int}"


def tracking_uid(findings: Findings, item: Finding, image_key: str) -> str:
    """Return a finding's UID: of the image, of what found it, and of its number there.

    Args:
        findings: all of them.
        item: one.
        image_key: what tells this image from every other, such as its series UID and first
            SOP Instance UID.
    """
    made = findings.provenance
    return uid_from("finding", image_key, made.model, made.model_sha256, item.id)


def tracking_id(findings: Findings, item: Finding) -> str:
    """Return what a person calls the finding: ``"F1 nodule"``."""
    return f"{item.id} {findings.label_of(item).name}"[:64].strip()

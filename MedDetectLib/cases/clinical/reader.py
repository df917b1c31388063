"""Who signed what is exported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from MedDetectLib.core.errors import InputError

__all__ = ["Reader", "moment_of", "person_name"]


@dataclass(frozen=True)
class Reader:
    """The person who stands for a review.

    Args:
        name: as DICOM writes it (``"Doe^Jane"``) or as people do.
        signed: when, UTC in ISO 8601; empty when the review is not signed.
        organisation: who answers for the signature; a report is marked VERIFIED only with it.
        login: the account name.
    """

    name: str
    signed: str = ""
    organisation: str = ""
    login: str = ""

    def __post_init__(self) -> None:
        for what, text in (
            ("name", self.name), ("organisation", self.organisation), ("login", self.login),
        ):  # fmt: skip
            if len(text) > 64 or not text.isprintable() or "\\" in text:
                raise InputError(
                    "bad-name", f"the reader's {what} {text[:40]!r} cannot be written in DICOM",
                    todo="give at most 64 printable characters without backslash",
                )  # fmt: skip
        groups = self.name.split("=")
        if len(groups) > 3 or any(group.count("^") > 4 for group in groups):
            raise InputError(
                "bad-name", f"the reader's name {self.name!r} has more parts than DICOM knows",
                todo="give Family^Given, in up to three alphabets divided by =",
            )  # fmt: skip
        if not self.name.strip():
            raise InputError("bad-name", "the reader has no name", todo="say who reads")
        if self.signed:
            moment_of(self.signed)


def person_name(name: str) -> str:
    """Return a name as DICOM writes it: ``family^given``; one without ``^`` is a family name."""
    name = name.strip()
    return name if "^" in name or "=" in name else f"{name}^"


def moment_of(signed: str) -> datetime:
    """Return the time a text states; without a zone it is UTC.

    Raises:
        InputError: ``bad-time``.
    """
    try:
        moment = datetime.fromisoformat(signed)
    except ValueError as error:
        raise InputError(
            "bad-time", f"'{signed}' is no time", todo="give ISO 8601, as 2026-01-31T12:00:00Z"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

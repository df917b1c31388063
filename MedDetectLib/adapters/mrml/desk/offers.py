"""Edits that a loaded scene holds and the journal does not."""

from __future__ import annotations

from dataclasses import dataclass

from MedDetectLib.review.acts import Act

__all__ = ["Offer"]


@dataclass(frozen=True)
class Offer:
    """Something the user changed in a scene that was saved before it became an act.

    Args:
        finding_id: whose it is.
        act: what it would be.
        is_older: whether the journal has acts on this finding that the scene does not show:
            the edit was made on something that has changed since.
        text: one line for a person.
    """

    finding_id: str
    act: Act
    is_older: bool
    text: str

"""Remarks that travel with a result, so that nothing is accepted or replaced silently."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Note"]


@dataclass(frozen=True)
class Note:
    """One remark: a flaw the user accepted, a fallback taken, a limit reached.

    Args:
        code: short kebab-case name, the same as the error it replaces where there is one.
        text: one line a radiologist understands.
    """

    code: str
    text: str

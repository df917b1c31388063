"""Which patients a model may learn from, decided once per patient and never again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal, get_args

from MedDetectLib.core.errors import InputError

__all__ = ["SPLITS", "Ratios", "Split", "drawn_split"]

Split = Literal["train", "validation", "frozen"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class Ratios:
    """How patients are shared out; the three add up to one.

    Raises:
        InputError: ``bad-ratios``.
    """

    train: float = 0.7
    validation: float = 0.15
    frozen: float = 0.15

    def __post_init__(self) -> None:
        shares = (self.train, self.validation, self.frozen)
        if not all(0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-9:
            raise InputError(
                "bad-ratios",
                f"the shares of train, validation and frozen are {shares}",
                todo="give three numbers from 0 to 1 that add up to 1",
            )

    def to_json(self) -> dict[str, Any]:
        """Return the three shares by name."""
        return dict(vars(self))


def drawn_split(patient: str, salt: str, ratios: Ratios) -> Split:
    """Draw a patient's split: always the same for the same patient, salt and ratios."""
    digest = hashlib.sha256(f"{salt}\0{patient}".encode()).digest()
    drawn = int.from_bytes(digest[:8], "big") / 2**64
    if drawn < ratios.train:
        return "train"
    return "validation" if drawn < ratios.train + ratios.validation else "frozen"

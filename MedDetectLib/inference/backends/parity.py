"""Whether an engine answers what the network says, before anybody relies on it.

The reference is ONNX Runtime on the CPU in float32. The measure is the root of the mean
squared difference over the reference's own spread: 0.01 means that the engine's noise is a
hundredth of what the scores differ by among themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import BackendUnavailable
from MedDetectLib.inference.backends.base import Tensors

__all__ = ["TOLERANCE", "Parity", "measure_parity", "require_parity"]

TOLERANCE: Mapping[str, float] = {"f32": 1e-4, "f16": 1e-2, "bf16": 6e-2, "int8": 1.5e-1}
"""By precision. Measured on U-Nets with instance normalisation: 1e-6, 2e-3 and 2e-2."""

_SEED = 20

Array = npt.NDArray[np.float32]
Run = Callable[[Array], Tensors]


@dataclass(frozen=True)
class Parity:
    """What a comparison gave: the worst output's name and error, and the tolerance."""

    reference: str
    output: str
    error: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the engine may be used; not if its answer is no number."""
        return self.error <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """Return plain data; JSON has no infinity, so a hopeless error is text."""
        error = self.error if np.isfinite(self.error) else "not a number"
        return {**vars(self), "error": error, "seed": _SEED}


def measure_parity(
    run: Run, reference: Run, item_sizes: tuple[int, ...], precision: str, called: str
) -> Parity:
    """Give both the same seeded noise of one window and compare every output of floats.

    Args:
        run: the engine, takes (1, C, k, j, i).
        reference: what is right.
        item_sizes: (C, k, j, i).
        precision: of the engine; a key of `TOLERANCE`.
        called: name and version of the reference.
    """
    batch = np.random.default_rng(_SEED).standard_normal((1, *item_sizes), np.float32)
    expected, answer = reference(batch), run(batch)
    worst, name = -1.0, ""
    for output, right in expected.items():
        if np.asarray(right).dtype.kind != "f":
            continue  # labels of boxes follow from scores, and jump where those tie
        error = _error(np.asarray(answer[output], np.float64), np.asarray(right, np.float64))
        if error > worst:
            worst, name = error, output
    return Parity(called, name, worst, TOLERANCE[precision])


def require_parity(parity: Parity, engine: str) -> None:
    """Refuse an engine that answers something else.

    Raises:
        BackendUnavailable: ``engine-differs``, with the figures.
    """
    if not parity.holds:
        raise BackendUnavailable(
            "engine-differs",
            f"{engine} differs from {parity.reference} by {parity.error:.2g} of the spread of"
            f" '{parity.output}', {parity.tolerance:g} is allowed",
            todo="use another backend or precision, and report it",
        )


def _error(answer: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float:
    if answer.shape != right.shape or not np.isfinite(answer).all():
        return float("inf")
    spread = float(right.std()) or float(np.abs(right).max(initial=0.0)) or 1.0
    return float(np.sqrt(np.mean((answer - right) ** 2))) / spread

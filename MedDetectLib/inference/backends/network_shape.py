"""What two networks must have in common to exchange weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MedDetectLib.core.errors import ModelError
from MedDetectLib.inference.backends.onnx_graph import network_parts

__all__ = ["NetworkShape"]


@dataclass(frozen=True)
class NetworkShape:
    """A network without the values of its weights.

    Args:
        weights: type and sizes of each float weight, by name.
        operators: fingerprint of everything else: operators, their settings, whole numbers.
    """

    weights: dict[str, str]
    operators: str

    @classmethod
    def of(cls, network: bytes, where: str | Path = "") -> NetworkShape:
        """Read it from an ONNX file's content.

        Raises:
            BackendUnavailable: ``no-onnx``.
            ModelError: ``bad-network``.
        """
        weights, rest = network_parts(network, where)
        return cls(weights, hashlib.sha256(rest).hexdigest())

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> NetworkShape:
        """Rebuild what `to_json` returned."""
        return cls(dict(data["weights"]), str(data["operators"]))

    def to_json(self) -> dict[str, Any]:
        """Return plain data under the field names."""
        return dict(vars(self))

    def require_same(self, other: NetworkShape, where: str | Path = "") -> None:
        """Refuse another network's weights.

        Raises:
            ModelError: ``another-network``, naming what is missing, unknown, or of another
                shape.
        """
        mine, its = self.weights, other.weights
        faults = [f"'{name}' is missing" for name in mine if name not in its]
        faults += [f"'{name}' is not known" for name in its if name not in mine]
        faults += [
            f"'{name}' is {its[name]} instead of {mine[name]}"
            for name in mine
            if name in its and its[name] != mine[name]
        ]
        if not faults and self.operators != other.operators:
            faults = ["the weights have the same shapes, the operators differ"]
        if faults:
            more = f" and {len(faults) - 8} more" if len(faults) > 8 else ""
            raise ModelError(
                "another-network",
                f"the new weights are not of the same network: {', '.join(faults[:8])}{more}",
                where=where,
                todo="build an engine of its own for it",
            )

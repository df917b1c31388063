"""What a finding can be called: value, name, colour and coded terminology."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Code", "Label", "Terminology"]


@dataclass(frozen=True)
class Code:
    """One coded term, as in DICOM: scheme (``"SCT"``), value and meaning."""

    scheme: str
    value: str
    meaning: str

    def to_json(self) -> dict[str, str]:
        """Return the three strings by name."""
        return {"scheme": self.scheme, "value": self.value, "meaning": self.meaning}


@dataclass(frozen=True)
class Terminology:
    """What a label means: category, type, and where in the body if that is fixed."""

    category: Code
    type: Code
    anatomic_region: Code | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the codes by role; an unset region is left out."""
        data: dict[str, Any] = {"category": self.category.to_json(), "type": self.type.to_json()}
        if self.anatomic_region is not None:
            data["anatomic_region"] = self.anatomic_region.to_json()
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Terminology:
        """Rebuild what `to_json` returned."""
        region = data.get("anatomic_region")
        return cls(
            Code(**data["category"]), Code(**data["type"]), Code(**region) if region else None
        )


@dataclass(frozen=True)
class Label:
    """One class a model can find.

    Args:
        value: the class number in the model's output; 0 is background and has no label.
        name: what a person reads.
        colour_rgb: three numbers 0 to 255.
        terminology: coded meaning, where the card gives one.
    """

    value: int
    name: str
    colour_rgb: tuple[int, int, int]
    terminology: Terminology | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data; an unset terminology is left out."""
        data: dict[str, Any] = {
            "value": self.value,
            "name": self.name,
            "colour_rgb": list(self.colour_rgb),
        }
        if self.terminology is not None:
            data["terminology"] = self.terminology.to_json()
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Label:
        """Rebuild what `to_json` returned."""
        red, green, blue = data["colour_rgb"]
        coded = data.get("terminology")
        return cls(
            int(data["value"]),
            str(data["name"]),
            (int(red), int(green), int(blue)),
            Terminology.from_json(coded) if coded else None,
        )

"""Values that say nothing, one per kind of DICOM value."""

from __future__ import annotations

from typing import Any

__all__ = ["DUMMIES", "REMOVED", "dummy_of"]

REMOVED = "removed"
DUMMIES: dict[str, Any] = {
    "AE": "REMOVED", "AS": "000Y", "CS": "REMOVED", "DA": "19000101", "DS": "0",
    "DT": "19000101000000", "FD": 0.0, "FL": 0.0, "IS": "0", "LO": REMOVED, "LT": REMOVED,
    "PN": "Removed", "SH": REMOVED, "SL": 0, "SS": 0, "ST": REMOVED, "SV": 0, "TM": "000000",
    "UC": REMOVED, "UL": 0, "UR": "about:removed", "US": 0, "UT": REMOVED, "UV": 0,
    "OB": b"\0\0", "OW": b"\0\0", "UN": b"\0\0", "OF": bytes(4), "OL": bytes(4),
    "OD": bytes(8), "OV": bytes(8), "AT": 0,
}  # fmt: skip


def dummy_of(vr: str) -> Any:
    """Return a value for a VR; ``UI`` and ``SQ`` have none that means nothing."""
    return DUMMIES[vr]

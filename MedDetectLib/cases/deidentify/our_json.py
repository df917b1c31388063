"""MedDetect's own JSON files without who, when and where from."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from MedDetectLib.cases.deidentify.identity import Identity
from MedDetectLib.cases.deidentify.key_file import Key
from MedDetectLib.cases.store.records import CaseRecord, VersionRecord, sealed
from MedDetectLib.core.findings import CaseScore, Finding, Provenance
from MedDetectLib.core.labels import Label

__all__ = ["KNOWN_NAMES", "clean_json", "identity_of_json"]

KNOWN_NAMES = frozenset((
    "case.json", "version.json", "findings.json", "boxes.json", "boxes.mrk.json",
    "segmentation.seg.nrrd", "image.nrrd",
))  # fmt: skip
"""Names that MedDetect gives itself, and that its files refer to."""

FINDINGS_FIELDS = (
    "format", "geometry", "labels", "findings", "case_scores", "provenance", "notes",
    "segmentation",
)  # fmt: skip
BOXES_FIELDS = ("format", "coordinate_system", "unit", "boxes")
BOX_FIELDS = (
    "id", "label", "score", "state", "centre_ras_mm", "size_ijk_mm", "axes_ijk_ras", "edges_kji",
)  # fmt: skip
MARKUP_TEXTS = frozenset((
    "@schema", "type", "name", "coordinateSystem", "coordinateUnits", "labelFormat", "roiType",
    "id", "label", "description", "positionStatus",
))  # fmt: skip
STATE = re.compile("state (?:new|accepted|rejected|edited|added)")


def clean_json(raw: bytes, key: Key, fingerprints: dict[str, str]) -> bytes:
    """Return one of our JSON files cleaned; what is not ours to write in it goes.

    Args:
        raw: the file.
        key: gives out pseudonyms.
        fingerprints: new SHA-256 by old, of files cleaned before this one.

    Raises:
        ValueError: it is none of ours, or damaged.
    """
    data = _parsed(raw)
    kind = str(data.get("format", ""))
    if kind == "meddetect.case/1":
        return sealed(_case(data, key))
    if kind == "meddetect.version/1":
        return sealed(_version(data, key))
    if kind == "meddetect.findings/1":
        return _text(_findings(data, fingerprints))
    if kind == "meddetect.boxes/1":
        boxes = [_only(box, BOX_FIELDS) for box in data["boxes"]]
        return _text(_only(data, BOXES_FIELDS) | {"boxes": boxes})
    if _is_markups(data):
        return raw
    raise ValueError("no JSON file of ours")


def identity_of_json(raw: bytes) -> Identity:
    """Return what identifies somebody in one of our JSON files.

    Raises:
        ValueError: it is none of ours, or damaged.
    """
    data = _parsed(raw)
    identity = Identity()
    if str(data.get("format", "")) == "meddetect.case/1":
        identity = identity_of_case(data["patient"], data["name"], data["source"])
        identity.add_date(str(data["imported"]).replace("-", ""))
    elif str(data.get("format", "")) == "meddetect.version/1":
        if data["kind"] != "ai":
            identity.add_name(str(data["author"]))
        for text in (data["comment"], data["act"]):
            identity.add_text(str(text))
    elif isinstance(data.get("provenance"), dict):
        identity.add_text(str(data["provenance"].get("input_name", "")))
    return identity


def identity_of_case(patient: str, name: str, source: dict[str, Any]) -> Identity:
    """Return what identifies the patient in a case's record."""
    identity = Identity()
    identity.add_name(patient)
    identity.add_text(name)
    for field, text in _texts(source):
        if _is_uid(text):
            identity.add_uid(text)
        elif field not in ("kind", "modality", "format"):
            identity.add_text(text)
    return identity


def _case(data: dict[str, Any], key: Key) -> dict[str, Any]:
    data = _only(data, ("format", *_fields(CaseRecord)))
    key.cases[data["id"]] = data["patient"]
    source = {
        name: key.uid(value) for name, value in data["source"].items()
        if isinstance(value, str) and _is_uid(value)
    }  # fmt: skip
    return data | {
        "patient": key.patient(data["patient"]),
        "name": f"case_{data['id']}",
        "imported": "",
        "source": source,
        "notes": _silent(data["notes"]),
    }


def _version(data: dict[str, Any], key: Key) -> dict[str, Any]:
    data = _only(data, ("format", *_fields(VersionRecord)))
    return data | {
        "author": data["author"] if data["kind"] == "ai" else key.reader(data["author"]),
        "signed": "",
        "comment": "",
        "act": "",
        "details": {},
        "previous_seal": "",
    }


def _findings(data: dict[str, Any], fingerprints: dict[str, str]) -> dict[str, Any]:
    data = _only(data, FINDINGS_FIELDS)
    data |= {
        "provenance": _only(data["provenance"], _fields(Provenance)) | {"input_name": ""},
        "labels": [_only(label, _fields(Label)) for label in data["labels"]],
        "findings": [_only(item, _fields(Finding)) for item in data["findings"]],
        "case_scores": [_only(score, _fields(CaseScore)) for score in data["case_scores"]],
        "notes": _silent(data["notes"]),
    }
    if "segmentation" in data:
        kept = data["segmentation"]
        new = fingerprints.get(kept["sha256"], kept["sha256"])
        data["segmentation"] = kept | {"sha256": new}
    return data


def _silent(notes: list[dict[str, str]]) -> list[dict[str, str]]:
    """Keep the codes of notes; their texts may name files."""
    return [{"code": note["code"], "text": ""} for note in notes]


def _is_markups(data: dict[str, Any]) -> bool:
    """Whether these are boxes as we write them, with no text that a person put in."""
    if set(data) != {"@schema", "markups"} or "markups-schema" not in str(data["@schema"]):
        return False
    points = [point for markup in data["markups"] for point in markup["controlPoints"]]
    return all(STATE.fullmatch(str(point.get("description"))) for point in points) and all(
        field in MARKUP_TEXTS or not text for field, text in _texts(data)
    )


def _only(data: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name in names}


def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def _is_uid(text: str) -> bool:
    return text.count(".") > 1 and text.replace(".", "").isdigit()


def _texts(data: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Yield the field and text of everything in plain data."""
    if isinstance(data, str):
        yield field, data
    elif isinstance(data, dict):
        for name, value in data.items():
            yield from _texts(value, str(name))
    elif isinstance(data, list):
        for value in data:
            yield from _texts(value, field)


def _parsed(raw: bytes) -> dict[str, Any]:
    data = json.loads(raw)
    if not isinstance(data, dict):
        raise ValueError("no JSON file of ours")
    return data


def _text(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()

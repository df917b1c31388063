"""What Python sees in 3D Slicer, as a running application listed it (`slicer-api.json.gz`)."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import json
import re
from pathlib import Path
from typing import Any

LISTING = Path(__file__).with_name("slicer-api.json.gz")

# Bases that the listing names without their module (entries read from Slicer's headers).
_MODULES = ("qt", "ctk", "slicer")

# PythonQt itself answers these on every wrapped object; the listing leaves them out.
# `name` is PythonQt's short word for objectName, which Slicer's own childWidgetVariables uses.
PYTHONQT_OWN = frozenset({"name", "className", "inherits", "delete", "help", "exec_"})

# What the listing misses, with where it was seen instead.
_ALSO = {
    # slicer.util calls it throughout; qSlicerCoreApplication.h declares it
    "slicer.qSlicerCoreApplication": {"methods": ["testingEnabled"]},
}


@dataclasses.dataclass(frozen=True)
class Members:
    """The names one class has, its bases' included."""

    methods: frozenset[str]
    properties: frozenset[str]
    signals: frozenset[str]
    values: frozenset[str]
    signatures: dict[str, tuple[str, ...]]

    def __contains__(self, name: str) -> bool:
        return any(
            name in names for names in (self.methods, self.properties, self.signals, self.values)
        )


@functools.cache
def listing() -> dict[str, Any]:
    """Return the whole listing: 'classes' by full name, and 'python' signatures."""
    return json.loads(gzip.decompress(LISTING.read_bytes()))


def full_name(name: str) -> str | None:
    """Return 'qt.QDialog' for 'QDialog', or None where no such class is listed."""
    classes = listing()["classes"]
    if "." in name:
        return name if name in classes else None
    return next((f"{m}.{name}" for m in _MODULES if f"{m}.{name}" in classes), None)


def is_class(name: str) -> bool:
    """Whether a class of this full name, like 'qt.QLabel', is listed."""
    return name in listing()["classes"]


@functools.cache
def members(name: str) -> Members:
    """Return every name the class of this full name has.

    Raises:
        KeyError: the class is not listed.
    """
    entry = listing()["classes"][name]
    also = _ALSO.get(name, {})
    base = full_name(entry["base"]) if "base" in entry else None
    above = members(base) if base else Members(*[frozenset()] * 4, {})
    signatures = dict(above.signatures)
    for member, forms in entry.get("signatures", {}).items():
        signatures[member] = tuple(normalized(form) for form in forms)
    return Members(
        above.methods | {*entry.get("methods", ()), *also.get("methods", ())},
        above.properties | set(entry.get("properties", ())),
        above.signals | set(entry.get("signals", ())),
        above.values | set(entry.get("values", ())),
        signatures,
    )


def normalized(arguments: str) -> str:
    """Return a C++ argument list as Qt writes it: 'const QString& id' becomes 'QString'.

    Only what a signature is compared by is kept: no names, no default values, no const
    references.
    """
    kept = [_argument(text) for text in _split(arguments)]
    return ",".join(text for text in kept if text)


def _split(arguments: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for at, character in enumerate(arguments):
        depth += (character in "<(") - (character in ">)")
        if character == "," and depth == 0:
            parts.append(arguments[start:at])
            start = at + 1
    return [*parts, arguments[start:]]


def _argument(text: str) -> str:
    text = text.split("=")[0].strip()
    reference = re.fullmatch(r"const\s+(.+?)\s*&\s*\w*", text)
    if reference:
        return reference[1].replace(" ", "")
    pointer = re.fullmatch(r"((?:const\s+)?[\w:<>]+)\s*(\*)\s*\w*", text)
    if pointer:
        return pointer[1] + "*"
    words = text.split()
    if len(words) > 1 and words[-1] not in {"int", "char", "long", "short", "double"}:
        words = words[:-1]
    return " ".join(words)

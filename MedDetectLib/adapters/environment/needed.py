"""Which packages the worker needs, read from `requirements.txt`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Needed", "needed_packages"]

_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*>=\s*([0-9][0-9.]*)$")


@dataclass(frozen=True)
class Needed:
    """One package, and the oldest version that will do."""

    name: str
    at_least: str

    def __str__(self) -> str:
        """Return it as pip reads it."""
        return f"{self.name}>={self.at_least}"

    def met_by(self, versions: Mapping[str, str]) -> bool:
        """Whether `versions` (normalised name -> version) has it, new enough."""
        version = versions.get(self.normalised(self.name))
        return version is not None and _numbers(version) >= _numbers(self.at_least)

    @staticmethod
    def normalised(name: str) -> str:
        """Return a package's name as PEP 503 compares names."""
        return re.sub(r"[-_.]+", "-", name).lower()


def needed_packages() -> tuple[Needed, ...]:
    """Return what `requirements.txt` lists: only ``name>=version`` lines."""
    text = Path(__file__).with_name("requirements.txt").read_text("utf-8")
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    found = [_LINE.match(line) for line in lines if line]
    return tuple(Needed(one[1], one[2]) for one in found if one)


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, trailing zeros gone: 1.26.0rc1 -> (1, 26)."""
    found = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)

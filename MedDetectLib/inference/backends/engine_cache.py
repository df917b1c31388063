"""Engines built for the GPU of this machine, kept on its disk.

    engines/<key>/entry.json            what it is, and which of the files beside it counts
    engines/<key>/<sha256>.engine       its content names it
    engines/<key>/runtime.cache         kernels compiled while it ran, if the engine keeps any
    engines/timing-<key>.cache          what the builder measured on this GPU

`entry.json` is replaced in one step, after the engine is on the disk. So two processes that
build at once both succeed, and whoever reads meanwhile finds the one or the other.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from MedDetectLib.cases.atomic import make_folder, write_bytes
from MedDetectLib.models.registry import user_folder

__all__ = ["EngineCache", "EngineKey", "Entry"]

_FORMAT = "meddetect.engine/1"
_ENTRY = "entry.json"
_ABANDONED_S = 3600.0
"""A file no entry names may belong to a process about to write its entry, but not for long."""


@dataclass(frozen=True)
class EngineKey:
    """Everything an engine depends on: if one thing differs, it is another engine.

    Args:
        network_sha256: of the network's file.
        engine: package and version, ``"tensorrt_rtx 1.7.1"``.
        gpu: name of the GPU.
        capability: its compute capability, ``"8.9"``.
        driver: its driver's version.
        precision: ``"f32"``, ``"f16"``, ``"bf16"``.
        item_sizes: of one window with its channels.
        most: the largest batch it takes.
        refittable: whether its weights can be exchanged.
    """

    network_sha256: str
    engine: str
    gpu: str
    capability: str
    driver: str
    precision: str
    item_sizes: tuple[int, ...]
    most: int
    refittable: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain data under the field names."""
        return {**asdict(self), "item_sizes": list(self.item_sizes)}

    @property
    def digest(self) -> str:
        """A folder name that no other key has."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def matches_but_for_network(self, other: dict[str, Any]) -> bool:
        """Whether `other`, as plain data, is this engine for another network's weights."""
        mine = self.to_json()
        return {**other, "network_sha256": ""} == {**mine, "network_sha256": ""}


@dataclass(frozen=True, eq=False)
class Entry:
    """A kept engine.

    Args:
        key: what it was built for.
        engine: its bytes, checked against their fingerprint.
        facts: what is known of it: parity with the reference, the network's shape.
    """

    key: EngineKey
    engine: bytes
    facts: dict[str, Any] = field(default_factory=dict)


class EngineCache:
    """The folder of kept engines.

    Args:
        folder: where; the user's own MedDetect folder if None.
        most_bytes: engines used longest ago go when the folder is larger.
    """

    def __init__(self, folder: Path | None = None, most_bytes: int = 8 << 30) -> None:
        self.folder = folder or user_folder() / "engines"
        self._most_bytes = most_bytes

    def get(self, key: EngineKey) -> tuple[Entry | None, str]:
        """Return the engine kept for a key, and a remark where one had to be thrown away."""
        place = self.folder / key.digest
        try:
            told = json.loads((place / _ENTRY).read_bytes())
        except FileNotFoundError:
            return None, ""
        except (OSError, ValueError):
            return None, self._thrown_away(place, "cannot be read")
        if not isinstance(told, dict) or told.get("format") != _FORMAT:
            return None, self._thrown_away(place, "is not ours")
        if told.get("key") != key.to_json():
            return None, self._thrown_away(place, "was built for something else")
        try:
            engine = (place / f"{told['sha256']}.engine").read_bytes()
        except (OSError, KeyError, ValueError):
            return None, self._thrown_away(place, "is incomplete")
        if hashlib.sha256(engine).hexdigest() != told["sha256"]:
            return None, self._thrown_away(place, "is damaged")
        with suppress(OSError):
            os.utime(place / _ENTRY)  # what was used last goes last
        return Entry(key, engine, dict(told.get("facts") or {})), ""

    def put(self, entry: Entry) -> None:
        """Keep an engine, in place of one with the same key.

        Raises:
            StoreError: ``cannot-write``.
        """
        place = self.folder / entry.key.digest
        make_folder(place)
        fingerprint = hashlib.sha256(entry.engine).hexdigest()
        write_bytes(place / f"{fingerprint}.engine", entry.engine)
        told = {
            "format": _FORMAT,
            "key": entry.key.to_json(),
            "sha256": fingerprint,
            "facts": entry.facts,
        }
        write_bytes(place / _ENTRY, json.dumps(told, indent=1).encode())
        self.trim(keep=entry.key)

    def facts(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield key and facts of every entry, as plain data, without reading engines."""
        for path in sorted(self.folder.glob(f"*/{_ENTRY}")):
            try:
                told = json.loads(path.read_bytes())
                yield dict(told["key"]), dict(told["facts"])
            except (OSError, ValueError, KeyError, TypeError):
                continue  # `get` says so when somebody asks for it

    # --- what lies beside an engine -----------------------------------------------------

    def read_beside(self, name: str, key: EngineKey | None = None) -> bytes:
        """Return a cache of the engine's own, empty if there is none."""
        try:
            return (self._beside(key) / name).read_bytes()
        except OSError:
            return b""

    def write_beside(self, name: str, content: bytes, key: EngineKey | None = None) -> None:
        """Keep a cache of the engine's own.

        Raises:
            StoreError: ``cannot-write``.
        """
        place = self._beside(key)
        make_folder(place)
        write_bytes(place / name, content)

    # --- room -----------------------------------------------------------------------------

    def trim(self, keep: EngineKey | None = None) -> None:
        """Remove what no entry names, and the engines used longest ago beyond the ceiling."""
        sizes = {}
        for place in [p for p in self.folder.glob("*") if p.is_dir()]:
            self._remove_abandoned(place)
            sizes[place] = _size(place)
        total = sum(sizes.values())
        for place in sorted(sizes, key=_last_used):
            if total <= self._most_bytes:
                return
            if keep is None or place.name != keep.digest:
                shutil.rmtree(place, ignore_errors=True)
                total -= sizes[place]

    def clear(self) -> int:
        """Remove every engine and all that lies beside; return how many bytes that was."""
        total = _size(self.folder)
        for path in self.folder.glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()
        return total - _size(self.folder)

    def _beside(self, key: EngineKey | None) -> Path:
        return self.folder / key.digest if key is not None else self.folder

    def _thrown_away(self, place: Path, why: str) -> str:
        with suppress(OSError):
            (place / _ENTRY).unlink()
        return f"the kept engine {why} and is made anew"

    def _remove_abandoned(self, place: Path) -> None:
        try:
            named = json.loads((place / _ENTRY).read_bytes())["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            named = ""
        for file in place.glob("*"):
            ours = file.name in (_ENTRY, f"{named}.engine") or file.suffix == ".cache"
            with suppress(OSError):
                if not ours and time.time() - file.stat().st_mtime > _ABANDONED_S:
                    file.unlink()


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _last_used(place: Path) -> float:
    try:
        return (place / _ENTRY).stat().st_mtime
    except OSError:
        return 0.0

"""What a disk may hold after the power went: rebuilt from a recorded run, call by call.

A file's bytes are safe after its fsync, a name is safe after the fsync of its folder. What
was not flushed may survive or not; three ways are rebuilt for every call:

nothing   only what was flushed
names     every name, but only flushed bytes: a renamed file may be empty
torn      every name and byte, except the second half of each file's unflushed last write
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["WAYS", "Call", "Disk", "read_record"]

WAYS = ("nothing", "names", "torn")


@dataclass(frozen=True)
class Call:
    """One recorded call; `number` counts fault points, acknowledgements share the last one."""

    op: str
    number: int
    fd: int
    offset: int
    flags: int
    first: str
    second: str
    data: bytes

    def __str__(self) -> str:
        return (
            f"call {self.number}: {self.op} {self.first or f'fd {self.fd}'} {self.second}".strip()
        )


def read_record(path: Path) -> Iterator[Call]:
    """Yield the calls the shim recorded, in order."""
    with path.open("rb") as file:
        while line := file.readline():
            op, *numbers = line.decode().split()
            number, fd, offset, flags, first, second, length = map(int, numbers)
            names = [file.read(size).decode("utf-8", "surrogateescape") for size in (first, second)]
            yield Call(op, number, fd, offset, flags, *names, file.read(length))


@dataclass(eq=False)
class Stored:
    """A file: its bytes now, its bytes as last flushed, and the writes since."""

    now: bytearray = field(default_factory=bytearray)
    safe: bytes = b""
    last_write: tuple[int, int] | None = None

    def bytes_after(self, way: str) -> bytes:
        if way != "torn":
            return self.safe
        if self.last_write is None:
            return bytes(self.now)
        offset, length = self.last_write
        kept = offset + length // 2
        old = self.safe[kept : offset + length]
        torn = bytes(self.now[:kept]) + old + bytes(self.now[kept + len(old) :])
        return torn[:kept] if len(self.now) == offset + length and not old else torn


@dataclass(eq=False)
class Folder:
    """A folder: its names now, and its names as last flushed."""

    now: dict[str, Stored | Folder] = field(default_factory=dict)
    safe: dict[str, Stored | Folder] = field(default_factory=dict)


class Disk:
    """Follows recorded calls from a folder's state before them.

    Args:
        root: the folder the calls are about, as it was named in them.
        template: a copy of what it held before; all of that counts as flushed.
    """

    def __init__(self, root: Path, template: Path) -> None:
        self.root = str(root)
        self.top = _load(template)
        self.open: dict[int, Stored | Folder] = {}

    def follow(self, call: Call) -> None:
        """Apply one call."""
        getattr(self, f"_{call.op}")(call)

    def write_to(self, folder: Path, way: str) -> None:
        """Write what is left after a power loss now, see `WAYS`."""
        _dump(self.top, folder, way)

    def _at(self, path: str) -> tuple[Folder, str]:
        parts = Path(path).relative_to(self.root).parts
        folder = self.top
        for part in parts[:-1]:
            inner = folder.now[part]
            assert isinstance(inner, Folder)
            folder = inner
        return folder, parts[-1] if parts else ""

    def _inside(self, path: str) -> bool:
        return path == self.root or path.startswith(self.root + "/")

    def _open(self, call: Call) -> None:
        parent, name = self._at(os.path.normpath(call.first))
        found = parent.now.get(name) if name else parent
        if found is None:
            found = parent.now[name] = Stored()
        if call.flags & os.O_TRUNC and isinstance(found, Stored):
            found.now, found.last_write = bytearray(), None
        self.open[call.fd] = found

    def _close(self, call: Call) -> None:
        self.open.pop(call.fd, None)

    def _write(self, call: Call) -> None:
        file = self.open[call.fd]
        assert isinstance(file, Stored)
        if len(file.now) < call.offset:
            file.now.extend(bytes(call.offset - len(file.now)))
        file.now[call.offset : call.offset + len(call.data)] = call.data
        file.last_write = (call.offset, len(call.data))

    def _truncate(self, call: Call) -> None:
        parent, name = self._at(call.first) if call.first else (Folder(), "")
        file = parent.now[name] if call.first else self.open[call.fd]
        assert isinstance(file, Stored)
        del file.now[call.offset :]
        file.now.extend(bytes(call.offset - len(file.now)))
        file.last_write = None

    def _fsync(self, call: Call) -> None:
        flushed = self.open[call.fd]
        if isinstance(flushed, Folder):
            flushed.safe = dict(flushed.now)
        else:
            flushed.safe, flushed.last_write = bytes(flushed.now), None

    def _mkdir(self, call: Call) -> None:
        parent, name = self._at(call.first)
        parent.now[name] = Folder()

    def _unlink(self, call: Call) -> None:
        parent, name = self._at(call.first)
        del parent.now[name]

    _rmdir = _unlink

    def _rename(self, call: Call) -> None:
        parent, name = self._at(call.first)
        moved = parent.now.pop(name)
        self._put(call.second, moved)

    def _link(self, call: Call) -> None:
        parent, name = self._at(call.first)
        self._put(call.second, parent.now[name])

    def _put(self, path: str, what: Stored | Folder) -> None:
        if self._inside(path):
            parent, name = self._at(path)
            parent.now[name] = what

    def _ack(self, call: Call) -> None:
        pass


def _load(folder: Path) -> Folder:
    loaded = Folder()
    for path in folder.iterdir():
        if path.is_dir():
            loaded.now[path.name] = _load(path)
        else:
            data = path.read_bytes()
            loaded.now[path.name] = Stored(bytearray(data), data)
    loaded.safe = dict(loaded.now)
    return loaded


def _dump(folder: Folder, path: Path, way: str) -> None:
    path.mkdir(exist_ok=True)
    for name, inner in (folder.safe if way == "nothing" else folder.now).items():
        if isinstance(inner, Folder):
            _dump(inner, path / name, way)
        else:
            (path / name).write_bytes(inner.bytes_after(way))

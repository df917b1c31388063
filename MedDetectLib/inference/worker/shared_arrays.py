"""Arrays that two processes see at once, and whose names never outlive their owner.

The client owns every array: it creates it, and its name is gone when `close` is called,
when the object is collected, or at exit. The worker only attaches. When the owner was
killed, the next client's `sweep` takes the name away.

On POSIX this is shared memory as `multiprocessing.shared_memory` makes it, without its
resource tracker. The tracker is a second process started from `sys.executable`, which
inside Slicer may be Slicer; and before Python 3.13 it also unlinks what was only attached.
"""

from __future__ import annotations

import mmap
import os
import re
import secrets
import sys
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import WorkerFailed
from MedDetectLib.core.memory import bytes_text

__all__ = ["PREFIX", "SharedArray", "sweep"]

PREFIX = "mdt_"
_NAME = re.compile(PREFIX + r"(\d+)_([0-9a-f]+)_[0-9a-f]+")
_FOLDER = Path("/dev/shm")  # where Linux shows POSIX shared memory

_Undo = Callable[[], None]


class SharedArray:
    """A C-ordered array in shared memory; make one with `create` or `attach`.

    Args:
        name: the system-wide name, ``mdt_<owner's pid>_<its start>_<random>``.
        array: a view of the shared memory; do not keep it beyond `close`.
    """

    def __init__(self, name: str, array: npt.NDArray[Any], undo: Sequence[_Undo]) -> None:
        self.name = name
        self.array = array
        self._undo = weakref.finalize(self, _undo_all, tuple(undo), os.getpid())

    @classmethod
    def create(cls, shape: Sequence[int], dtype: npt.DTypeLike) -> SharedArray:
        """Make a new array, all zero, and own it.

        Raises:
            WorkerFailed: ``no-shared-memory`` when the system has not enough of it.
        """
        kind = np.dtype(dtype)
        size = max(1, int(np.prod(shape, dtype=np.int64)) * kind.itemsize)
        name = f"{PREFIX}{os.getpid()}_{_start_of(os.getpid()) or '0'}_{secrets.token_hex(3)}"
        try:
            memory, undo = _create(name, size)
        except OSError as error:
            raise WorkerFailed(
                "no-shared-memory",
                f"{bytes_text(size)} of shared memory cannot be had: {error.strerror}",
                todo="close other programs; in a container, give more (docker: --shm-size)",
            ) from None
        return cls(name, _view(memory, shape, kind), undo)

    @classmethod
    def copy_of(cls, array: npt.NDArray[Any]) -> SharedArray:
        """Make a new array with the values of another, in its number type.

        Raises:
            WorkerFailed: ``no-shared-memory``.
        """
        shared = cls.create(array.shape, array.dtype)
        np.copyto(shared.array, array)
        return shared

    @classmethod
    def attach(cls, data: dict[str, Any], *, writable: bool = False) -> SharedArray:
        """See an array that another process owns.

        Raises:
            WorkerFailed: ``lost-shared-memory`` when it is not there (any more).
        """
        shape, kind = data["shape"], np.dtype(data["dtype"])
        size = max(1, int(np.prod(shape, dtype=np.int64)) * kind.itemsize)
        try:
            memory, undo = _attach(data["name"], size, writable)
        except (OSError, ValueError) as error:
            raise WorkerFailed(
                "lost-shared-memory", f"cannot be attached: {error}", where=data["name"]
            ) from None
        array = _view(memory, shape, kind)
        array.flags.writeable = writable
        return cls(data["name"], array, undo)

    def to_json(self) -> dict[str, Any]:
        """Return what `attach` needs."""
        return {"name": self.name, "shape": list(self.array.shape), "dtype": self.array.dtype.str}

    def close(self) -> None:
        """Let go of the memory; an owner also takes the name away. Twice is harmless."""
        self.array = np.empty((0,) * self.array.ndim, self.array.dtype)
        self._undo()


def sweep() -> list[str]:
    """Take away what owners that were killed left behind; return the names.

    Linux only: elsewhere names cannot be listed (macOS) or die with their owner (Windows).
    An array is stale when no process of that number and start time lives, and no one holds
    its lock: an owner in another container may have a number we cannot see.
    """
    if not sys.platform.startswith("linux"):
        return []
    gone = []
    try:
        found = [path for path in _FOLDER.iterdir() if path.name.startswith(PREFIX)]
    except OSError:
        return []
    for path in found:
        match = _NAME.fullmatch(path.name)
        if match and _start_of(int(match[1])) != match[2] and _unlink_unlocked(path):
            gone.append(path.name)
    return gone


def _unlink_unlocked(path: Path) -> bool:
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:  # already gone, or another user's
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _start_of(pid: int) -> str | None:
    """Return when a process started, in hexadecimal clock ticks; None if there is none.

    Other systems than Linux do not say it in a file; they get a constant.
    """
    if not sys.platform.startswith("linux"):
        return "0"
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return None
    return f"{int(text.rpartition(')')[2].split()[19]):x}"


def _view(memory: Any, shape: Sequence[int], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    count = int(np.prod(shape, dtype=np.int64))
    return np.frombuffer(memory, dtype=kind, count=count).reshape(tuple(shape))


def _undo_all(steps: Sequence[_Undo], owner: int) -> None:
    if os.getpid() != owner:  # a forked child must not take its parent's memory away
        return
    for step in steps:
        step()


def _close_quietly(memory: Any) -> None:
    with suppress(BufferError):  # somebody still looks at it; it goes when they do
        memory.close()


if sys.platform == "win32":
    from multiprocessing.shared_memory import SharedMemory

    def _create(name: str, size: int) -> tuple[Any, list[_Undo]]:
        memory = SharedMemory(name, create=True, size=size)
        return memory.buf, [lambda: _close_quietly(memory)]

    def _attach(name: str, size: int, writable: bool) -> tuple[Any, list[_Undo]]:
        memory = SharedMemory(name)
        return memory.buf, [lambda: _close_quietly(memory)]

else:
    import _posixshmem  # type: ignore[import-not-found,unused-ignore]
    import fcntl

    def _create(name: str, size: int) -> tuple[Any, list[_Undo]]:
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        handle = _posixshmem.shm_open(f"/{name}", flags, mode=0o600)
        try:
            os.ftruncate(handle, size)
            if sys.platform.startswith("linux"):
                fcntl.flock(handle, fcntl.LOCK_SH)  # kept until we die; see `sweep`
                # Without this, memory that is not there kills us with SIGBUS at first touch.
                os.posix_fallocate(handle, 0, size)
            memory = mmap.mmap(handle, size)
        except BaseException:
            _unlink(name)
            os.close(handle)
            raise
        return memory, [
            lambda: _unlink(name),
            lambda: os.close(handle),
            lambda: _close_quietly(memory),
        ]

    def _attach(name: str, size: int, writable: bool) -> tuple[Any, list[_Undo]]:
        flags = os.O_RDWR if writable else os.O_RDONLY
        handle = _posixshmem.shm_open(f"/{name}", flags, mode=0o600)
        try:
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            memory = mmap.mmap(handle, size, access=access)
        finally:
            os.close(handle)
        return memory, [lambda: _close_quietly(memory)]

    def _unlink(name: str) -> None:
        with suppress(FileNotFoundError):
            _posixshmem.shm_unlink(f"/{name}")

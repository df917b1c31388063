"""Memory that two processes see at once, one file per kind of it.

On Linux it is a file in memory without a name anywhere (`memfd`): nothing can outlive the
processes that hold it, however they end. The other process opens it through ``/proc``. Data
is written and read with system calls, which cost half of what a fresh mapping does: a
mapping is filled page by page, by faults.

Elsewhere it is named POSIX shared memory (macOS) or a page file section (Windows), mapped.
`multiprocessing.shared_memory` is used on Windows only: its POSIX form starts a second
process, the resource tracker, from `sys.executable`, which inside Slicer may be Slicer; and
before Python 3.13 that also unlinks what was only attached.
"""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import sys
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from MedDetectLib.core.memory import available_bytes

__all__ = ["PREFIX", "Segment", "create", "open_existing"]

PREFIX = "mdt_"


class Segment(Protocol):
    """A piece of shared memory."""

    @property
    def size(self) -> int:
        """How many bytes it holds."""

    @property
    def address(self) -> dict[str, Any]:
        """Return what `open_existing` needs in another process."""

    def write(self, offset: int, data: memoryview) -> None:
        """Copy bytes in.

        Raises:
            OSError: there is no memory left.
        """

    def read(self, offset: int, into: memoryview) -> None:
        """Copy bytes out, as many as `into` takes."""

    def mapped(self) -> Any:
        """Return all of it as a buffer, read-only where it was opened so."""

    def close(self) -> None:
        """Let go of it; an owner also takes its name away. Twice is harmless."""


def _undo_all(steps: Sequence[Callable[[], None]], owner: int) -> None:
    if os.getpid() != owner:  # a forked child must not take its parent's memory away
        return
    for step in steps:
        step()


def _close_quietly(memory: Any) -> None:
    with suppress(BufferError):  # somebody still looks at it; it goes when they do
        memory.close()


def _out_of_memory() -> OSError:
    return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


if sys.platform.startswith("linux"):

    class _File:
        """A file in memory without a name."""

        def __init__(self, handle: int, size: int, writable: bool) -> None:
            self.size = size
            self._handle = handle
            self._writable = writable
            self._inode = os.fstat(handle).st_ino
            self._undo = weakref.finalize(self, os.close, handle)

        @property
        def address(self) -> dict[str, Any]:
            # The inode tells if the number has come to stand for another file.
            return {"name": f"/proc/{os.getpid()}/fd/{self._handle}", "inode": self._inode}

        def write(self, offset: int, data: memoryview) -> None:
            while data:
                count = os.pwrite(self._handle, data, offset)
                data, offset = data[count:], offset + count

        def read(self, offset: int, into: memoryview) -> None:
            while into:
                count = os.preadv(self._handle, [into], offset)
                if not count:
                    raise OSError(errno.EIO, "shared memory is shorter than it was")
                into, offset = into[count:], offset + count

        def mapped(self) -> Any:
            access = mmap.ACCESS_WRITE if self._writable else mmap.ACCESS_READ
            return mmap.mmap(self._handle, self.size, access=access)

        def close(self) -> None:
            self._undo()

    def create(size: int) -> Segment:
        """Make and own shared memory, all zero.

        Raises:
            OSError: there is not so much.
        """
        if size > available_bytes():  # the system itself would say yes, and kill us later
            raise _out_of_memory()
        if hasattr(os, "memfd_create"):
            handle = os.memfd_create(PREFIX.rstrip("_"))
        else:  # a Python built for an old C library
            handle = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        segment = _File(handle, size, True)
        os.ftruncate(handle, size)
        return segment

    def open_existing(address: dict[str, Any], size: int, writable: bool) -> Segment:
        """See another process's shared memory.

        Raises:
            OSError: it is not there any more.
        """
        flags = os.O_RDWR if writable else os.O_RDONLY
        handle = os.open(address["name"], flags | os.O_CLOEXEC)
        segment = _File(handle, size, writable)
        found = os.fstat(handle)
        if found.st_ino != address["inode"] or found.st_size < size:
            segment.close()
            raise OSError(errno.ESTALE, "it is another file by now")
        return segment

else:

    class _Mapping:
        """Shared memory with a name, mapped as long as it is held."""

        def __init__(
            self, name: str, size: int, memory: Any, undo: Sequence[Callable[[], None]]
        ) -> None:
            self.size = size
            self._name = name
            self._memory: Any = memory
            self._undo = weakref.finalize(self, _undo_all, tuple(undo), os.getpid())

        @property
        def address(self) -> dict[str, Any]:
            return {"name": self._name}

        def write(self, offset: int, data: memoryview) -> None:
            with memoryview(self._memory) as target:
                target[offset : offset + len(data)] = data

        def read(self, offset: int, into: memoryview) -> None:
            with memoryview(self._memory) as source:
                into[:] = source[offset : offset + len(into)]

        def mapped(self) -> Any:
            return self._memory

        def close(self) -> None:
            self._memory = None
            self._undo()

    def _new_name() -> str:
        return f"{PREFIX}{os.getpid()}_{secrets.token_hex(3)}"

    if sys.platform == "win32":
        from multiprocessing.shared_memory import SharedMemory

        def create(size: int) -> Segment:
            """Make and own shared memory, all zero.

            Raises:
                OSError: there is not so much.
            """
            shared = SharedMemory(_new_name(), create=True, size=size)
            undo = [lambda: _close_quietly(shared)]
            return _Mapping(shared.name, size, shared.buf, undo)

        def open_existing(address: dict[str, Any], size: int, writable: bool) -> Segment:
            """See another process's shared memory.

            Raises:
                OSError: it is not there any more.
            """
            shared = SharedMemory(address["name"])
            memory = shared.buf if writable else shared.buf.toreadonly()
            return _Mapping(shared.name, size, memory, [lambda: _close_quietly(shared)])

    else:
        import _posixshmem  # type: ignore[import-not-found,unused-ignore]

        def create(size: int) -> Segment:
            """Make and own shared memory, all zero.

            Raises:
                OSError: there is not so much.
            """
            if size > available_bytes():
                raise _out_of_memory()
            name = _new_name()
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
            handle = _posixshmem.shm_open(f"/{name}", flags, mode=0o600)
            try:
                os.ftruncate(handle, size)
                memory = mmap.mmap(handle, size)
            except BaseException:
                _unlink(name)
                raise
            finally:
                os.close(handle)
            return _Mapping(
                name, size, memory, [lambda: _unlink(name), lambda: _close_quietly(memory)]
            )

        def open_existing(address: dict[str, Any], size: int, writable: bool) -> Segment:
            """See another process's shared memory.

            Raises:
                OSError: it is not there any more.
            """
            flags = os.O_RDWR if writable else os.O_RDONLY
            handle = _posixshmem.shm_open(f"/{address['name']}", flags, mode=0o600)
            try:
                access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
                memory = mmap.mmap(handle, size, access=access)
            finally:
                os.close(handle)
            return _Mapping(address["name"], size, memory, [lambda: _close_quietly(memory)])

        def _unlink(name: str) -> None:
            with suppress(FileNotFoundError):
                _posixshmem.shm_unlink(f"/{name}")

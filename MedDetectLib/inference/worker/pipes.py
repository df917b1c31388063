"""Reading from and writing to a child's pipes without ever waiting for it.

No threads: inside Slicer a Python thread may not run while Qt waits for events, so the
client does all its work when its owner's timer calls it.
"""

from __future__ import annotations

import os
import sys
import time

__all__ = ["never_wait", "read_available", "wait_readable", "write_some"]

_BLOCK = 1 << 16

if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)

    def never_wait(handle: int) -> None:
        """Do nothing: Windows is asked how much there is before each read."""

    def read_available(handle: int) -> bytes | None:
        """Return what can be read now (maybe nothing), None at the end of the pipe."""
        count = wintypes.DWORD()
        pipe = wintypes.HANDLE(msvcrt.get_osfhandle(handle))
        if not _kernel.PeekNamedPipe(pipe, None, 0, None, ctypes.byref(count), None):
            return None
        return os.read(handle, min(count.value, _BLOCK)) if count.value else b""

    def write_some(handle: int, data: bytes) -> int:
        """Write; a command is smaller than the pipe, so this does not wait in practice."""
        try:
            return os.write(handle, data)
        except OSError:  # the reader is gone; the end of its answers will tell
            return len(data)

    def wait_readable(handle: int, seconds: float) -> None:
        """Wait until there may be something to read."""
        time.sleep(min(seconds, 0.01))

else:
    import select

    def never_wait(handle: int) -> None:
        """Make reads and writes of this file descriptor return at once."""
        os.set_blocking(handle, False)

    def read_available(handle: int) -> bytes | None:
        """Return what can be read now (maybe nothing), None at the end of the pipe."""
        try:
            return os.read(handle, _BLOCK) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None

    def write_some(handle: int, data: bytes) -> int:
        """Write what the pipe takes now and return how many bytes that was."""
        try:
            return os.write(handle, data)
        except BlockingIOError:
            return 0
        except OSError:  # the reader is gone; the end of its answers will tell
            return len(data)

    def wait_readable(handle: int, seconds: float) -> None:
        """Wait until there is something to read, `seconds` at most."""
        try:
            waiter = select.poll()
            waiter.register(handle, select.POLLIN)
            waiter.poll(seconds * 1000)
        except (OSError, ValueError):  # closed meanwhile by another thread
            time.sleep(min(seconds, 0.01))

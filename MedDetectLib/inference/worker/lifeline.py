"""How the worker keeps its line to the client clean, and ends when the client does."""

from __future__ import annotations

import ctypes
import faulthandler
import io
import os
import signal
import sys
from typing import BinaryIO, NoReturn

__all__ = ["end_now", "take_over_streams", "tie_to_parent"]

_PR_SET_PDEATHSIG = 1


def take_over_streams() -> tuple[BinaryIO, int]:
    """Return the client's commands and the descriptor for answers, and hide both.

    Afterwards whatever a library prints lands on standard error, and whatever reads
    standard input finds it empty. On Windows this also keeps a library's start-up code
    from waiting for the pipe that our reader is waiting at.
    """
    commands, answers = os.dup(0), os.dup(1)  # `dup` makes them private to this process
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if sys.platform == "win32":
        import msvcrt

        for handle in (commands, answers):
            msvcrt.setmode(handle, os.O_BINARY)
    faulthandler.enable()  # a crash in a library then leaves its Python stack as last words
    return io.BufferedReader(io.FileIO(commands, "rb")), answers


def tie_to_parent() -> None:
    """Let Linux kill us when our parent's thread ends, even while a library hogs Python.

    Elsewhere, and in every case, the end of our input tells; on Windows a job object too.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died just before
        os._exit(1)


def end_now(own_group: bool) -> NoReturn:
    """End this process, and all it started when the process group is its own."""
    if own_group and sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)

"""How the worker keeps its line to the client clean, and ends when the client does."""

from __future__ import annotations

import faulthandler
import io
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import BinaryIO, NoReturn

__all__ = ["end_now", "post_guard", "take_over_streams"]


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


def post_guard(life: int) -> None:
    """Start a shell in our process group that kills the group when `life` closes.

    It ends all of us when the client is gone, even while a library holds Python's lock.
    (Linux's parent-death signal would end this process alone, not what it started, and
    would do so when the client's *thread* that started us ends.)

    Args:
        life: read end of a pipe that only the client can write to, and never does.
    """
    with suppress(OSError):  # no shell: the end of our commands must do
        subprocess.Popen(
            ["/bin/sh", "-c", "read _; kill -9 0"],
            stdin=life,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    os.close(life)


def end_now(own_group: bool) -> NoReturn:
    """End this process, and all it started when the process group is its own."""
    if own_group and sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)

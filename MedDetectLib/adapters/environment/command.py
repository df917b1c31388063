"""A program that runs beside us, and what it prints, without ever waiting for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from MedDetectLib.inference.worker.windows_job import WindowsJob

__all__ = ["Command"]

_NO_WINDOW = 0x08000000  # CREATE_NO_WINDOW: Windows would open a console


class Command:
    """One started program; what it prints goes to a log file, which never fills up.

    It is ended with everything it started by `kill`, or when this object is collected.

    Args:
        command: program and arguments.
        environment: all of its environment variables.
        log: where its output goes, behind what is there.

    Raises:
        OSError: it cannot be started, or the log not written.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as output:
            self._read = output.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=os.name == "posix",
                creationflags=_NO_WINDOW if sys.platform == "win32" else 0,
            )
        self._log = log
        self._end = weakref.finalize(self, _end_tree, self._process, _job_of(self._process))

    def new_lines(self, *, whole: bool = False) -> list[str]:
        """Return the lines printed since the last call.

        Args:
            whole: take a last line without its end too; for when the program has ended.
        """
        with self._log.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        end = len(data) if whole else data.rfind(b"\n") + 1
        self._read += end
        return data[:end].decode("utf-8", "replace").replace("\r\n", "\n").splitlines()

    def exit_code(self) -> int | None:
        """Return how it ended; None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """End it and everything it started."""
        self._end()


def _job_of(process: subprocess.Popen[bytes]) -> WindowsJob | None:
    if sys.platform != "win32":
        return None
    try:
        return WindowsJob(int(process._handle))  # type: ignore[attr-defined,unused-ignore]
    except OSError:
        return None


def _end_tree(process: subprocess.Popen[bytes], job: WindowsJob | None) -> None:
    """Kill a process and its descendants, and take its exit status."""
    if job is not None:
        job.close()
    if sys.platform == "win32":
        process.kill()
    elif process.returncode is None:  # once its status is taken its number may be another's
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(5.0)

"""The worker's process as the client holds it: started, heard, ended with all it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from MedDetectLib.core.errors import WorkerFailed
from MedDetectLib.inference.worker import pipes
from MedDetectLib.inference.worker.windows_job import WindowsJob

__all__ = ["WorkerProcess"]

_NO_WINDOW = 0x08000000  # CREATE_NO_WINDOW: Windows would open a console
_LONGEST_LINE = 64 << 20
_MOST_AT_ONCE = 128 << 10
"""Of lines, taken at a time: whoever says more, or never stops, must not hold up the client."""
_KEPT_WORDS = 64 << 10
_MOST_WORDS = 1 << 20


class WorkerProcess:
    """One running worker.

    Its standard error goes to a nameless temporary file that is cut when it grows: a pipe
    nobody reads for a while would stop a chatty library.

    Args:
        command: program and arguments.
        environment: all of its environment variables.

    Raises:
        WorkerFailed: ``no-python`` when the program cannot be started, ``worker-start`` when
            this process has no room for what holds it.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.ready = False
        self.started_at = time.monotonic()
        self._life = -1
        try:
            self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as we)
            _append_always(self._words)
            # Nothing is ever written to this pipe: that it closes tells of our death.
            life_ends, self._life = os.pipe() if os.name == "posix" else (-1, -1)
        except OSError as error:  # no temporary folder, a full disk, too many open files
            raise WorkerFailed(
                "worker-start",
                f"the worker cannot be started: {error.strerror or error}",
                where=error.filename or "",
                todo="free some space in the folder for temporary files, or close what is open",
            ) from None
        flags = ["--life", str(life_ends)] if life_ends >= 0 else []
        try:
            self._process = subprocess.Popen(
                [*command, *flags],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                env=environment,
                bufsize=0,
                start_new_session=os.name == "posix",
                pass_fds=[life_ends] if life_ends >= 0 else [],
                creationflags=_NO_WINDOW if sys.platform == "win32" else 0,
            )
        except OSError as error:
            self._words.close()
            self._close_life()
            raise WorkerFailed(
                "no-python",
                f"the worker's Python cannot be started: {error.strerror or error}",
                where=command[0],
                todo="install MedDetect's worker again, or name another Python",
            ) from None
        finally:
            if life_ends >= 0:
                os.close(life_ends)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        pipes.never_wait(self._to.fileno())
        pipes.never_wait(self._from.fileno())
        self._outgoing = b""
        self._incoming = bytearray()
        self._end = weakref.finalize(
            self, _end_and_reap, self._process, _job_of(self._process), os.getpid()
        )

    @property
    def pid(self) -> int:
        """The process id; in Slicer that of Python's launcher."""
        return self._process.pid

    def write(self, data: bytes = b"") -> None:
        """Send `data` after what is still waiting; never waits, call it again to go on."""
        self._outgoing += data
        if self._outgoing and not self._to.closed:
            sent = pipes.write_some(self._to.fileno(), self._outgoing)
            self._outgoing = self._outgoing[sent:]

    def read_lines(self) -> tuple[list[bytes], bool]:
        """Return whole lines that have arrived, and whether no more will ever come.

        What arrives faster than it is read waits for the next call.
        """
        lines: list[bytes] = []
        gone = self._is_gone()  # asked first: then what it wrote before is all in the pipe
        ended, taken = self._from.closed, 0
        while not ended:
            if taken > _MOST_AT_ONCE or len(self._incoming) > _LONGEST_LINE:
                gone = False  # or rather: its last words are still to be heard
                break
            data = pipes.read_available(self._from.fileno())
            if not data:
                ended = data is None
                break
            whole, newline, rest = data.rpartition(b"\n")
            if newline:
                taken += len(self._incoming) + len(data)
                lines += bytes(self._incoming + whole).split(b"\n")
                self._incoming = bytearray(rest)
            else:  # of one long line, which costs little until it is whole
                self._incoming += data
        if len(self._incoming) > _LONGEST_LINE:
            lines.append(bytes(self._incoming))
            self._incoming = bytearray()
        self._cut_words()
        return lines, ended or gone

    def wait_readable(self, seconds: float) -> None:
        """Wait until it says something, `seconds` at most."""
        if self._from.closed:
            time.sleep(seconds)
        else:
            pipes.wait_readable(self._from.fileno(), seconds)

    def obituary(self, patience_s: float = 0.5) -> str:
        """Return how it ended and its last words, after its answers ended; its tree is gone."""
        until = time.monotonic() + patience_s
        while not self._is_gone() and time.monotonic() < until:
            time.sleep(0.005)
        by_itself, words = self._is_gone(), self.last_words()
        self.kill()
        code = self.reap(1.0)
        how = "closed its answers" if code is None or not by_itself else _ending(code)
        return how + (f"; its last words: {words}" if words else "")

    def last_words(self, lines: int = 6) -> str:
        """Return the last lines it wrote to standard error, joined by ' | '."""
        try:
            size = os.fstat(self._words.fileno()).st_size
            self._words.seek(max(0, size - 4096))
            text = self._words.read(4096).decode("utf-8", "replace")
        except (OSError, ValueError):
            return ""
        found = [line.strip() for line in text.splitlines() if line.strip()]
        return " | ".join(found[-lines:])

    def say_goodbye(self, patience_s: float) -> None:
        """Close its input, on which it ends; kill what is left after `patience_s` seconds."""
        self._to.close()
        until = time.monotonic() + patience_s
        while not self._is_gone() and time.monotonic() < until:
            time.sleep(0.005)
        self.kill()
        self.reap(1.0)

    def kill(self) -> None:
        """End it and everything it started, at once; does not wait for it."""
        last = self._end.detach()
        if last is not None:
            _end_tree(*last[2])
        self._close_life()
        for file in (self._to, self._from, self._words):
            file.close()

    def _close_life(self) -> None:
        if self._life >= 0:
            os.close(self._life)
            self._life = -1

    def reap(self, patience_s: float = 0.0) -> int | None:
        """Return the exit code of a killed process, None while it is still ending."""
        try:
            return self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return None

    def _is_gone(self) -> bool:
        """Whether the process has ended, without taking its exit status on Linux.

        As long as nobody takes the status its number cannot be given to another process,
        so killing its group is safe.
        """
        if self._process.returncode is not None:
            return True
        if not sys.platform.startswith("linux"):
            return self._process.poll() is not None
        try:
            how = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self._process.pid, how) is not None
        except ChildProcessError:  # somebody else in this program waits for all children
            return True

    def _cut_words(self) -> None:
        words = self._words
        if not words.closed and os.fstat(words.fileno()).st_size > _MOST_WORDS:
            words.seek(-_KEPT_WORDS, os.SEEK_END)
            tail = words.read(_KEPT_WORDS)
            words.truncate(0)
            words.write(tail)
            words.flush()


def _append_always(file: IO[bytes]) -> None:
    """Let every process write at the end of the file, wherever that is after a cut."""
    if sys.platform != "win32":
        import fcntl

        flags = fcntl.fcntl(file, fcntl.F_GETFL)
        fcntl.fcntl(file, fcntl.F_SETFL, flags | os.O_APPEND)


def _job_of(process: subprocess.Popen[bytes]) -> WindowsJob | None:
    if sys.platform != "win32":
        return None
    try:
        return WindowsJob(int(process._handle))  # type: ignore[attr-defined,unused-ignore]
    except OSError:  # the end of its input still ends it
        return None


def _end_and_reap(process: subprocess.Popen[bytes], job: WindowsJob | None, owner: int) -> None:
    """Do what is left to do when nobody called `kill`: the object is collected, or we exit."""
    _end_tree(process, job, owner)
    with suppress(subprocess.TimeoutExpired):
        process.wait(1.0)


def _end_tree(process: subprocess.Popen[bytes], job: WindowsJob | None, owner: int) -> None:
    """Kill a process and its descendants."""
    if os.getpid() != owner:  # a forked child must not end its parent's worker
        return
    if job is not None:
        job.close()
    if sys.platform == "win32":
        process.kill()
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _ending(code: int) -> str:
    """Return what an exit code means; a negative one is the number of a POSIX signal."""
    if code >= 0:
        return f"ended with exit code {code}" + (f" (0x{code:08X})" if code > 255 else "")
    if -code == 9:
        return "was killed (SIGKILL), probably by the system because memory ran out"
    return f"crashed ({_signal_name(-code)})"

"""One side of a comparison in a process of its own, so that its memory can be told apart.

The parent writes a line, the child answers with one line of JSON:

    run          -> {"seconds": 1.5}
    save PATH    -> {}                  the last answer, as .npy
    peak         -> {"bytes": 123}
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import MedDetectError
from MedDetectLib.core.process_memory import peak_bytes

__all__ = ["Side", "serve"]


class Side:
    """A child process that does the same work whenever it is asked to.

    Args:
        module: run as ``python -m``; calls `serve`.
        arguments: for it.
    """

    def __init__(self, module: str, arguments: Sequence[str]) -> None:
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (a pipe could fill up)
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def run(self) -> float:
        """Do the work once; return the seconds it took."""
        return float(self._ask("run")["seconds"])

    def save(self, path: Path) -> npt.NDArray[Any]:
        """Return the last answer, by way of a file."""
        self._ask(f"save {path}")
        return np.asarray(np.load(path, allow_pickle=False))

    def peak_bytes(self) -> int:
        """Return the most memory the process has held."""
        return int(self._ask("peak")["bytes"])

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def _ask(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._said.seek(0)
            said = self._said.read().strip().splitlines()
            raise MedDetectError(
                "bench-side-died", f"a side of the benchmark ended: {(said or ['in silence'])[-1]}"
            )
        data: dict[str, Any] = json.loads(answer)
        return data


def serve(set_up: Callable[[], Callable[[], npt.NDArray[Any]]]) -> None:
    """Set the work up, then answer the parent until it goes away.

    What setting up and working print goes to stderr: stdout is the parent's.
    """
    out, sys.stdout = sys.stdout, sys.stderr
    work = set_up()
    answer: npt.NDArray[Any] = np.zeros(0)
    for line in sys.stdin:
        command, _, rest = line.rstrip("\n").partition(" ")
        reply: dict[str, Any] = {}
        if command == "run":
            answer = np.zeros(0)  # the last answer must not count in the peak
            start = time.perf_counter()
            answer = work()
            reply["seconds"] = time.perf_counter() - start
        elif command == "save":
            np.save(rest, answer)
        else:
            reply["bytes"] = peak_bytes()
        out.write(json.dumps(reply) + "\n")
        out.flush()

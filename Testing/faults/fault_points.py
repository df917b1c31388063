"""Every place where a crash, a full disk or a power cut can hit an operation, one by one.

A scenario is three functions in a module that the tests can import:

    def prepare(folder): ...                 what is there before; not under test
    def act(folder, acknowledge): ...        the operation; acknowledge("...") after each act
    def check(folder, acknowledged): ...     a next start: raises when something is lost

    table = enumerate_faults("my_scenario")  # a module on sys.path, or beside the test
    assert table.missed == [], table.text
    print(table.text)

`act` runs once to count its calls (open, write, fsync, rename, unlink, mkdir, truncate, link,
fsync of a folder), then once per call and mode in a process of its own, forked from one that
has everything imported:

kill-before, kill-after, torn-write   SIGKILL at call N; torn: half of a write is done
ENOSPC, EIO, EACCES                   call N fails, later ones work
disk-stays-full                       call N and all after it fail with ENOSPC
power-*                               power is lost after call N, see power_loss.py

After each, `check` runs in another process over what is left, with what was acknowledged.
When a call fails, `act` may raise an error of ours; any other exception counts as missed.
Needs Linux and a C compiler; `why_not()` says what is missing.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
from power_loss import WAYS, Call, Disk, read_record  # noqa: E402

__all__ = ["Table", "enumerate_faults", "why_not"]

KILL_BEFORE, KILL_AFTER, TEAR, FAIL, FAIL_FROM_THERE_ON = 1, 2, 3, 4, 5
STRIKES = {
    "kill-before": (KILL_BEFORE, 0),
    "kill-after": (KILL_AFTER, 0),
    "torn-write": (TEAR, 0),
    "ENOSPC": (FAIL, errno.ENOSPC),
    "EIO": (FAIL, errno.EIO),
    "EACCES": (FAIL, errno.EACCES),
    "disk-stays-full": (FAIL_FROM_THERE_ON, errno.ENOSPC),
}
POWER = tuple(f"power-{way}" for way in WAYS)


@dataclass(frozen=True)
class Table:
    """How many of the fault points held, per mode, and which did not."""

    scenario: str
    rows: tuple[tuple[str, int, int], ...]
    missed: list[str]

    @property
    def text(self) -> str:
        lines = [f"fault points of {self.scenario}"]
        lines += [f"  {mode:<16} {held:4d} of {total}" for mode, held, total in self.rows]
        held, total = (sum(row[n] for row in self.rows) for n in (1, 2))
        return "\n".join([*lines, f"  {'all':<16} {held:4d} of {total}", *self.missed])


def why_not() -> str:
    """Return what is missing here to enumerate faults, empty when nothing is."""
    if not sys.platform.startswith("linux"):
        return "fault points are enumerated on Linux only"
    return "" if _compiler() else "fault points need a C compiler (cc or gcc)"


def enumerate_faults(scenario: str, beside: Path | None = None, timeout_s: float = 600) -> Table:
    """Strike at every fault point of a scenario.

    Args:
        scenario: name of its module.
        beside: folder the module lies in, where it is not on sys.path.
        timeout_s: for the whole enumeration.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as work:
        shim = Path(work) / "fault_shim.so"
        build = [_compiler(), "-shared", "-fPIC", "-O1", "-o", shim, HERE / "fault_shim.c", "-ldl"]
        subprocess.run(build, check=True)
        path = [str(HERE), *([str(beside)] if beside else []), str(ROOT), *sys.path]
        environment = {
            **os.environ,
            "LD_PRELOAD": str(shim),
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)),
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [sys.executable, HERE / "fault_points.py", scenario, work],
            env=environment, capture_output=True, text=True, timeout=timeout_s,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{done.stdout}\n{done.stderr}")
    data = json.loads(done.stdout.splitlines()[-1])
    rows = tuple((mode, int(held), int(total)) for mode, held, total in data["rows"])
    return Table(scenario, rows, data["missed"])


def _compiler() -> str:
    return shutil.which("cc") or shutil.which("gcc") or ""


# ---- in the process that has the shim ---------------------------------------------------


@dataclass(frozen=True)
class End:
    """How a forked process ended: killed, and what it had to complain about."""

    killed: bool
    trouble: str


class Rig:
    """Runs one scenario again and again over copies of its prepared folder."""

    def __init__(self, scenario: ModuleType, work: Path) -> None:
        self.scenario, self.work = scenario, work
        self.shim: Any = ctypes.CDLL(None)
        self.shim.fault_arm.argtypes = [
            ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int,
        ]  # fmt: skip
        self.template, self.folder = work / "before", work / "run" / "folder"
        self.template.mkdir()
        self.folder.parent.mkdir()
        end = _forked(lambda: scenario.prepare(self.template))
        if end.trouble:
            raise RuntimeError(f"prepare failed: {end.trouble}")

    def run(self, at: int, way: int, number: int, record: Path | None) -> tuple[End, list[str]]:
        """Run the operation, struck at call `at`; return its end and what it acknowledged."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.template, self.folder)
        acks = self.work / "acks"
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
        acks_fd = os.open(acks, flags, 0o600)
        record_fd = -1 if record is None else os.open(record, flags, 0o600)

        def body() -> None:
            root = str(self.folder).encode()
            self.shim.fault_arm(root, at, way, number, record_fd, acks_fd)
            try:
                self.scenario.act(self.folder, self._acknowledge)
            except Exception as error:
                if way < FAIL or not _is_ours(error):
                    raise
            finally:
                self.shim.fault_disarm()
            if at and not self.shim.fault_struck():
                raise RuntimeError("the call was never reached: the scenario is not repeatable")

        end = _forked(body)
        os.close(acks_fd)
        if record_fd >= 0:
            os.close(record_fd)
        return end, acks.read_text("utf-8").splitlines()

    def check(self, folder: Path, acknowledged: list[str]) -> str:
        """Return what a next start misses, empty when nothing."""
        return _forked(lambda: self.scenario.check(folder, acknowledged)).trouble

    def _acknowledge(self, text: str) -> None:
        self.shim.fault_acknowledge(text.encode())

    def enumerate(self) -> dict[str, Any]:
        """Return rows of (mode, held, total) and a line for each that did not hold."""
        record = self.work / "record"
        end, acks = self.run(0, 0, 0, record)
        trouble = end.trouble or self.check(self.folder, acks)
        if trouble or end.killed:
            raise RuntimeError(f"the scenario fails without any fault: {trouble}")
        calls = list(read_record(record))
        names = {
            call.number: str(call) for call in reversed(calls) if call.op not in ("ack", "close")
        }
        total = max(names)
        rows, missed = [], []
        for mode, (way, number) in STRIKES.items():
            held = 0
            for at in range(1, total + 1):
                trouble = self.strike(at, way, number)
                held += not trouble
                if trouble:
                    missed.append(f"{mode}, {names.get(at, f'call {at}')}: {trouble}")
            rows.append((mode, held, total))
        return {"rows": rows + self.power(calls, missed), "missed": missed}

    def strike(self, at: int, way: int, number: int) -> str:
        end, acks = self.run(at, way, number, None)
        if end.trouble or (way < FAIL and not end.killed):
            return end.trouble or "it was not killed"
        return self.check(self.folder, acks)

    def power(self, calls: list[Call], missed: list[str]) -> list[tuple[str, int, int]]:
        """Cut the power after every call, in every way."""
        disk, acks = Disk(self.folder, self.template), list[str]()
        held, total = dict.fromkeys(WAYS, 0), 0
        for place, call in enumerate(calls):
            disk.follow(call)
            if call.op == "ack":
                acks.append(call.first)
            following = calls[place + 1 : place + 2]
            if call.op == "close" or (following and following[0].op == "ack"):
                continue  # the state is the next one's, but for the promise
            total += 1
            for way in WAYS:
                shutil.rmtree(self.folder, ignore_errors=True)
                disk.write_to(self.folder, way)
                trouble = self.check(self.folder, acks)
                held[way] += not trouble
                if trouble:
                    missed.append(f"power-{way}, after {call}: {trouble}")
        return [(f"power-{way}", held[way], total) for way in WAYS]


def _is_ours(error: Exception) -> bool:
    return any(kind.__name__ == "MedDetectError" for kind in type(error).__mro__)


def _forked(body: Callable[[], None]) -> End:
    """Run something in a fork; return how it ended."""
    read_fd, write_fd = os.pipe()
    child = os.fork()
    if not child:
        os.close(read_fd)
        try:
            body()
            os._exit(0)
        except BaseException:  # the fork must never return into its parent's code
            os.write(write_fd, traceback.format_exc()[-1500:].encode())
            os._exit(1)
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as pipe:
        trouble = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if status and not killed and not trouble:
        trouble = f"it ended with status {status}"
    return End(killed, trouble)


if __name__ == "__main__":
    module = importlib.import_module(sys.argv[1])
    print(json.dumps(Rig(module, Path(sys.argv[2])).enumerate()))

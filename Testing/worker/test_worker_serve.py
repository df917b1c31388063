"""The worker's half of the talk by itself, with work that is pretended."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest

from MedDetectLib.core.watch import Watch
from MedDetectLib.inference.worker.protocol import encode
from MedDetectLib.inference.worker.serve import Session


class Letters:
    """An outbox that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def start(self) -> None:
        pass

    def put(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def beat(self) -> None:
        pass

    def answers(self, number: int) -> list[dict[str, Any]]:
        return [m for m in self.sent if m.get("id") == number and m["event"] in ("result", "error")]


class Obedient:
    """Works until it is told to stop, and obeys at once; breaking it off takes a while."""

    def __init__(self) -> None:
        self.interrupted_while: list[int | None] = []
        self.session: Session

    def run(self, message: dict[str, Any], watch: Watch) -> Any:
        while message["do"] == "work":
            watch.check()
            time.sleep(0.001)
        return "done"

    def interrupt(self) -> None:
        time.sleep(0.1)
        self.interrupted_while.append(self.session._current)

    def free_memory(self) -> None:
        pass


def served() -> tuple[Obedient, Letters, int, threading.Event]:
    """Start a session; return its work, what it says, where to write to, and its end."""
    theirs, ours = os.pipe()
    ended, for_ever = threading.Event(), threading.Event()

    def end() -> None:
        ended.set()
        for_ever.wait()

    work, letters = Obedient(), Letters()
    work.session = Session(os.fdopen(theirs, "rb"), letters, end)
    threading.Thread(target=work.session.run, args=[lambda: work], daemon=True).start()
    return work, letters, ours, ended


def until(condition: Any) -> None:
    give_up = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.002)


def test_an_interrupt_never_reaches_the_command_after_the_stopped_one() -> None:
    work, letters, pipe, _ = served()
    for number in range(1, 6):
        os.write(pipe, encode({"do": "work", "id": number}))
        until(lambda n=number: {"event": "begun", "id": n} in letters.sent)
        os.write(pipe, encode({"do": "cancel", "id": number}))
        until(lambda n=number: letters.answers(n))
        os.write(pipe, encode({"do": "rest", "id": 100 + number}))
        until(lambda n=number: letters.answers(100 + n))
        assert letters.answers(number)[0]["class"] == "Cancelled"
        assert letters.answers(100 + number)[0]["value"] == "done"
    assert work.interrupted_while
    assert None not in work.interrupted_while
    assert all(number < 100 for number in work.interrupted_while if number is not None)


@pytest.mark.parametrize("line", [b'{"do":"cancel"}\n', b'{"do":"ping","id":"x"}\n', b"[]\n"])
def test_a_client_that_speaks_nonsense_ends_the_worker_and_does_not_leave_it_deaf(
    line: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    _, _, pipe, ended = served()
    os.write(pipe, line)
    assert ended.wait(10)
    assert "not a command" in capfd.readouterr().err

"""Who works on what: claims in a shared folder, so that two readers don't take one case.

Each thing has a chain of numbered files, ``<key>.<number>.claim``: the highest number counts,
and a number's file is made exclusively, so each step is one process's alone, also on a network
file system. The file's words are written before it has its name, and never change; its time
is moved by the holder's heartbeat.

A claim is over when it was let go, when its process on this computer is gone, when the
computer was started anew since, or when its time has not moved for `expiry_s`, measured by
the clock of the file system the folder lies on.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from MedDetectLib.cases.durable import WRITING, make_folder, said_plainly, unreadable, write_new
from MedDetectLib.cases.store.file_system import Host, process_lives, this_host
from MedDetectLib.core.errors import InputError, StoreError

__all__ = ["Claim", "Claims", "Standing"]

EXPIRY_S = 600.0
"""A panel beats every minute; ten silent minutes mean that nobody is there any more."""
LONGEST_TRY_S = 2.0
BUSY = 75
NAME = re.compile(r"([A-Za-z0-9_-]{1,64})\.(\d{6})\.claim")

State = Literal["new", "in-work", "done"]


@dataclass(frozen=True)
class Standing:
    """Where one thing stands.

    Args:
        state: ``new``, ``in-work`` or ``done``.
        who: the reader who works on it, or who was the last to be done with it.
        since: UTC, ISO 8601.
        is_ours: whether this very process holds it.
        note: what the one who was done left, such as a case's id.
    """

    state: State = "new"
    who: str = ""
    since: str = ""
    is_ours: bool = False
    note: str = ""

    def __str__(self) -> str:
        """Return a few words for a list."""
        return {"new": "new", "in-work": f"in work by {self.who}", "done": f"done by {self.who}"}[
            self.state
        ]


@dataclass(frozen=True)
class _Step:
    """The newest file of a chain."""

    number: int
    state: str
    words: Mapping[str, Any]
    changed: float
    key: str


class Claims:
    """Claims on things named by keys, kept in one folder.

    Args:
        folder: made when the first claim is.
        expiry_s: how long a claim lasts without a sign of life of its holder.
    """

    def __init__(self, folder: Path, expiry_s: float = EXPIRY_S) -> None:
        self.folder, self.expiry_s = Path(folder), expiry_s
        self._words: dict[str, Mapping[str, Any]] = {}
        self._ours: dict[str, str] = {}

    def standings(self) -> dict[str, Standing]:
        """Return where everything stands that was ever claimed, by key."""
        now = self._now()
        return {key: self._standing(step, now) for key, step in self._newest().items()}

    def standing(self, key: str) -> Standing:
        """Return where one thing stands."""
        step = self._newest(key).get(key)
        return Standing() if step is None else self._standing(step, self._now())

    def claim(self, key: str, who: str, *, steal: bool = False, again: bool = False) -> Claim:
        """Take a thing to work on.

        Args:
            key: which.
            who: the reader.
            steal: take it although somebody else holds it; they find out (`Claim.beat`).
            again: take it although it is done.

        Raises:
            StoreError: ``busy`` (75) while somebody else holds it, ``cannot-write`` (73).
            InputError: ``done`` when it is and `again` was not given, ``bad-name``.
        """
        if not who.strip():
            raise InputError("bad-name", "the reader's name is empty", todo="say who you are")
        with said_plainly(self.folder):
            make_folder(self.folder)
            until = time.monotonic() + LONGEST_TRY_S
            while True:
                step = self._newest(key).get(key)
                if step is not None:
                    self._must_be_free(step, steal=steal, again=again)
                number = 1 if step is None else step.number + 1
                token = secrets.token_hex(8)
                if self._write(key, number, "held", {"who": who, "token": token}):
                    self._ours[key] = token
                    return Claim(self, key, who, number, token)
                if time.monotonic() > until:
                    # others are faster each time, or a server goes on showing an old listing
                    raise StoreError(
                        "busy", "others are claiming it just now", where=key,
                        todo="try again in a moment", exit_code=BUSY,
                    )  # fmt: skip
                time.sleep(0.01)

    def mark_done(self, key: str, who: str, note: str = "") -> None:
        """Say that a thing is done that nobody claimed.

        Raises:
            StoreError: ``busy`` when somebody else is at it, ``cannot-write``.
        """
        self.claim(key, who, again=True).done(note)

    # --- how ----------------------------------------------------------------------------

    def _must_be_free(self, step: _Step, *, steal: bool, again: bool) -> None:
        standing = self._standing(step, self._now())
        if standing.state == "in-work" and not steal:
            raise StoreError(
                "busy", f"it is in work by {standing.who} since {standing.since}", where=step.key,
                todo="choose another case, or take it over on purpose", exit_code=BUSY,
            )  # fmt: skip
        if standing.state == "done" and not (again or steal):
            raise InputError(
                "done", f"{standing.who} has done it", where=step.key,
                todo="open it on purpose to read it again",
            )  # fmt: skip

    def _standing(self, step: _Step, now: float) -> Standing:
        who, since = str(step.words.get("who", "somebody")), str(step.words.get("since", ""))
        if step.state == "done":
            return Standing("done", who, since, note=str(step.words.get("note", "")))
        if step.state == "free" or self._is_over(step, now):
            return Standing()
        token = self._ours.get(step.key, "")
        return Standing("in-work", who, since, bool(token) and step.words.get("token") == token)

    def _is_over(self, step: _Step, now: float) -> bool:
        """Whether a claim's holder is surely gone, or silent for too long."""
        here = this_host()
        try:
            host, pid = Host(**step.words["host"]), int(step.words["pid"])
        except (KeyError, TypeError, ValueError):
            host, pid = None, 0
        if host is not None and host.name == here.name and host.boot and here.boot:
            if host.boot != here.boot:
                return True
            if host == here and here.processes and not process_lives(pid):
                return True
        return now - step.changed > self.expiry_s

    def _newest(self, key: str | None = None) -> dict[str, _Step]:
        """Return the newest file of each chain, or of one."""
        found: dict[str, tuple[int, str]] = {}
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _cannot_read(self.folder, error) from error
        for name in names:
            if (parts := NAME.fullmatch(name)) and key in (None, parts[1]):
                number = int(parts[2])
                if number > found.get(parts[1], (0, ""))[0]:
                    found[parts[1]] = (number, name)
        steps = (self._step(each, *found[each]) for each in found)
        return {step.key: step for step in steps if step is not None}

    def _step(self, key: str, number: int, name: str) -> _Step | None:
        path = self.folder / name
        try:
            changed = path.stat().st_mtime
        except FileNotFoundError:
            return self._newest(key).get(key)  # a newer one has just taken its place
        except OSError as error:
            raise _cannot_read(path, error) from error
        with contextlib.suppress(OSError, ValueError):
            if name not in self._words:
                self._words[name] = dict(json.loads(path.read_text("utf-8")))
        # one that cannot be read counts as held, until it is old
        words = self._words.get(name, {})
        return _Step(number, str(words.get("state", "held")), words, changed, key)

    def _write(self, key: str, number: int, state: str, more: Mapping[str, Any]) -> bool:
        """Make the next file of a chain; whether we are the one who did."""
        words = {
            "state": state,
            **more,
            "host": vars(this_host()),
            "pid": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        name = f"{key}.{number:06d}.claim"
        if NAME.fullmatch(name) is None:
            raise InputError("bad-name", f"'{key}' is no key of a worklist")
        try:
            write_new(self.folder / name, json.dumps(words).encode())
        except FileExistsError:
            return False
        newest = self._newest(key).get(key)
        if newest is not None and newest.number != number:
            # others went on while we were about to make a number they have forgotten
            with contextlib.suppress(OSError):
                os.unlink(self.folder / name)
            return False
        self._forget(key, number)
        return True

    def _forget(self, key: str, number: int) -> None:
        """Remove what the newest number has outlived; what cannot be removed does no harm."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.folder):
                parts = NAME.fullmatch(name)
                if parts and parts[1] == key and int(parts[2]) < number:
                    self._words.pop(name, None)
                    with contextlib.suppress(OSError):
                        os.unlink(self.folder / name)

    def _now(self) -> float:
        """Return the time by the clock that stamps the folder's files."""
        probe = self.folder / f"{WRITING}{secrets.token_hex(8)}"
        try:
            handle = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            try:
                return os.fstat(handle).st_mtime
            finally:
                os.close(handle)
                os.unlink(probe)
        except OSError:
            return time.time()


def _cannot_read(path: Path, error: OSError) -> StoreError:
    return unreadable(error, path, "the worklist's claims", "check the folder and the network")


class Claim:
    """The right to work on one thing, held until `release` or `done`; use as a context.

    Made by `Claims.claim`.
    """

    def __init__(self, claims: Claims, key: str, who: str, number: int, token: str) -> None:
        self.key, self.who = key, who
        self._claims, self._number, self._token = claims, number, token
        self._ended = False

    @property
    def is_held(self) -> bool:
        """Whether it is still ours: nobody has taken it over."""
        step = self._claims._newest(self.key).get(self.key)
        return (
            not self._ended
            and step is not None
            and step.state == "held"
            and step.words.get("token") == self._token
        )

    def beat(self) -> bool:
        """Say that somebody is at it, every minute or so; False when it was taken over."""
        if not self.is_held:
            return False
        with contextlib.suppress(OSError):
            os.utime(self._claims.folder / f"{self.key}.{self._number:06d}.claim")
        return True

    def release(self) -> None:
        """Let others take it; nothing happens when somebody has."""
        self._end("free", {})

    def done(self, note: str = "") -> None:
        """Say that it is done; nothing happens when somebody has taken it over.

        Args:
            note: anything for the list, such as the case's id.
        """
        self._end("done", {"note": note})

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _end(self, state: str, more: Mapping[str, Any]) -> None:
        if self.is_held:
            with said_plainly(self._claims.folder):
                self._claims._write(self.key, self._number + 1, state, {"who": self.who, **more})
        self._ended = True

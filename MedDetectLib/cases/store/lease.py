"""Who may write now: one writer at a time, known by name, replaced when it died.

`locks/` holds one file per lease, ``<number>.held`` or ``<number>.free``; the highest number
counts, and making a number's file is exclusive, so each number is one writer's alone. A
writer that stalled so long that somebody took the next number finds out before it makes
anything visible (`check`), and what it would make visible can only be created, never
overwritten.

On a local disk a byte lock comes first: it is let go by the operating system, so that a dead
writer's lease is known to be dead at once. On a network file system a lease is dead when its
process is gone (same computer) or its file's time has not moved for `STALE_S` by our own
clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from MedDetectLib.cases.byte_lock import NO_LOCKS, ByteLock
from MedDetectLib.cases.durable import said_plainly, temporary_name, write_all
from MedDetectLib.cases.store.file_system import Host, process_lives, this_host
from MedDetectLib.core.errors import StoreError

__all__ = ["Lease"]

WAIT_S = 30.0
STALE_S = 20.0
BEAT_S = 5.0


@dataclass(frozen=True)
class _Owner:
    """What the newest lease file says."""

    number: int
    held: bool
    host: Host | None = None
    pid: int = 0
    since: str = ""
    changed: float = 0.0

    def __str__(self) -> str:
        name = self.host.name if self.host else "an unknown computer"
        return f"process {self.pid} on {name}, since {self.since}"


class Lease:
    """The right to write; use as a context.

    Args:
        folder: the store's ``locks`` folder.
        network: whether byte locks are not to be trusted.
        wait_s: how long to wait for another writer.

    Raises:
        StoreError: ``busy`` (75) when another writer kept it all that time; ``cannot-write``.
    """

    def __init__(self, folder: Path, *, network: bool, wait_s: float = WAIT_S) -> None:
        self.folder = folder
        self.network = network
        self.wait_s = wait_s
        self._bytes = ByteLock(folder / "writer.lock")
        self._number = 0
        self._beaten = 0.0

    def __enter__(self) -> Lease:
        with said_plainly(self.folder):
            until = time.monotonic() + self.wait_s
            self._take_bytes(until)
            try:
                self._take_number(until)
            except BaseException:
                self._bytes.drop()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            os.rename(self._file(self._number), self._file(self._number, "free"))
        self._bytes.drop()

    def check(self) -> None:
        """Refuse to go on when somebody else has taken over.

        Raises:
            StoreError: ``lost-lease``, exit code 75; nothing was made visible.
        """
        newest = self._newest()
        if newest is None or newest.number != self._number:
            raise StoreError(
                "lost-lease",
                "another writer took over because this one was silent for too long",
                where=self.folder,
                todo="repeat it; nothing was changed",
                exit_code=75,
            )

    def beat(self) -> None:
        """Say that we are alive; call it now and then in long work."""
        if time.monotonic() - self._beaten > BEAT_S:
            self.check()
            with contextlib.suppress(OSError):
                os.utime(self._file(self._number))
            self._beaten = time.monotonic()

    # --- taking it --------------------------------------------------------------------

    def _take_bytes(self, until: float) -> None:
        """Take the byte lock; a file system that has none is treated as a network."""
        pause = 0.001
        while not self.network:
            try:
                if self._bytes.take():
                    return
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                self.network = True
                return
            if time.monotonic() > until:
                raise self._busy(self._newest())
            time.sleep(pause * (0.5 + random.random()))
            pause = min(pause * 1.5, 0.02)

    def _take_number(self, until: float) -> None:
        """Make the next number ours, once the newest is free or its holder dead."""
        seen: tuple[_Owner, float] | None = None
        while True:
            newest = self._newest()
            now = time.monotonic()
            if newest is None or self._is_over(newest, seen, now):
                number = 1 if newest is None else newest.number + 1
                if self._claim(number):
                    self._number, self._beaten = number, now
                    self._forget_older()
                    return
            if newest is not None and (seen is None or seen[0] != newest):
                seen = (newest, now)
            if now > until:  # also where a network file system goes on showing an old listing
                raise self._busy(newest if newest is not None and newest.held else None)
            time.sleep(0.002 + 0.01 * random.random())

    def _is_over(self, owner: _Owner, seen: tuple[_Owner, float] | None, now: float) -> bool:
        """Whether a lease was let go, or its holder is surely dead."""
        if not owner.held:
            return True
        here, host = this_host(), owner.host
        if not self.network:
            # We hold the byte lock: nobody of this computer is writing, whatever the file says.
            # A file without words lost them with the power (it is linked after it is written).
            if host is None or host.name == here.name or (host.boot and host.boot == here.boot):
                return True
        elif host == here and here.processes and not process_lives(owner.pid):
            return True
        return seen is not None and seen[0] == owner and now - seen[1] > STALE_S

    def _claim(self, number: int) -> bool:
        """Make the file of a number; whether we are the one who did, and it is the newest."""
        made = temporary_name(self.folder)
        owner = {
            "host": vars(this_host()),
            "pid": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        handle = os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        try:
            try:
                write_all(handle, json.dumps(owner).encode())
            finally:
                os.close(handle)
            try:
                os.link(made, self._file(number))
            except FileExistsError:
                return False
            except OSError:
                # No hard links here: exclusive creation, at the price of a moment without words.
                if not self._claim_without_links(number, json.dumps(owner).encode()):
                    return False
        finally:
            with contextlib.suppress(OSError):
                os.unlink(made)
        newest = self._newest()
        if newest is None or newest.number != number:
            with contextlib.suppress(OSError):
                os.unlink(self._file(number))
            return False
        return True

    def _claim_without_links(self, number: int, words: bytes) -> bool:
        try:
            handle = os.open(self._file(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        try:
            try:
                write_all(handle, words)
            finally:
                os.close(handle)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(self._file(number))
            raise
        return True

    def _forget_older(self) -> None:
        """Remove what the newest number has outlived."""
        for name in os.listdir(self.folder):
            stem, _, state = name.partition(".")
            if state in ("held", "free") and stem.isdigit() and int(stem) < self._number:
                with contextlib.suppress(OSError):
                    os.unlink(self.folder / name)

    def _newest(self) -> _Owner | None:
        """Read the lease with the highest number."""
        best, held = 0, False
        for name in os.listdir(self.folder):
            stem, _, state = name.partition(".")
            if state in ("held", "free") and stem.isdigit() and int(stem) >= best:
                # Of a number seen both ways, mid-rename, the freed one counts.
                held = state == "held" and not (int(stem) == best and not held)
                best = int(stem)
        if not best:
            return None
        if not held:
            return _Owner(best, False)
        path = self._file(best)
        try:
            changed = path.stat().st_mtime
            words = json.loads(path.read_text("utf-8"))
            host = Host(**words["host"])
            return _Owner(best, True, host, int(words["pid"]), str(words["since"]), changed)
        except FileNotFoundError:
            return _Owner(best, False)
        except (OSError, ValueError, KeyError, TypeError):
            return _Owner(best, True)

    def _file(self, number: int, state: str = "held") -> Path:
        return self.folder / f"{number:08d}.{state}"

    def _busy(self, owner: _Owner | None) -> StoreError:
        return StoreError(
            "busy",
            f"another writer is at work ({owner})" if owner else "another writer is at work",
            where=self.folder.parent,
            todo="wait a moment and repeat it",
            exit_code=75,
        )

"""One run of pip into a folder of its own, watched from a timer; all of it or nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from MedDetectLib import __version__
from MedDetectLib.adapters.environment.command import Command
from MedDetectLib.adapters.environment.needed import Needed
from MedDetectLib.cases.atomic import make_folder, write_bytes
from MedDetectLib.cases.byte_lock import ByteLock
from MedDetectLib.core.errors import BackendUnavailable, Cancelled, MedDetectError, StoreError
from MedDetectLib.inference.worker.environment import worker_environment

__all__ = ["CURRENT", "Installation", "remove_all"]

CURRENT = "current.json"
"""The file that names the folder in use."""

_LOCK, _LOG = "installing.lock", "installation.log"
_MADE = re.compile(r"(new|environment)-[0-9a-f]{12}")
"""Folders of ours; whatever else lies beside them is somebody's own."""
_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")


class Installation:
    """An installation (or download) that is running; made by `EngineEnvironment`.

    Call `poll` until it says True, then look at `error`. Nothing here waits, and nothing
    needs a thread.

    Args of the instance a caller looks at:
        lines: everything said so far.
        stage: ``download``, ``install``, ``check`` or ``done``.
        error: None while it runs and when it has succeeded.
        log: the file that keeps what was said, this time and before.
    """

    def __init__(self, folder: Path, python: str, lock: ByteLock, staging: Path | None) -> None:
        self.lines: list[str] = []
        self.stage = "install"
        self.error: MedDetectError | None = None
        self.log = folder / _LOG
        self._folder, self._python, self._lock, self._staging = folder, python, lock, staging
        self._command: Command | None = None
        self._tag = ""

    @classmethod
    def begin(cls, folder: Path, python: str, arguments: Sequence[str], tag: str) -> Installation:
        """Start pip into a new folder inside `folder`; see `EngineEnvironment.begin_install`."""
        lock = _only_one(folder)
        _sweep(folder)
        staging = folder / f"new-{uuid.uuid4().hex[:12]}"
        self = cls(folder, python, lock, staging)
        self._tag = tag
        target = ["--target", str(staging / "packages"), "--only-binary", ":all:"]
        self._start([*_PIP, "install", "--progress-bar", "off", *target, *arguments])
        return self

    @classmethod
    def download(
        cls, folder: Path, python: str, target: Path, requirements: Sequence[str]
    ) -> Installation:
        """Start pip collecting wheels in `target`; see `EngineEnvironment.begin_download`."""
        make_folder(folder)
        self = cls(folder, python, _only_one(folder), None)
        self.stage = "download"
        where = ["--dest", str(target), "--only-binary", ":all:", "--progress-bar", "off"]
        self._start([*_PIP, "download", *where, *requirements])
        return self

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.stage == "done"

    def poll(self) -> bool:
        """Go on; return True when it has ended. Never waits."""
        if self.done or self._command is None:
            return True
        try:
            self.lines += self._command.new_lines()
            code = self._command.exit_code()
            if code is None:
                return False
            self.lines += self._command.new_lines(whole=True)
            self._ended(code)
        except MedDetectError as error:
            self._finish(error)
        except OSError as error:
            self._finish(_cannot_write(self._folder, error))
        return self.done

    def cancel(self) -> None:
        """Stop pip and all it started, and take away what it has left."""
        if not self.done:
            self._finish(Cancelled("the installation was stopped", where=str(self._folder)))

    def _ended(self, code: int) -> None:
        """Do what comes after the process that has just ended."""
        if code != 0:
            raise self._failure(code)
        if self.stage == "install":
            self._command = None
            self.stage = "check"
            self._start(["-P", "-m", "MedDetectLib", "doctor", "--json"], checking=True)
        else:
            if self.stage == "check":
                self._make_current()
            self._finish(None)

    def _start(self, arguments: Sequence[str], *, checking: bool = False) -> None:
        packages = [self._staging / "packages"] if checking and self._staging else []
        environment = worker_environment(dict(os.environ), packages)
        if not checking:
            environment.pop("PYTHONPATH", None)
        try:
            self._command = Command([self._python, *arguments], environment, self.log)
        except OSError as error:
            failure = (
                _cannot_write(self._folder, error)
                if error.filename == str(self.log)
                else self._no_python(error)
            )
            self._finish(failure)
            raise failure from error

    def _no_python(self, error: OSError) -> StoreError:
        return StoreError(
            "no-python",
            f"cannot be started ({error.strerror or error})",
            where=self._python,
            todo="install Slicer again, or name another Python",
        )

    def _failure(self, code: int) -> MedDetectError:
        """Return what went wrong, in pip's or the doctor's own words."""
        if self.stage == "check":
            return BackendUnavailable(
                "environment-broken",
                _doctors_words(self.lines) or f"the check ended with exit code {code}",
                where=self._folder,
                todo=f"read {self.log.name} there; the environment in use before is unchanged",
            )
        text = "\n".join(self.lines)
        if "No module named pip" in text:
            return StoreError("no-pip", "this Python has no pip", where=self._python,
                              todo="run it with '-m ensurepip'")  # fmt: skip
        said = [line for line in self.lines if line.startswith("ERROR")]
        what = said[-1].removeprefix("ERROR: ") if said else f"pip ended with exit code {code}"
        return StoreError(
            "cannot-install",
            what,
            where=self._folder,
            todo="check the network and the free space, or use a folder of wheels",
        )

    def _make_current(self) -> None:
        """Name the new folder the current one: from here on it counts."""
        assert self._staging is not None
        versions = {}
        for info in sorted((self._staging / "packages").glob("*.dist-info")):
            one = metadata.PathDistribution(info)
            versions[Needed.normalised(one.metadata["Name"])] = one.version
        made = {
            "meddetect": __version__,
            "python": self._tag,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "packages": versions,
        }
        write_bytes(self._staging / "environment.json", json.dumps(made, indent=2).encode())
        final = self._staging.with_name(self._staging.name.replace("new-", "environment-", 1))
        self._staging.rename(final)
        self._staging = final  # taken away again when it cannot be named
        write_bytes(self._folder / CURRENT, json.dumps({"folder": final.name}).encode())
        self._staging = None
        _remove_all_but(self._folder, final)

    def _finish(self, error: MedDetectError | None) -> None:
        if self._command is not None:
            self._command.kill()
            self._command = None
        if self._staging is not None and not _is_named(self._folder, self._staging):
            shutil.rmtree(self._staging, ignore_errors=True)
        self.error, self.stage = error, "done"
        self._lock.drop()


def remove_all(folder: Path) -> None:
    """Delete everything that was installed, and the folder when nothing else is in it.

    Raises:
        StoreError: ``busy`` while something is being installed, ``cannot-write``.
        OSError: files are in use.
    """
    if not folder.is_dir():
        return
    lock = _only_one(folder)
    try:
        (folder / CURRENT).unlink(missing_ok=True)
        for made in _made_in(folder):
            shutil.rmtree(made)
    finally:
        lock.drop()
    for name in (_LOG, _LOCK):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # something of somebody else's is in it
        folder.rmdir()


def _only_one(folder: Path) -> ByteLock:
    """Take the lock that lets one installation run; one whose owner died counts for nothing."""
    try:
        lock = ByteLock(folder / _LOCK)
        if lock.take():
            return lock
    except OSError as error:
        raise _cannot_write(folder, error) from error
    raise StoreError(
        "busy",
        "another installation is running",
        where=folder,
        todo="wait for it, or stop it",
        exit_code=75,
    )


def _is_named(folder: Path, made: Path) -> bool:
    """Whether a folder is the current one; writing its name may have failed after that."""
    with suppress(OSError):
        return made.name in (folder / CURRENT).read_text("utf-8")
    return False


def _made_in(folder: Path) -> list[Path]:
    """Return the folders that installations have made, finished and unfinished ones."""
    return [path for path in folder.iterdir() if _MADE.fullmatch(path.name) and path.is_dir()]


def _sweep(folder: Path) -> None:
    """Take away what killed installations left; we hold the lock, so none is running."""
    for left in _made_in(folder):
        if left.name.startswith("new-"):
            shutil.rmtree(left, ignore_errors=True)


def _remove_all_but(folder: Path, current: Path) -> None:
    """Take older environments away; one whose files a running worker holds stays for later."""
    for old in _made_in(folder):
        if old != current and old.name.startswith("environment-"):
            with suppress(OSError):
                shutil.rmtree(old)


def _doctors_words(lines: Sequence[str]) -> str:
    """Return the first needed thing that does not work, from the doctor's JSON."""
    text = "\n".join(lines)
    try:
        checks = json.loads(text[text.index("{") : text.rindex("}") + 1])["checks"]
    except (ValueError, KeyError):
        return lines[-1] if lines else ""
    bad = [check for check in checks if check["required"] and not check["ok"]]
    return f"{bad[0]['name']}: {bad[0]['detail']}" if bad else ""


def _cannot_write(path: Path, error: OSError) -> StoreError:
    return StoreError(
        "cannot-write",
        f"writing failed ({error.strerror or error})",
        where=str(error.filename or path),
        todo="check the folder, its permissions and the free space",
        exit_code=73,
    )

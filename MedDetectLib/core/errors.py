"""Every error the library raises on purpose.

    MedDetectError          70  our bug, or an error with no better home
      InputError            65  the data is wrong: refuse it, name it, say what to do
      ModelError            78  the model card or its files are wrong
      BackendUnavailable    69  the engine or device is not there
      WorkerFailed          69  the worker process was lost
      StoreError            74  a file or the case store could not be written or read
      Cancelled            130  somebody said stop

Each carries a short `code`, what happened, where, and what to do about it, and prints as
one line: ``error[CODE]: what; where; what to do``. The number is the process exit code.
"""

from __future__ import annotations

from os import PathLike
from typing import Any

__all__ = [
    "BackendUnavailable",
    "Cancelled",
    "InputError",
    "MedDetectError",
    "ModelError",
    "StoreError",
    "WorkerFailed",
]


class MedDetectError(Exception):
    """The root of the tree; catching it catches everything raised on purpose."""

    exit_code = 70

    def __init__(
        self,
        code: str,
        what: str,
        *,
        where: str | PathLike[str] = "",
        todo: str = "",
        exit_code: int | None = None,
    ) -> None:
        super().__init__(code, what)
        self.code = code
        self.what = what
        self.where = str(where)
        self.todo = todo
        if exit_code is not None:
            self.exit_code = exit_code

    def __str__(self) -> str:
        """Return the one line a person reads."""
        parts = [part.strip() for part in (self.what, self.where, self.todo) if part.strip()]
        line = " ".join(f"error[{self.code}]: {'; '.join(parts)}".split())
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let errors cross process borders whole, whatever their constructor takes."""
        return _rebuilt, (type(self), self.args, self.__dict__.copy())


def _rebuilt(
    kind: type[MedDetectError], args: tuple[object, ...], state: dict[str, object]
) -> MedDetectError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InputError(MedDetectError):
    """The volume, or what the caller said of it, cannot be trusted."""

    exit_code = 65


class ModelError(MedDetectError):
    """The model card, its files or the network's outputs are not what they should be."""

    exit_code = 78


class BackendUnavailable(MedDetectError):
    """The asked-for inference engine or device is not usable here."""

    exit_code = 69


class WorkerFailed(MedDetectError):
    """The worker process died, hung or answered nonsense."""

    exit_code = 69


class StoreError(MedDetectError):
    """Something could not be written or read back; nothing half-done is left."""

    exit_code = 74


class Cancelled(MedDetectError):
    """The run was stopped on request."""

    exit_code = 130

    def __init__(self, what: str = "stopped on request", *, where: str = "") -> None:
        super().__init__("cancelled", what, where=where)

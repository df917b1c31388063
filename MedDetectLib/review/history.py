"""What was done so far: which acts can be undone, who signed, how much work each finding was.

All of it follows from the journal's entries in order, live and after reopening alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from MedDetectLib.core.errors import InputError, StoreError
from MedDetectLib.review.acts import Act, Redo, Undo
from MedDetectLib.review.effect import Effect

__all__ = ["Effort", "Entry", "History", "Signature"]


@dataclass(frozen=True)
class Effort:
    """How much work one finding was.

    Args:
        seconds: time it was looked at, see `Focus`.
        acts: how often something was done to it, undo and redo included.
        voxels_added: voxels it gained, summed over all acts.
        voxels_removed: voxels it lost, summed over all acts.
    """

    seconds: float = 0.0
    acts: int = 0
    voxels_added: int = 0
    voxels_removed: int = 0


@dataclass(frozen=True)
class Signature:
    """Who signed what, and when.

    Args:
        reviewer: who.
        time: UTC, ISO 8601.
        comment: what went with it.
        findings_sha256: of the findings signed, see `findings_sha256`.
        seq: the act in the journal.
    """

    reviewer: str
    time: str
    comment: str
    findings_sha256: str
    seq: int


@dataclass(frozen=True, eq=False)
class Entry:
    """One act as it is kept.

    Args:
        seq: 1, 2, 3, ...
        time: UTC, ISO 8601.
        act: kind and fields as plain data; undo and redo say ``of`` which act.
        effect: what it changed; undo and redo have that of the act they are about.
        resumed: whether it is the first act after the session was opened again.
    """

    seq: int
    time: str
    act: Mapping[str, Any]
    effect: Effect
    resumed: bool = False

    @property
    def kind(self) -> str:
        """The act's name, such as ``"accept"``."""
        return str(self.act["kind"])

    @property
    def text(self) -> str:
        """One line for a person."""
        gone = [key for key, (_, after) in self.effect.items.items() if after is None]
        new = [key for key, (before, _) in self.effect.items.items() if before is None]
        parts = [self.kind]
        if "of" in self.act:
            parts.append(f"of act {self.act['of']}")
        about = self.act.get("finding_ids") or [self.act.get("finding_id")]
        parts.append(", ".join(str(key) for key in about if key))
        if new:
            parts.append(f"new: {', '.join(new)}")
        if gone:
            parts.append(f"gone: {', '.join(gone)}")
        words = (self.act.get(name) for name in ("reviewer", "reason", "text", "comment"))
        parts += [f'"{word}"' for word in words if word]
        return " ".join(part for part in parts if part)

    def to_json(self) -> dict[str, Any]:
        """Return the journal's line as plain data."""
        data: dict[str, Any] = {"seq": self.seq, "time": self.time, "act": dict(self.act)}
        if self.resumed:
            data["resumed"] = True
        if self.effect and "of" not in self.act:
            data["effect"] = self.effect.to_json()
        return data


@dataclass
class History:
    """The entries, and what follows from them.

    Args:
        entries: all of them.
        signatures: all of them, those that were reopened too.
        signed: whether the last one holds.
        focus: the finding looked at, None for none.
        effort: by finding id, those that are gone too.
    """

    entries: list[Entry] = field(default_factory=list)
    signatures: list[Signature] = field(default_factory=list)
    signed: bool = False
    focus: str | None = None
    effort: dict[str, Effort] = field(default_factory=dict)
    _done: list[int] = field(default_factory=list)
    _undone: list[int] = field(default_factory=list)
    _looked_until: datetime | None = None

    @property
    def undoable(self) -> Entry | None:
        """The act that undo would take back."""
        return self.entries[self._done[-1] - 1] if self._done else None

    @property
    def redoable(self) -> Entry | None:
        """The act that redo would do again."""
        return self.entries[self._undone[-1] - 1] if self._undone else None

    @property
    def comments(self) -> list[Entry]:
        """Comments that are not taken back."""
        return [e for n in self._done if (e := self.entries[n - 1]).kind == "comment"]

    def turned(self, act: Act) -> tuple[dict[str, Any], Effect]:
        """Return undo or redo as plain data, and what it changes.

        Raises:
            InputError: ``nothing-to-undo``, ``nothing-to-redo``.
        """
        entry = self.undoable if isinstance(act, Undo) else self.redoable
        if entry is None:
            raise InputError(f"nothing-to-{act.kind}", f"there is nothing to {act.kind}")
        effect = entry.effect.inverted() if isinstance(act, Undo) else entry.effect
        return {**act.to_json(), "of": entry.seq}, effect

    def read(self, line: Mapping[str, Any]) -> Entry:
        """Return a journal's line as the entry that comes next.

        Raises:
            StoreError: ``damaged-journal`` when an undo or redo is not about the act it names.
        """
        act = line["act"]
        if act["kind"] in (Undo.kind, Redo.kind):
            turned, effect = self.turned(Undo() if act["kind"] == Undo.kind else Redo())
            if turned["of"] != act["of"]:
                raise StoreError(
                    "damaged-journal", f"act {line['seq']} is about act {act['of']}, not the last"
                )
        else:
            effect = Effect.from_json(line.get("effect", {}))
        return Entry(line["seq"], line["time"], act, effect, bool(line.get("resumed", False)))

    def add(self, entry: Entry) -> None:
        """Take in the next entry."""
        if entry.resumed:
            self.focus = None  # nobody looked while the session was closed
        self._count(entry)
        self.entries.append(entry)
        if entry.kind == "undo":
            self._undone.append(self._done.pop())
        elif entry.kind == "redo":
            self._done.append(self._undone.pop())
        elif entry.kind == "focus":
            self.focus = entry.act["finding_id"]
        elif entry.kind == "sign":
            act = entry.act
            self.signed, self.focus = True, None
            self.signatures.append(
                Signature(
                    act["reviewer"], entry.time, act["comment"], act["findings_sha256"], entry.seq
                )
            )
        elif entry.kind == "reopen":
            self.signed = False
        elif entry.effect or entry.kind == "comment":
            self._done.append(entry.seq)
            self._undone.clear()

    def _count(self, entry: Entry) -> None:
        """Add to the effort: time since the last entry to the finding in focus, then the act."""
        now = datetime.fromisoformat(entry.time)
        if self.focus is not None and self._looked_until is not None:
            seconds = max(0.0, (now - self._looked_until).total_seconds())
            self._add(self.focus, seconds=seconds)
        self._looked_until = now
        if entry.kind == "focus":
            return
        named = entry.act.get("finding_id")
        for key in dict.fromkeys((*entry.effect.ids, *([named] if named else []))):
            gained, lost = entry.effect.counts.get(key, (0, 0))
            self._add(key, acts=1, gained=gained, lost=lost)

    def _add(
        self, key: str, *, seconds: float = 0.0, acts: int = 0, gained: int = 0, lost: int = 0
    ) -> None:
        old = self.effort.get(key, Effort())
        self.effort[key] = replace(
            old,
            seconds=old.seconds + seconds,
            acts=old.acts + acts,
            voxels_added=old.voxels_added + gained,
            voxels_removed=old.voxels_removed + lost,
        )

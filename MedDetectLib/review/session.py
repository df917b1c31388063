"""The review of one case: findings, what was done to them, and the journal that keeps it.

    with ReviewSession.start(folder, findings, volume_sha256=volume.sha256) as session:
        session.do(Accept("F1"))
        session.do(Reject("F2", "vessel"))
        session.do(Sign("Dr. Who"))

Nothing here knows of a scene or a panel: they listen (`ReviewSession.subscribe`).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

from MedDetectLib.core.errors import StoreError
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.review.acts import Act, Focus, Redo, Reopen, Sign, Undo
from MedDetectLib.review.disk import AppendOnly
from MedDetectLib.review.draft import Window
from MedDetectLib.review.effect import Effect, Values, VoxelChange
from MedDetectLib.review.fingerprint import findings_sha256, plain_findings
from MedDetectLib.review.folder import read_voxels, set_aside
from MedDetectLib.review.history import Effort, Entry, Signature
from MedDetectLib.review.journal import line_of
from MedDetectLib.review.opening import Opened, begin, go_on
from MedDetectLib.review.patches import Patch
from MedDetectLib.review.plan import plan

__all__ = ["Changed", "ReviewSession"]

LARGE = 1 << 16
"""Voxel changes of more bytes than this go to a file of their own."""
NOT_ALLOWED = 77

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Changed:
    """What listeners are told after an act is kept.

    Args:
        entry: the act.
        ids: findings that changed, came or went.
        added: those of them that came.
        removed: those of them that went.
        signed: whether the review is signed now.
    """

    entry: Entry
    ids: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    signed: bool


class ReviewSession:
    """One review; made by `start` or `open`, for one thread, closed at the end.

    Whatever `do` has returned for is on the disk and comes back with `open`, whenever the
    process or the computer dies.
    """

    def __init__(self, opened: Opened, clock: Clock | None = None) -> None:
        self.folder = opened.folder
        self.header: Mapping[str, Any] = opened.journal.header
        self.notes = opened.notes
        self._draft, self._history = opened.draft, opened.history
        self._file, self._writer = opened.file, opened.writer
        self._last_hash = opened.journal.last_hash
        self._resumed = bool(opened.journal.lines)
        self._clock = clock or _utc_now
        self._snapshot: Findings | None = None
        self._changes = 0  # odd while the draft is being changed
        self._fingerprint: tuple[int, str] | None = None
        self._listeners: list[Callable[[Changed], None]] = []

    @classmethod
    def start(
        cls,
        folder: str | PathLike[str],
        findings: Findings,
        *,
        volume_sha256: str,
        about: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> ReviewSession:
        """Begin a review.

        Args:
            folder: made by this; it must not exist, or be empty.
            findings: what is reviewed, as the model or an earlier review left it.
            volume_sha256: fingerprint of the volume they were found in.
            about: anything to keep in the header, as plain JSON data: case, version, reader.
            clock: tells the time; the computer's if None.

        Raises:
            StoreError: ``session-exists``, ``not-empty``, ``busy`` (75), ``disk-full``,
                ``cannot-write`` (73).
        """
        now = _text((clock or _utc_now)())
        plain = plain_findings(findings)
        opened = begin(Path(folder).absolute(), plain, volume_sha256, about or {}, now)
        return cls(opened, clock)

    @classmethod
    def open(
        cls,
        folder: str | PathLike[str],
        *,
        read_only: bool = False,
        up_to_damage: bool = False,
        clock: Clock | None = None,
    ) -> ReviewSession:
        """Go on with a review exactly where its last acknowledged act left it.

        Args:
            folder: of `start`.
            read_only: look, and let others write.
            up_to_damage: read a damaged journal as far as it is whole; read-only.
            clock: tells the time; the computer's if None.

        Raises:
            StoreError: ``busy`` (75), ``not-a-session``, ``newer-session`` (77),
                ``damaged-journal``, ``damaged-session``, ``cannot-read``, ``cannot-write``.
        """
        opened = go_on(Path(folder).absolute(), read_only=read_only, up_to_damage=up_to_damage)
        return cls(opened, clock)

    def __enter__(self) -> ReviewSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ---- what there is -----------------------------------------------------------------

    @property
    def findings(self) -> Findings:
        """The findings as they stand, for reading; later acts don't change what is returned.

        The label map is copied once after each change, which takes a moment in a large
        volume; see `items` and `patch_of` for what a panel shows.
        """
        if self._snapshot is None:
            self._snapshot = self._draft.findings()
        return self._snapshot

    @property
    def items(self) -> tuple[Finding, ...]:
        """The findings without their voxels: costs nothing, however large the volume is."""
        return tuple(self._draft.items.values())

    @property
    def about(self) -> Findings:
        """What does not change: grid, classes, provenance, notes; without findings and voxels."""
        return replace(self._draft.start, items=(), label_map=None)

    @property
    def history(self) -> tuple[Entry, ...]:
        """All acts so far, in order."""
        return tuple(self._history.entries)

    @property
    def last(self) -> Entry | None:
        """The last act, None before the first."""
        return self._history.entries[-1] if self._history.entries else None

    @property
    def comments(self) -> tuple[Entry, ...]:
        """Comments that were not undone."""
        return tuple(self._history.comments)

    @property
    def effort(self) -> Mapping[str, Effort]:
        """How much work each finding was, by id, up to the last act."""
        return dict(self._history.effort)

    @property
    def signature(self) -> Signature | None:
        """Who signed the findings as they stand, None when the review is open."""
        return self._history.signatures[-1] if self._history.signed else None

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """Every signature, those before a reopening too."""
        return tuple(self._history.signatures)

    @property
    def undoable(self) -> Entry | None:
        """The act `Undo` would take back."""
        return self._history.undoable

    @property
    def redoable(self) -> Entry | None:
        """The act `Redo` would do again."""
        return self._history.redoable

    @property
    def focus(self) -> str | None:
        """The finding looked at, see `Focus`."""
        return self._history.focus

    @property
    def read_only(self) -> bool:
        """Whether acts are refused because somebody only looks."""
        return self._file is None

    def item(self, finding_id: str) -> Finding:
        """Return one finding.

        Raises:
            InputError: ``unknown-finding``.
        """
        return self._draft.item(finding_id)

    def patch_of(self, finding_id: str) -> Patch | None:
        """Return one finding's voxels without copying the label map; None for box only.

        Raises:
            InputError: ``unknown-finding``.
        """
        self._draft.item(finding_id)
        return self._draft.patch(finding_id)

    @property
    def has_label_map(self) -> bool:
        """Whether `findings` has a label map, be it an empty one."""
        return self._draft.has_label_map

    @property
    def unclaimed(self) -> Mapping[int, Patch]:
        """Voxels of the label map that were of no finding at the start, by value."""
        return self._draft.unclaimed

    def voxels(self, window: Window) -> Values:
        """Return a copy of a window of the label map: zeros where there is none.

        Args:
            window: slices [k, j, i] inside the grid.
        """
        return self._draft.voxels(window)

    def fingerprint(self) -> str:
        """Return `findings_sha256` of the findings as they stand, remembered until they change.

        It takes a moment in a large volume, and may be asked for in another thread before
        `Sign` needs it; an act that is done meanwhile makes it worthless, not wrong.
        """
        changes, known = self._changes, self._fingerprint
        if known is not None and known[0] == changes:
            return known[1]
        digest = findings_sha256(self._draft.findings(copy=False))
        if changes == self._changes and changes % 2 == 0:
            self._fingerprint = changes, digest
        return digest

    # ---- what can be done --------------------------------------------------------------

    def do(self, act: Act) -> Entry:
        """Do one act; when this returns, it is kept.

        Args:
            act: see `acts`.

        Returns:
            The act as it is kept.

        Raises:
            InputError: what `plan` refuses, ``nothing-to-undo``, ``nothing-to-redo``; nothing
                has changed then.
            StoreError: ``signed``, ``not-signed``, ``read-only`` (77), ``disk-full``,
                ``cannot-write`` (73), ``journal-changed``; nothing has changed then.
            MemoryError: there is too little. Where the act was on the disk already it is kept;
                nothing more can be done (``journal-changed``) until the review is opened again.
        """
        file = self._must_be_allowed(act)
        data, effect = self._planned(act)
        if effect.voxels is not None and "of" not in data and _size(effect.voxels) > LARGE:
            effect = replace(effect, voxels=set_aside(self.folder, effect.voxels))
        entry = Entry(
            len(self._history.entries) + 1, _text(self._clock()), data, effect, self._resumed
        )
        line, digest = line_of(entry.to_json(), self._last_hash)
        # undo of a change in a file reads that file: before it is promised, not after
        change = effect.change(self._voxels)
        file.append(line)
        try:
            self._take_in(entry, digest, change)
        except BaseException:  # the journal has the act, this object has not: it may not go on
            file.give_up()
            raise
        self._tell(entry)
        return entry

    def subscribe(self, listener: Callable[[Changed], None]) -> Callable[[], None]:
        """Call a listener after every act; return what ends that.

        A listener that raises does not undo the act; the others are called all the same.
        """
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def close(self) -> None:
        """End the time spent on the finding in focus, and let others write."""
        if self._file is None or self._writer is None:
            return
        try:
            if self.focus is not None and not self._file.is_lost:
                self.do(Focus(None))
        finally:
            self._file.close()
            self._writer.release()
            self._file = self._writer = None

    # ---- how ---------------------------------------------------------------------------

    def _take_in(self, entry: Entry, digest: str, change: VoxelChange | None) -> None:
        """Do in memory what is on the disk already."""
        effect = entry.effect
        self._last_hash, self._resumed = digest, False
        self._changes += bool(effect)
        self._draft.apply(effect, change)
        self._changes += bool(effect)
        self._history.add(entry)
        if effect:
            self._snapshot = None

    def _must_be_allowed(self, act: Act) -> AppendOnly:
        if self._file is None:
            raise StoreError(
                "read-only", "this review is closed or only looked at", where=self.folder,
                todo="open it for writing", exit_code=NOT_ALLOWED,
            )  # fmt: skip
        if self._history.signed and not isinstance(act, Reopen):
            raise StoreError(
                "signed", "this review is signed", where=self.folder,
                todo="reopen it first", exit_code=NOT_ALLOWED,
            )  # fmt: skip
        if isinstance(act, Reopen) and not self._history.signed:
            raise StoreError(
                "not-signed", "this review is open already", where=self.folder,
                exit_code=NOT_ALLOWED,
            )  # fmt: skip
        return self._file

    def _planned(self, act: Act) -> tuple[dict[str, Any], Effect]:
        if isinstance(act, (Undo, Redo)):
            return self._history.turned(act)
        effect = plan(act, self._draft)
        if isinstance(act, Sign):
            signed = self.fingerprint()
            return {**act.to_json(), "findings_sha256": signed}, effect
        return act.to_json(), effect

    def _voxels(self, name: str) -> Mapping[str, Any]:
        return read_voxels(self.folder, name)

    def _tell(self, entry: Entry) -> None:
        items = entry.effect.items
        changed = Changed(
            entry,
            entry.effect.ids,
            tuple(key for key, (before, _) in items.items() if before is None),
            tuple(key for key, (_, after) in items.items() if after is None),
            self._history.signed,
        )
        with contextlib.ExitStack() as stack:
            for listener in reversed(self._listeners):
                stack.callback(listener, changed)


def _size(voxels: Mapping[str, Any]) -> int:
    return len(json.dumps(voxels))


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _text(time: datetime) -> str:
    """Return UTC in ISO 8601, to the millisecond."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

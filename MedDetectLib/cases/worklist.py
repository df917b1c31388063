"""A list of images to read, and where each stands: new, in work by somebody, done.

    work = Worklist(folder / ".meddetect-worklist")
    for found in items_of_folder(folder):      # may be left at any step
        work.add(found)
    item = work.next("Dr A")
    with work.claim(item, "Dr A") as claim:    # nobody else gets it meanwhile
        ...                                    # claim.beat() every minute
        claim.done()

Where the items come from is in `worklist_sources`; nothing here reads an image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from MedDetectLib.cases.claims import EXPIRY_S, Claim, Claims, Standing
from MedDetectLib.core.errors import MedDetectError

__all__ = ["Source", "WorkItem", "Worklist", "key_of"]

Source = Literal["file", "series", "case", "node"]


@dataclass(frozen=True)
class WorkItem:
    """One image to read.

    Args:
        key: the same for the same image in every run and on every computer.
        source: an image ``file``, a DICOM ``series`` of a folder, a ``case`` of a store, or a
            volume ``node`` of a scene.
        name: for a person.
        path: of the file, or of the folder the series lies in; None for the others.
        series: the series UID, empty for the others.
        case: the case's id, empty for the others.
        node: the node's id, empty for the others.
        patient: as far as the source tells.
        modality: DICOM code, as far as the source tells.
        note: anything the source says beside.
        extra: what else a table has, by column.
        trouble: why it cannot be opened, empty when nothing speaks against it.
        is_done: whether the source itself says so (a case that is read).
    """

    key: str
    source: Source
    name: str
    path: Path | None = None
    series: str = ""
    case: str = ""
    node: str = ""
    patient: str = ""
    modality: str = ""
    note: str = ""
    extra: dict[str, str] = field(default_factory=dict, compare=False)
    trouble: str = ""
    is_done: bool = False


def key_of(*parts: str) -> str:
    """Return a key for a worklist item from what makes it the same."""
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:24]


class Worklist:
    """Items in order, and where each stands.

    Args:
        claims: folder shared by everybody who works on the list; None for a list of one
            person, whose standings last as long as this object.
        expiry_s: how long a claim lasts without a sign of life.
    """

    def __init__(self, claims: Path | None = None, *, expiry_s: float = EXPIRY_S) -> None:
        self._items: dict[str, WorkItem] = {}
        self._claims = None if claims is None else Claims(claims, expiry_s)
        self._own: dict[str, Standing] = {}

    def add(self, items: Iterable[WorkItem]) -> None:
        """Add items at the end; one with a known key takes the old one's place."""
        for item in items:
            self._items[item.key] = item

    @property
    def items(self) -> tuple[WorkItem, ...]:
        """All of them, in the order they were added."""
        return tuple(self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[WorkItem]:
        return iter(self.items)

    def standings(self) -> dict[str, Standing]:
        """Return where each item stands, by key; asks the shared folder once.

        Raises:
            StoreError: ``cannot-read``.
        """
        said = dict(self._own) if self._claims is None else self._claims.standings()
        return {item.key: _standing(item, said) for item in self}

    def standing(self, item: WorkItem) -> Standing:
        """Return where one item stands."""
        if self._claims is None:
            return _standing(item, self._own)
        return _standing(item, {item.key: self._claims.standing(item.key)})

    def next(self, reader: str, after: WorkItem | None = None) -> WorkItem | None:
        """Return the first item behind one that this reader may take; None at the end.

        Args:
            reader: items in work by them (started before a crash, on another computer) count.
            after: where to go on; None for the beginning.
        """
        return self._open_one(reader, after, list(self._items.values()))

    def previous(self, reader: str, before: WorkItem) -> WorkItem | None:
        """Return the last item ahead of one that this reader may take."""
        return self._open_one(reader, before, list(self._items.values())[::-1])

    def neighbour(self, item: WorkItem, step: int) -> WorkItem | None:
        """Return the item some places further on, whatever its standing; None off the list."""
        keys = list(self._items)
        place = keys.index(item.key) + step if item.key in self._items else -1
        return self._items[keys[place]] if 0 <= place < len(keys) else None

    def claim(
        self, item: WorkItem, reader: str, *, steal: bool = False, again: bool = False
    ) -> Claim | LocalClaim:
        """Take an item to work on, see `Claims.claim`.

        Raises:
            StoreError: ``busy`` (75), ``cannot-write`` (73).
            InputError: ``done``, ``bad-name``.
        """
        if self._claims is None:
            return LocalClaim(self._own, item.key, reader)
        try:
            return self._claims.claim(item.key, reader, steal=steal, again=again)
        except MedDetectError as error:
            error.where = item.name if error.where == item.key else error.where
            raise

    def _open_one(
        self, reader: str, start: WorkItem | None, order: list[WorkItem]
    ) -> WorkItem | None:
        keys = [item.key for item in order]
        first = keys.index(start.key) + 1 if start is not None and start.key in keys else 0
        standings = self.standings()
        for item in order[first:]:
            said = standings[item.key]
            is_mine = said.state == "in-work" and said.who == reader
            if not item.trouble and (said.state == "new" or is_mine):
                return item
        return None


class LocalClaim:
    """A claim on a list of one person; the same calls as `Claim`."""

    def __init__(self, standings: dict[str, Standing], key: str, who: str) -> None:
        self._standings, self.key, self.who = standings, key, who
        standings[key] = Standing("in-work", who, is_ours=True)

    @property
    def is_held(self) -> bool:
        """Whether it was neither let go nor done."""
        return self._standings.get(self.key, Standing()).state == "in-work"

    def beat(self) -> bool:
        """Nobody takes it over."""
        return self.is_held

    def release(self) -> None:
        """Let it go."""
        if self.is_held:
            self._standings[self.key] = Standing()

    def done(self, note: str = "") -> None:
        """Say that it is done."""
        self._standings[self.key] = Standing("done", self.who, note=note)

    def __enter__(self) -> LocalClaim:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _standing(item: WorkItem, said: dict[str, Standing]) -> Standing:
    """Return what was said of an item; else what its source says."""
    known = said.get(item.key, Standing())
    if known.state == "new" and item.is_done:
        return Standing("done", item.note)
    return known

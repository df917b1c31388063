"""Adding a version to a case: the one way anything is ever said about it."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass, field, replace
from typing import Any

from MedDetectLib import __version__
from MedDetectLib.cases.durable import (
    make_folder,
    said_plainly,
    sync_file,
    sync_folder,
    write_new,
)
from MedDetectLib.cases.store.case_files import exists
from MedDetectLib.cases.store.findings_blobs import (
    StagedFindings,
    check_grid,
    read_findings_of,
    staged_findings,
)
from MedDetectLib.cases.store.index import IndexBroken
from MedDetectLib.cases.store.lease import Lease
from MedDetectLib.cases.store.queries import latest_number, number_of_act
from MedDetectLib.cases.store.records import (
    Blob,
    CaseRecord,
    Kind,
    VersionRecord,
    checked_name,
    damaged,
    seal_of,
    sealed,
)
from MedDetectLib.cases.store.store_folder import StoreFolder, now
from MedDetectLib.core.errors import InputError, StoreError
from MedDetectLib.core.findings import Findings

__all__ = ["Saying", "add_version", "restore_version", "version_of"]


@dataclass(frozen=True)
class Saying:
    """Who says something about a case, and on what ground.

    Args:
        kind: ``ai``, ``review``, ``adjudicated`` or ``restored``.
        author: the reader, or the model's name and version.
        parent: the version it started from, None for none.
        comment: free text.
        blinded: whether the author had seen no other reader's work.
        of: the versions an adjudication settles, or the one restored.
        act: any text of the caller's own; storing the same act again returns the version
            it became, so that a write whose answer was lost can be repeated.
        details: what a review recorded beside (reasons, seconds and voxels per finding), as
            plain JSON data.
        expected: the number of the newest version the author knows of; a newer one is a
            conflict. None to add it in any case.
    """

    kind: Kind
    author: str
    parent: int | None = None
    comment: str = ""
    blinded: bool = False
    of: tuple[int, ...] = ()
    act: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    expected: int | None = None


def add_version(
    store: StoreFolder, case_id: str, findings: Findings, saying: Saying
) -> VersionRecord:
    """Append a version; when this returns, it survives a crash and a power cut.

    Raises:
        InputError: ``no-case``, ``other-grid``, ``bad-name``, ``no-version`` for a parent
            that is not there.
        StoreError: ``busy``, ``conflict`` and ``lost-lease`` (75), ``newer-store`` (78),
            ``cannot-write`` and ``disk-full`` (73), ``damaged``.
    """
    store.check_writable()
    case = store.cases.case(case_id)
    check_grid(case.geometry, findings, f"case {case_id}")
    saying = _checked(store, case_id, saying)
    with staged_findings(store.blobs, findings) as staged, store.writing() as lease:
        known, number = _known_and_next(store, lease, case_id, saying.act)
        if known is not None:
            return _stored_before(store, case_id, known)
        _check_expected(case_id, saying, number - 1)
        record = version_of(store, case, number, saying, staged)
        with said_plainly(store.root):
            staged.keep(store.blobs)
            lease.check()
            store.log.begin(case_id)
            path = store.cases.version_path(case_id, number)
            make_folder(path.parent)  # a copied store may lack empty folders
            try:
                write_new(path, sealed(record.to_json()))
            except FileExistsError:
                raise _taken(store, case_id, number) from None
            sync_folder(store.cases.folder)  # whoever imported it may have died before that
        store.committed(case_id)
    return record


def _known_and_next(
    store: StoreFolder, lease: Lease, case_id: str, act: str
) -> tuple[int | None, int]:
    """Return the version an act has become, and the number of the next version."""

    def asked() -> tuple[int | None, int]:
        return store.ask_under_lease(
            lease, lambda db: (number_of_act(db, case_id, act), latest_number(db, case_id))
        )

    known, latest = asked()
    if latest and not exists(store.cases.version_path(case_id, latest)):
        with contextlib.suppress(IndexBroken):  # it is made anew where it is asked next
            store.index.read_anew(case_id)  # somebody put an older copy of the case back
        known, latest = asked()
    return known, latest + 1


def restore_version(
    store: StoreFolder, case_id: str, number: int, author: str, comment: str = "", act: str = ""
) -> VersionRecord:
    """Make an old version the newest one again, by appending what it said.

    Raises:
        InputError: ``no-case``, ``no-version``.
        StoreError: see `add_version`.
    """
    old = store.cases.version(case_id, number)
    findings = read_findings_of(store.blobs, old)
    saying = Saying("restored", author, number, comment, of=(number,), act=act)
    return add_version(store, case_id, findings, saying)


def version_of(
    store: StoreFolder, case: CaseRecord, number: int, saying: Saying, staged: StagedFindings
) -> VersionRecord:
    """Return the record of a version that is about to be stored."""
    if number == 1:
        previous = seal_of(case.to_json())
    else:
        previous = seal_of(store.cases.version(case.id, number - 1).to_json())
    label_map: Blob | None = staged.label_map.blob if staged.label_map else None
    return VersionRecord(
        case=case.id,
        number=number,
        kind=saying.kind,
        author=checked_name(saying.author, "author"),
        signed=now(),
        parent=saying.parent,
        previous_seal=previous,
        findings=staged.data.blob,
        label_map=label_map,
        count=staged.count,
        labels=staged.labels,
        act=saying.act or secrets.token_hex(8),
        comment=saying.comment,
        blinded=saying.blinded,
        of=saying.of,
        meddetect=__version__,
        details=saying.details,
    )


def _checked(store: StoreFolder, case_id: str, saying: Saying) -> Saying:
    """Return it with clean names, after looking up what it refers to."""
    for number in {*saying.of, *([saying.parent] if saying.parent else [])}:
        store.cases.version(case_id, number)
    author = checked_name(saying.author, "author")
    return replace(saying, author=author, act=saying.act or secrets.token_hex(8))


def _stored_before(store: StoreFolder, case_id: str, number: int) -> VersionRecord:
    """Return what an act became; whoever stored it may have died before it was flushed."""
    path = store.cases.version_path(case_id, number)
    record = store.cases.version(case_id, number)
    with said_plainly(store.root):
        for blob in (record.findings, record.label_map):
            if blob is not None:
                sync_file(store.blobs.check(blob))
                sync_folder(store.blobs.path_of(blob).parent)
        sync_file(path)
        sync_folder(path.parent)
        sync_folder(store.cases.folder)
    return record


def _check_expected(case_id: str, saying: Saying, newest: int) -> None:
    if saying.expected is not None and newest != saying.expected:
        raise StoreError(
            "conflict",
            f"case {case_id} has version {newest} now, you started from {saying.expected}",
            where=case_id,
            todo="look at the newer version, then sign again",
            exit_code=75,
        )


def _taken(store: StoreFolder, case_id: str, number: int) -> StoreError:
    """Say why a version's name is in use although the index does not know it."""
    path = store.cases.version_path(case_id, number)
    with contextlib.suppress(InputError):
        store.cases.version(case_id, number)  # raises when it is damaged
        return StoreError(
            "lost-lease",
            f"another writer has just stored version {number}",
            where=path,
            todo="repeat it; nothing was changed",
            exit_code=75,
        )
    return damaged(path, "it is in the way")

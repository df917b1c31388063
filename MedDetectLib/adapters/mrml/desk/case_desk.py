"""A case of the store on the desk: read, signed into the store, compared, settled.

    case = take_in(store, volume, "P001", findings)
    desk = CaseDesk.begin(scene, store, case.id, "Dr A", volume_node=node)
    desk.review.do(Accept("F1"))
    version = desk.sign("one nodule")
    desk.close()

A signature is two things: an act in the session's journal, and a version of the case. The
version carries the act's name, so that storing it again is storing it once: whatever dies
between the two, `CaseDesk.resume` finds the signature and `store_signature` finishes it.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Generator, Iterator
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

from MedDetectLib import __version__
from MedDetectLib.adapters.mrml.desk.case_note import CaseNote, read_note, write_note
from MedDetectLib.adapters.mrml.desk.case_versions import CaseVersions
from MedDetectLib.adapters.mrml.desk.review_desk import ReviewDesk
from MedDetectLib.adapters.mrml.desk.steps import finished, in_background
from MedDetectLib.adapters.mrml.volume_node import volume_to_node
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.cases.store.readings import Reading
from MedDetectLib.cases.store.records import CaseRecord, VersionRecord
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Findings, Provenance
from MedDetectLib.core.labels import Label
from MedDetectLib.core.volume import Volume

__all__ = ["CaseDesk", "sessions_of", "take_in"]

REVIEWS = "reviews"
"""Folder beside a store's own, where sessions of its cases lie unless said otherwise."""


def take_in(
    store: CaseStore, volume: Volume, patient: str, findings: Findings | None = None
) -> CaseRecord:
    """Store an image as a case; the one that is there when it is known of this patient.

    Raises:
        InputError, StoreError: see `importing.import_volume`.
    """
    return store.import_volume(volume, patient, findings, existing_ok=True).case


class CaseDesk:
    """A `ReviewDesk` and the case it is of; made by `begin`, `join` or `resume`.

    Args:
        review: the desk.
        store: where the case lies.
        note: which case, who reads.
    """

    def __init__(self, review: ReviewDesk, store: CaseStore, note: CaseNote) -> None:
        self.review, self.store, self.note = review, store, note
        self.versions = CaseVersions(store, note, review.scene, review.volume_node)

    # ---- beginning -----------------------------------------------------------------------

    @classmethod
    def begin(
        cls,
        scene: Any,
        store: CaseStore,
        case_id: str,
        reader: str,
        folder: str | PathLike[str] | None = None,
        *,
        volume_node: Any = None,
        blinded: bool = False,
        settles: tuple[int, ...] = (),
        labels: tuple[Label, ...] = (),
    ) -> CaseDesk:
        """Begin a reading of a case, from the newest version the reader may see.

        Args:
            scene: the vtkMRMLScene.
            store: where the case lies.
            case_id: which.
            reader: who reads.
            folder: for the session; beside the store's own folders if None.
            volume_node: the case's image in the scene; loaded from the store if None.
            blinded: keep other readers' work from this one.
            settles: versions this adjudicates; it starts from the first of them.
            labels: classes for a case that no model has looked at yet.

        Raises:
            InputError: ``no-case``, ``other-grid``, ``no-labels`` when there is no version
                to start from and no labels were given.
            StoreError: see `ReviewSession.start`.
        """
        steps = cls.begin_in_steps(
            scene, store, case_id, reader, folder,
            volume_node=volume_node, blinded=blinded, settles=settles, labels=labels,
        )  # fmt: skip
        return finished(steps)

    @classmethod
    def begin_in_steps(
        cls,
        scene: Any,
        store: CaseStore,
        case_id: str,
        reader: str,
        folder: str | PathLike[str] | None = None,
        *,
        volume_node: Any = None,
        blinded: bool = False,
        settles: tuple[int, ...] = (),
        labels: tuple[Label, ...] = (),
    ) -> Generator[float, None, CaseDesk]:
        """Do what `begin` does in steps, see `ReviewDesk.begin_in_steps`."""
        reading: Reading = yield from in_background(
            lambda: CaseStore(store.folder).start_reading(case_id, reader, blinded=blinded), 0.1
        )
        findings, start = reading.findings, reading.start.number if reading.start else None
        if settles:
            findings, start = store.findings(case_id, settles[0]), settles[0]
        case = store.case(case_id)
        if volume_node is None:
            volume = yield from in_background(lambda: CaseStore(store.folder).volume(case_id), 0.2)
            volume_node = volume_to_node(scene, volume, case.name)
        if findings is None:
            findings = no_findings(case, labels)
        note = CaseNote(str(store.folder), case_id, reading.reader, blinded, start, settles)
        place = Path(folder) if folder is not None else new_session_folder(store, note)
        about = {"case": case_id, "reader": note.reader, "version": start}
        review = yield from ReviewDesk.begin_in_steps(
            scene, volume_node, findings, place, about=about
        )
        return cls._noted(review, store, note)

    @classmethod
    def join(
        cls,
        review: ReviewDesk,
        store: CaseStore,
        case_id: str,
        reader: str,
        *,
        blinded: bool = False,
        start: int | None = None,
    ) -> CaseDesk:
        """Say of which case a review is that has begun without one.

        Args:
            review: the desk.
            store: where the case lies, see `take_in`.
            case_id: which.
            reader: who reads.
            blinded: whether other readers' work is kept from them.
            start: the version its findings are; the newest of a model if None.

        Raises:
            InputError: ``no-case``, ``other-grid``.
        """
        case = store.case(case_id)
        if not case.geometry.is_close(review.session.about.geometry):
            raise InputError("other-grid", "the review is of another image", where=case_id)
        if start is None:
            of_models = [v.number for v in store.versions(case_id) if v.kind == "ai"]
            start = of_models[-1] if of_models else None
        note = CaseNote(str(store.folder), case_id, reader, blinded, start)
        return cls._noted(review, store, note)

    @classmethod
    def resume(
        cls,
        scene: Any,
        folder: str | PathLike[str],
        store: CaseStore | None = None,
        *,
        volume_node: Any = None,
        segmentation_node: Any = None,
    ) -> CaseDesk:
        """Go on with a reading, see `ReviewDesk.resume`.

        Args:
            scene: the vtkMRMLScene.
            folder: of the session.
            store: where the case lies now; where it lay if None.
            volume_node: the case's image in the scene; found, else loaded from the store.
            segmentation_node: found if None.

        Raises:
            InputError: ``no-case-note`` when the review is of no case, ``no-store``.
            StoreError: see `ReviewSession.open`.
        """
        note = read_note(Path(folder))
        if note is None:
            raise InputError(
                "no-case-note", "this review is of no case", where=folder,
                todo="resume it with ReviewDesk.resume, and join it to a case",
            )  # fmt: skip
        store = store or CaseStore(note.store)
        if volume_node is None and not ReviewDesk.is_shown(scene, folder):
            volume_node = volume_to_node(scene, store.volume(note.case), store.case(note.case).name)
        review = ReviewDesk.resume(scene, folder, volume_node, segmentation_node)
        return cls(review, store, note)

    # ---- signing -------------------------------------------------------------------------

    @property
    def act(self) -> str:
        """What names the present signature in the store; empty while there is none."""
        signature = self.review.signature
        if signature is None:
            return ""
        session = self.review.session.header["session"]
        return f"review:{session}:{signature.seq}:{signature.findings_sha256[:16]}"

    @property
    def version(self) -> VersionRecord | None:
        """The version the present signature has become; None while there is none."""
        act = self.act
        if not act:
            return None
        return next((v for v in self.store.versions(self.note.case) if v.act == act), None)

    @property
    def needs_storing(self) -> bool:
        """Whether the review is signed, and the store does not have it: a crash lay between."""
        return bool(self.act) and self.version is None

    def sign(self, comment: str = "") -> VersionRecord:
        """Sign the review and store it as a version of the case.

        Raises:
            StoreError: the act, or the version, could not be stored; in the latter case the
                review is signed, and `store_signature` tries again.
            InputError: ``not-blinded``, ``not-independent``, ...: see `CaseStore`.
        """
        return finished(self.sign_in_steps(comment))

    def sign_in_steps(self, comment: str = "") -> Generator[float, None, VersionRecord]:
        """Do what `sign` does, in steps after which a window may be drawn."""
        self.review.sign(self.note.reader, comment)
        yield 0.2
        return (yield from self.store_in_steps())

    def store_signature(self) -> VersionRecord:
        """Store a signature that is in the journal; once, however often it is called."""
        return finished(self.store_in_steps())

    def store_in_steps(self) -> Generator[float, None, VersionRecord]:
        """Do what `store_signature` does in steps.

        Raises:
            InputError: ``not-signed``.
        """
        signature = self.review.signature
        if signature is None:
            raise InputError(
                "not-signed", "the review is not signed", where=self.review.session.folder
            )
        findings, note, act = self.review.findings, self.note, self.act
        details, comment = details_of(self.review), signature.comment

        def work() -> VersionRecord:
            store = CaseStore(self.store.folder)
            if note.settles:
                return store.adjudicate(
                    note.case, findings, signature.reviewer, note.settles,
                    comment=comment, act=act,
                )  # fmt: skip
            versions = store.versions(note.case)
            start = next((v for v in versions if v.number == note.start), None)
            reading = Reading(note.case, signature.reviewer, note.blinded, start, None)
            return store.sign_reading(reading, findings, comment=comment, act=act, details=details)

        return (yield from in_background(work, 0.3))

    def close(self) -> None:
        """Close the review and take other versions' nodes out of the scene."""
        if not self.review.is_closed:
            self.versions.hide_all()
        self.review.close()

    def __enter__(self) -> CaseDesk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @classmethod
    def _noted(cls, review: ReviewDesk, store: CaseStore, note: CaseNote) -> CaseDesk:
        try:
            write_note(review.session.folder, note)
        except BaseException:
            review.close()
            raise
        return cls(review, store, note)


def no_findings(case: CaseRecord, labels: tuple[Label, ...]) -> Findings:
    """Return empty findings to begin with, for a case that no model has looked at.

    Raises:
        InputError: ``no-labels``.
    """
    if not labels:
        raise InputError(
            "no-labels", "no version to start from, and no classes to name findings by",
            where=case.id, todo="run a model on it first, or choose one whose classes are used",
        )  # fmt: skip
    by_hand = Provenance(
        model="none", model_version="", model_sha256="", backend="none", precision="",
        device="", input_name=case.name, input_sha256=case.volume_sha256,
        meddetect_version=__version__,
    )  # fmt: skip
    return Findings(case.geometry, labels, (), None, by_hand)


def new_session_folder(store: CaseStore, note: CaseNote) -> Path:
    """Return a folder that no session has yet, beside the store's own folders."""
    return store.folder / REVIEWS / f"{note.case}-{secrets.token_hex(6)}"


def sessions_of(store: CaseStore, case_id: str = "") -> Iterator[tuple[Path, CaseNote]]:
    """Yield the sessions kept beside a store, with what each is of; of one case if given."""
    for path in sorted((store.folder / REVIEWS).glob(f"{case_id or '*'}-*")):
        with contextlib.suppress(InputError):
            if (note := read_note(path)) is not None:
                yield path, note


def details_of(review: ReviewDesk) -> dict[str, Any]:
    """Return what a version records beside its findings: effort, reasons, comments."""
    session = review.session
    reasons: dict[str, str] = {}
    for entry in session.history:
        if entry.kind == "reject":
            reasons[str(entry.act["finding_id"])] = str(entry.act["reason"])
    rejected = {item.id for item in session.items if item.state == "rejected"}
    return {
        "session": str(session.header["session"]),
        "effort": {key: dict(vars(effort)) for key, effort in session.effort.items()},
        "reasons": {key: reason for key, reason in reasons.items() if key in rejected},
        "comments": [
            {"finding": entry.act.get("finding_id"), "text": str(entry.act["text"])}
            for entry in session.comments
        ],
    }

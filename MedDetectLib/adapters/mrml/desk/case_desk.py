"""A case of the store on the desk: read, signed into the store, compared, settled.

    case = take_in(store, volume, "P001", findings)
    desk = CaseDesk.begin(scene, store, case.id, "Dr A", volume_node=node)
    desk.review.do(Accept("F1"))
    version = desk.sign("one nodule")
    desk.close()

A signature is two things: an act in the session's journal, and a version of the case (see
`review.case_signing`). Whatever dies between the two, `CaseDesk.resume` finds the signature
and `store_signature` finishes it.
"""

from __future__ import annotations

from collections.abc import Generator
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

from MedDetectLib.adapters.mrml.desk.case_versions import CaseVersions
from MedDetectLib.adapters.mrml.desk.review_desk import ReviewDesk
from MedDetectLib.adapters.mrml.desk.same_image import checked_image
from MedDetectLib.adapters.mrml.desk.steps import finished, in_background, scaled
from MedDetectLib.adapters.mrml.segmentation import grid_in_node
from MedDetectLib.adapters.mrml.volume_node import volume_to_node
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.cases.store.records import VersionRecord
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.labels import Label
from MedDetectLib.review.case_note import CaseNote, read_note, write_note
from MedDetectLib.review.case_reading import CaseStart, new_session_folder, start_case
from MedDetectLib.review.case_signing import act_of, signed, store_signed, version_of

__all__ = ["CaseDesk"]


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
            InputError: ``no-case``, ``other-grid`` and ``other-volume`` when the node does not
                hold the case's image, ``no-labels`` when there is no version to start from and
                no labels were given.
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
        start: CaseStart = yield from in_background(
            lambda: start_case(
                store.reopened(), case_id, reader,
                blinded=blinded, settles=settles, labels=labels,
            ),
            0.1,
        )  # fmt: skip
        if volume_node is None:
            volume = yield from in_background(lambda: store.reopened().volume(case_id), 0.2)
            volume_node = volume_to_node(scene, volume, start.case.name)
        else:
            grid_in_node(start.case.geometry, volume_node)
            case = start.case
            yield from checked_image(volume_node, case.geometry, (case.volume_sha256,))
        place = Path(folder) if folder is not None else new_session_folder(store, start.note)
        review = yield from ReviewDesk.begin_in_steps(
            scene, volume_node, start.findings, place, about=start.note.about
        )
        return cls._noted(review, store, start.note)

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
            InputError: ``no-case``, ``other-grid``, ``other-volume``.
        """
        case = store.case(case_id)
        if not case.geometry.is_close(review.session.about.geometry):
            raise InputError("other-grid", "the review is of another image", where=case_id)
        seen = str(review.session.header["volume_sha256"]).split()
        if seen and case.volume_sha256 not in seen:
            raise InputError(
                "other-volume", "the review is of another image on the same grid",
                where=case_id, todo="sign it as a case of its own",
            )  # fmt: skip
        if start is None:
            of_models = [v.number for v in store.versions(case_id) if v.kind == "ai"]
            start = of_models[-1] if of_models else None
        note = CaseNote(str(store.folder.absolute()), case_id, reader, blinded, start)
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
        return act_of(self.review.session)

    @property
    def version(self) -> VersionRecord | None:
        """The version the present signature has become; None while there is none."""
        return version_of(self.store, self.note, self.review.session)

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
        yield from scaled(self.review.sign_in_steps(self.note.reader, comment), 0.0, 0.5)
        return (yield from self.store_in_steps())

    def store_signature(self) -> VersionRecord:
        """Store a signature that is in the journal; once, however often it is called."""
        return finished(self.store_in_steps())

    def store_in_steps(self) -> Generator[float, None, VersionRecord]:
        """Do what `store_signature` does in steps.

        Raises:
            InputError: ``not-signed``.
        """
        what = signed(self.review.session, self.note)
        return (yield from in_background(lambda: store_signed(self.store.reopened(), what), 0.6))

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

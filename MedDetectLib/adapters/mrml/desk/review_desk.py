"""One case under review in a scene.

    desk = ReviewDesk.begin(scene, volume_node, findings, "reviews/chest")
    desk.subscribe(lambda changed: print(changed.kind, changed.ids, changed.text))
    desk.select("F3")
    desk.do(Accept("F3"))
    ...                      # the user paints into F3's segment, or drags the handle
    desk.take_edits()        # now it is an act like any other
    desk.undo()
    desk.do(Sign("Dr. Who"))
    desk.close()

The review session keeps what was done; the scene shows it. After each act both agree; what
the user changes in the scene becomes an act by `take_edits`, which every other call does
first. Whatever happens to the scene, the session's folder has everything done so far.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

from MedDetectLib.adapters.mrml.desk import beginning, drawing, placing
from MedDetectLib.adapters.mrml.desk.changes import DeskChanged, DeskItem, desk_item
from MedDetectLib.adapters.mrml.desk.joint import Joint
from MedDetectLib.adapters.mrml.desk.offers import Offer
from MedDetectLib.adapters.mrml.desk.placing import ReviewMark
from MedDetectLib.adapters.mrml.desk.steps import finished, in_background
from MedDetectLib.core.errors import StoreError
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.core.notes import Note
from MedDetectLib.core.volume import Volume
from MedDetectLib.review.acts import Act, Focus, Merge, Plane, Redo, Sign, Undo
from MedDetectLib.review.history import Entry, Signature
from MedDetectLib.review.session import ReviewSession

__all__ = ["ReviewDesk"]

Listener = Callable[[DeskChanged], None]


class ReviewDesk:
    """A review session and the nodes that show it; made by `begin` or `resume`.

    For one thread, the one that changes the scene. Nothing raises in VTK callbacks.

    Args:
        parts: see `beginning`.
    """

    def __init__(self, parts: beginning.Parts) -> None:
        self.notes: tuple[Note, ...] = parts.notes
        self.offers: tuple[Offer, ...] = parts.offers
        self._listeners: list[Listener] = []
        self._rows: dict[str, tuple[Finding, DeskItem]] = {}
        self._joint = Joint(parts, self._tell)

    # ---- beginning and ending ------------------------------------------------------------

    @classmethod
    def begin(
        cls,
        scene: Any,
        volume_node: Any,
        findings: Findings,
        folder: str | PathLike[str],
        *,
        about: Mapping[str, Any] | None = None,
    ) -> ReviewDesk:
        """Start a review and show its findings.

        Args:
            scene: the vtkMRMLScene.
            volume_node: the volume the findings were made from.
            findings: what is reviewed, in world RAS.
            folder: for the session; it must not exist, or be empty.
            about: anything to keep in the session's header, as plain JSON data.

        Raises:
            InputError: ``other-grid`` when the findings do not lie on the volume's voxels,
                ``nonlinear-transform``.
            StoreError: see `ReviewSession.start`.
        """
        steps = beginning.begin(scene, volume_node, findings, folder, about)
        return cls(finished(steps))

    @classmethod
    def begin_in_steps(
        cls,
        scene: Any,
        volume_node: Any,
        findings: Findings,
        folder: str | PathLike[str],
        *,
        about: Mapping[str, Any] | None = None,
    ) -> Generator[float, None, ReviewDesk]:
        """Do what `begin` does, in steps after which a window may be drawn.

        Yields how much is done, 0 to 1; the desk is the generator's return value
        (``StopIteration.value``). To close the generator gives up; a session that was
        already made stays in its folder.
        """
        return cls((yield from beginning.begin(scene, volume_node, findings, folder, about)))

    @classmethod
    def resume(
        cls,
        scene: Any,
        folder: str | PathLike[str],
        volume_node: Any = None,
        segmentation_node: Any = None,
    ) -> ReviewDesk:
        """Go on with a review: after a crash, or in a scene that was loaded.

        The journal decides: the scene's segmentation of this review, where there is one, is
        brought in line with it, else one is made. What somebody changed in the scene before
        it was saved, and never became an act, is in `offers`.

        Args:
            scene: the vtkMRMLScene.
            folder: of the session.
            volume_node: the volume; found by the segmentation's reference if None.
            segmentation_node: found by what is written into it if None.

        Raises:
            InputError: ``other-grid``, ``other-volume``, ``nonlinear-transform``.
            StoreError: see `ReviewSession.open`.
        """
        steps = beginning.resume(scene, folder, volume_node, segmentation_node)
        return cls(finished(steps))

    @classmethod
    def resume_in_steps(
        cls,
        scene: Any,
        folder: str | PathLike[str],
        volume_node: Any = None,
        segmentation_node: Any = None,
    ) -> Generator[float, None, ReviewDesk]:
        """Do what `resume` does, in steps; see `begin_in_steps`."""
        return cls((yield from beginning.resume(scene, folder, volume_node, segmentation_node)))

    @staticmethod
    def reviews_in(scene: Any) -> tuple[ReviewMark, ...]:
        """Return the reviews whose segmentations lie in a scene, to be resumed."""
        return tuple(mark for mark, _ in placing.marked_nodes(scene))

    @staticmethod
    def is_shown(scene: Any, folder: str | PathLike[str]) -> bool:
        """Whether a scene has the segmentation of a session and its volume."""
        return placing.volume_of(placing.node_of(scene, Path(folder))) is not None

    def close(self) -> None:
        """End the review here, taking pending edits; the nodes stay, but for the handle."""
        self._joint.end("it was closed here")

    def __enter__(self) -> ReviewDesk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ---- what there is -------------------------------------------------------------------

    @property
    def session(self) -> ReviewSession:
        """What was done, and the findings as they stand; see its page in docs/."""
        return self._joint.session

    @property
    def scene(self) -> Any:
        """The vtkMRMLScene."""
        return self._joint.scene

    @property
    def segmentation_node(self) -> Any:
        """The findings' segmentation node; None once the desk is closed."""
        return None if self.is_closed else self._joint.node

    @property
    def volume_node(self) -> Any:
        """The volume's node; None without one, and once the desk is closed."""
        return None if self.is_closed else self._joint.volume_node

    @property
    def roi_node(self) -> Any:
        """The handle on the current finding's box, None as long as none was wanted."""
        return None if self.is_closed else self._joint.handle.node

    @property
    def current(self) -> str | None:
        """The finding in hand."""
        return self._joint.current

    @property
    def items(self) -> list[DeskItem]:
        """Rows for a table: highest score first."""
        self._joint.follow()
        rows = [self._row(item) for item in self.session.items]
        return sorted(rows, key=lambda row: -row.score)

    def item(self, finding_id: str) -> DeskItem:
        """Return one row; InputError: ``unknown-finding``."""
        self._joint.follow()
        return self._row(self.session.item(finding_id))

    @property
    def can_undo(self) -> str:
        """What `undo` would take back, for a person; empty for nothing."""
        entry = self.session.undoable
        return "" if entry is None or self.signature else entry.text

    @property
    def can_redo(self) -> str:
        """What `redo` would do again, for a person; empty for nothing."""
        entry = self.session.redoable
        return "" if entry is None or self.signature else entry.text

    @property
    def signature(self) -> Signature | None:
        """Who signed the findings as they stand, None when the review is open."""
        return self.session.signature

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return bool(self._joint.reason)

    @property
    def closed_because(self) -> str:
        """Why it has ended, for a person; empty while it has not."""
        return self._joint.reason

    @property
    def is_dirty(self) -> bool:
        """Whether something in the scene may have changed that is no act yet."""
        return not self.is_closed and self._joint.listening.is_dirty

    @property
    def findings(self) -> Findings:
        """The findings as they stand; copies the label map after a change."""
        return self.session.findings

    def jump_ras_mm(self, finding_id: str) -> tuple[float, float, float]:
        """Return the centre of a finding where it lies in the world now, for the views.

        Raises:
            InputError: ``unknown-finding``.
        """
        return self.item(finding_id).centre_ras_mm

    # ---- what can be done ----------------------------------------------------------------

    def select(self, finding_id: str | None) -> None:
        """Take a finding in hand: time is counted for it, it stands out, the handle moves.

        Args:
            finding_id: which; None for none of them, or a pause.

        Raises:
            InputError: ``unknown-finding``.
            StoreError: see `ReviewSession.do`, ``closed``.
        """
        self._must_be_open()
        self.take_edits()
        if finding_id is not None:
            self.session.item(finding_id)
        if self.session.focus != finding_id and self.signature is None:
            self.session.do(Focus(finding_id))
        self._joint.take_in_hand(finding_id)

    def show_handle(self, shown: bool) -> None:
        """Show the handle of the current finding, or hide it; hidden at first."""
        self._must_be_open()
        self._joint.show_handle(shown)

    def show_only(self, ids: Collection[str] | None) -> None:
        """Show some findings in the views and hide the rest; None for all."""
        self._must_be_open()
        self._joint.show_only(ids)

    def do(self, act: Act) -> Entry:
        """Do one act; when this returns it is kept, and the scene shows it.

        Raises:
            InputError: what `plan` refuses; nothing has changed then.
            StoreError: see `ReviewSession.do`, ``closed``.
        """
        self._must_be_open()
        self.take_edits()
        return self.session.do(act)

    def take_edits(self) -> tuple[str, ...]:
        """Make acts of what the user changed in the scene.

        A painted mask becomes `EditMask`, a dragged handle `EditBox`, a deleted or emptied
        segment `Reject` (it is put back as a rejected finding), a new name `Relabel` where it
        is that of a class, else `Comment`. Segments the user made are left alone. Costs
        nothing while nothing changed.

        Returns:
            The findings that changed.

        Raises:
            StoreError: an act could not be kept; the edit stays in the scene and is tried
                again with the next call. ``closed``.
        """
        self._must_be_open()
        return self._joint.take_edits()

    def take_offers(self) -> tuple[str, ...]:
        """Make acts of `offers`; returns the findings that changed. See `resume`."""
        self._must_be_open()
        offers, self.offers = self.offers, ()
        return self._joint.do_all(offer.act for offer in offers)

    def sign(self, reviewer: str, comment: str = "") -> Signature:
        """Sign what the scene shows, after comparing every voxel of it.

        Raises:
            InputError: ``no-reviewer``; ``other-volume`` when the image's voxels were changed.
            StoreError: see `ReviewSession.do`, ``closed``.
        """
        return finished(self.sign_in_steps(reviewer, comment))

    def sign_in_steps(self, reviewer: str, comment: str = "") -> Generator[float, None, Signature]:
        """Do what `sign` does, in steps after which a window may be drawn."""
        self._must_be_open()
        self._joint.take_edits()
        yield 0.1
        yield from self._joint.made_sure_of_the_image()
        yield from in_background(self.session.fingerprint, 0.5)
        self._must_be_open()
        self._joint.take_edits(everything=True)  # also what was done meanwhile
        self.session.do(Sign(reviewer, comment))
        return self.session.signatures[-1]

    def image_in_steps(self) -> Generator[float, None, Volume]:
        """Return the image under review, see `Joint.image_in_steps`; StoreError: ``closed``."""
        self._must_be_open()
        return (yield from self._joint.image_in_steps())

    def undo(self) -> Entry:
        """Take back the last act; see `do`."""
        return self.do(Undo())

    def redo(self) -> Entry:
        """Do again what was last taken back; see `do`."""
        return self.do(Redo())

    def add_box_at(
        self,
        centre_ras_mm: Sequence[float],
        label: int,
        size_mm: float | Sequence[float] = 20.0,
    ) -> str:
        """Add a finding the model missed, as a box around a place; see `places.box_around`.

        Returns:
            Its id.

        Raises:
            InputError: ``box-outside``, ``bad-size``, ``unknown-label``.
        """
        self._joint.follow()
        return drawing.add_box_at(self, self._joint.geometry, centre_ras_mm, label, size_mm)

    def add_mask_from_segment(self, segment_id: str, label: int, *, keep: bool = False) -> str:
        """Make a finding of a segment the user drew.

        Args:
            segment_id: the user's segment.
            label: the class of the finding.
            keep: leave the user's segment where it is; else it is removed.

        Returns:
            The finding's id.

        Raises:
            InputError: ``empty-mask``, ``unknown-segment``, ``unknown-label``.
        """
        return drawing.add_mask_from_segment(self, self._joint, segment_id, label, keep=keep)

    def merge(self, ids: Sequence[str], label: int | None = None) -> Entry:
        """Make one finding of several; see `acts.Merge`."""
        return self.do(Merge(tuple(ids), label))

    def split(self, finding_id: str, plane: Plane | None = None) -> tuple[str, ...]:
        """Make several findings of one.

        Args:
            finding_id: which.
            plane: where to cut, in the world as it is now; None for the parts that don't
                touch.

        Returns:
            Their ids.

        Raises:
            InputError: ``nothing-to-split``, ``unknown-finding``.
        """
        self._joint.follow()
        return drawing.split(self, self._joint.geometry, finding_id, plane)

    # ---- who listens ---------------------------------------------------------------------

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call a listener after every change; return what ends that.

        The desk may be asked anything then; the last that is told is ``closed``.
        """
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def _tell(self, changed: DeskChanged) -> None:
        if changed.kind == "moved":
            self._rows.clear()
        for key in changed.removed:
            self._rows.pop(key, None)
        for listener in tuple(self._listeners):
            listener(changed)

    def _row(self, item: Finding) -> DeskItem:
        known = self._rows.get(item.id)
        if known is None or known[0] is not item:
            known = (item, desk_item(item, self.session.about, self._joint.geometry))
            self._rows[item.id] = known
        return known[1]

    def _must_be_open(self) -> None:
        if self.is_closed:
            raise StoreError(
                "closed", f"this review is closed: {self.closed_because}",
                where=self.session.folder, todo="resume it", exit_code=77,
            )  # fmt: skip

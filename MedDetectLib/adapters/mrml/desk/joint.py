"""What joins a review session with its nodes: acts to the scene, edits to the session."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable
from typing import TYPE_CHECKING, Any

from MedDetectLib.adapters.mrml.desk.changes import DeskChanged, Kind
from MedDetectLib.adapters.mrml.desk.display import highlight, look_of, show_only
from MedDetectLib.adapters.mrml.desk.handle import Handle
from MedDetectLib.adapters.mrml.desk.listening import Listening
from MedDetectLib.adapters.mrml.desk.mirror import SceneEdits
from MedDetectLib.adapters.mrml.desk.same_image import checked_image, voxels_mark
from MedDetectLib.adapters.mrml.desk.scene_acts import acts_of
from MedDetectLib.adapters.mrml.record import SAME_PLACE_MM
from MedDetectLib.core.errors import InputError, MedDetectError
from MedDetectLib.core.findings import Finding
from MedDetectLib.core.volume import Volume
from MedDetectLib.review.acts import Act, EditBox
from MedDetectLib.review.session import Changed

if TYPE_CHECKING:
    from MedDetectLib.adapters.mrml.desk.beginning import Parts

__all__ = ["Joint"]

KINDS: dict[str, Kind] = {
    "undo": "undo",
    "redo": "redo",
    "focus": "focus",
    "sign": "signed",
    "reopen": "reopened",
}

OTHER_VOXELS = (
    "the image's voxels were changed: the findings may not fit any more, and cannot be signed"
)


class Joint:
    """Keeps a session and its nodes in line.

    Args:
        parts: see `beginning`.
        tell: told of every change, once both sides show it.
    """

    def __init__(self, parts: Parts, tell: Callable[[DeskChanged], None]) -> None:
        self.scene, self.session = parts.scene, parts.session
        self.node, self.volume_node = parts.node, parts.volume_node
        self.mirror, self._keeper = parts.mirror, parts.keeper
        self.reason = ""
        self.current: str | None = None
        self._tell_listeners = tell
        self._handle_shown = False
        self._shown: frozenset[str] | None = None
        self._taking: list[Changed] | None = None
        self.geometry = self._keeper.world_geometry()
        self._voxels = parts.voxels
        self._told_voxels = voxels_mark(self.volume_node)
        self.handle = Handle(self.scene, self.node)
        self.listening = Listening(
            self.scene, self.node, self.volume_node,
            ending=self.end, roi_gone=self._handle_gone, trouble=self._troubled,
        )  # fmt: skip
        self.listening.watch_roi(self.handle.node)
        self._unsubscribe = self.session.subscribe(self._session_changed)
        with self.listening.quiet():
            self.handle.put_around(None, None, self.geometry)
            look_of(self.node, self.session.items, None)

    def image_in_steps(self) -> Generator[float, None, Volume]:
        """Return the image under review where it lay when the review was begun, in steps.

        Its voxels are the node's own, compared with what the review was begun on.

        Raises:
            InputError: ``other-volume``; ``not-an-image`` without a volume node.
        """
        wanted = str(self.session.header["volume_sha256"]).split()
        return (yield from checked_image(self.volume_node, self.session.about.geometry, wanted))

    def made_sure_of_the_image(self) -> Generator[float, None, None]:
        """Compare the voxels where they may have changed, in steps; see `image_in_steps`."""
        if self.volume_node is not None and self._voxels != voxels_mark(self.volume_node):
            yield from self.image_in_steps()

    # ---- the scene follows the session ---------------------------------------------------

    def _session_changed(self, changed: Changed) -> None:
        if self._taking is not None:
            self._taking.append(changed)
        elif not self.reason:
            self._show([changed], ())

    def _show(self, changes: list[Changed], more: Collection[str]) -> None:
        """Bring the nodes in line with what acts changed, and with `more` findings."""
        ids = tuple(dict.fromkeys([*(key for each in changes for key in each.ids), *more]))
        with self.listening.quiet():
            if ids:
                self.mirror.draw(ids)
                here = {item.id: item for item in self.session.items}
                if self.current is not None and self.current not in here:
                    self.current = None
                look_of(self.node, [here[key] for key in ids if key in here], self.current)
                if self._shown is not None:
                    show_only(self.node, [key for key in ids if key in here], self._shown)
                if self.current in ids or self.current is None:
                    self._place_handle()
                self._keeper.write()
            else:
                self._keeper.write_mark()
            if any(each.entry.kind in ("sign", "reopen") for each in changes):
                self._place_handle()
        self._tell_acts(changes)

    def take_in_hand(self, finding_id: str | None) -> None:
        """Have a finding stand out and put the handle around it."""
        here = {item.id: item for item in self.session.items}
        before, self.current = self.current, finding_id
        with self.listening.quiet():
            old = None if before == finding_id else here.get(before or "")
            highlight(self.node, here.get(finding_id or ""), old)
            self._place_handle()
            self._keeper.write_mark()
        self.tell(DeskChanged("focus", tuple(k for k in (before, finding_id) if k)))

    def show_handle(self, shown: bool) -> None:
        """Show the handle of the finding in hand, or hide it."""
        self._handle_shown = shown
        with self.listening.quiet():
            self._place_handle()

    def show_only(self, ids: Collection[str] | None) -> None:
        """Show some findings and hide the rest."""
        self._shown = None if ids is None else frozenset(ids)
        with self.listening.quiet():
            show_only(self.node, [item.id for item in self.session.items], self._shown)
        self.tell(DeskChanged("shown", tuple(sorted(self._shown or ()))))

    def remove_segment(self, segment_id: str, patch: Any) -> None:
        """Remove a segment of the user's, whose voxels are `patch`."""
        with self.listening.quiet():
            self.mirror.remove(segment_id, patch)

    def _place_handle(self) -> None:
        """Put the handle where it belongs; a signed box has none, it could be dragged."""
        item: Finding | None = None
        if self._handle_shown and self.current is not None and self.session.signature is None:
            item = self.session.item(self.current)
        label = None if item is None else self.session.about.label_of(item)
        self.handle.put_around(item, label, self.geometry)
        self.listening.watch_roi(self.handle.node)
        self.listening.roi_moved = False

    # ---- the session follows the scene ---------------------------------------------------

    def take_edits(self, *, everything: bool = False) -> tuple[str, ...]:
        """Make acts of what was changed in the scene, see `ReviewDesk.take_edits`.

        Args:
            everything: look at every voxel, also where nobody said that something changed.
        """
        heard = self.listening
        self.follow()
        if self.reason or self._taking is not None or not (everything or heard.edits_waiting):
            return ()
        edits = self.mirror.edits(tuple(heard.named), everything=everything or heard.is_unknown)
        if self.session.signature is not None or self.session.read_only:
            self._put_back(edits)
            return ()
        refused: list[InputError] = []
        self._taking = []
        try:
            for act in acts_of(edits, self.session, self.mirror.patches):
                self._try(act, refused)
            if heard.roi_moved:
                self._take_handle(refused)
        except BaseException:
            done, self._taking = self._taking, None
            self.mirror.forget()
            heard.unknown = True
            self._tell_acts(done)
            raise
        done, self._taking = self._taking, None
        self._settle(edits, done)
        for error in refused:
            self._troubled(error)
        return tuple(dict.fromkeys(key for each in done for key in each.ids))

    def _settle(self, edits: SceneEdits, done: list[Changed]) -> None:
        """Have the scene show what became of its edits."""
        roi_moved = self.listening.roi_moved
        self.listening.clean()
        self.mirror.accept(edits)
        self._show(done, (*edits.voxels, *edits.deleted, *edits.renamed))
        if roi_moved:
            with self.listening.quiet():
                self._place_handle()

    def _put_back(self, edits: SceneEdits) -> None:
        """Undo edits of a review that takes none."""
        changed = bool(edits) or self._is_dragged()
        self._settle(edits, [])
        if changed:
            self.tell(DeskChanged("trouble", text="the review is signed: the edit was put back"))

    def _is_dragged(self) -> bool:
        item = self._in_hand()
        try:
            return (
                item is not None
                and self.handle.dragged_to(item, self.geometry.shape_kji) is not None
            )
        except InputError:
            return True

    def _in_hand(self) -> Finding | None:
        return next((item for item in self.session.items if item.id == self.current), None)

    def do_all(self, acts: Iterable[Act]) -> tuple[str, ...]:
        """Do several acts; those that make no sense any more are told as trouble."""
        refused: list[InputError] = []
        before = self.session.last
        for act in acts:
            self._try(act, refused)
        for error in refused:
            self._troubled(error)
        first = 0 if before is None else before.seq
        done = self.session.history[first:]
        return tuple(dict.fromkeys(key for entry in done for key in entry.effect.ids))

    def _try(self, act: Act, refused: list[InputError]) -> None:
        try:
            self.session.do(act)
        except InputError as error:
            refused.append(error)

    def _take_handle(self, refused: list[InputError]) -> None:
        item = self._in_hand()
        try:
            box = None if item is None else self.handle.dragged_to(item, self.geometry.shape_kji)
            if item is not None and box is not None:
                self.session.do(EditBox(item.id, box))
        except InputError as error:
            refused.append(error)

    # ---- what happens to the scene -------------------------------------------------------

    def end(self, why: str) -> None:
        """End the review; pending edits are taken as far as they can be."""
        if self.reason:
            return
        lost = ""
        try:
            self.take_edits()
        except MedDetectError as error:
            lost = f"; the last edits in the scene could not be kept ({error.what})"
        why = why.rstrip(".")
        self.reason = f"{why}; everything done so far is kept in {self.session.folder}{lost}"
        self.listening.close()
        self._unsubscribe()
        if not self.scene.IsClosing():
            self.handle.remove()
        self.session.close()
        self.tell(DeskChanged("closed", text=self.reason))

    def _handle_gone(self) -> None:
        self.handle.forget()

    def follow(self) -> None:
        """Keep the nodes together after one of them may have moved, or end the review."""
        if self.reason or not self.listening.place_changed:
            return
        self.listening.place_changed = False
        try:
            with self.listening.quiet():
                geometry = self._keeper.realigned(self.volume_node)
                is_new = not geometry.is_close(self.geometry, SAME_PLACE_MM)
                if is_new:
                    self.geometry = geometry
                    if not (self.listening.roi_moved and self._is_dragged()):
                        self._place_handle()
        except InputError as error:
            self.end(error.what)
            return
        if is_new:
            self.tell(DeskChanged("moved"))
        self._look_at_voxels()

    def _look_at_voxels(self) -> None:
        """Say once that the image under the findings has become another one."""
        now = voxels_mark(self.volume_node)
        if now != self._told_voxels and now != self._voxels:
            self.tell(DeskChanged("trouble", text=OTHER_VOXELS))
        self._told_voxels = now

    def _troubled(self, error: Exception) -> None:
        text = str(error) if isinstance(error, MedDetectError) else repr(error)
        self.tell(DeskChanged("trouble", text=text))

    def _tell_acts(self, changes: list[Changed]) -> None:
        for each in changes:
            kind = KINDS.get(each.entry.kind, "act")
            if kind != "focus":  # told when it is in hand
                self.tell(DeskChanged(kind, each.ids, each.added, each.removed, each.entry.text))

    def tell(self, changed: DeskChanged) -> None:
        """Tell whoever listens to the desk."""
        self._tell_listeners(changed)

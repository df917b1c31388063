"""The review that is open now: what the parts of the panel ask of it, and who listens."""

import qt
import slicer

from MedDetectLib.adapters.mrml.desk.review_desk import ReviewDesk
from MedDetectLib.core.errors import MedDetectError
from MedDetectUI.places import jumpTo

STEP_MS = 1
"""Between two steps of a beginning: as soon as Qt has done what else there is."""


class OpenReview:
    """A `ReviewDesk` that may not be there; parts need not ask.

    Attributes:
        onChosen: called with the id of the finding taken in hand, or None.
        onEnded: called with the reason when the scene has ended the review.
    """

    def __init__(self):
        self.desk = None
        self.onChosen = lambda findingId: None
        self.onEnded = lambda reason: None
        self._listeners = []
        self._steps = None
        self._items = None
        self._shown = None
        self._timer = qt.QTimer()
        self._timer.interval = STEP_MS
        self._timer.connect("timeout()", self._step)

    # --- opening and closing ----------------------------------------------------------

    def begin(self, volumeNode, findings, folder, about, onBegun, onFailed):
        """Start a review of findings in a folder of its own, in steps that nobody waits for.

        Args:
            volumeNode: the volume the findings lie on.
            findings: what is reviewed.
            folder: for the session.
            about: for the session's header.
            onBegun: called without arguments.
            onFailed: called with a MedDetectError.
        """
        self.close()
        self._onBegun, self._onFailed = onBegun, onFailed
        self._steps = ReviewDesk.begin_in_steps(
            slicer.mrmlScene, volumeNode, findings, folder, about=about
        )
        self._timer.start()

    @property
    def beginning(self):
        """Whether a review is just being begun."""
        return self._steps is not None

    def resume(self, folder, volumeNode=None, segmentationNode=None):
        """Go on with a review.

        Raises:
            MedDetectError: what `ReviewDesk.resume` refuses.
        """
        self.close()
        self._take(ReviewDesk.resume(slicer.mrmlScene, folder, volumeNode, segmentationNode))

    def close(self):
        """Close the review; all of it is on disk."""
        self._timer.stop()
        if self._steps is not None:
            self._steps.close()
            self._steps = None
        desk, self.desk = self.desk, None
        self._items = self._shown = None
        if desk is not None:
            desk.close()
            self._tell(None)

    # --- what there is ----------------------------------------------------------------

    @property
    def isOpen(self):
        """Whether there is a review."""
        return self.desk is not None

    @property
    def writable(self):
        """Whether acts are possible: there is a review, and it is not signed."""
        return self.isOpen and self.desk.signature is None

    @property
    def items(self):
        """The findings as rows, see `DeskItem`."""
        if self._items is None:
            self._items = self.desk.items if self.isOpen else []
        return self._items

    @property
    def current(self):
        """The id of the finding in hand, or None."""
        return self.desk.current if self.isOpen else None

    @property
    def item(self):
        """The finding in hand, or None."""
        current = self.current
        return next((item for item in self.items if item.id == current), None)

    @property
    def labels(self):
        """The classes."""
        return self.desk.session.about.labels if self.isOpen else ()

    @property
    def signature(self):
        """Who signed, or None."""
        return self.desk.signature if self.isOpen else None

    @property
    def undoable(self):
        """What undo would take back, as text."""
        return self.desk.can_undo if self.isOpen else ""

    @property
    def redoable(self):
        """What redo would do again, as text."""
        return self.desk.can_redo if self.isOpen else ""

    @property
    def dirty(self):
        """Whether something was drawn or dragged that is no act yet."""
        return self.isOpen and self.desk.is_dirty

    @property
    def folder(self):
        """Where the session lies, or None."""
        return self.desk.session.folder if self.isOpen else None

    # --- what can be done -------------------------------------------------------------

    def do(self, act):
        """Do an act, see `ReviewDesk.do`."""
        return self.desk.do(act)

    def undo(self):
        """Take back the last act."""
        self.desk.undo()

    def redo(self):
        """Do again what was taken back."""
        self.desk.redo()

    def takeEdits(self):
        """Take in what was drawn or dragged."""
        self.desk.take_edits()

    def choose(self, findingId):
        """Take a finding in hand, and show it in all slices."""
        self.desk.select(findingId)
        if findingId:
            jumpTo(self.desk.jump_ras_mm(findingId))

    def showHandle(self, shown):
        """Show or hide the handles of the box in hand."""
        if self.isOpen:
            self.desk.show_handle(shown)

    def showOnly(self, ids):
        """Show these findings in the views and hide the others."""
        if self.isOpen and ids != self._shown:
            self._shown = ids
            self.desk.show_only(ids)

    # --- who listens ------------------------------------------------------------------

    def listen(self, listener):
        """Call `listener(change)` after every change; with None when all is new."""
        self._listeners.append(listener)

    def _take(self, desk):
        self.desk = desk
        self._items = self._shown = None
        desk.subscribe(self._onChange)
        self._tell(None)
        self.onChosen(desk.current)

    def _onChange(self, change):
        if change.kind == "shown":
            return
        self._items = None
        if change.kind == "closed":
            self.desk = None
            self._tell(None)
            self.onEnded(change.text)
            return
        self._tell(change)
        if change.kind == "focus":
            self.onChosen(self.current)

    def _tell(self, change):
        for listener in list(self._listeners):
            listener(change)

    def _step(self):
        try:
            next(self._steps)
        except StopIteration as end:
            self._timer.stop()
            self._steps = None
            self._take(end.value)
            self._onBegun()
        except MedDetectError as error:
            self._timer.stop()
            self._steps = None
            self._onFailed(error)

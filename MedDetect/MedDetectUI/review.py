"""The review that is open now: what the parts of the panel ask of it, and who listens."""

from MedDetectLib.adapters.mrml.desk.case_desk import CaseDesk
from MedDetectUI.places import jumpTo
from MedDetectUI.steps import Steps


class OpenReview:
    """A `ReviewDesk` that may not be there; parts need not ask.

    Attributes:
        desk: the ReviewDesk, or None.
        caseDesk: the CaseDesk around it once it is known which case it is of, or None.
        onChosen: called with the id of the finding taken in hand, or None.
        onEnded: called with the reason when the scene has ended the review.
    """

    def __init__(self):
        self.desk = self.caseDesk = None
        self.onChosen = lambda findingId: None
        self.onEnded = lambda reason: None
        self._listeners = []
        self._opening = Steps()
        self._items = None
        self._shown = None

    # --- opening and closing ----------------------------------------------------------

    def open(self, steps, onBegun, onFailed):
        """Open a review in steps that nobody waits for.

        Args:
            steps: `begin_in_steps` of a ReviewDesk or a CaseDesk.
            onBegun: called without arguments.
            onFailed: called with a MedDetectError.
        """
        self.close()

        def opened(desk):
            self.take(desk)
            onBegun()

        self._opening.start(steps, opened, onFailed)

    @property
    def beginning(self):
        """Whether a review is just being opened."""
        return self._opening.busy

    def take(self, desk):
        """Go on with a ReviewDesk or a CaseDesk as the open review."""
        self.close()
        self.caseDesk = desk if isinstance(desk, CaseDesk) else None
        self.desk = self.caseDesk.review if self.caseDesk is not None else desk
        self.desk.subscribe(self._onChange)
        self._tell(None)
        self.onChosen(self.desk.current)

    def join(self, caseDesk):
        """Learn which case the open review is of."""
        self.caseDesk = caseDesk

    def close(self):
        """Close the review; all of it is on disk."""
        self._opening.stop()
        desk, self.desk = self.caseDesk or self.desk, None
        self.caseDesk = self._items = self._shown = None
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
        """Take a finding in hand, and show it in all slices whether that can be kept or not."""
        try:
            self.desk.select(findingId)
        finally:
            if findingId and self.isOpen:
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

    def _onChange(self, change):
        if change.kind == "shown":
            return
        self._items = None
        if change.kind == "closed":
            if self.desk is None:
                return  # by ourselves
            self.desk = self.caseDesk = None
            self._tell(None)
            self.onEnded(change.text)
            return
        self._tell(change)
        if change.kind == "focus":
            self.onChosen(self.current)

    def _tell(self, change):
        for listener in list(self._listeners):
            listener(change)

"""After a crash: unfinished reviews are offered, and one that cannot be opened can be looked at."""

from pathlib import Path

import slicer
from slicer.i18n import tr as _

from MedDetectLib.adapters.mrml.desk.case_desk import CaseDesk
from MedDetectLib.adapters.mrml.desk.review_desk import ReviewDesk
from MedDetectLib.adapters.mrml.desk.steps import in_background
from MedDetectLib.adapters.mrml.scene import remove_node
from MedDetectLib.adapters.mrml.segmentation import findings_to_node
from MedDetectLib.adapters.mrml.volume_node import volume_to_node
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.core.errors import MedDetectError
from MedDetectLib.review.case_note import read_note
from MedDetectLib.review.session import ReviewSession
from MedDetectUI.intake import viewOf
from MedDetectUI.looks import show, showError
from MedDetectUI.sessions import imageMark, leaveAside, unfinishedReviews
from MedDetectUI.steps import Steps

LOCKED, DAMAGED = "busy", "damaged-journal"


class UnfinishedPart:
    """The rows of the Save section about reviews that were left.

    Args:
        ui: the widgets of MedDetect.ui.
        review: the `OpenReview`.
        panel: where parameters are kept; knows the case.
    """

    def __init__(self, ui, review, panel):
        self.ui, self.review, self.panel = ui, review, panel
        self.found = None
        self._folder, self._error = None, None
        self._shownId = ""
        self._looking = Steps()
        ui.resumeButton.connect("clicked(bool)", self.resume)
        ui.discardButton.connect("clicked(bool)", self.leave)
        ui.lookButton.connect("clicked(bool)", self.look)
        ui.salvageButton.connect("clicked(bool)", self.salvage)

    @property
    def busy(self):
        """Whether a review is being read."""
        return self._looking.busy

    # --- offering ---------------------------------------------------------------------

    def offer(self):
        """Look for unfinished reviews of the chosen image, and offer the newest."""
        self.found = self._folder = self._error = None
        node = self.panel.case.volumeNode()
        if node is not None and not self.review.isOpen and not self.review.beginning:
            try:
                left = unfinishedReviews(imageMark(viewOf(node)), self.panel.known.id)
            except MedDetectError:
                left = []
            blind = self.ui.blindedCheck.checked
            mine = [each for each in left if not blind or each.reader == self.panel.save.reviewer]
            self.found = mine[0] if mine else None
        if self.found is not None:
            self._folder = self.found.folder
            show(self.ui.unfinishedNote, _offer(self.found), "warning", str(self.found.folder))
        self._showButtons()

    def resume(self, _checked=False):
        """Go on with the unfinished review."""
        if self.found is not None:
            self._giveFocus()
            self._goOn(self.found.folder, self.panel.case.volumeNode())

    def leave(self, _checked=False):
        """Do not offer it again; it stays on disk."""
        if self._folder is None:
            return
        self._giveFocus()
        try:
            leaveAside(self._folder)
        except OSError as error:
            self.panel.say(str(error), "bad")
        self.offer()

    def resumeFromScene(self):
        """Go on with the review that a loaded scene shows."""
        if self.review.isOpen or self.review.beginning:
            return
        folder = self.panel.parameters.sessionFolder
        marks = {str(mark.folder): mark for mark in ReviewDesk.reviews_in(slicer.mrmlScene)}
        wanted = [folder] if folder in marks else list(marks)[:1]
        if not wanted:
            return
        if not marks[wanted[0]].folder.is_dir():
            self.panel.say(
                _("The scene shows a review whose journal is not on this computer."),
                "warning",
                wanted[0],
            )
            return
        self._goOn(marks[wanted[0]].folder, finding=self.panel.parameters.currentFinding)

    # --- one that cannot be opened ----------------------------------------------------

    def look(self, _checked=False):
        """Show the findings of a review that is open elsewhere, or damaged, to look at."""
        self._giveFocus()
        self._read(self._onLooked)

    def salvage(self, _checked=False):
        """Begin a new review with what can be read of a damaged one; that stays as it is."""
        self._giveFocus()
        self._read(self._onSalvaged)

    def leaveScene(self):
        """Forget what is looked at."""
        self._looking.stop()
        if not slicer.mrmlScene.IsClosing():
            self.stopLooking()
        self._shownId = ""

    def stopLooking(self):
        """Take what is looked at out of the scene."""
        node = slicer.mrmlScene.GetNodeByID(self._shownId) if self._shownId else None
        self._shownId = ""
        if node is not None:
            remove_node(node)

    # --- inside -----------------------------------------------------------------------

    def _goOn(self, folder, volumeNode=None, finding=""):
        self.panel.save.open(
            _resumed(folder, volumeNode),
            lambda: self._onResumed(finding),
            lambda error: self._onRefused(folder, error),
        )

    def _onResumed(self, finding):
        self.stopLooking()
        offers = self.review.desk.offers
        if offers:
            self.panel.say(
                _("{n} changes in this scene were never part of the review.").format(n=len(offers)),
                "warning",
                "\n".join(offer.text for offer in offers),
            )
        elif self.panel.save.needsStoring():
            self.panel.say(_("Signed, but not in the store yet: press Save again."), "warning")
        else:
            folder = str(self.review.folder)
            self.panel.say(_("The review goes on where it was left."), "good", folder)
        if any(item.id == finding for item in self.review.items):
            self.panel.attempt(lambda: self.review.choose(finding))

    def _onRefused(self, folder, error):
        """Say why a review cannot be opened, where it lies, and what can be done."""
        self.panel.say(_("The review could not be opened."), "bad", str(error))
        self.panel.save.refresh()
        self.found, self._folder, self._error = None, folder, error
        showError(self.ui.unfinishedNote, error)
        kept = _("Everything kept of it: {folder}").format(folder=folder)
        self.ui.unfinishedNote.toolTip = f"{error}\n{kept}"
        self._showButtons()

    def _giveFocus(self):
        """Keep the keys: a button that hides hands the focus to the next field of text."""
        self.ui.findingsTable.setFocus()

    def _showButtons(self):
        code = getattr(self._error, "code", "")
        self.ui.unfinishedNote.visible = self._folder is not None
        self.ui.unfinishedFrame.visible = self._folder is not None
        self.ui.resumeButton.visible = self.found is not None
        self.ui.lookButton.visible = code in (LOCKED, DAMAGED)
        self.ui.salvageButton.visible = code == DAMAGED

    def _read(self, onRead):
        folder = self._folder
        if folder is None or self.busy or self.panel.case.volumeNode() is None:
            return
        damaged = getattr(self._error, "code", "") == DAMAGED
        self._looking.start(
            in_background(lambda: _findingsOf(folder, damaged)),
            onRead,
            lambda error: showError(self.ui.saveState, error),
        )

    def _onLooked(self, read):
        findings, acts = read
        self.stopLooking()
        made = []
        node = self.panel.case.volumeNode()
        name = _("only to look at: {name}").format(name=self._folder.name)
        if self.panel.attempt(
            lambda: made.append(findings_to_node(slicer.mrmlScene, findings, node, name))
        ):
            self._shownId = made[0].GetID()
            self.panel.say(
                _("{n} findings after {acts} acts, only to look at.").format(
                    n=len(findings), acts=acts
                ),
                "good",
                str(self._folder),
            )

    def _onSalvaged(self, read):
        findings, _acts = read
        folder, node = self._folder, self.panel.case.volumeNode()
        self.stopLooking()
        try:
            leaveAside(folder)
        except OSError as error:
            self.panel.say(str(error), "bad")
        self.panel.save.beginReview(node, findings, salvaged=str(folder))


def _offer(left):
    if left.isSigned:
        return _("A signed review of this image is not in its case store: begun {when}.").format(
            when=left.started.strftime("%Y-%m-%d %H:%M")
        )
    who = _(" by {name}").format(name=left.reader) if left.reader else ""
    return _("An unfinished review of this image{who}: {n} acts, begun {when}.").format(
        who=who, n=left.acts, when=left.started.strftime("%Y-%m-%d %H:%M")
    )


def _findingsOf(folder, damaged):
    """Return (findings, number of acts) of a session that is not opened for writing."""
    with ReviewSession.open(folder, read_only=True, up_to_damage=damaged) as session:
        return session.findings, len(session.history)


def _resumed(folder, volumeNode):
    """Go on with a review, of a case or not, in steps."""
    scene, place = slicer.mrmlScene, Path(folder)
    note = read_note(place)
    if note is None:
        return (yield from ReviewDesk.resume_in_steps(scene, place, volumeNode))
    store = CaseStore(note.store)
    if volumeNode is None and not ReviewDesk.is_shown(scene, place):
        volume = yield from in_background(lambda: CaseStore(note.store).volume(note.case), 0.1)
        volumeNode = volume_to_node(scene, volume, store.case(note.case).name)
    review = yield from ReviewDesk.resume_in_steps(scene, place, volumeNode)
    return CaseDesk(review, store, note)

"""Save: sign, put the case into the store, versions, second reading, going on after a crash."""

import slicer
from slicer.i18n import tr as _

from MedDetectLib.adapters.mrml.desk.review_desk import ReviewDesk
from MedDetectLib.core.errors import InputError, MedDetectError
from MedDetectLib.models.registry import user_folder
from MedDetectLib.review.acts import Reopen, Sign
from MedDetectUI.background import Background
from MedDetectUI.intake import viewOf
from MedDetectUI.looks import show, showError
from MedDetectUI.sessions import (
    imageMark,
    leaveAside,
    newSessionFolder,
    unfinishedReviews,
)
from MedDetectUI.storing import readingOf, storeReview, versionsOf


class SavePart:
    """The Save section.

    Args:
        ui: the widgets of MedDetect.ui.
        review: the `OpenReview`.
        panel: where parameters are kept; knows the case.
    """

    def __init__(self, ui, review, panel):
        self.ui, self.review, self.panel = ui, review, panel
        self.unfinished = None
        self.versions = ()
        self._reading = None
        self._storedAct = ""
        self._work = Background()
        self._reads = Background()
        ui.signButton.connect("clicked(bool)", self.sign)
        ui.signNextButton.connect("clicked(bool)", self.signAndNext)
        ui.reopenButton.connect("clicked(bool)", self.reopen)
        ui.resumeButton.connect("clicked(bool)", self.resume)
        ui.discardButton.connect("clicked(bool)", self.leave)
        ui.openVersionButton.connect("clicked(bool)", self.openVersion)
        ui.readingButton.connect("clicked(bool)", self.startReading)
        ui.reviewerEdit.connect("textChanged(QString)", self._onText)
        ui.patientEdit.connect("textChanged(QString)", self._onText)
        ui.storePath.connect("currentPathChanged(QString)", self._onStore)
        review.listen(self._onReview)
        review.onEnded = self._onEnded

    @property
    def busy(self):
        """Whether something is being stored or read."""
        return self._work.busy or self._reads.busy

    # --- beginning a review -----------------------------------------------------------

    def beginReview(self, volumeNode, findings, reading=None):
        """Begin a review of findings, in steps; whoever listens is told when it is there."""
        self._reading = reading
        self._storedAct = ""
        folder = newSessionFolder(volumeNode.GetName() or "review")
        about = {
            "image": imageMark(viewOf(volumeNode)),
            "case": self.panel.parameters.caseId,
            "reader": self.ui.reviewerEdit.text.strip(),
            "start": reading.start.number if reading is not None and reading.start else 0,
            "blinded": bool(reading is not None and reading.blinded),
        }
        show(self.ui.saveState, _("Opening the review…"), "busy")
        self.review.begin(volumeNode, findings, folder, about, self._onBegun, self._onNotBegun)

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
        finding = self.panel.parameters.currentFinding
        if self._goOn(wanted[0]) and any(item.id == finding for item in self.review.items):
            self.panel.attempt(lambda: self.review.choose(finding))

    # --- signing ----------------------------------------------------------------------

    def sign(self, _checked=False):
        """Freeze the review and put the case into the store."""
        self._sign(andNext=False)

    def signAndNext(self, _checked=False):
        """The same, then go to the next case of the worklist."""
        self._sign(andNext=True)

    def reopen(self, _checked=False):
        """Work on a signed review again."""
        reviewer = self.ui.reviewerEdit.text.strip()
        reason = self.ui.commentEdit.text.strip() or _("reopened in the panel")
        self.panel.attempt(lambda: self.review.do(Reopen(reviewer, reason)))

    def _sign(self, andNext):
        parameters, reviewer = self.panel.parameters, self.ui.reviewerEdit.text.strip()
        comment = self.ui.commentEdit.text.strip()
        self.panel.takeEdits()
        if self.review.writable and not self.panel.attempt(
            lambda: self.review.do(Sign(reviewer, comment))
        ):
            return
        signature, desk = self.review.signature, self.review.desk
        act = f"{desk.session.header['session']}:{signature.seq}"
        try:
            volume = viewOf(desk.volume_node)
            findings = desk.findings
        except MedDetectError as error:
            showError(self.ui.saveState, error)
            return
        store, patient = self.storeFolder(), self.ui.patientEdit.text.strip()
        caseId, reading, session = parameters.caseId, self._reading, self.review.folder
        details = {
            "effort": {key: vars(each) for key, each in desk.session.effort.items()},
            "reasons": _reasons(desk.session.history),
        }
        show(self.ui.saveState, _("Saving the case…"), "busy")
        self._work.start(
            lambda: storeReview(
                store, volume, findings, patient, signature, caseId, reading, act, details, session
            ),
            lambda stored: self._onStored(stored, act, andNext),
            self._onNotStored,
        )
        self.refresh()

    def _onStored(self, stored, act, andNext):
        self._storedAct = act
        self.panel.parameters.caseId = stored.case
        show(
            self.ui.saveState,
            _("Stored as version {n} of case {case}.").format(n=stored.number, case=stored.case),
            "good",
            str(self.storeFolder()),
        )
        self.showVersions()
        self.refresh()
        self.panel.case.stored(stored)
        if andNext:
            self.panel.case.next()

    def _onNotStored(self, error):
        showError(self.ui.saveState, error)
        self.refresh()

    # --- after a crash ----------------------------------------------------------------

    def offerUnfinished(self):
        """Look for unfinished reviews of the chosen image, and offer the newest."""
        self.unfinished = None
        node = self.panel.case.volumeNode()
        if node is not None and not self.review.isOpen and not self.review.beginning:
            try:
                left = unfinishedReviews(imageMark(viewOf(node)))
            except MedDetectError:
                left = []
            self.unfinished = left[0] if left else None
        offered = self.unfinished is not None
        self.ui.unfinishedNote.visible = offered
        self.ui.unfinishedFrame.visible = offered
        if offered:
            show(
                self.ui.unfinishedNote,
                _("An unfinished review of this image: {n} acts, begun {when}.").format(
                    n=self.unfinished.acts, when=self.unfinished.started.strftime("%Y-%m-%d %H:%M")
                ),
                "warning",
                str(self.unfinished.folder),
            )

    def resume(self, _checked=False):
        """Go on with the unfinished review."""
        if self.unfinished is not None:
            self._goOn(str(self.unfinished.folder), self.panel.case.volumeNode())

    def leave(self, _checked=False):
        """Do not offer it again; it stays on disk."""
        if self.unfinished is not None:
            try:
                leaveAside(self.unfinished.folder)
            except OSError as error:
                self.panel.say(str(error), "bad")
            self.offerUnfinished()

    def _goOn(self, folder, volumeNode=None):
        self._reading = None
        if not self.panel.attempt(lambda: self.review.resume(folder, volumeNode)):
            return False
        self._onBegun()
        offers = self.review.desk.offers
        if offers:
            self.panel.say(
                _("{n} changes in this scene were never part of the review.").format(n=len(offers)),
                "warning",
                "\n".join(offer.text for offer in offers),
            )
        else:
            self.panel.say(_("The review goes on where it was left."), "good", folder)
        return True

    # --- versions and readings --------------------------------------------------------

    def showVersions(self):
        """List what was said of this case; others' work is left out for a blinded reader."""
        parameters = self.panel.parameters
        self.versions = ()
        if parameters is not None and parameters.caseId:
            seenBy = self._blindReader()
            try:
                self.versions = versionsOf(self.storeFolder(), parameters.caseId, seenBy)
            except MedDetectError as error:
                showError(self.ui.saveState, error)
        selector = self.ui.versionSelector
        selector.clear()
        for version in reversed(self.versions):
            when = version.signed[:16].replace("T", " ")
            selector.addItem(f"{version.number}  {version.kind}  {version.author}  {when}")
        selector.enabled = bool(self.versions)

    def openVersion(self, _checked=False):
        """Start a review from the chosen version."""
        index = self.ui.versionSelector.currentIndex
        if 0 <= index < len(self.versions):
            self._read(self.versions[-1 - index].number, blinded=False)

    def startReading(self, _checked=False):
        """Read the case independently, from the model's findings if blinded."""
        self._read(None, blinded=self.ui.blindedCheck.checked)

    def _read(self, number, blinded):
        store, caseId = self.storeFolder(), self.panel.parameters.caseId
        reader = self.ui.reviewerEdit.text.strip()
        node = self.panel.case.volumeNode()
        if node is None:
            return
        show(self.ui.saveState, _("Reading the case…"), "busy")
        self._reads.start(
            lambda: readingOf(store, caseId, reader, blinded, number),
            lambda reading: self.beginReading(node, reading),
            self._onNotStored,
        )
        self.refresh()

    def beginReading(self, volumeNode, reading):
        """Begin a review of what a reader starts from."""
        if slicer.mrmlScene.GetNodeByID(volumeNode.GetID() or "") is not volumeNode:
            return
        if reading.findings is None:
            showError(
                self.ui.saveState,
                InputError("no-version", _("nothing was found in this case yet; run a model")),
            )
            self.refresh()
            return
        self.beginReview(volumeNode, reading.findings, reading)

    # --- what it shows ----------------------------------------------------------------

    def storeFolder(self):
        """Return the case store's folder."""
        return self.ui.storePath.currentPath or str(user_folder() / "cases")

    def takeParameters(self):
        """Show what the parameter node says."""
        parameters = self.panel.parameters
        if not parameters.storeFolder:
            parameters.storeFolder = str(user_folder() / "cases")
        self.ui.storePath.currentPath = parameters.storeFolder
        self.showVersions()
        self.refresh()

    def refresh(self):
        """Switch buttons on and off, and say what is missing."""
        ui, signed = self.ui, self.review.signature is not None
        why = self._whyNot()
        toStore = self.review.isOpen and (not signed or not self._stored())
        for button in (ui.signButton, ui.signNextButton):
            button.enabled = toStore and not why and not self.busy
        ui.signButton.text = _("Save again") if signed and toStore else _("Sign and save")
        ui.signButton.toolTip = why or _("Freeze the review and put the case into the store")
        ui.signNextButton.toolTip = why or _("The same, then open the next case of the worklist")
        ui.reopenButton.enabled = signed and not self.busy and bool(ui.reviewerEdit.text.strip())
        hasCase = self.panel.parameters is not None and bool(self.panel.parameters.caseId)
        ui.openVersionButton.enabled = bool(self.versions) and not self.busy
        ui.readingButton.enabled = hasCase and not self.busy and bool(ui.reviewerEdit.text.strip())

    def leaveScene(self):
        """Finish what is being written, and forget the case."""
        self._work.finish()
        self._reads.finish()
        self._reading = None

    # --- inside -----------------------------------------------------------------------

    def _whyNot(self):
        if not self.review.isOpen:
            return _("There is no review yet.")
        if not self.ui.reviewerEdit.text.strip():
            return _("Type the reviewer's name first.")
        if not self.panel.parameters.caseId and not self.ui.patientEdit.text.strip():
            return _("Type the patient's pseudonym first.")
        return ""

    def _stored(self):
        return bool(self._storedAct) and self._storedAct.endswith(f":{self.review.signature.seq}")

    def _blindReader(self):
        """Return the reader others' work is hidden from, or None."""
        name = self.ui.reviewerEdit.text.strip()
        return name if self.ui.blindedCheck.checked and name else None

    def _onBegun(self):
        if self.panel.parameters is not None:
            self.panel.parameters.sessionFolder = str(self.review.folder)
            self.panel.parameters.segmentation = self.review.desk.segmentation_node
        self.offerUnfinished()
        show(self.ui.saveState, _("Every act is kept at once."), "plain", str(self.review.folder))
        self.refresh()

    def _onNotBegun(self, error):
        showError(self.ui.saveState, error)
        self.refresh()

    def _onReview(self, change):
        if change is not None and change.kind == "trouble":
            self.panel.say(change.text, "warning")
        if change is None or change.kind in ("signed", "reopened"):
            self.panel.findings.refresh()
            self.panel.correct.refresh()
            self.refresh()

    def _onEnded(self, reason):
        self.panel.say(_("The review has ended: {reason}.").format(reason=reason), "warning")
        self.offerUnfinished()
        self.refresh()

    def _onText(self, _text=""):
        self.refresh()

    def _onStore(self, path=""):
        if self.panel.parameters is not None:
            self.panel.parameters.storeFolder = path
            self.showVersions()


def _reasons(history):
    """Return why findings were rejected, by id; the last reason counts."""
    return {
        entry.act["finding_id"]: entry.act["reason"] for entry in history if entry.kind == "reject"
    }

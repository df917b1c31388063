"""Save: sign, put the case into the store, versions, second reading, going on after a crash."""

from pathlib import Path

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from MedDetectLib.adapters.mrml.desk.case_desk import CaseDesk
from MedDetectLib.adapters.mrml.desk.review_desk import ReviewDesk
from MedDetectLib.adapters.mrml.desk.steps import in_background
from MedDetectLib.cases.findings_files import read_findings
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.core.errors import MedDetectError
from MedDetectLib.models.registry import user_folder
from MedDetectLib.review.acts import Reopen
from MedDetectLib.review.case_note import read_note
from MedDetectLib.review.case_reading import take_in
from MedDetectUI.intake import viewOf
from MedDetectUI.looks import show, showError
from MedDetectUI.sessions import imageMark, leaveAside, newSessionFolder, unfinishedReviews
from MedDetectUI.steps import Steps


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
        self._known = None
        self._work = Steps()
        ui.signButton.connect("clicked(bool)", self.sign)
        ui.signNextButton.connect("clicked(bool)", self.signAndNext)
        ui.reopenButton.connect("clicked(bool)", self.reopen)
        ui.resumeButton.connect("clicked(bool)", self.resume)
        ui.discardButton.connect("clicked(bool)", self.leave)
        ui.openVersionButton.connect("clicked(bool)", self.openVersion)
        ui.readingButton.connect("clicked(bool)", self.startReading)
        ui.reviewerEdit.connect("textChanged(QString)", self._onText)
        ui.patientEdit.connect("textChanged(QString)", self._onText)
        ui.blindedCheck.connect("toggled(bool)", self._onBlinded)
        ui.storePath.filters = ctk.ctkPathLineEdit.Dirs
        ui.storePath.connect("currentPathChanged(QString)", self._onStore)
        review.listen(self._onReview)
        review.onEnded = self._onEnded

    @property
    def busy(self):
        """Whether something is being stored or read."""
        return self._work.busy or self.review.beginning

    # --- beginning a review -----------------------------------------------------------

    def beginReview(self, volumeNode, findings):
        """Begin a review of findings, in steps; whoever listens is told when it is there."""
        folder = newSessionFolder(volumeNode.GetName() or "review")
        about = {"image": imageMark(viewOf(volumeNode)), "reader": self._reviewer()}
        show(self.ui.saveState, _("Opening the review…"), "busy")
        self.review.open(
            ReviewDesk.begin_in_steps(slicer.mrmlScene, volumeNode, findings, folder, about=about),
            self._onBegun,
            self._onFailed,
        )
        self.refresh()

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
        """Sign and save, then go to the next case of the worklist."""
        self._sign(andNext=True)

    def reopen(self, _checked=False):
        """Work on a signed review again."""
        reason = self.ui.commentEdit.text.strip() or _("reopened in the panel")
        self.panel.attempt(lambda: self.review.do(Reopen(self._reviewer(), reason)))

    def _sign(self, andNext):
        self.panel.takeEdits()
        show(self.ui.saveState, _("Saving the case…"), "busy")
        self._work.start(
            self._signing(self.ui.commentEdit.text.strip()),
            lambda version: self._onStored(version, andNext),
            self._onFailed,
        )
        self.refresh()

    def _signing(self, comment):
        """Put the image into the store if need be, sign, and store what was signed."""
        desk, folder = self.review.desk, self.storeFolder()
        caseId = self.panel.parameters.caseId
        if self.review.caseDesk is None:
            if not caseId:
                volume, patient = viewOf(desk.volume_node), self.ui.patientEdit.text.strip()
                start = desk.session.folder / "start"
                caseId = yield from in_background(lambda: _takenIn(folder, volume, patient, start))
            store = CaseStore(folder)
            self.review.join(CaseDesk.join(desk, store, caseId, self._reviewer()))
        if self.review.signature is None:
            return (yield from self.review.caseDesk.sign_in_steps(comment))
        return (yield from self.review.caseDesk.store_in_steps())

    def _onStored(self, version, andNext):
        self.panel.parameters.caseId = version.case
        self._known = version
        show(
            self.ui.saveState,
            _("Stored as version {n} of case {case}.").format(n=version.number, case=version.case),
            "good",
            str(self.storeFolder()),
        )
        self.showVersions()
        self.refresh()
        self.panel.worklist.stored(version.case)
        if andNext:
            self.panel.worklist.next()

    def _onFailed(self, error):
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
        if not self.panel.attempt(lambda: self.review.take(_resumed(folder, volumeNode))):
            return False
        self._onBegun()
        offers = self.review.desk.offers
        if offers:
            self.panel.say(
                _("{n} changes in this scene were never part of the review.").format(n=len(offers)),
                "warning",
                "\n".join(offer.text for offer in offers),
            )
        elif self._needsStoring():
            self.panel.say(_("Signed, but not in the store yet: press Save again."), "warning")
        else:
            self.panel.say(_("The review goes on where it was left."), "good", folder)
        return True

    # --- versions and readings --------------------------------------------------------

    def showVersions(self):
        """List what was said of this case; others' work is left out for a blinded reader."""
        parameters = self.panel.parameters
        self.versions = ()
        if parameters is not None and parameters.caseId:
            seenBy = self._reviewer() if self.ui.blindedCheck.checked else None
            try:
                store = CaseStore(self.storeFolder())
                self.versions = store.versions(parameters.caseId, seen_by=seenBy or None)
            except MedDetectError as error:
                showError(self.ui.saveState, error)
        selector = self.ui.versionSelector
        selector.clear()
        for version in reversed(self.versions):
            when = version.signed[:16].replace("T", " ")
            selector.addItem(f"{version.number}  {version.kind}  {version.author}  {when}")
            selector.setItemData(selector.count - 1, version.comment, qt.Qt.ToolTipRole)
        selector.enabled = bool(self.versions)

    def openVersion(self, _checked=False):
        """Start a review from the chosen version."""
        index, node = self.ui.versionSelector.currentIndex, self.panel.case.volumeNode()
        if not 0 <= index < len(self.versions) or node is None or self.busy:
            return
        number, caseId = self.versions[-1 - index].number, self.panel.parameters.caseId
        self._open(_fromVersion(self.storeFolder(), caseId, self._reviewer(), node, number))

    def startReading(self, _checked=False):
        """Read the case independently, from the model's findings if blinded."""
        node = self.panel.case.volumeNode()
        if node is None or self.busy:
            return
        try:
            steps = CaseDesk.begin_in_steps(
                slicer.mrmlScene,
                CaseStore(self.storeFolder()),
                self.panel.parameters.caseId,
                self._reviewer(),
                newSessionFolder(node.GetName() or "reading"),
                volume_node=node,
                blinded=self.ui.blindedCheck.checked,
                labels=self._labels(),
            )
        except MedDetectError as error:
            showError(self.ui.saveState, error)
            return
        self._open(steps)

    def _open(self, steps):
        """Open another review of the same image; the one at hand is closed and taken away."""
        self.panel.leaveReview()
        show(self.ui.saveState, _("Opening the review…"), "busy")
        self.review.open(steps, self._onBegun, self._onFailed)
        self.refresh()

    def _labels(self):
        model = self.panel.model.current
        return model.labels if model is not None else ()

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
        ui, signed, named = self.ui, self.review.signature is not None, bool(self._reviewer())
        why, free = self._whyNot(), not self.busy
        again = signed and self._needsStoring()
        toStore = self.review.isOpen and (not signed or again)
        for button in (ui.signButton, ui.signNextButton):
            button.enabled = toStore and not why and free
        ui.signButton.text = _("Save again") if again else _("Sign and save")
        ui.signButton.toolTip = why or _("Freeze the review and put the case into the store")
        ui.signNextButton.toolTip = why or _("The same, then open the next case of the worklist")
        ui.reopenButton.enabled = signed and free and named
        hasCase = self.panel.parameters is not None and bool(self.panel.parameters.caseId)
        hasCase = hasCase and self.panel.case.volumeNode() is not None
        ui.openVersionButton.enabled = bool(self.versions) and free and named and hasCase
        ui.readingButton.enabled = hasCase and free and named
        ui.reviewerEdit.readOnly = self.review.caseDesk is not None

    def leaveScene(self):
        """Finish what is being written, and forget the case."""
        self._work.finish()

    # --- inside -----------------------------------------------------------------------

    def _reviewer(self):
        return self.ui.reviewerEdit.text.strip()

    def _whyNot(self):
        if not self.review.isOpen:
            return _("There is no review yet.")
        if not self._reviewer():
            return _("Type the reviewer's name first.")
        known = self.review.caseDesk is not None or self.panel.parameters.caseId
        if not known and not self.ui.patientEdit.text.strip():
            return _("Type the patient's pseudonym first.")
        return ""

    def _needsStoring(self):
        """Whether the review is signed, and the store does not have it."""
        signature, desk = self.review.signature, self.review.caseDesk
        if signature is None:
            return False
        if desk is None:
            return True
        if self._known is not None and self._known.act == desk.act:
            return False
        try:
            self._known = desk.version
        except MedDetectError:
            return True
        return self._known is None

    def _onBegun(self):
        parameters, desk = self.panel.parameters, self.review.caseDesk
        if parameters is not None:
            parameters.sessionFolder = str(self.review.folder)
            parameters.segmentation = self.review.desk.segmentation_node
            if desk is not None:
                parameters.caseId = desk.note.case
                parameters.reviewer = desk.note.reader
                parameters.blinded = desk.note.blinded
        self.offerUnfinished()
        show(self.ui.saveState, _("Every act is kept at once."), "plain", str(self.review.folder))
        self.showVersions()
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

    def _onBlinded(self, _checked):
        self.showVersions()
        self.refresh()

    def _onStore(self, path=""):
        if self.panel.parameters is not None:
            self.panel.parameters.storeFolder = path
            self.showVersions()


def _takenIn(folder, volume, patient, start):
    """Put an image and what a model found in it into the store; runs in a thread."""
    store = CaseStore.open_or_create(folder)
    return take_in(store, volume, patient, read_findings(start)).id


def _resumed(folder, volumeNode):
    """Go on with a review, of a case or not."""
    scene, place = slicer.mrmlScene, Path(folder)
    if read_note(place) is None:
        return ReviewDesk.resume(scene, place, volumeNode)
    return CaseDesk.resume(scene, place, volume_node=volumeNode)


def _fromVersion(storeFolder, caseId, reader, volumeNode, number):
    """Begin a review of one version's findings, in steps."""
    findings = yield from in_background(
        lambda: CaseStore(storeFolder).findings(caseId, number), 0.1
    )
    folder = newSessionFolder(volumeNode.GetName() or "review")
    about = {"case": caseId, "reader": reader, "version": number}
    review = yield from ReviewDesk.begin_in_steps(
        slicer.mrmlScene, volumeNode, findings, folder, about=about
    )
    return CaseDesk.join(review, CaseStore(storeFolder), caseId, reader, start=number)

"""Save: open a review, sign it, and put the case into the store."""

import ctk
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
from MedDetectLib.review.case_reading import take_in
from MedDetectUI.intake import viewOf
from MedDetectUI.looks import show, showError
from MedDetectUI.sessions import imageMark, newSessionFolder
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
        self._known = None
        self._work = Steps()
        self._next = None
        ui.signButton.connect("clicked(bool)", self.sign)
        ui.signNextButton.connect("clicked(bool)", self.signAndNext)
        ui.reopenButton.connect("clicked(bool)", self.reopen)
        ui.reviewerEdit.connect("textChanged(QString)", self._onText)
        ui.patientEdit.connect("textChanged(QString)", self._onText)
        ui.storePath.filters = ctk.ctkPathLineEdit.Dirs
        ui.storePath.connect("currentPathChanged(QString)", self._onStore)
        ui.storePath.connect("validInputChanged(bool)", self._onStoreValid)
        review.listen(self._onReview)
        review.onEnded = self._onEnded

    @property
    def busy(self):
        """Whether something is being stored or read."""
        return self._work.busy or self.review.beginning

    @property
    def storing(self):
        """Whether a review is being signed and put into the store."""
        return self._work.busy

    @property
    def reviewer(self):
        """Who reads and signs, as typed."""
        return self.ui.reviewerEdit.text.strip()

    # --- beginning a review -----------------------------------------------------------

    def beginReview(self, volumeNode, findings, **more):
        """Begin a review of findings, in steps; whoever listens is told when it is there.

        Args:
            volumeNode: what they were found in.
            findings: a `Findings`.
            more: kept in the journal's header beside image and reader.
        """
        folder = newSessionFolder(volumeNode.GetName() or "review")
        about = {"image": imageMark(viewOf(volumeNode)), "reader": self.reviewer, **more}
        self.open(
            ReviewDesk.begin_in_steps(slicer.mrmlScene, volumeNode, findings, folder, about=about)
        )

    def open(self, steps, onBegun=None, onFailed=None):
        """Open a review in steps that nobody waits for.

        Args:
            steps: of a ReviewDesk or a CaseDesk.
            onBegun: called when it is there and shown.
            onFailed: called with a MedDetectError; the Save section says it if None.
        """

        def begun():
            self._onBegun()
            if onBegun is not None:
                onBegun()

        show(self.ui.saveState, _("Opening the review…"), "busy")
        self.review.open(steps, begun, onFailed or self._onFailed)
        self.refresh()

    # --- signing ----------------------------------------------------------------------

    def sign(self, _checked=False):
        """Freeze the review and put the case into the store."""
        self._sign()

    def signAndNext(self, _checked=False):
        """Sign and save, then go to the next case of the worklist."""
        self._sign(self.panel.worklist.next)

    def afterwards(self, act):
        """Do something when the review has been stored; not if that fails."""
        self._next = act

    def reopen(self, _checked=False):
        """Work on a signed review again."""
        reason = self.ui.commentEdit.text.strip() or _("reopened in the panel")
        self.panel.attempt(lambda: self.review.do(Reopen(self.reviewer, reason)))

    def _sign(self, andThen=None):
        self.panel.takeEdits()
        node, self._next = self.review.desk.volume_node, andThen
        show(self.ui.saveState, _("Saving the case…"), "busy")
        self._work.start(
            self._signing(self.ui.commentEdit.text.strip(), self.reviewer),
            lambda version: self._onStored(version, node),
            self._onFailed,
        )
        self.refresh()
        self.panel.worklist.refresh()

    def _signing(self, comment, reviewer):
        """Put the image into the store if need be, sign, and store what was signed."""
        desk, folder = self.review.desk, self.storeFolder()
        caseDesk, known = self.review.caseDesk, self.panel.known.idOf(desk.volume_node)
        patient, start = self.ui.patientEdit.text.strip(), desk.session.folder / "start"
        if caseDesk is None:
            image = yield from desk.image_in_steps()
            caseId = yield from in_background(
                lambda: _takenIn(folder, image, patient, start, known)
            )
            caseDesk = CaseDesk.join(desk, CaseStore(folder), caseId, reviewer)
            if self.review.desk is desk:
                self.review.join(caseDesk)
        if desk.signature is None:
            return (yield from caseDesk.sign_in_steps(comment))
        return (yield from caseDesk.store_in_steps())

    def _onStored(self, version, node):
        self.panel.known.know(node, version.case)
        self._known = version
        show(
            self.ui.saveState,
            _("Stored as version {n} of case {case}.").format(n=version.number, case=version.case),
            "good",
            str(self.storeFolder()),
        )
        self.panel.versions.list()
        self.refresh()
        self.panel.worklist.stored(version.case, node)
        andThen, self._next = self._next, None
        if andThen is not None:
            andThen()
        self.panel.saved()

    def _onFailed(self, error):
        self._next = None
        showError(self.ui.saveState, error)
        self.refresh()
        self.panel.worklist.refresh()

    # --- what it shows ----------------------------------------------------------------

    def storeFolder(self):
        """Return the case store's folder."""
        return self.ui.storePath.currentPath or str(user_folder() / "cases")

    def useStore(self, folder):
        """Sign into this store: the case in hand is of it."""
        if self.storeFolder() != folder:
            self.ui.storePath.currentPath = folder

    def takeParameters(self):
        """Show what the parameter node says."""
        parameters = self.panel.parameters
        if not parameters.storeFolder:
            parameters.storeFolder = str(user_folder() / "cases")
        self.ui.storePath.currentPath = parameters.storeFolder
        self.panel.versions.list()
        self.refresh()

    def refresh(self):
        """Switch buttons on and off, and say what is missing."""
        ui, signed, named = self.ui, self.review.signature is not None, bool(self.reviewer)
        why, free = self._whyNot(), not self.busy
        again = signed and self.needsStoring()
        toStore = self.review.isOpen and (not signed or again)
        for button in (ui.signButton, ui.signNextButton):
            button.enabled = toStore and not why and free
        ui.signButton.text = _("Save again") if again else _("Sign and save")
        ui.signButton.toolTip = why or _("Freeze the review and put the case into the store")
        ui.signNextButton.toolTip = why or _("The same, then open the next case of the worklist")
        desk = self.review.caseDesk
        own = desk is None or desk.note.reader == self.reviewer
        ui.reopenButton.enabled = signed and free and named and own
        ui.reviewerEdit.readOnly = desk is not None and not signed
        self.panel.versions.refresh()

    def leaveScene(self):
        """Finish what is being written, and forget the case."""
        self._next = None
        self._work.finish()

    # --- inside -----------------------------------------------------------------------

    def _whyNot(self):
        if not self.review.isOpen:
            return _("There is no review yet.")
        if not self.reviewer:
            return _("Type the reviewer's name first.")
        node = self.review.desk.volume_node
        known = self.review.caseDesk is not None or self.panel.known.idOf(node)
        if not known and not self.ui.patientEdit.text.strip():
            return _("Type the patient's pseudonym first.")
        return ""

    def needsStoring(self):
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
                self.panel.known.know(desk.review.volume_node, desk.note.case)
                parameters.reviewer = desk.note.reader
                parameters.blinded = desk.note.blinded
        self.panel.unfinished.offer()
        show(self.ui.saveState, _("Every act is kept at once."), "plain", str(self.review.folder))
        self.panel.versions.list()
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
        self.panel.unfinished.offer()
        self.refresh()

    def _onText(self, _text=""):
        self.refresh()

    def _onStore(self, path=""):
        if self.panel.parameters is not None:
            self.panel.parameters.storeFolder = path
            self.panel.versions.list()

    def _onStoreValid(self, valid):
        if not valid:
            self._onStore()  # a path that was cleared is told in no other way


def _takenIn(folder, volume, patient, start, knownId):
    """Put an image, if it is not there, and what a model found into the store; in a thread."""
    store = CaseStore.open_or_create(folder)
    if knownId:
        patient = store.case(knownId).patient
    return take_in(store, volume, patient, read_findings(start)).id

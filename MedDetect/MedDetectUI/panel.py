"""The panel: its parts, put together, and the scene they work on."""

import qt
import slicer
from slicer.i18n import tr as _

from MedDetectLib.adapters.mrml.scene import remove_node
from MedDetectLib.core.errors import MedDetectError
from MedDetectUI.case_part import CasePart
from MedDetectUI.correct_part import CorrectPart
from MedDetectUI.detect_part import DetectPart
from MedDetectUI.export_part import ExportPart
from MedDetectUI.findings_part import FindingsPart
from MedDetectUI.keys import Keys
from MedDetectUI.known_case import KnownCase
from MedDetectUI.looks import show, showError
from MedDetectUI.model_part import ModelPart
from MedDetectUI.parameter_node import (
    BACKEND_NAMES,
    CHANNEL_FIELDS,
    KEPT_FIELDS,
    PRECISION_NAMES,
)
from MedDetectUI.review import OpenReview
from MedDetectUI.save_part import SavePart
from MedDetectUI.unfinished_part import UnfinishedPart
from MedDetectUI.versions_part import VersionsPart
from MedDetectUI.worklist_part import WorklistPart

GROWN_MS = 100
"""So long after the last new node the images are looked at once."""


class Panel:
    """All of the panel.

    Args:
        widget: the qMRMLWidget of MedDetect.ui.
        ui: its named children.
        logic: the MedDetectLogic.

    Attributes:
        typed: what goes on from one scene to the next, by field.
    """

    def __init__(self, widget, ui, logic):
        self.widget, self.ui, self.logic = widget, ui, logic
        self.parameters = None
        self._guiTag = None
        self._entered = False
        self._grown = qt.QTimer()
        self._grown.setSingleShot(True)
        self._grown.interval = GROWN_MS
        self._grown.connect("timeout()", self._onGrown)
        self.review = OpenReview()
        self.known = KnownCase(self)
        self._waiting = None
        self.typed = {}
        self.case = CasePart(ui, logic, self)
        self.model = ModelPart(ui, logic, self)
        self.detect = DetectPart(ui, logic, self)
        self.findings = FindingsPart(ui, self.review, self)
        self.correct = CorrectPart(ui, self.review, self)
        self.save = SavePart(ui, self.review, self)
        self.versions = VersionsPart(ui, self.review, self)
        self.unfinished = UnfinishedPart(ui, self.review, self)
        self.worklist = WorklistPart(ui, self)
        self.export = ExportPart(ui, self.review, self)
        self.review.onChosen = self._onChosen
        self.keys = Keys(
            {
                "A": self.findings.accept,
                "R": self.findings.reject,
                "E": self.correct.toggleEdit,
                "B": self.findings.addBox,
                "N": self.findings.next,
                "Ctrl+Z": self.correct.undo,
                "Ctrl+Shift+Z": self.correct.redo,
                **{str(n): _relabels(self.findings, n - 1) for n in range(1, 10)},
            }
        )

    # --- the life of the panel --------------------------------------------------------

    def open(self):
        """Take up the scene there is."""
        self.takeScene()
        self.model.refresh()
        self.findings.changed(None)
        self.correct.refresh()
        self.save.refresh()

    def close(self):
        """End everything the panel has begun; the review stays on disk."""
        self._grown.stop()
        self.detect.close()
        if self._entered:
            self._followLayout(False)
        self._entered = False
        self.keys.remove()
        self.leaveScene()
        self.model.stop()
        self.correct.close()

    def enter(self):
        """Wake up: the panel is shown."""
        if not self._entered:
            self._followLayout(True)
        self._entered = True
        if self.parameters is None:
            self.takeScene()
        self.keys.install(self.widget)
        self.correct.enter()
        self.case.sceneGrew()
        self.case.refresh()

    def exit(self):
        """Go to sleep: another module is shown; a run goes on."""
        if self._entered:
            self._followLayout(False)
        self._entered = False
        self.keys.remove()
        self.correct.exit()
        if not self.detect.running:
            self.logic.trim()

    def takeScene(self):
        """Take up the scene's parameter node, and the review it remembers."""
        self._connect(self.logic.getParameterNode())
        for field, typed in self.typed.items():
            if not self.parameters.getValue(field):
                self.parameters.setValue(field, typed)
        self.worklist.takeParameters()
        self.case.takeParameters()
        self.model.takeParameters()
        self.save.takeParameters()
        self.unfinished.resumeFromScene()
        self.case.refresh()
        if self._entered:
            self.keys.install(self.widget)  # another scene may have another layout

    def leaveScene(self):
        """Let go of the scene: end the run, close the review, forget the nodes."""
        self.model.stop()
        self._waiting = None
        self.detect.cancel(why=_("the scene was closed"))
        self.worklist.close()
        self.export.stop()
        self.save.leaveScene()
        self.versions.leaveScene()
        self.unfinished.leaveScene()
        self.correct.leaveScene()
        self.review.close()
        if self.parameters is not None:
            self.typed = {field: self.parameters.getValue(field) for field in KEPT_FIELDS}
        self._connect(None)

    def sceneGrew(self):
        """Look soon whether the node that has come is an image to choose."""
        self._grown.start()

    def takeEdits(self):
        """Take in what was drawn or dragged."""
        self.correct.takeEdits()

    # --- what parts tell each other ---------------------------------------------------

    def modelChanged(self):
        """Another model is chosen: other channels, other memory."""
        self.case.showChannels()
        self.caseChanged()

    def caseChanged(self):
        """Other images are chosen."""
        self.model.estimate()
        self.refreshRun()
        if self.parameters is not None:
            self.worklist.follow(self.case.volumeNode())
            self.versions.follow(self.known.id)
            self.unfinished.offer()

    def refreshRun(self):
        """Say anew whether a run is possible."""
        if self.parameters is not None:
            self.detect.refresh()

    def leaveReview(self):
        """Close the review and take its findings out of the scene; all of it is on disk.

        Returns:
            False where the last edits could not be kept: the review stays, and so do they.
        """
        if not self.correct.takeEdits():
            return False
        node = self.review.desk.segmentation_node if self.review.isOpen else None
        self.correct.leaveReview()
        self.review.close()
        self.versions.hideBeside()
        if node is not None:
            remove_node(node)
        self.parameters.sessionFolder = ""
        self.parameters.currentFinding = ""
        self.parameters.segmentation = None
        return True

    def leaveCase(self):
        """Go to another case: end the run, close the review; return whether it is left."""
        if not self.leaveReview():
            return False
        self.detect.leaveCase(why=_("another case was chosen"))
        self._waiting = None
        for field in CHANNEL_FIELDS:
            self.parameters.setValue(field, None)
        return True

    def openCase(self, item, node, caseId):
        """Take up a case of the worklist.

        Args:
            item: the WorkItem.
            node: its volume.
            caseId: the case it is in the store it was signed into, as the list has it; or empty.
        """
        if item.source == "case":
            self.save.useStore(self.ui.worklistPath.currentPath)
        case = self.known.inStore(caseId)
        with slicer.util.NodeModify(self.parameters.parameterNode):
            self.known.know(node, case.id if case is not None else "")
            self.parameters.comment = ""
            self.parameters.patient = item.patient or (case.patient if case is not None else "")
            self.parameters.inputVolume = node
        self.model.guess()
        self.versions.list()
        self.save.refresh()

    def takeFindings(self, run):
        """Begin a review of what a run found; an earlier one makes way once it is saved."""
        self._waiting = None
        if self.save.storing:
            self._waiting = run
            return
        if not self.leaveReview():
            self._waiting = run
            return
        self.known.leaveFor(run.volumeNodes[0])
        self.save.beginReview(run.volumeNodes[0], run.findings)

    def saved(self):
        """Go on with what a run has found while the review before was being saved."""
        run, self._waiting = self._waiting, None
        if run is not None:
            why = run.whyStale()
            if why:
                self.say(_("Stopped: {why}.").format(why=why), "warning")
            else:
                self.takeFindings(run)

    def say(self, text, kind="plain", details=""):
        """Tell something about the review."""
        show(self.ui.saveState, text, kind, details)

    def attempt(self, act):
        """Do something of the review; say why if it is refused, and return whether it was done."""
        try:
            act()
        except MedDetectError as error:
            showError(self.ui.saveState, error)
            return False
        return True

    # --- inside -----------------------------------------------------------------------

    def _connect(self, parameters):
        if self.parameters is not None:
            self.parameters.disconnectGui(self._guiTag)
        self.parameters = parameters
        self._guiTag = None
        if parameters is not None:
            self._mend(parameters)
            self._guiTag = parameters.connectGui(self.ui)

    def _mend(self, parameters):
        """Take the usual where a scene asks for what this version has not."""
        for field, known in (("backend", BACKEND_NAMES), ("precision", PRECISION_NAMES)):
            if parameters.getValue(field) not in known:
                parameters.setValue(field, parameters.default(field).value)

    def _followLayout(self, follow):
        """Hear of other layouts, or no more: they may have slice views without our keys."""
        manager = slicer.app.layoutManager()
        if manager is not None and follow:
            manager.connect("layoutChanged(int)", self._onLayout)
        elif manager is not None:
            manager.disconnect("layoutChanged(int)", self._onLayout)

    def _onLayout(self, _layout=0):
        self.keys.install(self.widget)

    def _onGrown(self):
        if self.parameters is not None:
            self.worklist.sceneGrew()
            self.case.sceneGrew()

    def _onChosen(self, findingId):
        if self.parameters is not None:
            self.parameters.currentFinding = findingId or ""
        self.correct.chosen()


def _relabels(findings, place):
    return lambda: findings.relabel(place)

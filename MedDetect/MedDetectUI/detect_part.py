"""Detect: run, cancel, progress with time left. The work is done elsewhere; nothing waits."""

import qt
import slicer
from slicer.i18n import tr as _

from MedDetectUI.engine import mayAsk, missingRequirements
from MedDetectUI.looks import secondsText, show, showError

STEPS = 1000
"""Of the progress bar."""
IDLE_MS = 60_000
"""So long after a run the memory that is kept for the next one is given back."""


class DetectPart:
    """The Detect section.

    Args:
        ui: the widgets of MedDetect.ui.
        logic: the MedDetectLogic.
        panel: told of the findings; knows case and model.
    """

    def __init__(self, ui, logic, panel):
        self.ui, self.logic, self.panel = ui, logic, panel
        self.run = None
        self.dialog = None
        self.needsEngine = True
        """False where the logic's client answers without one, as in a self-test."""
        self._idle = qt.QTimer()
        self._idle.setSingleShot(True)
        self._idle.interval = IDLE_MS
        self._idle.connect("timeout()", self.logic.trim)
        ui.runButton.connect("clicked(bool)", self.start)
        ui.cancelButton.connect("clicked(bool)", self.cancel)
        ui.engineButton.connect("clicked(bool)", self.setUpEngine)

    @property
    def running(self):
        """Whether a run is under way."""
        return self.run is not None

    @property
    def ready(self):
        """Whether networks can be run."""
        return not self.needsEngine or self.logic.engine.ready

    def start(self, _checked=False):
        """Run the model on the case; the findings come by themselves."""
        if self.running or not self._mayRun():
            return
        parameters = self.panel.parameters
        try:
            self.run = self.logic.startDetection(
                self.panel.case.inputs(),
                self.panel.model.current.name,
                parameters.backend,
                parameters.precision,
                onProgress=self._onProgress,
                onEnd=self._onEnd,
            )
        except Exception as error:  # the button is an outermost door
            showError(self.ui.detectState, error)
            return
        self._idle.stop()
        self.ui.findingsTable.setFocus()  # else it goes to Cancel, and a second Space cancels
        self.ui.progressBar.value = 0
        self.ui.progressBar.format = ""
        self.ui.progressBar.visible = True
        show(self.ui.detectState, _("Starting…"), "busy")
        self.refresh()

    def cancel(self, _checked=False, why=""):
        """Stop the run; it ends at once, the worker within a second."""
        if self.running:
            self.run.cancel(why)

    def leaveCase(self, why):
        """Stop the run of a case that is left; what was said of an earlier one goes too."""
        if self.running:
            self.cancel(why=why)
        else:
            show(self.ui.detectState, _("Ready."))

    def setUpEngine(self, _checked=False):
        """Open the window that installs what runs networks; never where nobody can answer."""
        if not mayAsk():
            show(
                self.ui.detectState,
                _("The engine is not set up: {status}").format(status=self.logic.engine.status()),
                "warning",
                _("Run 'meddetect environment install', or open this panel in a window."),
            )
            return
        from MedDetectUI.environment_dialog import EnvironmentDialog

        if self.dialog is not None:
            self.dialog.close()
        self.dialog = EnvironmentDialog(
            self.logic.engine.environment, slicer.util.mainWindow(), self._onEngineReady
        )
        self.dialog.show()

    def refresh(self):
        """Switch buttons on and off and say what is missing."""
        ready = self.ready
        self.ui.engineButton.visible = not ready
        self.ui.cancelButton.enabled = self.running
        why = "" if self.running else self._whyNot(ready)
        self.ui.runButton.enabled = not self.running and not why
        self.ui.runButton.toolTip = why or _(
            "Find in the chosen image. Slicer stays usable meanwhile."
        )

    def close(self):
        """End the run and the window."""
        self.cancel(why=_("the panel was closed"))
        self._idle.stop()
        if self.dialog is not None:
            self.dialog.close()
            self.dialog = None

    # --- inside -----------------------------------------------------------------------

    def _whyNot(self, ready):
        """Return what is missing for a run, empty when nothing is."""
        if not ready:
            return _("Set up the engine first.")
        model = self.panel.model.current
        if model is None or not model.usable:
            return _("Choose a model first.")
        return self.panel.case.whyNot()

    def _mayRun(self):
        lacking = missingRequirements(self.logic.requirementsPath)
        if lacking:
            show(
                self.ui.detectState,
                _("This Slicer lacks {packages}; install Slicer anew.").format(packages=lacking),
                "bad",
            )
            return False
        if not self.ready:
            self.setUpEngine()
            return False
        return self.ui.runButton.enabled

    def _onEngineReady(self):
        self.logic.close()  # the next question starts a worker with the new packages
        show(self.ui.detectState, _("The engine is ready."), "good")
        self.panel.model.estimate()
        self.refresh()

    def _onProgress(self, progress):
        self.ui.progressBar.value = round(STEPS * progress.fraction)
        text = f"{progress.stage}  {100 * progress.fraction:.0f} %"
        if progress.seconds_left is not None:
            text += "  ·  " + _("{time} left").format(time=secondsText(progress.seconds_left))
        self.ui.progressBar.format = text
        show(self.ui.detectState, _("Running…"), "busy")

    def _onEnd(self, run):
        self.run = None
        self._idle.start()
        self.ui.progressBar.visible = False
        if run.state == "done":
            self._showDone(run)
        elif run.state == "cancelled":
            show(self.ui.detectState, _("Stopped: {why}.").format(why=run.error.what), "warning")
        else:
            showError(self.ui.detectState, run.error)
        self.panel.model.estimate()
        self.refresh()

    def _showDone(self, run):
        self.panel.takeFindings(run)
        found, source = len(run.findings), run.findings.provenance
        engine = source.backend.split(" (")[0]
        notes = "\n".join(note.text for note in run.findings.notes)
        show(
            self.ui.detectState,
            _("{n} findings in {time}, {backend} on {device}.").format(
                n=found,
                time=secondsText(run.seconds),
                backend=engine,
                device=source.device,
            ),
            "warning" if notes else "good",
            notes,
        )

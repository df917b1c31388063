"""Sets up what runs networks: a window that shows pip at work and can be left at any time.

The work is done by `EngineEnvironment`; nothing of Slicer's own packages is touched.
"""

import qt
from slicer.i18n import tr as _

from MedDetectLib.core.errors import MedDetectError
from MedDetectUI.looks import show, showError

POLL_MS = 100
_STATES = {
    "ready": ("good", _("Ready.")),
    "missing": ("plain", _("Nothing is installed yet. About 150 MB will be loaded.")),
    "damaged": ("warning", _("The installation is damaged. Repair installs it anew.")),
    "outdated": ("warning", _("This version of MedDetect needs newer packages.")),
    "other-python": ("warning", _("It was made for another version of Slicer. Install it anew.")),
}


class EnvironmentDialog:
    """The window; `exec()` waits for the user, `show()` does not.

    Args:
        environment: an EngineEnvironment.
        parent: the window it belongs to, or None.
        onReady: called without arguments when an installation has succeeded.
    """

    def __init__(self, environment, parent=None, onReady=None):
        self.environment = environment
        self.installation = None
        self._onReady = onReady
        self._shown = 0
        self._build(parent)
        self._timer = qt.QTimer()
        self._timer.interval = POLL_MS
        self._timer.connect("timeout()", self.poll)
        self.refresh()

    def _build(self, parent):
        self.dialog = qt.QDialog(parent)
        self.dialog.windowTitle = _("MedDetect: set up the engine")
        self.dialog.setMinimumWidth(520)
        layout = qt.QVBoxLayout(self.dialog)
        about = qt.QLabel(
            _(
                "Networks run in a program of their own, with packages in a folder of their"
                " own. Slicer's packages are not changed, and removing the folder removes"
                " everything."
            )
        )
        about.wordWrap = True
        layout.addWidget(about)
        self.stateLabel = qt.QLabel()
        self.stateLabel.wordWrap = True
        layout.addWidget(self.stateLabel)
        self.folderLabel = qt.QLabel(_("Folder: {folder}").format(folder=self.environment.folder))
        self.folderLabel.wordWrap = True
        layout.addWidget(self.folderLabel)

        row = qt.QHBoxLayout()
        layout.addLayout(row)
        self.offlineCheck = qt.QCheckBox(_("Without a network, from wheels in:"))
        self.offlineCheck.toolTip = _(
            "A folder filled by 'meddetect environment download' on a computer of this kind"
        )
        row.addWidget(self.offlineCheck)
        self.wheelEdit = qt.QLineEdit()
        self.wheelEdit.placeholderText = _("folder of .whl files")
        self.wheelEdit.enabled = False
        row.addWidget(self.wheelEdit)
        self.wheelButton = qt.QPushButton(_("Choose…"))
        self.wheelButton.enabled = False
        row.addWidget(self.wheelButton)

        self.log = qt.QPlainTextEdit()
        self.log.readOnly = True
        self.log.setMinimumHeight(160)
        self.log.maximumBlockCount = 5000
        layout.addWidget(self.log)
        self.progressBar = qt.QProgressBar()
        self.progressBar.visible = False
        layout.addWidget(self.progressBar)

        buttons = qt.QHBoxLayout()
        layout.addLayout(buttons)
        self.installButton = qt.QPushButton(_("Install"))
        self.installButton.default = True
        self.stopButton = qt.QPushButton(_("Stop"))
        self.stopButton.enabled = False
        self.checkButton = qt.QPushButton(_("Check files"))
        self.checkButton.toolTip = _("Compare every installed file with what was installed")
        self.closeButton = qt.QPushButton(_("Close"))
        for button in (self.installButton, self.stopButton, self.checkButton, self.closeButton):
            button.autoDefault = False
            buttons.addWidget(button)

        self.offlineCheck.connect("toggled(bool)", self._onOffline)
        self.wheelButton.connect("clicked(bool)", self._onChoose)
        self.installButton.connect("clicked(bool)", self.install)
        self.stopButton.connect("clicked(bool)", self.stop)
        self.checkButton.connect("clicked(bool)", self._onCheck)
        self.closeButton.connect("clicked(bool)", self.close)
        self.dialog.connect("finished(int)", self._onFinished)

    # --- what it does -----------------------------------------------------------------

    def refresh(self, deep=False):
        """Say what is installed."""
        status = self.environment.status(deep=deep)
        kind, text = _STATES[status.state]
        show(self.stateLabel, text, kind, status.detail)
        if deep and not status.ready:
            show(self.stateLabel, f"{text} ({status.detail})", kind, status.detail)
        self.installButton.text = _("Install") if status.state == "missing" else _("Repair")

    def install(self, _checked=False):
        """Start installing; the environment in use stays until that has succeeded."""
        if self.installation is not None:
            return
        wheels = self.wheelEdit.text.strip() if self.offlineCheck.checked else None
        self.log.clear()
        self._shown = 0
        try:
            self.installation = self.environment.begin_install(wheel_folder=wheels)
        except MedDetectError as error:
            showError(self.stateLabel, error)
            return
        show(self.stateLabel, _("Installing…"), "busy")
        self._busy(True)
        self._timer.start()

    def poll(self):
        """Show what pip has said; called by the timer."""
        if self.installation is None:
            return
        ended = self.installation.poll()
        for line in self.installation.lines[self._shown :]:
            self.log.appendPlainText(line)
        self._shown = len(self.installation.lines)
        if self.installation.stage == "check":
            show(self.stateLabel, _("Trying it out…"), "busy")
        if ended:
            self._ended()

    def stop(self, _checked=False):
        """Stop pip; what was there before stays as it was."""
        if self.installation is not None:
            self.installation.cancel()
            self._ended()

    def show(self):
        """Open the window and go on."""
        self.dialog.show()

    def exec(self):
        """Open the window and wait until it is closed."""
        return self.dialog.exec()

    def close(self, _checked=False):
        """Close the window; an installation under way is stopped."""
        self.dialog.done(0)

    # --- inside -----------------------------------------------------------------------

    def _ended(self):
        self._timer.stop()
        error = self.installation.error
        self.installation = None
        self._busy(False)
        if error is None:
            self.refresh()
            if self._onReady is not None:
                self._onReady()
        else:
            showError(self.stateLabel, error)

    def _busy(self, busy):
        self.progressBar.visible = busy
        self.progressBar.setRange(0, 0 if busy else 1)  # 0 to 0: it moves without an end
        self.stopButton.enabled = busy
        for widget in (self.installButton, self.checkButton, self.offlineCheck):
            widget.enabled = not busy
        self._onOffline(self.offlineCheck.checked)

    def _onOffline(self, _checked):
        editable = self.offlineCheck.checked and self.installation is None
        self.wheelEdit.enabled = editable
        self.wheelButton.enabled = editable

    def _onChoose(self, _checked=False):
        folder = qt.QFileDialog.getExistingDirectory(
            self.dialog, _("Folder of wheels"), self.wheelEdit.text
        )
        if folder:
            self.wheelEdit.text = folder

    def _onCheck(self, _checked=False):
        self.refresh(deep=True)

    def _onFinished(self, _result):
        self.stop()
        self._timer.stop()

"""DICOM export: findings as SEG and SR, where the image came from DICOM."""

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from MedDetectLib.adapters.mrml.desk.steps import in_background
from MedDetectUI.engine import mayAsk
from MedDetectUI.looks import show, showError
from MedDetectUI.steps import Steps
from MedDetectUI.worklist_part import PATH_ATTRIBUTE, SERIES_ATTRIBUTE

INSTANCES_ATTRIBUTE = "DICOM.instanceUIDs"
"""What Slicer's DICOM import writes into a volume node."""


class ExportPart:
    """The DICOM export button of the Save section; it is there only where it can work.

    Args:
        ui: the widgets of MedDetect.ui.
        review: the `OpenReview`.
        panel: where errors are shown.
    """

    def __init__(self, ui, review, panel):
        self.ui, self.review, self.panel = ui, review, panel
        self._work = Steps()
        ui.exportButton.connect("clicked(bool)", self.ask)
        review.listen(lambda _change: self.refresh())

    @property
    def busy(self):
        """Whether files are being written."""
        return self._work.busy

    def refresh(self):
        """Show the button where the review's image came from DICOM."""
        node = self.review.desk.volume_node if self.review.isOpen else None
        possible = node is not None and sourceOf(node) is not None
        self.ui.exportButton.visible = possible
        self.ui.exportButton.enabled = possible and not self.busy

    def ask(self, _checked=False):
        """Ask where to, and write; beside the review where nobody can be asked."""
        folder = self.review.folder / "dicom"
        if mayAsk():
            chosen = qt.QFileDialog.getExistingDirectory(
                slicer.util.mainWindow(), _("Folder for the DICOM files"), str(Path.home())
            )
            if not chosen:
                return
            folder = Path(chosen)
        self.write(folder)

    def write(self, out):
        """Write SEG and SR into a folder, in the background.

        Args:
            out: the folder.
        """
        from MedDetectLib.cases.clinical.export import export_clinical

        self.panel.takeEdits()
        source, series = sourceOf(self.review.desk.volume_node)
        said = self._said()
        show(self.ui.saveState, _("Writing DICOM…"), "busy")

        def work():
            findings, reader, addedBy = said()
            return export_clinical(
                findings, source, out, reader=reader, series=series or None, added_by=addedBy
            )

        self._work.start(in_background(work), self._onWritten, self._onFailed)
        self.refresh()

    def _said(self):
        """Return what gives (findings, reader, who added which), to be called in the background.

        Who signed stands for it, whatever name the panel shows now; what is in the store goes
        out as the store has it, like from the command line.
        """
        from MedDetectLib.cases.clinical.reader import Reader
        from MedDetectLib.cases.clinical.stored import stored_reading

        findings, signature = self.review.desk.findings, self.review.signature
        if signature is None:
            name = self.ui.reviewerEdit.text.strip()
            return lambda: (findings, Reader(name) if name else None, None)
        case, act = self.review.caseDesk, self.review.caseDesk.act if self.review.caseDesk else ""

        def said():
            if case is not None:
                store = case.store.reopened()
                for version in store.versions(case.note.case):
                    if version.act == act:
                        stored = stored_reading(store, case.note.case, version.number)
                        return stored.findings, stored.reader, stored.added_by
            return findings, Reader(signature.reviewer, signature.time), None

        return said

    def stop(self):
        """Finish what is being written."""
        self._work.finish()

    def _onWritten(self, exported):
        names = ", ".join(file.name for file in exported.files)
        notes = [note.text for note in exported.notes]
        show(
            self.ui.saveState,
            _("Written: {names} in {folder}").format(names=names, folder=exported.sr.parent),
            "warning" if notes else "good",
            "\n".join(notes),
        )
        self.refresh()

    def _onFailed(self, error):
        showError(self.ui.saveState, error)
        self.refresh()


def sourceOf(node):
    """Return (folder, series) of the DICOM images a volume node was made of, or None."""
    folder, series = node.GetAttribute(PATH_ATTRIBUTE), node.GetAttribute(SERIES_ATTRIBUTE)
    if folder and series:
        return Path(folder), series
    uids = (node.GetAttribute(INSTANCES_ATTRIBUTE) or "").split()
    database = slicer.app.dicomDatabase() if uids else None
    file = database.fileForInstance(uids[0]) if database is not None else ""
    return (Path(file).parent, "") if file else None

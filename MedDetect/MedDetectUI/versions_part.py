"""Versions: what was said of a case so far, second readings, how two agree, who decides."""

import qt
import slicer
from slicer.i18n import tr as _

from MedDetectLib.adapters.mrml.desk.case_desk import CaseDesk
from MedDetectLib.adapters.mrml.desk.case_versions import CaseVersions
from MedDetectLib.adapters.mrml.desk.review_desk import ReviewDesk
from MedDetectLib.adapters.mrml.desk.steps import in_background
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.core.errors import MedDetectError
from MedDetectLib.review.case_note import CaseNote
from MedDetectUI.comparing import agreementLines, differenceLines, ofTwoReaders
from MedDetectUI.intake import viewOf
from MedDetectUI.looks import show, showError
from MedDetectUI.sessions import imageMark, newSessionFolder
from MedDetectUI.steps import Steps


class VersionsPart:
    """The rows of the Save section about earlier versions and other readers.

    Args:
        ui: the widgets of MedDetect.ui.
        review: the `OpenReview`.
        panel: where parameters are kept; knows the case, the store and the reviewer.
    """

    def __init__(self, ui, review, panel):
        self.ui, self.review, self.panel = ui, review, panel
        self.versions = ()
        self._listed = ""
        self._beside = None
        self._comparing = Steps()
        self._filling = False
        ui.openVersionButton.connect("clicked(bool)", self.openVersion)
        ui.readingButton.connect("clicked(bool)", self.startReading)
        ui.showVersionButton.connect("toggled(bool)", self._onShow)
        ui.compareButton.connect("clicked(bool)", self.compare)
        ui.settleButton.connect("clicked(bool)", self.settle)
        ui.versionSelector.connect("currentIndexChanged(int)", self._onSelected)
        ui.compareSelector.connect("currentIndexChanged(int)", self._onSelected)
        ui.blindedCheck.connect("toggled(bool)", self._onBlinded)

    @property
    def busy(self):
        """Whether two versions are being compared."""
        return self._comparing.busy

    @property
    def chosen(self):
        """The version chosen in the first list, or None."""
        return self._versionAt(self.ui.versionSelector.currentIndex)

    @property
    def other(self):
        """The version it is held against, or None."""
        return self._versionAt(self.ui.compareSelector.currentIndex)

    # --- what buttons do --------------------------------------------------------------

    def openVersion(self, _checked=False):
        """Start a review from the chosen version."""
        version, node = self.chosen, self.panel.case.volumeNode()
        if version is None or node is None or self.panel.save.busy:
            return
        folder, reader = self.panel.save.storeFolder(), self.panel.save.reviewer
        self._open(_fromVersion(folder, version.case, reader, node, version.number))

    def startReading(self, _checked=False):
        """Read the case independently, from the model's findings if blinded."""
        self._begin(blinded=self.ui.blindedCheck.checked, labels=self._labels())

    def settle(self, _checked=False):
        """Decide between two readings: from the chosen one, with the other beside it."""
        one, two = self.chosen, self.other
        if one is not None and two is not None:
            begun = lambda: self.showBeside(two.number)  # noqa: E731
            self._begin(begun, settles=(one.number, two.number))

    def compare(self, _checked=False):
        """Say how the two chosen versions differ, and how far two readers agree."""
        if self.busy or self.chosen is None or self.other is None:
            return
        before, after = sorted((self.chosen, self.other), key=lambda version: version.number)
        case, one, two = before.case, before.number, after.number
        folder = self.panel.save.storeFolder()
        readers = ofTwoReaders(before, after)

        def work():
            store = CaseStore(folder)
            agreement = store.agreement(case, one, two) if readers else None
            return store.diff(case, one, two), agreement

        self.ui.compareNote.visible = True
        show(self.ui.compareNote, _("Comparing…"), "busy")
        self._comparing.start(
            in_background(work),
            lambda found: self._onCompared(before, after, *found),
            lambda error: showError(self.ui.compareNote, error),
        )

    def showBeside(self, number):
        """Show a version beside the review, to look at; it takes the place of another one."""
        self._hide()
        versions = self._caseVersions()
        if versions is not None and self.panel.attempt(lambda: versions.show(number)):
            self._beside = versions
        self._mark(self._beside is not None)

    def hideBeside(self):
        """Take the version beside the review away."""
        self._hide()
        self._mark(False)

    # --- what it shows ----------------------------------------------------------------

    def follow(self, caseId):
        """Hear which case the image in hand is."""
        if caseId != self._listed:
            self.hideBeside()
            self.list()

    def list(self):
        """List what was said of this case; others' work is left out for a blinded reader."""
        self.versions, self._listed = (), self.panel.known.id
        if self._listed:
            seenBy = self.panel.save.reviewer if self.ui.blindedCheck.checked else None
            try:
                store = CaseStore(self.panel.save.storeFolder())
                self.versions = store.versions(self._listed, seen_by=seenBy or None)
            except MedDetectError as error:
                showError(self.ui.saveState, error)
        self._filling = True
        for selector in (self.ui.versionSelector, self.ui.compareSelector):
            selector.clear()
            for version in reversed(self.versions):
                day, time = version.signed[:10], version.signed[11:16]
                selector.addItem(f"{version.number}  {version.kind}  {version.author}  {day}")
                tip = "\n".join(t for t in (f"{day} {time} UTC", version.comment) if t)
                selector.setItemData(selector.count - 1, tip, qt.Qt.ToolTipRole)
            selector.enabled = bool(self.versions)
        self.ui.versionSelector.currentIndex = 0 if self.versions else -1
        self.ui.compareSelector.currentIndex = self._likelyOther()
        self._filling = False
        self.ui.compareNote.visible = False
        self.refresh()

    def refresh(self):
        """Switch buttons on and off."""
        ui, save = self.ui, self.panel.save
        free, named = not save.busy, bool(save.reviewer)
        hasCase = bool(self.panel.known.id)
        one, two = self.chosen, self.other
        differ = one is not None and two is not None and one.number != two.number
        ui.openVersionButton.enabled = one is not None and free and named and hasCase
        ui.readingButton.enabled = hasCase and free and named
        ui.showVersionButton.enabled = one is not None and hasCase
        ui.compareButton.enabled = differ
        ui.settleButton.enabled = differ and free and hasCase and not self._whyNotSettle()
        ui.settleButton.toolTip = self._whyNotSettle() or _(
            "Decide between these two readings: starts from the first, shows the other beside it"
        )

    def leaveScene(self):
        """Forget what is compared or shown."""
        self._comparing.stop()
        if slicer.mrmlScene.IsClosing():
            self._beside = None  # its node goes with the scene
        self.hideBeside()

    # --- inside -----------------------------------------------------------------------

    def _versionAt(self, index):
        return self.versions[-1 - index] if 0 <= index < len(self.versions) else None

    def _likelyOther(self):
        """Return the line of the newest reading of somebody else than the newest version's."""
        lines = list(reversed(self.versions))
        for index, version in enumerate(lines[1:], start=1):
            if ofTwoReaders(lines[0], version):
                return index
        return min(1, len(lines) - 1)

    def _whyNotSettle(self):
        one, two, name = self.chosen, self.other, self.panel.save.reviewer
        if one is None or two is None or not ofTwoReaders(one, two):
            return _("Choose the readings of two readers.")
        if not name:
            return _("Type the reviewer's name first.")
        if name in (one.author, two.author):
            return _("A third person decides; {name} is one of the readers.").format(name=name)
        return ""

    def _begin(self, onBegun=None, **how):
        node, save = self.panel.case.volumeNode(), self.panel.save
        if node is None or save.busy:
            return
        try:
            store = CaseStore(save.storeFolder())
        except MedDetectError as error:
            showError(self.ui.saveState, error)
            return
        self._open(
            CaseDesk.begin_in_steps(
                slicer.mrmlScene,
                store,
                self.panel.known.id,
                save.reviewer,
                newSessionFolder(node.GetName() or "reading"),
                volume_node=node,
                **how,
            ),
            onBegun,
        )

    def _open(self, steps, onBegun=None):
        """Open another review of the same image; the one at hand is closed and taken away."""
        if self.panel.leaveReview():
            self.panel.save.open(steps, onBegun)

    def _labels(self):
        model = self.panel.model.current
        return model.labels if model is not None else ()

    def _caseVersions(self):
        """Return the versions the reviewer may see of this case, None where it cannot be read."""
        save, folder = self.panel.save, self.panel.save.storeFolder()
        note = CaseNote(folder, self.panel.known.id, save.reviewer, self.ui.blindedCheck.checked)
        made = []
        self.panel.attempt(lambda: made.append(CaseStore(folder)))
        node = self.panel.case.volumeNode()
        return CaseVersions(made[0], note, slicer.mrmlScene, node) if made else None

    def _hide(self):
        beside, self._beside = self._beside, None
        if beside is not None:
            beside.hide_all()

    def _mark(self, shown):
        self._filling = True
        self.ui.showVersionButton.checked = shown
        self._filling = False

    def _onCompared(self, before, after, difference, agreement):
        head, details = differenceLines(before, after, difference)
        if agreement is not None:
            line, more = agreementLines(agreement)
            head, details = f"{head}  {line}", [*more, *details]
        kind = "plain" if difference.is_empty else "good"
        show(self.ui.compareNote, head, kind, "\n".join(details))

    def _onShow(self, checked):
        if self._filling:
            return
        if checked and self.chosen is not None:
            self.showBeside(self.chosen.number)
        else:
            self.hideBeside()

    def _onSelected(self, _index=-1):
        if self._filling:
            return
        self.ui.compareNote.visible = False
        if self.ui.showVersionButton.checked:
            self._onShow(True)
        self.refresh()

    def _onBlinded(self, _checked):
        self.hideBeside()
        self.list()
        self.panel.unfinished.offer()
        self.panel.save.refresh()


def _fromVersion(storeFolder, caseId, reader, volumeNode, number):
    """Begin a review of one version's findings, in steps."""
    findings = yield from in_background(
        lambda: CaseStore(storeFolder).findings(caseId, number), 0.1
    )
    folder = newSessionFolder(volumeNode.GetName() or "review")
    note = CaseNote(storeFolder, caseId, reader, start=number)
    about = {**note.about, "image": imageMark(viewOf(volumeNode))}
    review = yield from ReviewDesk.begin_in_steps(
        slicer.mrmlScene, volumeNode, findings, folder, about=about
    )
    return CaseDesk.join(review, CaseStore(storeFolder), caseId, reader, start=number)

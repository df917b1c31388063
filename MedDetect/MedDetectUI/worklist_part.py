"""Worklist: the cases of a folder, a table, a case store or the scene, one after the other."""

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from MedDetectLib.adapters.mrml.desk.scene_worklist import items_of_scene
from MedDetectLib.adapters.mrml.desk.steps import in_background
from MedDetectLib.adapters.mrml.scene import remove_node
from MedDetectLib.cases.worklist import Worklist
from MedDetectLib.core.errors import MedDetectError
from MedDetectUI.looks import show, showError
from MedDetectUI.steps import Steps

TYPED_MS = 400
"""After the last key: a path is not opened while it is typed, or it began with the whole disk."""
BEAT_MS = 60_000
"""A claim is kept alive once a minute."""
CLAIMS = ".meddetect-worklist"
STORE_LIMIT = 2000
"""So many cases of a store are listed; the rest is for its filters."""
PATH_ATTRIBUTE, SERIES_ATTRIBUTE = "MedDetect.Path", "MedDetect.Series"


class WorklistPart:
    """The worklist rows of the Case section.

    Args:
        ui: the widgets of MedDetect.ui.
        panel: where parameters are kept and errors are shown.
    """

    def __init__(self, ui, panel):
        self.ui, self.panel = ui, panel
        self.worklist = Worklist()
        self.current = None
        self.claim = None
        self._caseId = ""
        self._loaded = ()
        self._reading = Steps()
        self._filling = False
        self._listing = Steps()
        self._beat = self._every(BEAT_MS, self._onBeat)
        self._opened = ""
        self._typed = self._every(TYPED_MS, self._onTyped)
        self._typed.setSingleShot(True)
        ui.worklistPath.comboBox().lineEdit().placeholderText = _("the images of this scene")
        ui.worklistPath.connect("currentPathChanged(QString)", self._onPath)
        ui.worklistPath.connect("validInputChanged(bool)", self._onPath)  # all that clearing says
        ui.worklistFolderButton.connect("clicked(bool)", self._onFolder)
        ui.caseSelector.connect("activated(int)", self._onChosen)
        ui.previousCaseButton.connect("clicked(bool)", self.previous)
        ui.nextCaseButton.connect("clicked(bool)", self.next)
        ui.claimButton.connect("clicked(bool)", self._onClaim)

    @property
    def busy(self):
        """Whether a list or an image is being read."""
        return self._listing.busy or self._reading.busy or self._typed.active

    @property
    def givesImage(self):
        """Whether the list has the image in hand, and not the scene."""
        return bool(self._opened) and self.current is not None

    # --- which list -------------------------------------------------------------------

    def open(self, path=""):
        """List the cases of a folder, a CSV file or a case store; of the scene if empty."""
        self._release()
        self._typed.stop()
        self.current, self._opened = None, path
        source = Path(path) if path else None
        if self.panel.parameters is not None:
            self.panel.parameters.worklistSource = path
        self._listing.stop()
        self.worklist = Worklist()
        if source is None:
            self.worklist.add(items_of_scene(slicer.mrmlScene))
        elif source.exists():
            home = source if source.is_dir() else source.parent
            self.worklist = Worklist(home / CLAIMS)
            self._listing.start(
                self._added(source),
                lambda _none: self._onListed(),
                lambda error: showError(self.ui.intakeBadge, error),
            )
        self.refresh()

    def sceneGrew(self):
        """Look for new images, where the scene is the list."""
        if not self.ui.worklistPath.currentPath:
            self.worklist.add(items_of_scene(slicer.mrmlScene))
            self.refresh()
            self.follow(self.panel.case.volumeNode())

    def follow(self, node):
        """Hear which image was chosen by hand: where the scene is the list, that is the case."""
        if self.ui.worklistPath.currentPath or self.claim is not None or node is None:
            return
        found = next((item for item in self.worklist if item.node == node.GetID()), None)
        if found is not None and found is not self.current:
            self.current = found  # no parameter is written here: the choice itself is not yet
            self.refresh()

    def takeParameters(self):
        """Show what the parameter node says."""
        parameters = self.panel.parameters
        source, wanted = parameters.worklistSource, parameters.worklistCase
        if source != self.ui.worklistPath.currentPath:
            self.ui.worklistPath.currentPath = source
        if not source or source != self._opened:
            self.open(source)
        self.current = next((item for item in self.worklist if item.key == wanted), None)
        self.refresh()

    # --- from case to case ------------------------------------------------------------

    def next(self, _checked=False):
        """Open the next case that nobody has read or works on."""
        self._go(self.worklist.next(self._reader(), self.current))

    def previous(self, _checked=False):
        """Open the case before this one in the list."""
        if self.current is not None:
            self._go(self.worklist.neighbour(self.current, -1))

    def stored(self, caseId, node):
        """Hear that an image is in the store: where it is the case in hand, that is done."""
        if self.current is None or node is None or node.GetID() != self._nodeId():
            self.refresh()
            return
        if self.claim is not None:
            claim, self.claim = self.claim, None
            self._beat.stop()
            self.panel.attempt(lambda: claim.done(caseId))
        else:
            reader = self._reader() or _("somebody")
            self.panel.attempt(
                lambda: self.worklist.claim(self.current, reader, again=True).done(caseId)
            )
        self.refresh()

    def refresh(self):
        """Write the list anew: each case with a sign of where it stands."""
        selector = self.ui.caseSelector
        try:
            standings = self.worklist.standings()
        except MedDetectError as error:
            showError(self.ui.intakeBadge, error)
            return
        self._filling = True
        selector.clear()
        for place, item in enumerate(self.worklist.items, start=1):
            selector.addItem(_line(item, standings[item.key], place, len(self.worklist)), item.key)
            tip = "\n".join(t for t in (str(item.path or ""), item.note, item.trouble) if t)
            selector.setItemData(place - 1, tip, qt.Qt.ToolTipRole)
        keys = [item.key for item in self.worklist]
        known = self.current is not None and self.current.key in keys
        selector.currentIndex = keys.index(self.current.key) if known else -1
        self._filling = False
        self._enable(bool(keys), known)

    def close(self):
        """Let go of the case in hand."""
        self._typed.stop()
        self._listing.stop()
        self._reading.stop()
        self._release()
        if slicer.mrmlScene.IsClosing():
            self._loaded = ()

    # --- opening ----------------------------------------------------------------------

    def _go(self, item):
        if self.panel.save.storing:
            self.panel.save.afterwards(lambda: self._go(item))
            self.panel.say(_("Saving the case, then going on…"), "busy")
            return
        if item is None:
            self.panel.say(_("There is no further case in the list."), "good")
            return
        if self._reading.busy:
            return
        if item.trouble:
            show(self.ui.intakeBadge, f"{item.name}: {item.trouble}.", "bad", str(item.path or ""))
            return
        if not self.panel.leaveCase():
            self.refresh()
            return
        self._release()
        self.current = item
        self.panel.parameters.worklistCase = item.key
        standings = []
        self.panel.attempt(lambda: standings.append(self.worklist.standing(item)))
        done = bool(standings) and standings[0].state == "done"
        self._caseId = item.case or (standings[0].note if done else "")
        if self._reader() and not done:  # a look at what is done leaves it done
            self._take()
        self.refresh()
        if item.source == "node":
            self._show(slicer.mrmlScene.GetNodeByID(item.node), ())
            return
        show(self.ui.intakeBadge, _("Reading {name}…").format(name=item.name), "busy")
        store = self.ui.worklistPath.currentPath
        self._reading.start(
            in_background(lambda: _volumeOf(item, store)),
            lambda volume: self._onRead(item, volume),
            self._onUnread,
        )
        self._enable(True, True)

    def _onUnread(self, error):
        """Say why an image cannot be read; that of the case before is shown no longer."""
        self._drop()
        showError(self.ui.intakeBadge, error)
        self.refresh()

    def _onRead(self, item, volume):
        from MedDetectLib.adapters.mrml.volume_node import volume_to_node

        if item is not self.current:
            return
        before, self._loaded = self._loaded, ()
        node = volume_to_node(slicer.mrmlScene, volume, item.name)
        if item.path is not None:
            node.SetAttribute(PATH_ATTRIBUTE, str(item.path))
            node.SetAttribute(SERIES_ATTRIBUTE, item.series)
        self._show(node, before)
        self._loaded = (node,)
        self.refresh()

    def _show(self, node, before):
        """Choose an image, show it, and take away what the list had loaded before."""
        if node is None:
            show(self.ui.intakeBadge, _("The image is no longer in the scene."), "bad")
            return
        self.panel.openCase(self.current, node, self._caseId)
        slicer.util.setSliceViewerLayers(background=node, fit=True)
        for old in before:
            remove_node(old)

    def _drop(self):
        """Take away what the list had loaded."""
        before, self._loaded = self._loaded, ()
        for old in before:
            remove_node(old)

    def _nodeId(self):
        """Return the id of the image that is the case in hand; empty while there is none."""
        if self.current.source == "node":
            return self.current.node
        return self._loaded[0].GetID() if self._loaded else ""

    # --- claims -----------------------------------------------------------------------

    def _take(self):
        try:
            self.claim = self.worklist.claim(self.current, self._reader(), again=True)
            self._beat.start()
        except MedDetectError as error:
            self.claim = None
            showError(self.ui.saveState, error)

    def _release(self):
        self._beat.stop()
        claim, self.claim = self.claim, None
        if claim is not None:
            self.panel.attempt(claim.release)

    def _onClaim(self, checked=False):
        if checked and self.current is not None:
            if self._reader():
                self._take()
            else:
                self.panel.say(_("Type the reviewer's name first."), "warning")
        else:
            self._release()
        self.refresh()

    def _onBeat(self):
        kept = []
        if self.claim is None or not self.panel.attempt(lambda: kept.append(self.claim.beat())):
            return
        if not kept[0]:
            self.claim = None
            self._beat.stop()
            self.panel.say(_("Somebody else has taken this case over."), "warning")
            self.refresh()

    # --- inside -----------------------------------------------------------------------

    def _every(self, interval_ms, act):
        timer = qt.QTimer()
        timer.interval = interval_ms
        timer.connect("timeout()", act)
        return timer

    def _added(self, source):
        for items in _itemsOf(source):
            self.worklist.add(items)
            yield

    def _onListed(self):
        wanted = self.panel.parameters.worklistCase if self.panel.parameters else ""
        self.current = next((item for item in self.worklist if item.key == wanted), None)
        self.refresh()

    def _onChosen(self, index):
        items = self.worklist.items
        if self._filling or not 0 <= index < len(items):
            return
        if self.current is None or items[index].key != self.current.key:
            self._go(items[index])

    def _onPath(self, _what=None):
        self._typed.start()

    def _onTyped(self):
        path = self.ui.worklistPath.currentPath
        if path != self._opened:
            self.open(path)

    def _onFolder(self, _checked=False):
        folder = qt.QFileDialog.getExistingDirectory(
            slicer.util.mainWindow(), _("Folder of images, or case store"), str(Path.home())
        )
        if folder:
            self.ui.worklistPath.currentPath = folder

    def _reader(self):
        return self.ui.reviewerEdit.text.strip()

    def _enable(self, any_, known):
        free = not self._reading.busy
        self.ui.caseSelector.enabled = any_ and free
        self.ui.nextCaseButton.enabled = any_ and free
        self.ui.previousCaseButton.enabled = known and free
        self.ui.claimButton.enabled = known and free
        self.ui.claimButton.checked = self.claim is not None
        self.ui.claimButton.text = _("Claimed") if self.claim is not None else _("Claim")


def _itemsOf(source):
    """Return the steps that list a source's items."""
    from MedDetectLib.cases import worklist_sources as sources

    if source.is_file():
        return sources.items_of_table(source)
    if (source / "store.json").is_file():
        from MedDetectLib.cases.store.case_store import CaseFilter, CaseStore

        return sources.items_of_store(CaseStore(source), CaseFilter(limit=STORE_LIMIT))
    return sources.items_of_folder(source)


def _volumeOf(item, store):
    """Read an item's image; runs in a thread."""
    if item.source == "case":
        from MedDetectLib.cases.store.case_store import CaseStore

        return CaseStore(store).volume(item.case)
    from MedDetectLib.cases.image_files import read_volume

    return read_volume(item.path, series=item.series or None, modality=item.modality or None)


def _line(item, standing, place, count):
    """Return one line of the list."""
    sign = "✕" if item.trouble else {"new": "○", "in-work": "●", "done": "✓"}[standing.state]
    who = f"  ({standing.who})" if standing.state == "in-work" and standing.who else ""
    return f"{sign} {place}/{count}  {item.name}{who}"

"""Correct: the Segment Editor and the box handle on the finding in hand, undo and redo."""

import qt
import slicer
from slicer.i18n import tr as _

from MedDetectLib.review.acts import Comment
from MedDetectUI.looks import stateLook

EDITOR_TAG = "MedDetect"
"""Our own parameter node of the Segment Editor: the Segment Editor module keeps its own."""
LOOK_MS = 250
"""How often it is looked whether something was drawn or dragged."""
AGAIN_MS = 5000
"""After an edit that could not be kept: trying costs a look at every voxel."""


class CorrectPart:
    """The Correct section.

    Args:
        ui: the widgets of MedDetect.ui.
        review: the `OpenReview`.
        panel: where parameters are kept and errors are shown.
    """

    def __init__(self, ui, review, panel):
        self.ui, self.review, self.panel = ui, review, panel
        self.editor = None
        self._looking = qt.QTimer()
        self._looking.interval = LOOK_MS
        self._looking.connect("timeout()", self._look)
        ui.editButton.connect("toggled(bool)", self._onEdit)
        ui.boxButton.connect("toggled(bool)", self._onBox)
        ui.undoButton.connect("clicked(bool)", self.undo)
        ui.redoButton.connect("clicked(bool)", self.redo)
        ui.mergeButton.connect("clicked(bool)", self.merge)
        ui.splitButton.connect("clicked(bool)", self.split)
        ui.remarkEdit.connect("returnPressed()", self.remark)
        review.listen(self.changed)

    # --- what keys and buttons do -----------------------------------------------------

    def toggleEdit(self):
        """Open or leave the Segment Editor."""
        if self.ui.editButton.enabled:
            self.ui.editButton.checked = not self.ui.editButton.checked

    def showBox(self, shown):
        """Show or hide the handles of the box in hand."""
        if self.ui.boxButton.checked != shown:
            self.ui.boxButton.checked = shown

    def undo(self, _checked=False):
        """Take back the last act, whatever it was."""
        self.takeEdits()
        if self.review.undoable and self.review.writable:
            self.panel.attempt(self.review.undo)
            self.panel.findings.chooseBefore()

    def redo(self, _checked=False):
        """Do again what was taken back."""
        self.takeEdits()
        if self.review.redoable and self.review.writable:
            self.panel.attempt(self.review.redo)

    def merge(self, _checked=False):
        """Make one finding of the selected ones."""
        ids = self.panel.findings.selectedIds()
        if len(ids) < 2:
            return
        item = self.review.item
        label = item.label if item is not None else None
        self.panel.attempt(lambda: self.review.desk.merge(ids, label))

    def split(self, _checked=False):
        """Make findings of the parts that do not touch."""
        self.panel.attempt(lambda: self.review.desk.split(self.review.current))

    def remark(self):
        """Keep a remark on the finding in hand."""
        text = self.ui.remarkEdit.text.strip()
        if text and self.panel.attempt(
            lambda: self.review.do(Comment(text, self.review.current or None))
        ):
            self.ui.remarkEdit.text = ""
            self.panel.say(_("The remark is kept."), "good")

    def takeEdits(self):
        """Take in what was drawn or dragged, now; return whether nothing is left.

        On a signed review it is put back.
        """
        if not self.review.dirty:
            return True
        taken = self.panel.attempt(self.review.takeEdits)
        self._looking.interval = LOOK_MS if taken else AGAIN_MS
        return taken

    # --- what it shows ----------------------------------------------------------------

    def changed(self, change):
        """Hear from the review."""
        if change is None:
            if self.review.isOpen:
                self._looking.start()
                self.review.showHandle(self.ui.boxButton.checked)
            else:
                self._looking.stop()
            self._followEditor()
        self.refresh()

    def chosen(self):
        """Hear that another finding is in hand."""
        self._followEditor()
        self.refresh()

    def refresh(self):
        """Switch buttons on and off, and name the finding in hand."""
        item, able = self.review.item, self.review.writable
        ui = self.ui
        if item is None:
            ui.currentFinding.text = _("No finding chosen.")
        else:
            sign, word, _colour = stateLook(item.state)
            what = _("mask and box") if item.has_mask else _("box only")
            ui.currentFinding.text = f"{item.id}  {item.label_name}   {sign} {word}   ({what})"
        inHand = able and item is not None
        for widget in (ui.editButton, ui.boxButton, ui.remarkEdit):
            widget.enabled = inHand
        ui.splitButton.enabled = inHand and item.has_mask
        ui.mergeButton.enabled = inHand and len(self.panel.findings.selectedIds()) > 1
        undoable, redoable = self.review.undoable, self.review.redoable
        ui.undoButton.enabled = able and bool(undoable)
        ui.redoButton.enabled = able and bool(redoable)
        ui.undoButton.toolTip = _("Take back (Ctrl+Z): {act}").format(act=undoable or _("nothing"))
        ui.redoButton.toolTip = _("Do again (Ctrl+Shift+Z): {act}").format(
            act=redoable or _("nothing")
        )
        if not inHand and ui.editButton.checked:
            ui.editButton.checked = False

    # --- the Segment Editor -----------------------------------------------------------

    def enter(self):
        """Wake up with the panel."""
        if self.editor is not None and self.ui.editButton.checked:
            self._followEditor()  # an effect hears of the views as soon as it is chosen

    def exit(self):
        """Stop every effect: none of ours may act in another module."""
        self.takeEdits()
        if self.editor is not None:
            self.editor.setActiveEffect(None)
            self.editor.removeViewObservations()

    def leaveReview(self):
        """Let go of the findings' nodes."""
        self._looking.stop()
        self.ui.editButton.checked = False
        if self.editor is not None:
            self.editor.setActiveEffect(None)
            self.editor.setSegmentationNode(None)
            self.editor.setSourceVolumeNode(None)

    def leaveScene(self):
        """Let go of every node."""
        self.leaveReview()
        if self.editor is not None:
            self.editor.setMRMLSegmentEditorNode(None)
            self.editor.removeViewObservations()

    def close(self):
        """Take the editor away."""
        self.leaveScene()
        if self.editor is not None:
            self.editor.deleteLater()  # a reload leaves the old panel behind, hidden
            self.editor = None

    def _onEdit(self, checked):
        self.ui.editorFrame.visible = checked
        if checked:
            self._makeEditor()
            self._followEditor()
        elif self.editor is not None:
            self.takeEdits()
            self.editor.setActiveEffect(None)

    def _onBox(self, checked):
        if not checked:
            self.takeEdits()
        self.review.showHandle(checked)

    def _look(self):
        if self.review.dirty and slicer.app.mouseButtons() == qt.Qt.NoButton:
            self.takeEdits()  # the hand rests: what was drawn or dragged is one act

    def _makeEditor(self):
        if self.editor is not None:
            return
        editor = slicer.qMRMLSegmentEditorWidget()
        editor.setMaximumNumberOfUndoStates(0)
        editor.undoEnabled = False  # the review's own undo knows every act
        editor.segmentationNodeSelectorVisible = False
        editor.sourceVolumeNodeSelectorVisible = False
        editor.addRemoveSegmentButtonsVisible = False
        editor.switchToSegmentationsButtonVisible = False
        editor.specifyGeometryButtonVisible = False
        editor.show3DButtonVisible = False
        editor.jumpToSelectedSegmentEnabled = False
        # the parameter node first: what the widget selects by itself goes there
        editor.setMRMLSegmentEditorNode(_editorNode())
        editor.setMRMLScene(slicer.mrmlScene)
        self.ui.editorFrame.layout().addWidget(editor)
        self.editor = editor

    def _followEditor(self):
        """Point the editor at the finding in hand."""
        if self.editor is None or not self.ui.editButton.checked:
            return
        node = self.review.desk.segmentation_node if self.review.isOpen else None
        if node is None:
            return
        self.editor.setMRMLSegmentEditorNode(_editorNode())
        self.editor.setSegmentationNode(node)
        self.editor.setSourceVolumeNode(self.review.desk.volume_node)
        if self.review.current:
            self.editor.setCurrentSegmentID(self.review.current)


def _editorNode():
    """Return our parameter node of the Segment Editor in this scene."""
    scene = slicer.mrmlScene
    node = scene.GetSingletonNode(EDITOR_TAG, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag(EDITOR_TAG)
        node = scene.AddNode(node)
    return node

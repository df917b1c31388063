"""The Slicer module: open what MedDetect found, correct it in the scene, save it.

This file is what Slicer calls; it alone knows Qt. Everything it does to the scene and to
files is done by `MedDetectLib`, of which only parts that need nothing beyond what Slicer
ships are imported here.
"""

from pathlib import Path

import ctk
import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class MedDetect(ScriptedLoadableModule):
    """What Slicer lists in its module menu."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "MedDetect"
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = []
        self.parent.contributors = ["MedDetect maintainers"]
        self.parent.helpText = _(
            "Open a result folder written by 'meddetect detect', correct its findings with the"
            " Segment Editor or with a box, and save them again. Research software; not a"
            " medical device."
        )
        self.parent.acknowledgementText = _("Built on 3D Slicer, SimpleITK and ONNX Runtime.")


class MedDetectWidget(ScriptedLoadableModuleWidget):
    """The panel: result folder, its volume, its findings, save."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.logic = None
        self.segmentationNode = None
        self.roiNode = None

    def setup(self):
        """Build the panel; Slicer calls this once."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = MedDetectLogic()
        form = qt.QFormLayout()
        self.layout.addLayout(form)

        self.folderButton = ctk.ctkDirectoryButton()
        form.addRow(_("Result folder:"), self.folderButton)

        self.volumeSelector = slicer.qMRMLNodeComboBox()
        self.volumeSelector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self.volumeSelector.addEnabled = False
        self.volumeSelector.removeEnabled = False
        self.volumeSelector.noneEnabled = True
        self.volumeSelector.setMRMLScene(slicer.mrmlScene)
        form.addRow(_("Volume:"), self.volumeSelector)

        self.openButton = qt.QPushButton(_("Open findings"))
        self.openButton.connect("clicked(bool)", self.onOpen)
        form.addRow(self.openButton)

        self.findingSelector = qt.QComboBox()
        self.findingSelector.enabled = False
        self.findingSelector.connect("activated(int)", self.onFinding)
        form.addRow(_("Box around:"), self.findingSelector)

        self.saveButton = qt.QPushButton(_("Save corrected findings"))
        self.saveButton.enabled = False
        self.saveButton.connect("clicked(bool)", self.onSave)
        form.addRow(self.saveButton)
        self.layout.addStretch(1)

    def onOpen(self, _checked=False):
        """Show the chosen folder's findings over the chosen volume."""
        with slicer.util.tryWithErrorDisplay(_("The findings cannot be opened."), waitCursor=True):
            self.segmentationNode = self.logic.openResults(
                self.folderButton.directory, self.volumeSelector.currentNode()
            )
            self.roiNode = None
            self.listFindings()

    def onFinding(self, row):
        """Put the box around the chosen finding, keeping edits of the last one."""
        with slicer.util.tryWithErrorDisplay(_("The box cannot be shown."), waitCursor=False):
            self.logic.keepEdits(self.segmentationNode, self.roiNode)
            findingId = self.findingSelector.itemData(row)
            self.roiNode = self.logic.showBox(self.segmentationNode, findingId, self.roiNode)

    def onSave(self, _checked=False):
        """Write the findings as they stand in the scene, beside the model's own."""
        with slicer.util.tryWithErrorDisplay(_("The findings cannot be saved."), waitCursor=True):
            folder = self.logic.saveResults(
                self.segmentationNode, Path(self.folderButton.directory) / "corrected", self.roiNode
            )
            slicer.util.showStatusMessage(_("Saved in {folder}").format(folder=folder), 5000)
            self.listFindings()

    def listFindings(self):
        """Fill the list of findings from the scene."""
        findings = self.logic.findings(self.segmentationNode)
        self.findingSelector.clear()
        for item in findings:
            label = findings.label_of(item).name
            text = f"{item.id}  {label}  {item.score:.2f}  {item.diameter_mm:.1f} mm"
            self.findingSelector.addItem(text, item.id)
        self.findingSelector.enabled = len(findings) > 0
        self.saveButton.enabled = True


class MedDetectLogic(ScriptedLoadableModuleLogic):
    """The module without its panel, for the Python console and for scripts.

    Example::

        logic = slicer.util.getModuleLogic("MedDetect")
        node = logic.openResults("result", slicer.util.getNode("CT"))
        logic.saveResults(node, "corrected")
    """

    def openResults(self, folder, volumeNode=None):
        """Show a result folder's findings as one segmentation node, and return it.

        Args:
            folder: written by `meddetect detect`.
            volumeNode: the volume they were found in; they take its parent transform.
        """
        from MedDetectLib.adapters.mrml.segmentation import findings_to_node
        from MedDetectLib.cases.findings_files import read_findings

        return findings_to_node(slicer.mrmlScene, read_findings(Path(folder)), volumeNode)

    def findings(self, segmentationNode):
        """Return the findings a segmentation node holds, edits of its segments included."""
        from MedDetectLib.adapters.mrml.read_back import findings_from_node

        return findings_from_node(segmentationNode)

    def keepEdits(self, segmentationNode, roiNode=None):
        """Take edits of segments and of the box into the node, and return the findings."""
        from MedDetectLib.adapters.mrml.read_back import read_back
        from MedDetectLib.adapters.mrml.segmentation import update_node

        edited = read_back(self.findings(segmentationNode), segmentationNode, roiNode).findings
        update_node(segmentationNode, edited)
        return edited

    def showBox(self, segmentationNode, findingId, roiNode=None):
        """Put a box that can be dragged around one finding, and return its ROI node.

        Args:
            segmentationNode: from `openResults`.
            findingId: which finding.
            roiNode: an earlier box; it is removed, as there is one handle at a time.
        """
        from MedDetectLib.adapters.mrml.roi import roi_for_finding

        if roiNode is not None and roiNode.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(roiNode)
        findings = self.findings(segmentationNode)
        item = next(item for item in findings if item.id == findingId)
        return roi_for_finding(
            slicer.mrmlScene, findings.geometry, item, findings.label_of(item), segmentationNode
        )

    def saveResults(self, segmentationNode, folder, roiNode=None):
        """Write the findings as they stand in the scene, and return the folder."""
        from MedDetectLib.cases.findings_files import write_findings

        Path(folder).mkdir(parents=True, exist_ok=True)
        write_findings(self.keepEdits(segmentationNode, roiNode), folder)
        return folder


class MedDetectTest(ScriptedLoadableModuleTest):
    """Slicer's self-test: findings go to disk, into the scene, are corrected and come back."""

    def runTest(self):
        """Run every check; Slicer calls this."""
        self.setUp()
        self.test_a_corrected_finding_survives_scene_and_disk()

    def setUp(self):
        """Start from an empty scene."""
        slicer.mrmlScene.Clear(0)

    def test_a_corrected_finding_survives_scene_and_disk(self):
        """Erase half of a finding in the scene, save, and open it again."""
        import tempfile

        import numpy as np

        from MedDetectLib.adapters.mrml.segmentation import update_node
        from MedDetectLib.cases.findings_files import read_findings, write_findings
        from MedDetectLib.review.edits import apply_mask_edit

        before = _ballFindings()
        logic = MedDetectLogic()
        with tempfile.TemporaryDirectory() as folder:
            write_findings(before, folder)
            node = logic.openResults(folder)
            opened = logic.findings(node)
            self.assertEqual(opened.items, before.items)
            self.assertTrue(np.array_equal(opened.label_map, before.label_map))

            mask = opened.mask_of(opened.items[0])
            mask[:, :, 16:] = False
            update_node(node, apply_mask_edit(opened, "F1", mask))
            corrected = Path(folder) / "corrected"
            logic.saveResults(node, corrected)
            after = read_findings(corrected)
        self.assertEqual(after.items[0].box[5], 16.0)
        self.assertEqual(after.items[0].state, "edited")
        self.assertEqual(int((after.label_map > 0).sum()), int(mask.sum()))


def _ballFindings():
    """Return one ball-shaped finding on an oblique, anisotropic grid."""
    import numpy as np

    from MedDetectLib.core.findings import Finding, Findings, Provenance
    from MedDetectLib.core.geometry import Geometry
    from MedDetectLib.core.labels import Label
    from MedDetectLib.core.measure import measure_mask, tight_box

    cos, sin = np.cos(0.3), np.sin(0.3)
    turned = [[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]
    geometry = Geometry.from_axes((24, 32, 32), (2.0, 1.0, 1.0), (10.0, -20.0, 30.0), turned)
    k, j, i = np.indices(geometry.shape_kji)
    mask = ((k - 12) * 2.0) ** 2 + (j - 16) ** 2 + (i - 15) ** 2 <= 64.0
    diameter_mm, volume_ml = measure_mask(mask, geometry)
    item = Finding("F1", 1, 0.9, tight_box(mask), 1, diameter_mm, volume_ml)
    source = Provenance("self-test", "1.0.0", "0" * 64, "none", "f32", "cpu", "ball", "0" * 64, "0")
    label = Label(1, "ball", (220, 60, 60))
    return Findings(geometry, (label,), (item,), mask.astype(np.uint16), source)

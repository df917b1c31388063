"""The Slicer module: a model finds, a person reviews and corrects, the case store learns.

This file is what Slicer loads at its start, so it imports next to nothing. The panel is in
`MedDetectUI`, everything else in `MedDetectLib`; both are imported when first used.
"""

import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

CHEST_SAMPLE = _("Chest CT phantom with nodules")
BRAIN_SAMPLE = _("Brain MR phantom with lesions")
HERE = Path(__file__).resolve().parent
for _place in (HERE, HERE.parent):  # the library lies here when installed, above in the tree
    if str(_place) not in sys.path and (_place / "MedDetectLib").is_dir():
        sys.path.append(str(_place))


class MedDetect(ScriptedLoadableModule):
    """What Slicer lists in its module menu."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("MedDetect")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "SegmentEditor", "Markups"]
        self.parent.contributors = ["MedDetect maintainers"]
        self.parent.helpText = _(
            "Find with a model in CT and MRI, review and correct every finding, and keep the"
            " corrected case for training. Choose an image, run the detection, then go through"
            " the list: A accepts, R rejects, E edits, B adds a box, N goes to the next, 1 to 9"
            " set the class, Ctrl+Z takes back. Sign and save puts the case into the store."
            " Research software; not a medical device."
        )
        self.parent.acknowledgementText = _(
            "Built on 3D Slicer, VTK, SimpleITK, ONNX Runtime and OpenVINO."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """List the bundled phantoms in the Sample Data module; they need no network."""
    import SampleData

    from MedDetectLib.models.registry import resource_folder

    SampleData.SampleDataLogic.registerCustomSampleDataCategory("MedDetect", title=_("MedDetect"))
    for name, title in (("demo-chest-ct", CHEST_SAMPLE), ("demo-brain-mr", BRAIN_SAMPLE)):
        file = resource_folder() / "SampleData" / f"{name}.nii.gz"
        if not file.is_file():
            continue
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="MedDetect",
            sampleName=title,
            thumbnailFileName=str(HERE / "Resources" / "Icons" / f"{name}.png"),
            uris=file.as_uri(),
            fileNames=f"{name}-{file.stat().st_size}.nii.gz",  # Slicer's cache knows only names
            nodeNames=name,
            loadFileTypes="VolumeFile",  # by its name it may as well be a segmentation
        )


class MedDetectWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The shell around the panel: Slicer calls it, the panel does the work."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self.uiWidget = None

    def setup(self):
        """Build the panel; Slicer calls this once, and again after a reload."""
        ScriptedLoadableModuleWidget.setup(self)
        from MedDetectUI.panel import Panel

        uiWidget = self.uiWidget = slicer.util.loadUI(self.resourcePath("UI/MedDetect.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = MedDetectLogic()
        self.logic.requirementsPath = self.resourcePath("requirements.txt")
        self.panel = Panel(uiWidget, self.ui, self.logic)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEnd)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEnd)
        self.addObserver(scene, scene.StartSaveEvent, self.onSceneSave)
        self.addObserver(scene, scene.NodeAddedEvent, self.onNodeAdded)
        self.panel.open()
        if getattr(self.parent, "isEntered", False):
            self.panel.enter()  # after a reload in the open panel Slicer does not say so

    def cleanup(self):
        """End everything; Slicer calls this when it exits and before a reload."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()
            self.panel = None
        if self.logic is not None:
            self.logic.close()
        if self.uiWidget is not None:
            self.uiWidget.setMRMLScene(None)  # a reload only hides it
        for name in [each for each in sys.modules if each.split(".")[0] == "MedDetectUI"]:
            del sys.modules[name]  # a reload reads the panel's parts again too

    def enter(self):
        """Hear that the user opens this module."""
        if self.panel is not None:
            self.panel.enter()

    def exit(self):
        """Hear that the user goes to another module."""
        if self.panel is not None:
            self.panel.exit()

    def onSceneStartClose(self, _caller=None, _event=None):
        """Let go of the scene before its nodes go."""
        self.panel.leaveScene()

    def onSceneEnd(self, _caller=None, _event=None):
        """Take up the scene there is now, and the review a saved one holds."""
        self.panel.takeScene()

    def onNodeAdded(self, _caller=None, _event=None):
        """Hear that the scene has grown."""
        self.panel.sceneGrew()

    def onSceneSave(self, _caller=None, _event=None):
        """Take drawn changes into the review before the scene is written."""
        self.panel.takeEdits()


class MedDetectLogic(ScriptedLoadableModuleLogic):
    """The module without its panel, for the Python console and for scripts.

    Example::

        logic = slicer.util.getModuleLogic("MedDetect")
        result = logic.detect(slicer.util.getNode("CT"), "demo-chest-ct")
        for item in result.findings:
            print(item.id, item.score, item.diameter_mm)
        result.segmentationNode.GetSegmentation().GetSegmentIDs()
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self.requirementsPath = str(HERE / "Resources" / "requirements.txt")
        self._engine = None
        self._client = None
        self._runs = []

    # --- the console ------------------------------------------------------------------

    def detect(self, volumeNode, model, callback=None, backend="auto", precision="f32"):
        """Find in a volume, and put what was found into the scene.

        Args:
            volumeNode: vtkMRMLScalarVolumeNode, or a list of them, one per channel.
            model: a model's name or folder.
            callback: called with the result later; None to wait for it here.
            backend: what runs the network, ``auto`` for the fastest that is installed.
            precision: ``f32``, or what else the backend offers.

        Returns:
            A `DetectionResult` with `segmentationNode` and `findings`; with a callback, the
            run, which has `cancel()`. The callback's result has `error` set when it failed.

        Raises:
            MedDetectError: why there are no findings; without a callback only.
        """
        from MedDetectUI.detection import DetectionResult
        from MedDetectUI.engine import mustBeReady

        if self._client is None:
            mustBeReady(self.engine)

        def end(run):
            self._runs.remove(run)
            if callback is None:
                return
            if run.error is not None:
                callback(DetectionResult(error=run.error))
            else:
                callback(self._result(run))

        nodes = volumeNode if isinstance(volumeNode, (list, tuple)) else [volumeNode]
        run = self.startDetection(nodes, model, backend, precision, onEnd=end)
        self._runs.append(run)
        if callback is not None:
            return run
        run.wait()
        return self._result(run)

    def _result(self, run):
        from MedDetectUI.detection import DetectionResult

        from MedDetectLib.adapters.mrml.segmentation import findings_to_node

        node = findings_to_node(slicer.mrmlScene, run.findings, run.volumeNodes[0])
        return DetectionResult(node, run.findings)

    # --- for the panel ----------------------------------------------------------------

    def startDetection(
        self, volumeNodes, model, backend="auto", precision="f32", onProgress=None, onEnd=None
    ):
        """Begin a run and return it at once, see `MedDetectUI.detection.DetectionRun`."""
        from MedDetectUI.detection import DetectionRun

        return DetectionRun(self.client, volumeNodes, model, backend, precision, onProgress, onEnd)

    def getParameterNode(self):
        """Return the scene's MedDetectParameterNode."""
        from MedDetectUI.parameter_node import MedDetectParameterNode

        return MedDetectParameterNode(ScriptedLoadableModuleLogic.getParameterNode(self))

    @property
    def engine(self):
        """Where networks run, see `MedDetectUI.engine.EnginePlace`."""
        if self._engine is None:
            from MedDetectUI.engine import EnginePlace

            self._engine = EnginePlace()
        return self._engine

    @engine.setter
    def engine(self, place):
        self.close()
        self._engine = place

    @property
    def client(self):
        """The WorkerClient; its process starts with the first question."""
        if self._client is None:
            self._client = self.engine.client()
        return self._client

    @client.setter
    def client(self, client):
        self.close()
        self._client = client

    def trim(self):
        """Give back the memory that is kept for the next run; nothing happens without a worker."""
        if self._client is not None:
            self._client.trim()

    def close(self):
        """Stop runs and end the worker; the next question starts another."""
        for run in list(self._runs):
            run.cancel(_("the module was closed"))
        if self._client is not None:
            self._client.close()
            self._client = None


class MedDetectTest(ScriptedLoadableModuleTest):
    """Slicer's self-test: the whole loop, through the panel's own buttons.

    It runs with and without a main window. Networks run in the worker where an engine is set
    up; else a stand-in finds what is bright, and the log says so.
    """

    useWorker = None
    """True or False to insist; None to use it where it is set up."""

    def runTest(self):
        """Run every check; Slicer calls this."""
        self.setUp()
        try:
            self.test_a_sample_is_found_in_corrected_signed_stored_and_taken_up_again()
        finally:
            self.tearDown()

    def setUp(self):
        """Start from an empty scene, with a folder of its own for reviews and cases."""
        self._homeBefore = os.environ.get("MEDDETECT_HOME")
        self._home = tempfile.TemporaryDirectory(
            prefix="meddetect-test-", ignore_cleanup_errors=True
        )
        os.environ["MEDDETECT_HOME"] = self._home.name
        slicer.mrmlScene.Clear(0)
        self.widget = slicer.util.getModuleWidget("MedDetect")
        if slicer.util.mainWindow() is not None:
            slicer.util.selectModule("MedDetect")
        self.panel, self.ui = self.widget.panel, self.widget.ui
        self._typedBefore = dict(self.panel.typed)
        parameters = self.panel.parameters
        parameters.storeFolder = str(Path(self._home.name) / "cases")
        self.panel.save.takeParameters()

    def tearDown(self):
        """Leave nothing behind."""
        self.panel.leaveScene()
        self.panel.typed = self._typedBefore
        self.widget.logic.close()
        self.panel.detect.needsEngine = True
        if self._homeBefore is None:
            os.environ.pop("MEDDETECT_HOME", None)
        else:
            os.environ["MEDDETECT_HOME"] = self._homeBefore
        slicer.mrmlScene.Clear(0)  # with the user's own folders again: the panel notes them
        self._home.cleanup()

    def test_a_sample_is_found_in_corrected_signed_stored_and_taken_up_again(self):
        """Sample, detect, edit mask and box, undo, sign and save, reload the scene, resume."""
        volumeNode = self._sample()
        before = self._detected(volumeNode)
        self._maskEdited()
        self._boxEdited()
        self._undone(before)
        stored = self._signedAndStored()
        self._takenUpAgain(stored)

    # --- the steps --------------------------------------------------------------------

    def _sample(self):
        import SampleData

        registerSampleData()
        self.delayDisplay("Loading the sample")
        node = SampleData.SampleDataLogic().downloadSamples(CHEST_SAMPLE)[0]
        self.ui.inputSelector1.setCurrentNode(node)
        self.panel.model.select("demo-chest-ct")
        self.assertEqual(self.panel.model.current.name, "demo-chest-ct")
        return node

    def _detected(self, volumeNode):
        logic = self.widget.logic
        useWorker = logic.engine.ready if self.useWorker is None else self.useWorker
        if not useWorker:
            from MedDetectUI.stand_in import StandInClient, brightFindings

            logging.info("MedDetect self-test: no engine is set up, a stand-in is used")
            logic.client = StandInClient(lambda volume: brightFindings(volume, limit=12))
            self.panel.detect.needsEngine = False
        self.panel.caseChanged()
        self.assertTrue(self.ui.runButton.enabled, self.ui.runButton.toolTip)
        self.delayDisplay("Detecting")
        self.ui.runButton.click()
        self._until(lambda: not self.panel.detect.running and not self.panel.save.busy)
        self.assertTrue(self.panel.review.isOpen, self.ui.detectState.toolTip)
        items = self.panel.review.items
        self.assertGreater(len(items), 1)
        self.assertEqual(self.ui.findingsTable.rowCount, len(items))
        largest = max(items, key=lambda item: item.volume_ml)
        self.panel.review.choose(largest.id)
        self.assertEqual(self.panel.parameters.currentFinding, largest.id)
        return list(items)

    def _maskEdited(self):
        import numpy as np

        review = self.panel.review
        item, node = review.item, review.desk.segmentation_node
        volumeNode = review.desk.volume_node
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, item.id, volumeNode).copy()
        rows = np.flatnonzero(mask.any(axis=(0, 2)))
        mask[:, : int(rows[len(rows) // 2]) + 1] = 0
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, item.id, volumeNode)
        self.panel.takeEdits()
        edited = review.item
        self.assertEqual(edited.state, "edited")
        self.assertLess(edited.volume_ml, item.volume_ml)

    def _boxEdited(self):
        review = self.panel.review
        item = review.item
        self.panel.correct.showBox(True)
        roi = review.desk.roi_node
        self.assertIsNotNone(roi)
        size = roi.GetSize()
        roi.SetSize(size[0], size[1], max(1.0, 0.5 * size[2]))
        self.panel.takeEdits()
        self.assertLess(review.item.volume_ml, item.volume_ml)
        self.panel.correct.showBox(False)

    def _undone(self, before):
        review = self.panel.review
        for _n in range(2):
            self.assertTrue(self.ui.undoButton.enabled)
            self.ui.undoButton.click()
        self.assertEqual(review.items, before)
        self.ui.redoButton.click()
        self.assertEqual(review.item.state, "edited")
        edited = review.item.id
        self.ui.acceptButton.click()
        self.assertEqual(review.item.state, "edited")  # that a person drew it stays known
        other = next(item for item in review.items if item.state == "new")
        review.choose(other.id)
        self.ui.acceptButton.click()
        self.assertEqual(review.item.state, "accepted")
        review.choose(edited)

    def _signedAndStored(self):
        from MedDetectLib.cases.store.case_store import CaseStore

        self.ui.reviewerEdit.text = "Dr Self Test"
        self.ui.patientEdit.text = "phantom-1"
        self.assertTrue(self.ui.signButton.enabled, self.ui.signButton.toolTip)
        self.delayDisplay("Signing and saving")
        self.ui.signButton.click()
        self._until(lambda: not self.panel.save.busy)
        caseId = self.panel.parameters.caseId
        versions = CaseStore(self.panel.save.storeFolder()).versions(caseId)
        self.assertEqual([v.kind for v in versions], ["ai", "review"], self.ui.saveState.toolTip)
        self.assertEqual(versions[-1].author, "Dr Self Test")
        self.assertFalse(self.ui.acceptButton.enabled)
        return versions[-1]

    def _takenUpAgain(self, stored):
        review = self.panel.review
        items, current = list(review.items), review.current
        scene = str(Path(self._home.name) / "scene.mrb")
        self.delayDisplay("Saving and loading the scene")
        self.assertTrue(slicer.util.saveScene(scene))
        slicer.mrmlScene.Clear(0)
        self.assertFalse(review.isOpen)
        self.assertEqual(self.ui.findingsTable.rowCount, 0)
        slicer.util.loadScene(scene)
        self._until(lambda: review.isOpen)
        self.assertEqual(list(review.items), items)
        self.assertEqual(review.current, current)
        self.assertEqual(review.signature.reviewer, "Dr Self Test")
        self.assertEqual(self.panel.parameters.caseId, stored.case)
        self.ui.reopenButton.click()
        self.ui.rejectButton.click()
        self.assertEqual(review.item.state, "rejected")

    def _until(self, condition, seconds=300.0):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, "it took too long")
            slicer.app.processEvents()
            time.sleep(0.005)

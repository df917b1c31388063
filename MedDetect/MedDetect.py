"""The Slicer module: a model finds, a person reviews and corrects, the case store learns.

This file is what Slicer loads at its start, so it imports next to nothing. The panel is in
`MedDetectUI`, everything else in `MedDetectLib`; both are imported when first used.
"""

import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

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
    for name, title in (
        ("demo-chest-ct", _("Chest CT phantom with nodules")),
        ("demo-brain-mr", _("Brain MR phantom with lesions")),
    ):
        file = resource_folder() / "SampleData" / f"{name}.nii.gz"
        if not file.is_file():
            continue
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="MedDetect",
            sampleName=title,
            thumbnailFileName=str(HERE / "Resources" / "Icons" / f"{name}.png"),
            uris=file.as_uri(),
            fileNames=file.name,
            nodeNames=name,
        )


class MedDetectWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The shell around the panel: Slicer calls it, the panel does the work."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None

    def setup(self):
        """Build the panel; Slicer calls this once, and again after a reload."""
        ScriptedLoadableModuleWidget.setup(self)
        from MedDetectUI.panel import Panel

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/MedDetect.ui"))
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

    def cleanup(self):
        """End everything; Slicer calls this when it exits and before a reload."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()
            self.panel = None
        if self.logic is not None:
            self.logic.close()
        for name in [each for each in sys.modules if each.split(".")[0] == "MedDetectUI"]:
            del sys.modules[name]  # a reload reads the panel's parts again too

    def enter(self):
        """The user opens this module."""
        self.panel.enter()

    def exit(self):
        """The user goes to another module."""
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

    def close(self):
        """Stop runs and end the worker; the next question starts another."""
        for run in list(self._runs):
            run.cancel(_("the module was closed"))
        if self._client is not None:
            self._client.close()
            self._client = None

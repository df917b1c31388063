"""Model: which one, on which engine, how much memory it takes, where it works."""

import qt
from slicer.i18n import tr as _

from MedDetectLib.core.errors import MedDetectError
from MedDetectUI.looks import show, showError, sizeText
from MedDetectUI.models import installedModels
from MedDetectUI.steps import Steps, answerOf

SOON_MS = 250
"""After the last change of image, model or engine, before the worker is asked."""


class ModelPart:
    """The Model section.

    Args:
        ui: the widgets of MedDetect.ui.
        logic: the MedDetectLogic.
        panel: where parameters are kept and who is told of changes.
    """

    def __init__(self, ui, logic, panel):
        self.ui, self.logic, self.panel = ui, logic, panel
        self.models = []
        self._planning = Steps()
        self._planned = None
        self._soon = qt.QTimer()
        self._soon.setSingleShot(True)
        self._soon.interval = SOON_MS
        self._soon.connect("timeout()", self._ask)
        self._filling = False
        self._chosenByHand = False
        ui.modelSelector.connect("currentIndexChanged(int)", self._onModel)
        ui.modelSelector.connect("activated(int)", self._onChosen)
        ui.modelRefreshButton.connect("clicked(bool)", self.refresh)
        ui.backendSelector.connect("currentIndexChanged(int)", self._onEngine)
        ui.precisionSelector.connect("currentIndexChanged(int)", self._onEngine)

    @property
    def current(self):
        """The chosen InstalledModel, or None."""
        data = self.ui.modelSelector.currentData
        found = [model for model in self.models if model.name == data]
        return found[0] if found else None

    def refresh(self, _checked=False):
        """Look which models there are."""
        wanted = self.panel.parameters.modelName if self.panel.parameters else ""
        self.models = installedModels()
        self._filling = True
        selector = self.ui.modelSelector
        selector.clear()
        for model in self.models:
            selector.addItem(model.title if model.usable else f"✕ {model.title}", model.name)
        self._filling = False
        if not self.select(wanted):
            self.select(self.panel.case.likelyModel(self.models))
        self._onModel()

    def guess(self):
        """Choose the model that fits the image, unless the user has chosen one."""
        if not self._chosenByHand and not self.panel.review.isOpen:
            current = self.current.name if self.current is not None else ""
            self.select(self.panel.case.likelyModel(self.models, current))

    def stop(self):
        """Wait for nothing any more."""
        self._soon.stop()
        self._planning.stop()
        self._planned = None

    def takeParameters(self):
        """Show what the parameter node says."""
        self.select(self.panel.parameters.modelName)

    def estimate(self):
        """Ask soon how much memory a run would take; the answer comes by itself."""
        if self.panel.parameters is not None:
            self._soon.start()

    # --- inside -----------------------------------------------------------------------

    def select(self, name):
        """Choose a model by name; return whether there is one of that name."""
        index = self.ui.modelSelector.findData(name) if name else -1
        if index >= 0:
            self.ui.modelSelector.currentIndex = index
        return index >= 0

    def _onChosen(self, _index):
        self._chosenByHand = True

    def _onModel(self, _index=-1):
        if self._filling:
            return
        model = self.current
        if model is None:
            show(self.ui.modelInfo, _("No model found."), "warning")
            show(self.ui.operatingPoint, "–")
        elif not model.usable:
            show(self.ui.modelInfo, _("This model cannot be used."), "bad", model.error)
            show(self.ui.operatingPoint, "–")
        else:
            self._describe(model)
        if self.panel.parameters is not None and model is not None:
            self.panel.parameters.modelName = model.name
        self.panel.modelChanged()

    def _describe(self, model):
        finds = ", ".join(label.name for label in model.labels)
        show(self.ui.modelInfo, _("Finds: {classes}.").format(classes=finds), "plain", model.about)
        show(self.ui.operatingPoint, operatingPointText(model.card), "plain", _basis(model.card))

    def _onEngine(self, _index=-1):
        self.estimate()
        self.panel.refreshRun()

    def _ask(self):
        """Ask the worker for a plan, unless it is the one that is shown already."""
        volumes, model = self.panel.case.views(), self.current
        parameters = self.panel.parameters
        if parameters is None or self.panel.detect.running:
            return
        if model is None or not model.usable or not volumes or not self.panel.detect.ready:
            self._planning.stop()
            self._planned = None
            show(self.ui.memoryLabel, "–")
            return
        geometry, sizes = volumes[0].geometry, [v.array.itemsize for v in volumes]
        engine, precision = parameters.backend, parameters.precision
        wanted = (geometry.shape_kji, geometry.spacing_kji_mm, model.name, engine, precision)
        if wanted == self._planned:
            return
        self._planning.stop()
        self._planned = wanted
        show(self.ui.memoryLabel, _("Asking…"), "busy")
        try:
            request = self.logic.client.submit_plan(
                geometry, model.name, itemsizes=sizes, backend=engine, precision=precision
            )
        except MedDetectError as error:
            self._onNoPlan(error)
            return
        self._planning.start(answerOf(request), self._onPlan, self._onNoPlan)

    def _onPlan(self, plan):
        text = _("about {bytes}, {free} are free").format(
            bytes=sizeText(plan.peak_bytes), free=sizeText(plan.free_bytes)
        )
        details = [f"{name}: {sizeText(value)}" for name, value in plan.parts.items()]
        details += [note.text for note in plan.notes]
        kind = "bad" if not plan.fits else "warning" if plan.notes else "good"
        show(self.ui.memoryLabel, text, kind, "\n".join(details))

    def _onNoPlan(self, error):
        self._planned = None
        showError(self.ui.memoryLabel, error)


def operatingPointText(card):
    """Return where a model works, in one line."""
    point = card.operating_point
    parts = []
    if point.min_score > 0:
        parts.append(_("score from {score:.2f}").format(score=point.min_score))
    if point.min_diameter_mm > 0:
        parts.append(_("diameter from {mm:g} mm").format(mm=point.min_diameter_mm))
    if point.voxel_threshold is not None:
        parts.append(_("voxels from {p:.2f}").format(p=point.voxel_threshold))
    return ", ".join(parts) or _("the most probable class of each voxel")


def _basis(card):
    return card.operating_point.basis

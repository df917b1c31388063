"""Case: the images of the case, whether they can be trusted, and the worklist."""

import re

import slicer
from slicer.i18n import tr as _

from MedDetectLib.core.errors import MedDetectError
from MedDetectUI.intake import Judgement, judge, viewOf
from MedDetectUI.looks import show
from MedDetectUI.parameter_node import CHANNEL_FIELDS


class CasePart:
    """The Case section.

    Args:
        ui: the widgets of MedDetect.ui.
        logic: the MedDetectLogic.
        panel: where parameters are kept and who is told of changes.
    """

    def __init__(self, ui, logic, panel):
        self.ui, self.logic, self.panel = ui, logic, panel
        self.judgement = Judgement("plain", "")
        self.labels = [getattr(ui, f"inputLabel{n}") for n in range(1, 5)]
        self.selectors = [getattr(ui, f"inputSelector{n}") for n in range(1, 5)]
        for selector in self.selectors:
            selector.connect("currentNodeChanged(vtkMRMLNode*)", self._onImage)
        self.showChannels()

    # --- what others ask --------------------------------------------------------------

    @property
    def channels(self):
        """The channels of the chosen model; one of any kind while there is none."""
        model = self.panel.model.current if hasattr(self.panel, "model") else None
        return model.channels if model is not None and model.channels else (_AnyImage(),)

    def inputs(self):
        """Return the chosen volume nodes, one per channel; None where none is chosen."""
        return [selector.currentNode() for selector in self.selectors[: len(self.channels)]]

    def volumeNode(self):
        """Return the first image, on whose grid the findings lie."""
        return self.selectors[0].currentNode()

    def views(self):
        """Return the images as `Volume`s that share the nodes' voxels; empty if any is bad."""
        if self.judgement.kind not in ("good", "warning"):
            return []
        try:
            return [viewOf(node) for node in self.inputs()]
        except MedDetectError:
            return []

    def whyNot(self):
        """Return why the case cannot be run, empty when it can."""
        return "" if self.judgement.kind in ("good", "warning") else self.judgement.text

    def likelyModel(self, models, current=""):
        """Return the name of the model whose first channel is what the image is.

        Without a chosen image, the first of the scene counts. Where the image tells nothing,
        the current model stays.
        """
        node = self.volumeNode() or bestImage(_AnyImage(), (), (), byName=False)
        usable = [model for model in models if model.usable]
        if not usable:
            return ""
        if node is None:
            return usable[0].name
        return max(usable, key=lambda m: (_likeness(m, node), m.name == current)).name

    # --- what it shows ----------------------------------------------------------------

    def takeParameters(self):
        """Show what the parameter node says, and choose an image if there is none."""
        self._match()
        self.refresh()

    def sceneGrew(self):
        """Choose images that have come, where none is chosen."""
        if any(node is None for node in self.inputs()):
            self.panel.model.guess()
            self._match()

    def showChannels(self):
        """Show one selector per channel of the model."""
        channels = self.channels
        for n, (label, selector) in enumerate(zip(self.labels, self.selectors, strict=True)):
            label.visible = selector.visible = n < len(channels)
            if n < len(channels):
                what = channels[n].name or _("Image")
                label.text = _("Image ({name}):").format(name=what) if what else _("Image:")
                kind = channels[n].modality or _("any modality")
                label.toolTip = _("The model reads {kind} here").format(kind=kind)
        self._match()
        self.refresh()

    def refresh(self):
        """Judge the images anew."""
        self.judgement = judge(self.inputs(), self.channels)
        kind = "plain" if self.volumeNode() is None else self.judgement.kind
        reasons = "\n".join(self.judgement.reasons)
        show(self.ui.intakeBadge, self.judgement.text, kind, reasons)

    # --- inside -----------------------------------------------------------------------

    def _onImage(self, _node=None):
        self.refresh()
        self.panel.caseChanged()

    def _match(self):
        """Choose an image where none is chosen: by modality, then by name."""
        parameters = self.panel.parameters
        if parameters is None:
            return
        channels = self.channels
        taken = {node.GetID() for node in self.inputs() if node is not None}
        given = CHANNEL_FIELDS[:1] if self.panel.worklist.givesImage else ()
        for byName in (True, False):
            for field, channel in zip(CHANNEL_FIELDS, channels, strict=False):
                if field in given or parameters.getValue(field) is not None:
                    continue
                others = [each for each in channels if each is not channel]
                node = bestImage(channel, others, taken, byName)
                if node is not None:
                    taken.add(node.GetID())
                    parameters.setValue(field, node)


class _AnyImage:
    """A channel that takes whatever there is."""

    name = ""
    modality = ""


def bestImage(channel, others, taken, byName):
    """Return the volume of the scene that fits a channel best, or None.

    Args:
        channel: with `name` and `modality`.
        others: the model's other channels; an image that bears the name of one is theirs.
        taken: ids of volumes that are in use.
        byName: only those that bear this channel's name.
    """
    best, most = None, -1
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetID() in taken or node.IsA("vtkMRMLLabelMapVolumeNode"):
            continue
        try:
            modality = viewOf(node).modality
        except MedDetectError:
            continue
        if channel.modality and modality and modality != channel.modality:
            continue
        name = node.GetName()
        named = _named(channel.name, name)
        if (byName and not named) or any(_named(each.name, name) for each in others):
            continue
        points = 2 * named + (bool(modality) and modality == channel.modality)
        if points > most:
            best, most = node, points
    return best


def _likeness(model, node):
    """Return how well a model fits an image, by modality and by words of their names."""
    try:
        modality = viewOf(node).modality
    except MedDetectError:
        return 0
    wanted = model.channels[0].modality
    words = _words(node.GetName())
    points = len(words & _words(f"{model.name} {model.card.title}"))
    if wanted and wanted.casefold() in words:
        points += 3
    if wanted and modality:
        points += 10 if wanted == modality else -10
    return points


def _words(text):
    return {word for word in re.split(r"[^a-z0-9]+", (text or "").casefold()) if len(word) > 1}


def _named(channelName, nodeName):
    """Whether a node's name speaks of a channel: all of its letters and digits, in one piece."""
    letters = "".join(c for c in channelName.casefold() if c.isalnum())
    return bool(letters) and letters in "".join(c for c in nodeName.casefold() if c.isalnum())

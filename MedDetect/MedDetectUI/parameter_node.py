"""What the panel keeps in the scene, so that a saved scene goes on where it was left."""

from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

from MedDetectLib.inference.backends.choose import BACKENDS

BACKEND_NAMES = ("auto", *BACKENDS)
PRECISION_NAMES = tuple(dict.fromkeys(p for each in BACKENDS.values() for p in each.precisions))


@parameterNodeWrapper
class MedDetectParameterNode:
    """One field per choice; widgets of MedDetect.ui are bound to them by name.

    inputVolume .. inputVolume4: the images, one per channel of the model.
    modelName: the model's name as the worker lists it.
    backend, precision: how it runs.
    scoreThreshold: findings below are hidden.
    segmentation: the findings in the scene.
    currentFinding: id of the finding in hand.
    boxShown: whether its box has handles.
    sessionFolder: where the journal of the review lies.
    caseId: the case of the store, empty for one that is not stored yet.
    caseVolume: the image that is that case.
    reviewer, patient, comment: as typed.
    storeFolder, worklistSource: as chosen.
    worklistCase: which case of the worklist is open.
    blinded: whether a second reading starts from the model's findings.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    inputVolume2: vtkMRMLScalarVolumeNode
    inputVolume3: vtkMRMLScalarVolumeNode
    inputVolume4: vtkMRMLScalarVolumeNode
    modelName: str = ""
    backend: Annotated[str, Choice(list(BACKEND_NAMES))] = "auto"
    precision: Annotated[str, Choice(list(PRECISION_NAMES))] = "f32"
    scoreThreshold: Annotated[float, WithinRange(0.0, 1.0)] = 0.0
    segmentation: vtkMRMLSegmentationNode
    currentFinding: str = ""
    boxShown: bool = False
    sessionFolder: str = ""
    caseId: str = ""
    caseVolume: vtkMRMLScalarVolumeNode
    reviewer: str = ""
    patient: str = ""
    comment: str = ""
    storeFolder: str = ""
    worklistSource: str = ""
    worklistCase: str = ""
    blinded: bool = False


CHANNEL_FIELDS = ("inputVolume", "inputVolume2", "inputVolume3", "inputVolume4")
KEPT_FIELDS = ("reviewer", "storeFolder")
"""What goes on from a scene that was closed to a new one: the reader is the same."""

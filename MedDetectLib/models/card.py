"""The model card: what a network eats, what it answers, and how far to trust it.

A card is `model.json` beside the weights. `card.schema.json` says what may stand in it;
this file is the same thing as Python values. Reading and checking is `card_file.py`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

from MedDetectLib.core.geometry import GridAnchor
from MedDetectLib.core.labels import Label

__all__ = [
    "AnchorBoxes",
    "AnchorLevel",
    "CaseScoreHead",
    "Channel",
    "Clip",
    "DecodedBoxes",
    "Head",
    "InputSpec",
    "IntensityStep",
    "IntensityWindow",
    "Linear",
    "MaskKind",
    "Merge",
    "MinMax",
    "ModelCard",
    "OperatingPoint",
    "Percentile",
    "VoxelScores",
    "WindowSpec",
    "ZScore",
]

Triple = tuple[int, int, int]
MaskKind = Literal["none", "nonzero", "above_mean"]
Activation = Literal["softmax", "sigmoid"]

HU_PRESETS: dict[str, tuple[float, float]] = {
    "lung": (-1350.0, 150.0),
    "bone": (-500.0, 1300.0),
    "brain": (0.0, 80.0),
    "soft_tissue": (-160.0, 240.0),
}
"""HU windows by name: lung L-600/W1500, bone L400/W1800, brain L40/W80, soft tissue
L40/W400, the usual clinical display settings."""


# --- input ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Channel:
    """One input image: its name and the modality it must be (empty: any)."""

    name: str
    modality: str = ""


@dataclass(frozen=True)
class Clip:
    """Limit values to [low, high]."""

    low: float
    high: float


@dataclass(frozen=True)
class IntensityWindow:
    """Limit values to [low, high] and scale them to [0, 1]; CT windows are in HU."""

    low: float
    high: float


@dataclass(frozen=True)
class MinMax:
    """Scale the volume's smallest and largest value to 0 and 1."""

    mask: MaskKind = "none"


@dataclass(frozen=True)
class Percentile:
    """Limit values to two percentiles of the volume and scale them to [0, 1]."""

    lower: float
    upper: float
    mask: MaskKind = "none"


@dataclass(frozen=True)
class ZScore:
    """Subtract the volume's mean, divide by its standard deviation."""

    mask: MaskKind = "none"


@dataclass(frozen=True)
class Linear:
    """Multiply, then add: fixed numbers from training."""

    scale: float
    offset: float


IntensityStep = Clip | IntensityWindow | MinMax | Percentile | ZScore | Linear


@dataclass(frozen=True)
class WindowSpec:
    """How the prepared volume is cut: window size in voxels, overlap, blending.

    Args:
        shape_kji: voxels of one window.
        overlap: of neighbours, in window sizes.
        blend: how a voxel's weight falls off towards the window's border.
        sigma: of the Gaussian, in window sizes.
        centre: where the Gaussian is highest: in the window's middle (MONAI), or on the voxel
            after it where that lies between two (nnU-Net).
        pad_value: fills what overhangs a volume smaller than the window.
        placement: where windows start: evenly spread (nnU-Net), or a fixed step apart with
            the last one pulled back to the end (MONAI).
        floor: no blending weight is less, before they are made to add up to one.
        empty_below: a window whose voxels are all at most this, after normalising, is empty
            for those who ask to leave empty windows out; None: one of a single value.
    """

    shape_kji: Triple
    overlap: float = 0.5
    blend: Literal["gaussian", "constant"] = "gaussian"
    sigma: float = 0.125
    centre: Literal["middle", "voxel"] = "middle"
    pad_value: float = 0.0
    placement: Literal["even", "stepped"] = "even"
    floor: float = 0.0
    empty_below: float | None = None


@dataclass(frozen=True)
class InputSpec:
    """What the network wants to be given, see `card.schema.json` for each field."""

    tensor: str
    rank: int
    channels: tuple[Channel, ...]
    orientation: str | None
    spacing_kji_mm: tuple[float, float, float] | None
    fit_shape_kji: Triple | None
    anchor: GridAnchor
    antialias: bool
    normalise: Literal["before_resample", "after_resample"]
    intensity: tuple[IntensityStep, ...]
    window: WindowSpec


# --- output ---------------------------------------------------------------------------


@dataclass(frozen=True)
class VoxelScores:
    """The network scores every voxel for every class."""

    tensor: str
    activation: Activation
    blend_on: Literal["logits", "probabilities"] = "logits"
    one_finding_per: Literal["component", "class"] = "component"
    finding_score: Literal["max", "mean"] = "max"


@dataclass(frozen=True)
class Merge:
    """How boxes of overlapping windows become one: suppression or weighted fusion."""

    method: Literal["nms", "wbf"]
    iou: float


@dataclass(frozen=True)
class DecodedBoxes:
    """The network answers finished boxes, in voxels of the window."""

    boxes_tensor: str
    scores_tensor: str
    labels_tensor: str
    merge: Merge
    first_label: int = 1
    coordinates: Literal["edge", "index"] = "edge"
    order: Literal["kjikji", "ijkijk"] = "kjikji"


@dataclass(frozen=True)
class AnchorLevel:
    """One feature map of an anchor-based detector."""

    scores_tensor: str
    deltas_tensor: str
    stride_kji: Triple
    anchor_sizes_kji: tuple[tuple[float, float, float], ...]
    first_centre_kji: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class AnchorBoxes:
    """The network answers class logits and box deltas for fixed anchors (RetinaNet)."""

    activation: Activation
    levels: tuple[AnchorLevel, ...]
    merge: Merge
    delta_weights: tuple[float, ...] = (1.0,) * 6
    max_per_window: int = 300
    coordinates: Literal["edge", "index"] = "edge"
    order: Literal["kjikji", "ijkijk"] = "kjikji"


@dataclass(frozen=True)
class CaseScoreHead:
    """The network judges the case as a whole."""

    tensor: str
    activation: Activation


Head = VoxelScores | DecodedBoxes | AnchorBoxes | CaseScoreHead


@dataclass(frozen=True)
class OperatingPoint:
    """Where on its curve the model is used.

    Args:
        voxel_threshold: foreground probability that makes a voxel count; None: argmax.
        min_score: findings scored lower are dropped.
        min_diameter_mm: smaller findings are dropped.
        max_findings: only so many are kept, best first; more are cut with a note.
        basis: how these were chosen.
    """

    voxel_threshold: float | None = None
    min_score: float = 0.0
    min_diameter_mm: float = 0.0
    max_findings: int = 1000
    basis: str = ""


@dataclass(frozen=True)
class ModelCard:
    """One model, described. Built by `from_json` from data the schema has accepted."""

    name: str
    version: str
    task: Literal["segmentation", "detection", "classification"]
    weights: str
    files: dict[str, str]
    input: InputSpec
    head: Head
    labels: tuple[Label, ...]
    operating_point: OperatingPoint
    parent: str | None = None
    title: str = ""
    description: str = ""
    licence: str = ""
    intended_use: str = ""
    training_data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def weights_sha256(self) -> str:
        """Fingerprint of the network: of its file, or of all files together if there are more.

        A network may keep its weights in other files than its own, and after fine-tuning only
        those differ.
        """
        if len(self.files) == 1:
            return self.files[self.weights]
        listed = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(self.files.items()))
        return hashlib.sha256(listed.encode()).hexdigest()

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ModelCard:
        """Build a card from data that `card.schema.json` has accepted."""
        output = data["output"]
        optional = ("parent", "title", "description", "licence", "intended_use")
        return cls(
            name=data["name"],
            version=data["version"],
            task=data["task"],
            weights=data["weights"],
            files=dict(data["files"]),
            input=_input(data["input"]),
            head=_head({key: value for key, value in output.items() if key != "labels"}),
            labels=tuple(Label.from_json(label) for label in output["labels"]),
            operating_point=_operating_point(data.get("operating_point", {})),
            training_data=data.get("training_data", {}),
            metrics=data.get("metrics", {}),
            **{key: data[key] for key in optional if key in data},
        )


def _operating_point(data: dict[str, Any]) -> OperatingPoint:
    limit = int(data.get("max_findings", OperatingPoint.max_findings))
    return OperatingPoint(**{**data, "max_findings": limit})


def _input(data: dict[str, Any]) -> InputSpec:
    window = dict(data["window"])
    window["shape_kji"] = _triple(window["shape_kji"])
    spacing, fit = data.get("spacing_kji_mm"), data.get("fit_shape_kji")
    return InputSpec(
        tensor=data["tensor"],
        rank=int(data.get("rank", 5)),
        channels=tuple(Channel(**channel) for channel in data["channels"]),
        orientation=data.get("orientation"),
        spacing_kji_mm=None if spacing is None else (spacing[0], spacing[1], spacing[2]),
        fit_shape_kji=None if fit is None else _triple(fit),
        anchor=data.get("anchor", "edges"),
        antialias=data.get("antialias", False),
        normalise=data.get("normalise", "after_resample"),
        intensity=tuple(_step(step) for step in data.get("intensity", [])),
        window=WindowSpec(**window),
    )


def _triple(numbers: list[float]) -> Triple:
    """Three whole numbers; JSON Schema takes 32.0 for an integer too."""
    k, j, i = (int(number) for number in numbers)
    return k, j, i


def _step(data: dict[str, Any]) -> IntensityStep:
    kinds: dict[str, type[IntensityStep]] = {
        "clip": Clip,
        "window": IntensityWindow,
        "min_max": MinMax,
        "percentile": Percentile,
        "z_score": ZScore,
        "linear": Linear,
    }
    values = {key: value for key, value in data.items() if key not in ("step", "preset")}
    if "preset" in data:
        values["low"], values["high"] = HU_PRESETS[data["preset"]]
    return kinds[data["step"]](**values)


def _head(data: dict[str, Any]) -> Head:
    values = {key: value for key, value in data.items() if key not in ("head", "format")}
    for whole in ("first_label", "max_per_window"):
        if whole in values:
            values[whole] = int(values[whole])
    if "merge" in values:
        values["merge"] = Merge(**values["merge"])
    if data["head"] == "voxel_scores":
        return VoxelScores(**values)
    if data["head"] == "case_score":
        return CaseScoreHead(**values)
    if data["format"] == "decoded":
        return DecodedBoxes(**values)
    values["levels"] = tuple(_level(level) for level in values["levels"])
    values["delta_weights"] = tuple(values.get("delta_weights", (1.0,) * 6))
    return AnchorBoxes(**values)


def _level(data: dict[str, Any]) -> AnchorLevel:
    return AnchorLevel(
        scores_tensor=data["scores_tensor"],
        deltas_tensor=data["deltas_tensor"],
        stride_kji=_triple(data["stride_kji"]),
        anchor_sizes_kji=tuple(tuple(size) for size in data["anchor_sizes_kji"]),
        first_centre_kji=tuple(data.get("first_centre_kji", (0.0, 0.0, 0.0))),
    )

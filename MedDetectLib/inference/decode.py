"""From reduced network answers to findings on the volume's own grid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.boxes import Boxes
from MedDetectLib.core.findings import Box, CaseScore, Finding, LabelMap
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.measure import as_box, measure_box, measure_mask
from MedDetectLib.core.notes import Note
from MedDetectLib.inference.parallel import in_parallel
from MedDetectLib.inference.prepare import Prepared
from MedDetectLib.inference.voxel_scores import VoxelMaps
from MedDetectLib.models.card import ModelCard, OperatingPoint, VoxelScores

__all__ = ["Answer", "Decoded", "decode", "findings_from_boxes", "findings_from_voxels"]

Answer = VoxelMaps | Boxes | tuple[CaseScore, ...]
"""What a gather hands over, on the turned or the model's grid."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """Findings before it is written down where they came from.

    Args:
        items: best first.
        label_map: [k, j, i] uint16 on the own grid, None when there are only boxes.
        case_scores: of models that judge the case as a whole.
        notes: limits that were reached.
    """

    items: tuple[Finding, ...] = ()
    label_map: LabelMap | None = None
    case_scores: tuple[CaseScore, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A finding before it is measured.

    Args:
        label: its class.
        score: of it.
        start_kji: where `within` lies on the own grid.
        within: a piece of the class map, or a mask of its own.
        number: what its voxels are in there. Whole classes lie all over the volume, and a
            hundred masks of that size would not fit: a mask is made when it is looked at.
    """

    label: int
    score: float
    start_kji: tuple[int, int, int]
    within: npt.NDArray[Any]
    number: int

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Its voxels in its place."""
        return np.asarray(self.within == self.number)

    @property
    def place(self) -> tuple[slice, slice, slice]:
        """Where on the own grid the mask lies."""
        k, j, i = (
            slice(start, start + size)
            for start, size in zip(self.start_kji, self.within.shape, strict=True)
        )
        return k, j, i

    @property
    def box(self) -> Box:
        """The mask's own box, in voxel edges of the own grid; the mask has no empty border."""
        start = np.array(self.start_kji)
        return as_box(np.concatenate([start, start + self.within.shape]))


def decode(answer: Answer, prepared: Prepared, card: ModelCard) -> Decoded:
    """Bring a network's gathered answer home to the own grid and make findings of it."""
    if isinstance(answer, VoxelMaps):
        classes = prepared.restore_array(answer.classes)
        scores = prepared.restore_array(answer.scores)
        return findings_from_voxels(classes, scores, card, prepared.own)
    if isinstance(answer, Boxes):
        edges = prepared.restore_boxes(answer.edges)
        boxes = Boxes(edges, answer.scores, answer.labels).clipped(prepared.own.shape_kji)
        return findings_from_boxes(boxes, card, prepared.own)
    return Decoded(case_scores=answer)


def findings_from_voxels(
    classes: LabelMap, scores: npt.NDArray[np.float32], card: ModelCard, geometry: Geometry
) -> Decoded:
    """Make one finding per connected component (26 neighbours), or one per class.

    Args:
        classes: [k, j, i] class per voxel on the own grid, 0 for none.
        scores: [k, j, i] probability of that class.
        card: whose head is `VoxelScores`.
        geometry: the own grid.
    """
    assert isinstance(card.head, VoxelScores)
    point = card.operating_point
    found = (c for c in _components(classes, scores, card.head) if c.score >= point.min_score)
    candidates = sorted(
        (c for c in found if _may_measure(c, point.min_diameter_mm, geometry)),
        key=lambda c: (-c.score, c.label, c.start_kji),
    )
    label_map = np.zeros(geometry.shape_kji, np.uint16)
    items: list[Finding] = []
    left_out = 0
    if not point.min_diameter_mm:  # thousands of specks: measuring them all would take minutes
        left_out = max(0, len(candidates) - point.max_findings)
        del candidates[point.max_findings :]
    sizes = _measured(candidates, geometry)
    for candidate, (diameter_mm, volume_ml) in zip(candidates, sizes, strict=True):
        if diameter_mm < point.min_diameter_mm:
            continue
        if len(items) == point.max_findings:
            left_out += 1
            continue
        number = len(items) + 1
        label_map[candidate.place][candidate.mask] = number
        items.append(
            Finding(
                id=f"F{number}",
                label=candidate.label,
                score=candidate.score,
                box=candidate.box,
                mask_value=number,
                diameter_mm=diameter_mm,
                volume_ml=volume_ml,
            )
        )
    return Decoded(tuple(items), label_map, notes=_limit_note(point, left_out))


def findings_from_boxes(boxes: Boxes, card: ModelCard, geometry: Geometry) -> Decoded:
    """Make one finding per box.

    Args:
        boxes: in voxel edges of the own grid, best first.
        card: the model's card.
        geometry: the own grid.
    """
    point = card.operating_point
    items: list[Finding] = []
    left_out = 0
    order = np.argsort(-boxes.scores, kind="stable")
    for n in order:
        box = as_box(boxes.edges[n])
        diameter_mm, volume_ml = measure_box(box, geometry)
        if diameter_mm < point.min_diameter_mm or boxes.scores[n] < point.min_score:
            continue
        if len(items) == point.max_findings:
            left_out += 1
            continue
        items.append(
            Finding(
                id=f"F{len(items) + 1}",
                label=int(boxes.labels[n]),
                score=float(min(1.0, boxes.scores[n])),
                box=box,
                mask_value=None,
                diameter_mm=diameter_mm,
                volume_ml=volume_ml,
            )
        )
    return Decoded(tuple(items), notes=_limit_note(point, left_out))


def _may_measure(candidate: _Candidate, diameter_mm: float, geometry: Geometry) -> bool:
    """Whether it can be so large at all: nothing is longer than its box's diagonal.

    Thousands of specks are told so in no time; measuring them would take minutes.
    """
    diagonal_mm = math.dist(
        (0.0, 0.0, 0.0),
        [n * mm for n, mm in zip(candidate.within.shape, geometry.spacing_kji_mm, strict=True)],
    )
    return diagonal_mm >= diameter_mm * (1 - 1e-9)


def _measured(candidates: Sequence[_Candidate], geometry: Geometry) -> list[tuple[float, float]]:
    """Return (diameter_mm, volume_ml) of each."""
    sizes = [(0.0, 0.0)] * len(candidates)

    def work(start: int, stop: int) -> None:
        for n in range(start, stop):
            sizes[n] = measure_mask(candidates[n].mask, geometry)

    in_parallel(work, len(candidates))
    return sizes


def _components(
    classes: LabelMap, scores: npt.NDArray[np.float32], head: VoxelScores
) -> Iterator[_Candidate]:
    """Yield the findings of each class, in the order of classes."""
    from scipy import ndimage

    places = list(enumerate(ndimage.find_objects(classes), start=1))
    found: list[list[_Candidate]] = [[] for _ in places]

    def work(start: int, stop: int) -> None:
        for n in range(start, stop):
            value, place = places[n]
            if place is not None:
                found[n] = list(_of_class(value, place, classes[place], scores[place], head))

    in_parallel(work, len(places))
    return itertools.chain.from_iterable(found)


def _of_class(
    value: int,
    place: tuple[slice, ...],
    classes: LabelMap,
    scores: npt.NDArray[np.float32],
    head: VoxelScores,
) -> Iterator[_Candidate]:
    """Yield the findings of one class, whose voxels have its value in `classes` at `place`."""
    from scipy import ndimage

    mine = classes == value
    if head.one_finding_per == "class":
        whole = tuple(slice(0, size) for size in mine.shape)
        yield _Candidate(value, _score(scores, mine, head), _start(place, whole), classes, value)
        return
    parts, count = ndimage.label(mine, np.ones((3, 3, 3), bool))
    for number, part in enumerate(ndimage.find_objects(parts, count), start=1):
        mask = parts[part] == number
        score = _score(scores[part], mask, head)
        yield _Candidate(value, score, _start(place, part), mask, True)


def _score(
    chances: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_], head: VoxelScores
) -> float:
    """Return the score of one finding: the highest or the mean probability in its mask."""
    if head.finding_score == "mean":
        return min(1.0, float(chances[mask].mean(dtype=float)))
    # slice by slice, in the cache; a probability is not negative, so zeros do not matter
    slices = zip(chances, mask, strict=True)
    return min(1.0, max(float((chance * inside).max()) for chance, inside in slices))


def _start(outer: tuple[Any, ...], inner: tuple[Any, ...]) -> tuple[int, int, int]:
    k, j, i = (int(a.start + b.start) for a, b in zip(outer, inner, strict=True))
    return k, j, i


def _limit_note(point: OperatingPoint, left_out: int) -> tuple[Note, ...]:
    if not left_out:
        return ()
    text = f"{left_out} more findings with lower scores were cut at {point.max_findings}"
    return (Note("too-many-findings", text),)

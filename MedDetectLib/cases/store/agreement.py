"""How far two readers agree: voxel by voxel, and finding by finding.

Rejected findings do not count. A finding that is a box only stands for the voxels of its box.
Classes are the same when their names are: two models may number them otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.boxes import box_iou
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding, Findings, LabelMap
from MedDetectLib.core.rasterise import box_slices

__all__ = ["Agreement", "Match", "agreement_of", "cohen_kappa", "dice_of"]

MATCH_IOU = 0.1
"""Overlap from which two findings are the same one: small lesions drawn by two people
overlap little, and a higher bar would count them as two misses each."""


@dataclass(frozen=True)
class Match:
    """One finding of the first reader and its counterpart of the second.

    Args:
        first: finding id.
        second: finding id.
        iou: overlap of the two, 0 to 1.
        dice: the same overlap as Dice.
        same_label: whether both call it the same.
    """

    first: str
    second: str
    iou: float
    dice: float
    same_label: bool


@dataclass(frozen=True)
class Agreement:
    """Two readings of one image compared.

    Args:
        dice: of all findings' voxels together, whatever their class; 1 when both are empty.
        kappa_voxels: Cohen's kappa over the class of every voxel of the grid, background
            included.
        matches: findings of both.
        only_first: ids of the first reader's findings without counterpart.
        only_second: of the second's.
        f1: 2 * matches / all findings of both; 1 when both have none.
        kappa_labels: Cohen's kappa over the classes of matched findings; None without any.
    """

    dice: float
    kappa_voxels: float
    matches: tuple[Match, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    f1: float
    kappa_labels: float | None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        data = dict(vars(self))
        data["matches"] = [dict(vars(match)) for match in self.matches]
        data["only_first"], data["only_second"] = list(self.only_first), list(self.only_second)
        return data


def agreement_of(first: Findings, second: Findings, match_iou: float = MATCH_IOU) -> Agreement:
    """Compare two readings of one image.

    Findings are matched one to one so that the overlaps add up to the most (Kuhn 1955, "The
    Hungarian method"); pairs below `match_iou` do not match. Kappa: Cohen 1960.

    Raises:
        InputError: ``other-grid`` when they are not of one image.
    """
    if not first.geometry.is_close(second.geometry):
        raise InputError("other-grid", "the two readings lie on different grids")
    names = sorted({label.name for label in (*first.labels, *second.labels)})
    numbers = {name: number for number, name in enumerate(names, 1)}
    one, two = _Drawn(first, numbers), _Drawn(second, numbers)
    matches = _matched(one, two, match_iou)
    confusion = _confusion(one.class_map(), two.class_map(), len(names) + 1)
    total = len(one.items) + len(two.items)
    pairs = np.zeros((len(names) + 1, len(names) + 1), np.int64)
    for match in matches:
        pairs[one.class_of(match.first), two.class_of(match.second)] += 1
    return Agreement(
        dice=dice_of(one.numbers > 0, two.numbers > 0),
        kappa_voxels=cohen_kappa(confusion),
        matches=matches,
        only_first=_rest(one, {match.first for match in matches}),
        only_second=_rest(two, {match.second for match in matches}),
        f1=2 * len(matches) / total if total else 1.0,
        kappa_labels=cohen_kappa(pairs) if matches else None,
    )


def dice_of(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    """Return twice the shared voxels over all voxels of both; 1 when both are empty."""
    both = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2 * int(np.count_nonzero(first & second)) / both if both else 1.0


def cohen_kappa(confusion: npt.NDArray[np.int64]) -> float:
    """Return Cohen's kappa of an (N, N) table of counts.

    Where chance alone explains all agreement (one class only), it is 1: nothing differs.
    """
    total = float(confusion.sum())
    if not total:
        return 1.0
    observed = float(np.trace(confusion)) / total
    rows, columns = confusion.sum(axis=1) / total, confusion.sum(axis=0) / total
    chance = float(rows @ columns)
    return 1.0 if chance >= 1.0 else (observed - chance) / (1.0 - chance)


class _Drawn:
    """Findings that are not rejected, as voxels numbered 1, 2, ... in their order.

    Where a box lies over voxels that are taken, the earlier finding keeps them.

    Args:
        findings: of one reader.
        numbers: of the classes by name, from 1, the same for both readers.
    """

    def __init__(self, findings: Findings, numbers: Mapping[str, int]) -> None:
        self.items: Sequence[Finding] = [f for f in findings if f.state != "rejected"]
        self.classes = [numbers[findings.label_of(item).name] for item in self.items]
        lookup = np.zeros(1 << 16, np.uint16)
        for number, item in enumerate(self.items, 1):
            if item.mask_value is not None:
                lookup[item.mask_value] = number
        shape = findings.geometry.shape_kji
        masks = findings.label_map
        self.numbers: LabelMap = np.zeros(shape, np.uint16) if masks is None else lookup[masks]
        for number, item in enumerate(self.items, 1):
            if item.mask_value is None:
                inside = self.numbers[box_slices(item.box, shape)]
                inside[inside == 0] = number

    def class_of(self, finding_id: str) -> int:
        """Return the class of one finding."""
        return next(
            number
            for item, number in zip(self.items, self.classes, strict=True)
            if item.id == finding_id
        )

    def class_map(self) -> LabelMap:
        """Return the class of every voxel, 0 for background."""
        lookup = np.array([0, *self.classes], np.uint16)
        return np.asarray(lookup[self.numbers])


def _rest(drawn: _Drawn, matched: set[str]) -> tuple[str, ...]:
    return tuple(item.id for item in drawn.items if item.id not in matched)


def _matched(one: _Drawn, two: _Drawn, match_iou: float) -> tuple[Match, ...]:
    """Pair the findings so that the overlaps add up to the most."""
    from scipy.optimize import linear_sum_assignment

    iou = _overlaps(one, two)
    iou[iou < match_iou] = 0.0
    matches = []
    for a, b in zip(*linear_sum_assignment(iou, maximize=True), strict=True):
        if iou[a, b] > 0:
            first, second = one.items[int(a)], two.items[int(b)]
            value = float(iou[a, b])
            same = one.classes[a] == two.classes[b]
            matches.append(Match(first.id, second.id, value, 2 * value / (1 + value), same))
    return tuple(matches)


def _overlaps(one: _Drawn, two: _Drawn) -> npt.NDArray[np.float64]:
    """(N, M) intersection over union: of masks by voxels, of boxes where either is box only."""
    n, m = len(one.items), len(two.items)
    if not n or not m:
        return np.zeros((n, m))
    either = (one.numbers > 0) | (two.numbers > 0)
    joint = one.numbers[either].astype(np.int64) * (m + 1) + two.numbers[either]
    counts = np.bincount(joint, minlength=(n + 1) * (m + 1)).reshape(n + 1, m + 1)
    size_one, size_two = counts.sum(axis=1)[1:, None], counts.sum(axis=0)[None, 1:]
    shared = counts[1:, 1:]
    by_voxels = shared / np.maximum(size_one + size_two - shared, 1)
    by_boxes = box_iou(
        np.array([item.box for item in one.items]), np.array([item.box for item in two.items])
    )
    has_one = np.array([item.mask_value is not None for item in one.items])[:, None]
    has_two = np.array([item.mask_value is not None for item in two.items])[None, :]
    return np.asarray(np.where(has_one & has_two, by_voxels, by_boxes), dtype=np.float64)


def _confusion(first: LabelMap, second: LabelMap, n: int) -> npt.NDArray[np.int64]:
    """(n, n) counts of voxels by both readers' class, slice by slice."""
    counts = np.zeros(n * n, np.int64)
    for a, b in zip(first, second, strict=True):
        counts += np.bincount((a.astype(np.int64) * n + b).ravel(), minlength=n * n)
    return counts.reshape(n, n)

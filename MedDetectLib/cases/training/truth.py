"""What a version teaches: classes by number, voxels, boxes, and what was rejected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume

__all__ = ["ExportCase", "checked_labels", "class_numbers", "has_all_masks"]

RESERVED = ("background", "ignore")


@dataclass(frozen=True, eq=False)
class ExportCase:
    """One case as every format sees it.

    Args:
        name: what its files are called.
        part: ``training``, ``validation`` or ``test``.
        patient_group: equal for cases of one patient.
        volume: the image.
        findings: the truth, rejected findings included.
        numbers: class number by name, from 1.
    """

    name: str
    part: str
    patient_group: str
    volume: Volume
    findings: Findings
    numbers: dict[str, int]

    @property
    def geometry(self) -> Geometry:
        """The image's grid; label maps are written on exactly this one."""
        return self.volume.geometry

    @property
    def positives(self) -> list[Finding]:
        """What is there: everything the reader did not reject."""
        return [item for item in self.findings if item.state != "rejected"]

    @property
    def rejected(self) -> list[Finding]:
        """What a model took for a finding and a reader did not: hard negatives."""
        return [item for item in self.findings if item.state == "rejected"]

    def number_of(self, item: Finding) -> int:
        """Return a finding's class number, 0 for a rejected one of a class not exported."""
        return self.numbers.get(self.findings.label_of(item).name, 0)

    def label_map(self) -> npt.NDArray[Any]:
        """Return [k, j, i] class numbers of the positives, 0 elsewhere."""
        kind = np.uint8 if len(self.numbers) < 256 else np.uint16
        lookup = np.zeros(1 << 16, kind)
        for item in self.positives:
            if item.mask_value is not None:
                lookup[item.mask_value] = self.number_of(item)
        return self._mapped(lookup)

    def rejected_map(self) -> npt.NDArray[Any] | None:
        """Return [k, j, i] with 1 where something was rejected; None without such voxels."""
        lookup = np.zeros(1 << 16, np.uint8)
        for item in self.rejected:
            if item.mask_value is not None:
                lookup[item.mask_value] = 1
        voxels = self._mapped(lookup)
        return voxels if voxels.any() else None

    def _mapped(self, lookup: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self.findings.label_map is None:
            return np.zeros(self.geometry.shape_kji, lookup.dtype)
        return np.asarray(lookup[self.findings.label_map])


def has_all_masks(findings: Findings) -> bool:
    """Whether each finding not rejected has voxels; a box would teach that nothing is there."""
    values = [item.mask_value for item in findings if item.state != "rejected"]
    if findings.label_map is None:
        return not values
    counts = np.bincount(findings.label_map.ravel(), minlength=1 << 16)
    return all(value is not None and counts[value] for value in values)


def class_numbers(asked: Sequence[str], found: Iterable[str]) -> dict[str, int]:
    """Return the number of each class from 1 without gaps.

    Args:
        asked: the classes in order; none means those found, by name.
        found: class names in the truth of the exported cases.

    Raises:
        InputError: ``no-class`` when there is none, ``unknown-class`` when one was found that
            is not among those asked for, ``bad-label`` for a reserved or repeated name.
    """
    names = set(found)
    order = list(asked) or sorted(names)
    if not order:
        raise InputError(
            "no-class",
            "the cases hold no finding, so their classes are not known",
            todo="name the classes with --label",
        )
    if unknown := sorted(names - set(order)):
        raise InputError(
            "unknown-class",
            f"the cases hold {', '.join(unknown)}, which is not among the classes asked for",
            todo="name all classes with --label",
        )
    return checked_labels(order)


def checked_labels(order: Sequence[str]) -> dict[str, int]:
    """Give class names their numbers, from 1.

    Raises:
        InputError: ``bad-label``.
    """
    for name in order:
        if name.lower() in RESERVED or order.count(name) > 1:
            raise InputError(
                "bad-label",
                f"a class cannot be called '{name}'",
                todo="training frameworks reserve 'background' and 'ignore'; name each once",
            )
    return {name: number for number, name in enumerate(order, 1)}

"""A case's versions: listed, compared, shown beside the review."""

from __future__ import annotations

from typing import Any

from MedDetectLib.adapters.mrml.scene import remove_node
from MedDetectLib.adapters.mrml.segmentation import findings_to_node
from MedDetectLib.cases.store.agreement import Agreement
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.cases.store.differences import Difference
from MedDetectLib.cases.store.records import VersionRecord
from MedDetectLib.core.errors import InputError
from MedDetectLib.review.case_note import CaseNote

__all__ = ["CaseVersions"]

OPACITY = 0.5


class CaseVersions:
    """What one reader may see of a case's versions.

    Args:
        store: where the case lies.
        note: which case, who reads.
        scene: the vtkMRMLScene.
        volume_node: the case's image, or None.
    """

    def __init__(self, store: CaseStore, note: CaseNote, scene: Any, volume_node: Any) -> None:
        self._store, self._note = store, note
        self._scene, self._volume = scene, volume_node
        self._shown: dict[int, str] = {}

    def all(self) -> tuple[VersionRecord, ...]:
        """Return them, oldest first; a blinded reader gets others' after having signed."""
        seen_by = self._note.reader if self._note.blinded else None
        return self._store.versions(self._note.case, seen_by=seen_by)

    def to_compare(self) -> tuple[int, int] | None:
        """Return the newest readings of two readers, None while fewer have signed."""
        newest: dict[str, int] = {}
        for version in self.all():
            if version.kind == "review":
                newest[version.author] = version.number
        numbers = sorted(newest.values())
        return (numbers[-2], numbers[-1]) if len(numbers) > 1 else None

    def diff(self, before: int, after: int) -> Difference:
        """Return what changed from one version to another.

        Raises:
            InputError: ``no-version``, ``not-to-be-seen``.
        """
        self._check(before, after)
        return self._store.diff(self._note.case, before, after)

    def agreement(self, first: int, second: int) -> Agreement:
        """Return how far two versions agree.

        Raises:
            InputError: ``no-version``, ``not-to-be-seen``.
        """
        self._check(first, second)
        return self._store.agreement(self._note.case, first, second)

    def show(self, number: int) -> Any:
        """Show a version as a segmentation of its own, and return its node.

        It is to look at: nothing done to it is taken.

        Raises:
            InputError: ``no-version``, ``not-to-be-seen``.
        """
        self._check(number)
        node = self._scene.GetNodeByID(self._shown.get(number, "")) if self._shown else None
        if node is not None:
            return node
        version = next(v for v in self.all() if v.number == number)
        findings = self._store.findings(self._note.case, number)
        node = findings_to_node(
            self._scene, findings, self._volume, f"version {number}: {version.author}"
        )
        if (display := node.GetDisplayNode()) is not None:
            display.SetOpacity(OPACITY)
        self._shown[number] = str(node.GetID())
        return node

    def hide(self, number: int) -> None:
        """Take a version's segmentation out of the scene; nothing happens without one."""
        node = self._scene.GetNodeByID(self._shown.pop(number, ""))
        if node is not None:
            remove_node(node)

    def hide_all(self) -> None:
        """Take every version's segmentation out of the scene."""
        for number in tuple(self._shown):
            self.hide(number)

    def _check(self, *numbers: int) -> None:
        visible = {version.number for version in self.all()}
        for number in numbers:
            if number not in visible:
                raise InputError(
                    "not-to-be-seen" if self._note.blinded else "no-version",
                    f"version {number} is not one that {self._note.reader} may see now",
                    where=self._note.case,
                    todo="sign first" if self._note.blinded else "look up the versions",
                )

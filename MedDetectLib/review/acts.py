"""Everything a reviewer can do, one small frozen class each.

    Accept Reject Relabel             judge a finding
    EditMask EditBox                  correct it; the other of the two follows
    AddBox AddMask                    add one the model missed
    Merge Split                       one finding where there were several, and back
    Comment                           say something about a finding or the case
    Undo Redo                         without limit, also after reopening
    Focus                             which finding is looked at, for the time spent
    Sign Reopen                       freeze the review, and thaw it

What an act does to the findings is worked out by `plan` and kept in the journal beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Box
from MedDetectLib.review.patches import Patch, patch_from_mask

__all__ = [
    "Accept",
    "Act",
    "AddBox",
    "AddMask",
    "Comment",
    "EditBox",
    "EditMask",
    "Focus",
    "Merge",
    "Overlap",
    "Plane",
    "Redo",
    "Reject",
    "Relabel",
    "Reopen",
    "Sign",
    "Split",
    "Undo",
]

Overlap = Literal["take", "keep", "refuse"]
"""Where a drawn mask meets other findings: ``take`` their voxels (what was drawn last covers
what was there), let them ``keep`` theirs, or ``refuse`` the act."""


@dataclass(frozen=True)
class Act:
    """The root of all acts."""

    kind: ClassVar[str] = ""

    def to_json(self) -> dict[str, Any]:
        """Return kind and fields as plain data; of a mask only how many voxels it has.

        The voxels themselves are in the journal as the change they made.
        """
        data: dict[str, Any] = {"kind": self.kind}
        for each in fields(self):
            data[each.name] = _plain(getattr(self, each.name))
        return data


@dataclass(frozen=True)
class Accept(Act):
    """The finding is right.

    One that was edited or added stays so, or becomes so again when it was rejected meanwhile:
    that a person drew it must not be forgotten.
    """

    finding_id: str
    kind: ClassVar[str] = "accept"


@dataclass(frozen=True)
class Reject(Act):
    """The finding is wrong; it stays, with its mask, as a hard negative.

    Args:
        finding_id: which one.
        reason: why, as text; not empty.
    """

    finding_id: str
    reason: str
    kind: ClassVar[str] = "reject"


@dataclass(frozen=True)
class Relabel(Act):
    """The finding is of another class.

    Args:
        finding_id: which one.
        label: the class number, one of `Findings.labels`.
    """

    finding_id: str
    label: int
    kind: ClassVar[str] = "relabel"


@dataclass(frozen=True, eq=False)
class EditMask(Act):
    """The finding's voxels are these; its box becomes tight to them.

    Args:
        finding_id: which one; a box-only finding gets a mask by this.
        mask: all of its voxels, as a `Patch` of the findings' grid.
        overlap: what happens where other findings are.
    """

    finding_id: str
    mask: Patch
    overlap: Overlap = "take"
    kind: ClassVar[str] = "edit-mask"

    @classmethod
    def drawn(
        cls, finding_id: str, mask_kji: npt.NDArray[np.bool_], overlap: Overlap = "take"
    ) -> EditMask:
        """Make one from a mask of the whole grid.

        Raises:
            InputError: ``empty-mask``.
        """
        return cls(finding_id, _patch(mask_kji), overlap)


@dataclass(frozen=True)
class EditBox(Act):
    """The finding's box is this; its mask is cropped to it.

    Args:
        finding_id: which one.
        box: voxel edges of the findings' grid, cut to the grid.
    """

    finding_id: str
    box: Box
    kind: ClassVar[str] = "edit-box"


@dataclass(frozen=True)
class AddBox(Act):
    """There is a finding in this box that the model missed.

    Args:
        box: voxel edges of the findings' grid, cut to the grid.
        label: the class number.
        score: how sure the reviewer is, 0 to 1.
    """

    box: Box
    label: int
    score: float = 1.0
    kind: ClassVar[str] = "add-box"


@dataclass(frozen=True, eq=False)
class AddMask(Act):
    """These voxels are a finding that the model missed.

    Args:
        mask: its voxels, as a `Patch` of the findings' grid.
        label: the class number.
        score: how sure the reviewer is, 0 to 1.
        overlap: what happens where other findings are.
    """

    mask: Patch
    label: int
    score: float = 1.0
    overlap: Overlap = "take"
    kind: ClassVar[str] = "add-mask"

    @classmethod
    def drawn(
        cls,
        mask_kji: npt.NDArray[np.bool_],
        label: int,
        score: float = 1.0,
        overlap: Overlap = "take",
    ) -> AddMask:
        """Make one from a mask of the whole grid.

        Raises:
            InputError: ``empty-mask``.
        """
        return cls(_patch(mask_kji), label, score, overlap)


@dataclass(frozen=True)
class Merge(Act):
    """These findings are one: the best scored keeps its id and score, the others go.

    Args:
        finding_ids: two or more.
        label: the class of the whole; may be None when all have the same.
    """

    finding_ids: tuple[str, ...]
    label: int | None = None
    kind: ClassVar[str] = "merge"


@dataclass(frozen=True)
class Plane:
    """A plane that cuts a finding in two.

    Args:
        point_ras_mm: any point on it, world RAS.
        normal_ras: its direction, of any length.
    """

    point_ras_mm: tuple[float, float, float]
    normal_ras: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Split(Act):
    """The finding is several: the largest part keeps the id, the others get new ones.

    Args:
        finding_id: which one; it needs a mask.
        by: None for the parts that don't touch, not even at a corner; a `Plane`; or the
            voxels of each part: those of no part stay with the largest.
    """

    finding_id: str
    by: Plane | tuple[Patch, ...] | None = None
    kind: ClassVar[str] = "split"


@dataclass(frozen=True)
class Comment(Act):
    """A remark on a finding, or on the case when no finding is named."""

    text: str
    finding_id: str | None = None
    kind: ClassVar[str] = "comment"


@dataclass(frozen=True)
class Undo(Act):
    """Take back the last act that is not yet taken back."""

    kind: ClassVar[str] = "undo"


@dataclass(frozen=True)
class Redo(Act):
    """Do again what was last taken back."""

    kind: ClassVar[str] = "redo"


@dataclass(frozen=True)
class Focus(Act):
    """Look at one finding from now on; None for none of them, or a pause."""

    finding_id: str | None
    kind: ClassVar[str] = "focus"


@dataclass(frozen=True)
class Sign(Act):
    """The review is finished: nothing changes any more until it is reopened.

    Args:
        reviewer: who signs; not empty.
        comment: anything that goes with it.
    """

    reviewer: str
    comment: str = ""
    kind: ClassVar[str] = "sign"


@dataclass(frozen=True)
class Reopen(Act):
    """A signed review is worked on again; the signature stays in the history.

    Args:
        reviewer: who does so; not empty.
        reason: why; not empty.
    """

    reviewer: str
    reason: str
    kind: ClassVar[str] = "reopen"


def _plain(value: Any) -> Any:
    if isinstance(value, Patch):
        return {"voxels": value.voxels}
    if isinstance(value, Plane):
        return {each.name: list(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


def _patch(mask_kji: npt.NDArray[np.bool_]) -> Patch:
    patch = patch_from_mask(mask_kji)
    if patch is None:
        raise InputError("empty-mask", "the mask has no voxel", todo="reject the finding instead")
    return patch

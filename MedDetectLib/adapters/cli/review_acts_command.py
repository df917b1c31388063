"""What `meddetect review` does to findings: one command an act, kept when it returns."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from MedDetectLib.core.errors import InputError

if TYPE_CHECKING:
    from MedDetectLib.core.findings import Box
    from MedDetectLib.review.acts import Act
    from MedDetectLib.review.session import ReviewSession

__all__ = ["add_acts"]

BOXES = (
    "A box is given by its centre in world RAS millimetres and its sides in millimetres along"
    " the image's own slices, rows and columns (k j i), or one number for all; it becomes whole"
    " voxels of the image's grid, also where that is oblique. Or by voxel edges k0 j0 i0 k1 j1 i1"
    " of that grid, as 'review list --json' prints them: the first voxel reaches from edge 0 to"
    " edge 1."
)

Acts = Callable[[argparse.Namespace, "ReviewSession"], "list[Act]"]


def add_acts(actions: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add one action for each act to those of ``review``."""
    accept = _added(actions, parents, "accept", _accept, "findings are right")
    reject = _added(actions, parents, "reject", _reject, "findings are wrong; they stay, rejected")
    for parser in (accept, reject):
        parser.add_argument("ids", nargs="+", metavar="ID", help="a finding")
    reject.add_argument("--reason", required=True, help="why")

    relabel = _added(actions, parents, "relabel", _relabel, "a finding is of another class")
    relabel.add_argument("id", metavar="ID")
    relabel.add_argument("label", metavar="LABEL", help="a class: its name or number")

    comment = _added(actions, parents, "comment", _comment, "say something")
    comment.add_argument("text", metavar="TEXT")
    comment.add_argument("--finding", metavar="ID", help="about it; else about the case")

    _add_shapes(actions, parents)
    merge = _added(actions, parents, "merge", _merge, "findings are one")
    merge.add_argument("ids", nargs="+", metavar="ID", help="two findings or more")
    merge.add_argument("--label", help="the class of the whole, where they differ")

    split = _added(actions, parents, "split", _split, "a finding is several")
    split.add_argument("id", metavar="ID")
    split.add_argument("--point-ras-mm", nargs=3, type=float, metavar=("R", "A", "S"),
                       help="cut by a plane through this place, else by what touches")  # fmt: skip
    split.add_argument("--normal-ras", nargs=3, type=float, metavar=("R", "A", "S"),
                       help="the plane's direction")  # fmt: skip

    _added(actions, parents, "undo", _undo, "take back the last act")
    _added(actions, parents, "redo", _redo, "do again what was taken back")
    reopen = _added(actions, parents, "reopen", _reopen, "work on a signed review again")
    reopen.add_argument("--reader", required=True, metavar="NAME", help="who does so")
    reopen.add_argument("--reason", required=True, help="why")


def _add_shapes(actions: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the acts that draw: boxes and masks, new ones and corrections."""
    add_box = _added(actions, parents, "add-box", _add_box, "a finding was missed: its box", BOXES)
    edit_box = _added(actions, parents, "edit-box", _edit_box, "another box", BOXES)
    add_mask = _added(actions, parents, "add-mask", _add_mask, "a finding was missed: its voxels")
    edit_mask = _added(actions, parents, "edit-mask", _edit_mask, "other voxels")
    for parser in (edit_box, edit_mask):
        parser.add_argument("id", metavar="ID")
    for parser in (add_box, add_mask):
        parser.add_argument("--label", required=True, help="its class: name or number")
        parser.add_argument("--score", type=float, default=1.0, help="how sure, 0 to 1")
    for parser in (add_box, edit_box):
        place = parser.add_mutually_exclusive_group(required=True)
        place.add_argument("--centre-ras-mm", nargs=3, type=float, metavar=("R", "A", "S"))
        place.add_argument("--edges", nargs=6, type=float,
                           metavar=("k0", "j0", "i0", "k1", "j1", "i1"))  # fmt: skip
        parser.add_argument("--size-mm", nargs="+", type=float, metavar="MM",
                            help="with a centre: one number, or three along k j i")  # fmt: skip
    for parser in (add_mask, edit_mask):
        parser.add_argument("--from", dest="file", required=True, type=Path, metavar="FILE",
                            help=".seg.nrrd, or a label map on the same grid")  # fmt: skip
        parser.add_argument("--segment", help="which one, by id, name or value")
        parser.add_argument("--overlap", choices=("take", "keep", "refuse"), default="take",
                            help="where others are (default: take their voxels)")  # fmt: skip


def _added(
    actions: Any,
    parents: list[argparse.ArgumentParser],
    name: str,
    acts: Acts,
    text: str,
    more: str | None = None,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, parents=parents, help=text, description=more
    )
    parser.set_defaults(run=run_acts, acts=acts)
    return parser


def run_acts(options: argparse.Namespace) -> int:
    """Do one act, or the same to several findings; all of them are known before the first."""
    from MedDetectLib.review.session import ReviewSession

    with ReviewSession.open(options.session) as session:
        entries = [session.do(act) for act in options.acts(options, session)]
    if options.json:
        print(json.dumps([
            {"seq": e.seq, "time": e.time, "kind": e.kind, "ids": list(e.effect.ids),
             "added": [key for key, (before, _) in e.effect.items.items() if before is None],
             "removed": [key for key, (_, after) in e.effect.items.items() if after is None],
             "text": e.text}
            for e in entries
        ], indent=2))  # fmt: skip
        return 0
    for entry in entries:
        print(f"{entry.seq}  {entry.text}")
    return 0


def _accept(options: argparse.Namespace, session: ReviewSession) -> list[Act]:
    from MedDetectLib.review.acts import Accept

    return [Accept(session.item(key).id) for key in options.ids]


def _reject(options: argparse.Namespace, session: ReviewSession) -> list[Act]:
    from MedDetectLib.review.acts import Reject

    return [Reject(session.item(key).id, options.reason) for key in options.ids]


def _relabel(options: argparse.Namespace, session: ReviewSession) -> list[Act]:
    from MedDetectLib.review.acts import Relabel

    return [Relabel(options.id, _label(session, options.label))]


def _comment(options: argparse.Namespace, session: ReviewSession) -> list[Act]:
    from MedDetectLib.review.acts import Comment

    return [Comment(options.text, options.finding)]


def _add_box(options: argparse.Namespace, session: ReviewSession) -> list[Act]:
    from MedDetectLib.review.acts import AddBox

    return [AddBox(_box(options, session), _label(session, options.label), options.score)]


def _edit_box(options: argparse.Namespace, session: ReviewSession) -> list[Act]:
    from MedDetectLib.review.acts import EditBox

    return [EditBox(options.id, _box(options, session))]


def _add_mask(options: argparse.Namespace, session: ReviewSession) -> list[Act]:
    from MedDetectLib.review.acts import AddMask
    from MedDetectLib.review.mask_files import mask_from_file

    mask = mask_from_file(options.file, session.about.geometry, options.segment)
    label = _label(session, options.label)
    return [AddMask(mask, label, options.score, options.overlap)]


def _edit_mask(options: argparse.Namespace, session: ReviewSession) -> list[Act]:
    from MedDetectLib.review.acts import EditMask
    from MedDetectLib.review.mask_files import mask_from_file

    key = session.item(options.id).id
    mask = mask_from_file(options.file, session.about.geometry, options.segment, key)
    return [EditMask(key, mask, options.overlap)]


def _merge(options: argparse.Namespace, session: ReviewSession) -> list[Act]:
    from MedDetectLib.review.acts import Merge

    label = None if options.label is None else _label(session, options.label)
    return [Merge(tuple(options.ids), label)]


def _split(options: argparse.Namespace, session: ReviewSession) -> list[Act]:
    from MedDetectLib.review.acts import Plane, Split

    if (options.point_ras_mm is None) != (options.normal_ras is None):
        raise InputError(
            "half-a-plane", "--point-ras-mm and --normal-ras belong together", todo="give both"
        )
    if options.point_ras_mm is None:
        return [Split(options.id)]
    return [Split(options.id, Plane(tuple(options.point_ras_mm), tuple(options.normal_ras)))]


def _undo(options: argparse.Namespace, session: ReviewSession) -> list[Act]:
    from MedDetectLib.review.acts import Undo

    return [Undo()]


def _redo(options: argparse.Namespace, session: ReviewSession) -> list[Act]:
    from MedDetectLib.review.acts import Redo

    return [Redo()]


def _reopen(options: argparse.Namespace, session: ReviewSession) -> list[Act]:
    from MedDetectLib.review.acts import Reopen

    return [Reopen(options.reader, options.reason)]


def _label(session: ReviewSession, text: str) -> int:
    """Return a class by its name or number.

    Raises:
        InputError: ``unknown-label``.
    """
    labels = session.about.labels
    for label in labels:
        if text.strip().casefold() == label.name.casefold() or text.strip() == str(label.value):
            return label.value
    names = ", ".join(f"{each.value} {each.name}" for each in labels)
    raise InputError("unknown-label", f"there is no class '{text}'", todo=f"choose from {names}")


def _box(options: argparse.Namespace, session: ReviewSession) -> Box:
    """Return a box in voxel edges, whichever way it was given.

    Raises:
        InputError: ``bad-size``, ``box-outside``.
    """
    from MedDetectLib.core.measure import as_box
    from MedDetectLib.review.places import box_around

    if options.edges is not None:
        if options.size_mm is not None:
            raise InputError("bad-size", "--size-mm goes with --centre-ras-mm", todo="leave it out")
        return as_box(options.edges)
    if options.size_mm is None or len(options.size_mm) not in (1, 3):
        raise InputError("bad-size", "--centre-ras-mm needs --size-mm", todo="give one number or 3")
    size = options.size_mm * 3 if len(options.size_mm) == 1 else options.size_mm
    return box_around(session.about.geometry, options.centre_ras_mm, size)

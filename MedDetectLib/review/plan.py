"""What each act means for the findings: worked out before anything is written or changed."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding
from MedDetectLib.core.measure import measure_box
from MedDetectLib.review.acts import (
    Accept,
    Act,
    AddBox,
    AddMask,
    Comment,
    EditBox,
    EditMask,
    Focus,
    Merge,
    Reject,
    Relabel,
    Reopen,
    Sign,
    Split,
)
from MedDetectLib.review.draft import Draft
from MedDetectLib.review.effect import Effect
from MedDetectLib.review.grouping import plan_merge, plan_split
from MedDetectLib.review.linked import clipped_box, edited_state, with_box, with_mask
from MedDetectLib.review.sketch import Sketch, effect_on_items, inside_grid

__all__ = ["plan"]


@functools.singledispatch
def plan(act: Act, draft: Draft) -> Effect:
    """Return what an act would change.

    Args:
        act: any but `Undo` and `Redo`.
        draft: the findings as they stand; only read.

    Raises:
        InputError: ``unknown-finding``, ``unknown-label``, ``no-reason``, ``no-reviewer``,
            ``no-text``, ``bad-mask``, ``empty-mask``, ``masks-overlap``, ``box-outside``,
            ``bad-boxes``, ``bad-score``, ``labels-differ``, ``nothing-to-merge``,
            ``nothing-to-split``, ``too-many-masks``, ``unknown-act``.
    """
    raise InputError("unknown-act", f"a review knows no act '{type(act).__name__}'")


@plan.register
def _(act: Accept, draft: Draft) -> Effect:
    item = draft.item(act.finding_id)
    return effect_on_items(draft, {item.id: replace(item, state=draft.accepted_state(item))})


@plan.register
def _(act: Reject, draft: Draft) -> Effect:
    _filled(act.reason, "reason")
    item = draft.item(act.finding_id)
    return effect_on_items(draft, {item.id: replace(item, state="rejected")})


@plan.register
def _(act: Relabel, draft: Draft) -> Effect:
    item = draft.item_to_edit(act.finding_id)
    if act.label == item.label:
        return Effect()
    label = draft.known_label(act.label)
    return effect_on_items(draft, {item.id: replace(item, label=label, state=edited_state(item))})


@plan.register
def _(act: EditMask, draft: Draft) -> Effect:
    item, before = draft.item_to_edit(act.finding_id), draft.patch(act.finding_id)
    patch = inside_grid(act.mask, draft.geometry.shape_kji)
    if patch.is_same(before):
        return Effect()
    value = item.mask_value or draft.new_values(1)[0]
    sketch = Sketch(draft, [patch] if before is None else [before, patch])
    if before is not None:
        sketch.erase(before)
    painted = sketch.paint(patch, value, act.overlap)
    return sketch.effect({item.id: with_mask(item, painted, value, draft.geometry)})


@plan.register
def _(act: EditBox, draft: Draft) -> Effect:
    item, before = draft.item_to_edit(act.finding_id), draft.patch(act.finding_id)
    box = clipped_box(act.box, draft.geometry.shape_kji)
    if box == item.box:
        return Effect()
    moved, kept = with_box(item, box, before, draft.geometry)
    if before is None:
        return effect_on_items(draft, {item.id: moved})
    sketch = Sketch(draft, [before])
    sketch.erase(before)
    if kept is not None and item.mask_value is not None:
        sketch.paint(kept, item.mask_value)
    return sketch.effect({item.id: moved})


@plan.register
def _(act: AddBox, draft: Draft) -> Effect:
    box = clipped_box(act.box, draft.geometry.shape_kji)
    (new_id,) = draft.new_ids(1)
    label, score = draft.known_label(act.label), _chance(act.score)
    size = measure_box(box, draft.geometry)
    return effect_on_items(
        draft, {new_id: Finding(new_id, label, score, box, None, *size, "added")}
    )


@plan.register
def _(act: AddMask, draft: Draft) -> Effect:
    patch = inside_grid(act.mask, draft.geometry.shape_kji)
    (new_id,), (value,) = draft.new_ids(1), draft.new_values(1)
    label, score = draft.known_label(act.label), _chance(act.score)
    sketch = Sketch(draft, [patch])
    painted = sketch.paint(patch, value, act.overlap)
    empty = Finding(new_id, label, score, painted.box, value, 0.0, 0.0, "added")
    return sketch.effect({new_id: with_mask(empty, painted, value, draft.geometry)})


@plan.register
def _(act: Merge, draft: Draft) -> Effect:
    return plan_merge(act, draft)


@plan.register
def _(act: Split, draft: Draft) -> Effect:
    return plan_split(act, draft)


@plan.register
def _(act: Comment, draft: Draft) -> Effect:
    _filled(act.text, "text")
    if act.finding_id is not None:
        draft.item(act.finding_id)
    return Effect()


@plan.register
def _(act: Focus, draft: Draft) -> Effect:
    if act.finding_id is not None:
        draft.item(act.finding_id)
    return Effect()


@plan.register
def _(act: Sign, draft: Draft) -> Effect:
    _filled(act.reviewer, "reviewer")
    return Effect()


@plan.register
def _(act: Reopen, draft: Draft) -> Effect:
    _filled(act.reviewer, "reviewer")
    _filled(act.reason, "reason")
    return Effect()


def _filled(text: str, name: str) -> None:
    if not text.strip():
        raise InputError(f"no-{name}", f"the {name} is empty", todo=f"give a {name}")


def _chance(score: float) -> float:
    if not (math.isfinite(score) and 0.0 <= score <= 1.0):
        raise InputError("bad-score", f"a score of {score} is not between 0 and 1")
    return float(score)

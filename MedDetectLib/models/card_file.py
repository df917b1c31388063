"""Reading a model card and making sure it, and every file it names, is what it says."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from MedDetectLib.core.errors import BackendUnavailable, ModelError
from MedDetectLib.core.geometry import is_orientation
from MedDetectLib.models.card import (
    AnchorBoxes,
    CaseScoreHead,
    DecodedBoxes,
    Head,
    ModelCard,
    VoxelScores,
)

__all__ = ["CARD_NAME", "card_schema", "check_card", "read_card", "sha256_of_file"]

CARD_NAME = "model.json"
_MAX_CARD_BYTES = 4 << 20
_TASKS: dict[type[Head], tuple[str, ...]] = {
    VoxelScores: ("segmentation", "detection"),
    DecodedBoxes: ("detection",),
    AnchorBoxes: ("detection",),
    CaseScoreHead: ("classification",),
}
_LARGEST = 3.4e38
"""Arithmetic is float32; JSON's ``NaN``, ``Infinity`` and ``1e999`` are beyond it."""


@cache
def card_schema() -> dict[str, Any]:
    """Return the JSON Schema every card must satisfy."""
    text = resources.files("MedDetectLib.models").joinpath("card.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def read_card(folder: Path, *, check_files: bool = True) -> ModelCard:
    """Read `folder/model.json`, check it and the fingerprints of the files it names.

    Args:
        folder: the model's.
        check_files: whether to read the files too, which takes long where they are large;
            never leave it out for a model that is going to be run.

    Raises:
        ModelError: ``no-card``, ``bad-card`` (with the path of the wrong field),
            ``missing-file``, ``changed-file``.
    """
    path = folder / CARD_NAME
    try:
        if path.stat().st_size > _MAX_CARD_BYTES:
            raise ModelError("bad-card", "the card is larger than 4 MiB", where=path)
        data = json.loads(path.read_text("utf-8"), object_pairs_hook=_without_doubles)
    except FileNotFoundError:
        raise ModelError(
            "no-card",
            f"there is no {CARD_NAME} in the model's folder",
            where=folder,
            todo="give a folder that holds a model card and its weights",
        ) from None
    except OSError as error:
        raise ModelError("no-card", f"cannot be read: {error.strerror}", where=path) from None
    except (ValueError, RecursionError) as error:
        raise ModelError("bad-card", f"is not JSON: {error}", where=path) from None
    card = check_card(data, path)
    for name, expected in card.files.items() if check_files else ():
        _check_file(folder / name, expected)
    return card


def check_card(data: Any, where: Path | str = "") -> ModelCard:
    """Return the card that `data` describes, or refuse it naming the wrong field.

    Raises:
        ModelError: ``bad-card``.
        BackendUnavailable: ``no-jsonschema`` when the checking library is missing.
    """
    try:
        import jsonschema
    except ImportError:
        raise BackendUnavailable(
            "no-jsonschema",
            "model cards cannot be checked: Python package 'jsonschema' is missing",
            todo="install MedDetect with its 'run' extra",
        ) from None
    field = _bad_number(data)
    if field is not None:
        raise _bad_card(field, "the number is not finite, or larger than float32 holds", where)
    try:
        validator = jsonschema.Draft202012Validator(card_schema())
        flaw = jsonschema.exceptions.best_match(validator.iter_errors(data))
        text = "" if flaw is None else _message(flaw)
    except RecursionError:
        raise _bad_card("$", "is nested too deeply", where) from None
    if flaw is not None:
        raise _bad_card(flaw.json_path, text, where)
    card = ModelCard.from_json(data)
    _check_sense(card, where)
    return card


def sha256_of_file(path: Path) -> str:
    """Return the hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_sense(card: ModelCard, where: Path | str) -> None:
    """Refuse what the schema cannot see."""
    values = [label.value for label in card.labels]
    if len(set(values)) != len(values):
        raise _bad_card("$.output.labels", "two labels share a value", where)
    if card.task not in _TASKS[type(card.head)]:
        text = f"'{card.task}' does not go with this head; {' or '.join(_TASKS[type(card.head)])}"
        raise _bad_card("$.task", text, where)
    by_channel = not isinstance(card.head, DecodedBoxes)
    if by_channel and sorted(values) != list(range(1, len(values) + 1)):
        text = "values name the network's channels and must run from 1 without gaps"
        raise _bad_card("$.output.labels", text, where)
    if card.weights not in card.files:
        raise _bad_card("$.weights", f"'{card.weights}' is not listed in files", where)
    letters = card.input.orientation
    if letters is not None and not is_orientation(letters):
        raise _bad_card("$.input.orientation", f"'{letters}' names a patient axis twice", where)
    for number, step in enumerate(card.input.intensity):
        low, high = getattr(step, "low", 0.0), getattr(step, "high", 1.0)
        lower, upper = getattr(step, "lower", 0.0), getattr(step, "upper", 1.0)
        if low >= high or lower >= upper:
            raise _bad_card(
                f"$.input.intensity[{number}]", "the lower limit must be smaller", where
            )
    if card.input.rank == 4 and card.input.window.shape_kji[0] != 1:
        raise _bad_card(
            "$.input.window.shape_kji", "a 2-D network needs windows of one slice", where
        )


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object, refusing a name given twice: readers differ on which one counts."""
    data = dict(pairs)
    if len(data) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{double[:80]}' is given twice in one object")
    return data


def _bad_number(data: Any) -> str | None:
    """Return the path of a number that float32 cannot hold, however deep it is nested."""
    left: list[tuple[Any, Any]] = [(None, data)]  # where, as (where its parent is, step), value
    while left:
        place, value = left.pop()
        if isinstance(value, dict):
            left += [((place, f".{key}"), item) for key, item in value.items()]
        elif isinstance(value, (list, tuple)):
            left += [((place, f"[{n}]"), item) for n, item in enumerate(value)]
        elif isinstance(value, (int, float)) and not abs(value) <= _LARGEST:
            steps = []
            while place is not None:
                place, step = place
                steps.append(step)
            return "$" + "".join(reversed(steps))
    return None


def _message(flaw: Any) -> str:
    """Return what jsonschema has against a value, in the schema's words if it has none."""
    if flaw.validator == "not":
        return str(flaw.validator_value["description"])
    return str(flaw.message)


def _bad_card(field: str, message: str, where: Path | str) -> ModelError:
    text = message if len(message) <= 200 else message[:200] + "..."
    return ModelError(
        "bad-card", f"{field}: {text}", where=where, todo="see docs/model-card.md for the format"
    )


def _check_file(path: Path, expected: str) -> None:
    try:
        found = sha256_of_file(path)
    except OSError:
        raise ModelError(
            "missing-file",
            "a file the model card names is not there",
            where=path,
            todo="copy the whole model folder again",
        ) from None
    if found != expected:
        raise ModelError(
            "changed-file",
            f"sha256 is {found[:12]}..., the card says {expected[:12]}...",
            where=path,
            todo="copy the model again, or correct the card if the change was meant",
        )

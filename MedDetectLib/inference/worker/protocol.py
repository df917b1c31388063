"""What client and worker say to each other: one JSON object a line, see docs/worker-protocol.md.

Both halves import this file; it needs the standard library, numpy and `core` only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from MedDetectLib.core import errors
from MedDetectLib.core.errors import Cancelled, MedDetectError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.labels import Label
from MedDetectLib.core.notes import Note
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference.worker.shared_arrays import SharedArray

__all__ = [
    "BEAT_S",
    "PROTOCOL",
    "ChannelDescription",
    "Garbage",
    "ModelDescription",
    "WorkerInfo",
    "decode",
    "encode",
    "error_from_json",
    "error_to_json",
    "volume_from_json",
    "volume_to_json",
]

PROTOCOL = 2
"""Raised whenever a message changes its meaning; both sides must agree on it."""
BEAT_S = 0.5
"""How often a busy worker says that it lives, in seconds."""

Message = dict[str, Any]


class Garbage(ValueError):
    """A line that is no message."""


def encode(message: Message) -> bytes:
    """Return a message as one line of ASCII."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> Message:
    """Return the message in a line.

    Raises:
        Garbage: the line is not a JSON object.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Garbage(str(error)) from None
    if not isinstance(message, dict):
        raise Garbage(f"a JSON {type(message).__name__} where an object was expected")
    return message


# --- errors ---------------------------------------------------------------------------

_CLASSES: dict[str, type[MedDetectError]] = {
    name: getattr(errors, name) for name in errors.__all__ if name != "Cancelled"
}


def error_to_json(error: MedDetectError) -> Message:
    """Return an error's class and everything it carries."""
    return {
        "class": type(error).__name__,
        "code": error.code,
        "what": error.what,
        "where": error.where,
        "todo": error.todo,
        "exit_code": error.exit_code,
    }


def error_from_json(data: Message) -> MedDetectError:
    """Rebuild what `error_to_json` returned, as the same class."""
    if data["class"] == "Cancelled":
        return Cancelled(data["what"], where=data["where"])
    kind = _CLASSES.get(data["class"], MedDetectError)
    return kind(
        data["code"],
        data["what"],
        where=data["where"],
        todo=data["todo"],
        exit_code=int(data["exit_code"]),
    )


# --- volumes --------------------------------------------------------------------------


def volume_to_json(volume: Volume, shared: SharedArray) -> Message:
    """Return everything of a volume but its voxels and `source`, and where the voxels are."""
    return {
        "voxels": shared.to_json(),
        "geometry": volume.geometry.to_json(),
        "modality": volume.modality,
        "name": volume.name,
        "notes": [dict(vars(note)) for note in volume.notes],
    }


def volume_from_json(data: Message, shared: SharedArray) -> Volume:
    """Rebuild a volume over voxels in shared memory; nothing is copied."""
    return Volume(
        array=shared.array,
        geometry=Geometry.from_json(data["geometry"]),
        modality=data["modality"],
        name=data["name"],
        notes=tuple(Note(**note) for note in data["notes"]),
    )


# --- answers --------------------------------------------------------------------------


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker says of itself: process id, protocol, MedDetect's and Python's version."""

    pid: int
    protocol: int
    meddetect: str
    python: str

    @classmethod
    def from_json(cls, data: Message) -> WorkerInfo:
        """Read it from a hello or the answer to a ping."""
        return cls(
            pid=int(data["pid"]),
            protocol=int(data["protocol"]),
            meddetect=str(data["meddetect"]),
            python=str(data["python"]),
        )


@dataclass(frozen=True)
class ChannelDescription:
    """One input image a model takes; an empty modality means any."""

    name: str
    modality: str


@dataclass(frozen=True)
class ModelDescription:
    """One model the worker found, told without needing the card's classes.

    Args:
        name: what `WorkerClient.detect` takes; the folder's name when the card is broken.
        folder: where it lies.
        labels: the classes it finds.
        channels: the images it takes, in order.
        error: why it cannot be used; empty when it can.
    """

    name: str
    folder: str
    version: str = ""
    task: str = ""
    title: str = ""
    description: str = ""
    intended_use: str = ""
    licence: str = ""
    weights_sha256: str = ""
    labels: tuple[Label, ...] = ()
    channels: tuple[ChannelDescription, ...] = ()
    error: str = ""

    def to_json(self) -> Message:
        """Return plain data under the field names."""
        data = dict(vars(self))
        data["labels"] = [label.to_json() for label in self.labels]
        data["channels"] = [dict(vars(channel)) for channel in self.channels]
        return data

    @classmethod
    def from_json(cls, data: Message) -> ModelDescription:
        """Rebuild what `to_json` returned."""
        labels = tuple(Label.from_json(label) for label in data["labels"])
        channels = tuple(ChannelDescription(**channel) for channel in data["channels"])
        return cls(**{**data, "labels": labels, "channels": channels})

"""`meddetect models`: which models are here, and what each is for."""

from __future__ import annotations

import argparse
import json
from typing import Any

from MedDetectLib.models.card_file import CARD_NAME
from MedDetectLib.models.registry import Entry, find_model, list_models

__all__ = ["add_to"]


def add_to(commands: Any, everywhere: argparse.ArgumentParser) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("models", help="list and show models")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", parents=[everywhere], help="all models found")
    listing.set_defaults(run=run_list)
    show = actions.add_parser("show", parents=[everywhere], help="one model's card")
    show.add_argument("name", help="a model's name or folder")
    show.set_defaults(run=run_show)


def run_list(options: argparse.Namespace) -> int:
    """Print every model found; a broken one is listed with what is wrong with it."""
    entries = list_models()
    if options.json:
        print(json.dumps([_row(entry) for entry in entries], indent=2))
        return 0
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "version", "task", "input", "labels", "folder")
    for entry in entries:
        if entry.card is None:
            wrong = Text(str(entry.error), style="red")
            table.add_row(entry.folder.name, "", wrong, "", "", str(entry.folder))
            continue
        card = entry.card
        labels = ", ".join(label.name for label in card.labels[:4])
        more = f" and {len(card.labels) - 4} more" if len(card.labels) > 4 else ""
        channels = ", ".join(channel.name for channel in card.input.channels)
        table.add_row(
            card.name, card.version, card.task, channels, labels + more, str(entry.folder)
        )
    Console().print(table)
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Print one model's card, after every check."""
    folder, card = find_model(options.name)
    data = json.loads((folder / CARD_NAME).read_text("utf-8"))
    if options.json:
        print(json.dumps({"folder": str(folder), "card": data}, indent=2))
        return 0
    print(f"{card.name} {card.version}: {card.title}\n{card.description}\n")
    for key in ("intended_use", "licence", "task", "parent"):
        if getattr(card, key):
            print(f"{key.replace('_', ' ')}: {getattr(card, key)}")
    print(f"folder: {folder}\nweights: {card.weights}")
    for name, sha256 in sorted(card.files.items()):
        print(f"file: {name}, sha256 {sha256}")
    for key in ("input", "output", "operating_point", "training_data", "metrics"):
        if key in data:
            print(f"\n{key}:\n{json.dumps(data[key], indent=2)}")
    return 0


def _row(entry: Entry) -> dict[str, Any]:
    if entry.card is None:
        return {"folder": str(entry.folder), "error": str(entry.error)}
    card = entry.card
    return {
        "name": card.name,
        "version": card.version,
        "title": card.title,
        "task": card.task,
        "channels": [vars(channel) for channel in card.input.channels],
        "labels": [label.name for label in card.labels],
        "weights_sha256": card.weights_sha256,
        "folder": str(entry.folder),
    }

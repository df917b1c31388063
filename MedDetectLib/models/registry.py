"""Where models are looked for, and how one is picked by name.

Three places, first hit wins: folders in the environment variable ``MEDDETECT_MODELS``
(separated like PATH), the user's own model folder, and the models that ship with
MedDetect.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from MedDetectLib.core.errors import MedDetectError, ModelError
from MedDetectLib.models.card import ModelCard
from MedDetectLib.models.card_file import CARD_NAME, read_card

__all__ = ["Entry", "find_model", "list_models", "model_folders", "resource_folder", "user_folder"]


@dataclass(frozen=True)
class Entry:
    """One model found on disk; `error` says why it cannot be used, if it cannot."""

    folder: Path
    card: ModelCard | None
    error: MedDetectError | None = None


def resource_folder() -> Path:
    """Return the folder with bundled models and samples (in Slicer, pip and the tree)."""
    library = Path(__file__).resolve().parent.parent
    for folder in (library / "Resources", library.parent / "Resources"):
        if (folder / "Models").is_dir():
            return folder
    return library / "Resources"


def user_folder() -> Path:
    """Return the user's own MedDetect folder (``MEDDETECT_HOME`` overrides it)."""
    home = os.environ.get("MEDDETECT_HOME")
    if home:
        return Path(home)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "MedDetect"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "MedDetect"
    return Path(os.environ.get("XDG_DATA_HOME", str(Path.home() / ".local/share"))) / "meddetect"


def model_folders() -> Iterator[Path]:
    """Yield every folder that holds a model card, in order of precedence."""
    listed = os.environ.get("MEDDETECT_MODELS", "").split(os.pathsep)
    roots = [Path(p) for p in listed if p]
    roots += [user_folder() / "models", resource_folder() / "Models"]
    for root in roots:
        if _holds_card(root):
            yield root
            continue
        try:
            inside = sorted(root.iterdir())
        except OSError:  # not there, not a folder, or not for us to read
            continue
        yield from filter(_holds_card, inside)


def _holds_card(folder: Path) -> bool:
    """Whether a model card lies in `folder`; no for a path the system cannot even hold."""
    try:
        return (folder / CARD_NAME).is_file()
    except (OSError, ValueError):
        return False


def list_models() -> list[Entry]:
    """Return every model found, usable or not; a shadowed name is left out."""
    entries: list[Entry] = []
    seen: set[str] = set()
    for folder in model_folders():
        try:
            card = read_card(folder)
        except MedDetectError as error:
            entries.append(Entry(folder, None, error))
            continue
        if card.name not in seen:
            seen.add(card.name)
            entries.append(Entry(folder, card))
    return entries


def find_model(name: str | Path) -> tuple[Path, ModelCard]:
    """Return folder and card of a model given by name, or by the path of its folder.

    A name wins over a folder of that name in the current directory; write ``./NAME`` for
    the folder. Of the models that are not meant only the cards are read.

    Raises:
        ModelError: ``no-model`` when there is none of that name; whatever `read_card`
            says of one that is broken.
    """
    known: list[str] = []
    for folder in model_folders():
        try:
            card = read_card(folder, check_files=False)
        except MedDetectError:
            if folder.name == str(name):
                raise  # and not silently another model of that name
            continue
        if card.name == str(name):
            return folder, read_card(folder)
        if folder.name == str(name):
            read_card(folder)  # tells what is wrong with it, if anything
        if card.name not in known:
            known.append(card.name)
    path = Path(name)
    if path.name == CARD_NAME and _holds_card(path.parent):
        path = path.parent
    if _holds_card(path):
        return path, read_card(path)
    names = ", ".join(known) or "none"
    raise ModelError(
        "no-model",
        f"there is no model '{name}'",
        todo=f"give a model folder, or one of: {names}",
    )

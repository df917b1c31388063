"""Which models lie on this computer, read without anything Slicer does not ship.

The worker checks a card thoroughly before it runs it; here it is only shown.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from MedDetectLib.models.card import ModelCard
from MedDetectLib.models.card_file import CARD_NAME
from MedDetectLib.models.registry import model_folders


@dataclass(frozen=True)
class InstalledModel:
    """One model: its card, or why it cannot be used."""

    name: str
    folder: Path
    card: ModelCard | None = None
    error: str = ""

    @property
    def usable(self):
        """Whether its card can be read."""
        return self.card is not None

    @property
    def title(self):
        """What a person reads in a list."""
        if self.card is None:
            return self.name
        return f"{self.card.title or self.card.name}  {self.card.version}"

    @property
    def labels(self):
        """The classes it finds."""
        return self.card.labels if self.card else ()

    @property
    def channels(self):
        """The images it takes, in order."""
        return self.card.input.channels if self.card else ()

    @property
    def about(self):
        """Everything else worth a tooltip."""
        card = self.card
        lines = (card.description, card.intended_use, card.licence, f"{card.name}: {self.folder}")
        return "\n".join(line for line in lines if line)


def installedModels():
    """Return every model found, usable or not; the first of a name counts."""
    found = {}
    for folder in model_folders():
        try:
            card = ModelCard.from_json(json.loads((folder / CARD_NAME).read_text("utf-8")))
            model = InstalledModel(card.name, folder, card)
        except (OSError, ValueError, KeyError, TypeError) as error:
            model = InstalledModel(folder.name, folder, None, f"{CARD_NAME}: {error!r}")
        found.setdefault(model.name, model)
    return list(found.values())

"""The models last used stay open."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

from MedDetectLib.core.watch import SILENT, Watch
from MedDetectLib.inference.backends.base import Backend
from MedDetectLib.inference.model import Model
from MedDetectLib.models.card import ModelCard
from MedDetectLib.models.card_file import CARD_NAME
from MedDetectLib.models.registry import model_folders

__all__ = ["WarmModels"]

Find = Callable[[str], tuple[Path, ModelCard]]
Open = Callable[[ModelCard, Path, str, str, Watch], Backend]
Stamp = tuple[tuple[str, int, int], ...]


class WarmModels:
    """Opens models and keeps the last few open, as long as their files do not change.

    Args:
        find: `find_model`.
        open_network: `open_backend`.
        keep: how many stay open.
    """

    def __init__(self, find: Find, open_network: Open, keep: int = 2) -> None:
        self._find = find
        self._open = open_network
        self._keep = keep
        self._models: OrderedDict[tuple[str, str, str], Model] = OrderedDict()
        self._found: dict[str, tuple[Stamp, Path, ModelCard]] = {}

    def get(self, name: str, backend: str, precision: str, watch: Watch = SILENT) -> Model:
        """Return an open model; the watch hears of an engine that has to be built for it.

        Raises:
            ModelError, BackendUnavailable: as `load_model` does.
            Cancelled: the watch said stop.
        """
        folder, card, stamp = self._look_up(name)
        key = (str(folder.resolve()), f"{card.weights_sha256} {stamp}", f"{backend} {precision}")
        model = self._models.pop(key, None)
        if model is None:
            while len(self._models) >= self._keep:
                self._models.popitem(last=False)[1].close()
            model = Model(card, self._open(card, folder, backend, precision, watch))
        self._models[key] = model
        return model

    def keep_only(self, model: Model) -> bool:
        """Close all others; return whether there were any."""
        others = [key for key, kept in self._models.items() if kept is not model]
        for key in others:
            self._models.pop(key).close()
        return bool(others)

    def close(self) -> None:
        """Close them all."""
        while self._models:
            self._models.popitem()[1].close()

    def _look_up(self, name: str) -> tuple[Path, ModelCard, Stamp]:
        """Find a model; reading and hashing its files again only when one has changed."""
        cards = _stamp(folder / CARD_NAME for folder in model_folders())
        known = self._found.get(name)
        if known is not None:
            stamp, folder, card = known
            if stamp == (*cards, *_files(folder, card)):
                return folder, card, _files(folder, card)
        folder, card = self._find(name)
        files = _files(folder, card)
        self._found[name] = ((*cards, *files), folder, card)
        return folder, card, files


def _files(folder: Path, card: ModelCard) -> Stamp:
    return _stamp(folder / name for name in (CARD_NAME, *card.files))


def _stamp(paths: Iterable[Path]) -> Stamp:
    """Return path, size and time of last change of each file; zeros for one that is not there."""
    stamps = []
    for path in paths:
        try:
            status = path.stat()
            stamps.append((str(path), status.st_size, status.st_mtime_ns))
        except OSError:
            stamps.append((str(path), 0, 0))
    return tuple(stamps)

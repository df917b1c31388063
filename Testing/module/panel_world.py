"""A panel with a small model, a small image and a client that needs no worker."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from Testing.harness import kit

SPACING_KJI_MM = (2.0, 1.0, 1.0)


def write_model(folder, name="balls", channels=(("CT", "CT"),), classes=("ball", "blob")):
    """Write the card of a model whose network nobody runs."""
    place = folder / name
    place.mkdir(parents=True)
    labels = [
        {"value": n, "name": each, "colour_rgb": [40 * n, 200, 90]}
        for n, each in enumerate(classes, start=1)
    ]
    card = {
        "format": "meddetect.model/1", "name": name, "version": "1.2.0", "task": "segmentation",
        "weights": "model.onnx", "files": {"model.onnx": "0" * 64}, "title": f"Finds {name}",
        "input": {"tensor": "x", "channels": [{"name": n, "modality": m} for n, m in channels],
                  "window": {"shape_kji": [8, 8, 8]}},
        "output": {"head": "voxel_scores", "tensor": "y", "activation": "softmax",
                   "labels": labels},
        "operating_point": {"min_score": 0.25, "min_diameter_mm": 3, "basis": "by eye"},
    }  # fmt: skip
    (place / "model.json").write_text(json.dumps(card))
    return place


def volume_of_balls(shape_kji=(24, 40, 40), name="CT chest", modality="CT", balls=3):
    """Return a volume with bright balls of different sizes, on an oblique grid."""
    from MedDetectLib.core.geometry import Geometry
    from MedDetectLib.core.volume import Volume

    cos, sin = np.cos(0.2), np.sin(0.2)
    turned = [[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]
    geometry = Geometry.from_axes(shape_kji, SPACING_KJI_MM, (5.0, -20.0, 30.0), turned)
    k, j, i = np.indices(shape_kji)
    array = np.zeros(shape_kji, np.int16)
    for n in range(balls):
        centre = (6 + 6 * n, 9 + 10 * n, 30 - 9 * n)
        away = ((k - centre[0]) * 2.0) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2
        array[away <= (5.5 - n) ** 2] = 1000
    return Volume(array, geometry, modality, name)


def add_volume(volume):
    """Put a volume into the scene, and let the panel see it."""
    import slicer

    from MedDetectLib.adapters.mrml.volume_node import volume_to_node

    node = volume_to_node(slicer.mrmlScene, volume)
    panel = slicer.util.getModuleWidget("MedDetect").panel
    kit.until(lambda: not panel._grown.active, 20, "the panel has looked at the new image")
    kit.process(20)
    return node


def stand_in(polls=3, labels=None, find=None):
    """Return a client that finds the balls."""
    from MedDetectUI.stand_in import StandInClient, brightFindings

    from MedDetectLib.core.labels import Label

    labels = labels or (Label(1, "ball", (40, 200, 90)), Label(2, "blob", (80, 200, 90)))
    return StandInClient(find or (lambda volume: brightFindings(volume, 500, labels)), polls)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Reviews, cases and models of this test alone."""
    monkeypatch.setenv("MEDDETECT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDDETECT_ENVIRONMENT", str(tmp_path / "environment"))
    monkeypatch.setenv("MEDDETECT_MODELS", str(tmp_path / "models"))
    nowhere = tmp_path / "no bundled models"
    monkeypatch.setattr("MedDetectLib.models.registry.resource_folder", lambda: nowhere)
    write_model(tmp_path / "models")
    return tmp_path


@pytest.fixture
def world(home, slicer_harness):
    """The panel, entered, with a stand-in for the worker and no image yet."""
    slicer_harness.load_module()
    widget = slicer_harness.panel()
    widget.logic.client = stand_in()
    widget.panel.detect.needsEngine = False
    return SimpleNamespace(
        harness=slicer_harness,
        widget=widget,
        panel=widget.panel,
        ui=widget.ui,
        logic=widget.logic,
        review=widget.panel.review,
        home=home,
    )


def ready(world):
    """Whether nothing is under way."""
    panel = world.panel
    parts = (panel.save, panel.worklist, panel.versions, panel.unfinished, panel.export)
    return not (panel.detect.running or any(part.busy for part in parts))


def settle(world, seconds=20.0):
    """Wait until nothing is under way."""
    kit.until(lambda: ready(world), seconds, "the panel comes to rest")


@pytest.fixture
def reviewed(world):
    """The panel with three findings under review."""
    world.volume = volume_of_balls()
    world.node = add_volume(world.volume)
    kit.click(world.ui.runButton)
    settle(world)
    assert world.review.isOpen, world.ui.detectState.toolTip
    assert len(world.review.items) == 3
    return world


def table(world):
    """Return what the table shows, row by row."""
    shown = world.ui.findingsTable
    return [
        [shown.item(row, column).text() for column in range(6)]
        for row in range(shown.rowCount)
        if not shown.isRowHidden(row)
    ]

"""The picture of the panel and its three slice views is made of what is really there."""

import numpy as np
import pytest
import slicer
from PIL import Image


def test_the_panel_stands_beside_three_views_of_the_scene(slicer_harness, tmp_path):
    import qt

    from Testing.harness.picture import panel_with_views

    bright = np.zeros((20, 30, 40), np.int16)
    bright[8:12, 10:20, 15:25] = 1000
    volume = slicer.util.addVolumeFromArray(bright, name="CT")
    slicer.util.setSliceViewerLayers(background=volume, fit=True)

    class Panel:
        parent = qt.QTextEdit("panel")

    Panel.parent.resize(200, 600)
    path = panel_with_views(slicer_harness, Panel, tmp_path / "both.png")
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    height, width, _ = pixels.shape
    assert (height, width) == (600, 200 + 250)
    for at, colour in enumerate(((243, 74, 51), (237, 213, 76), (110, 176, 75))):
        assert pixels[at * 200 + 4, 430] == pytest.approx(colour, abs=2)
        view = pixels[at * 200 + 24 : (at + 1) * 200, 200:]
        assert (view.max(axis=-1) > 200).any()
        assert (view.max(axis=-1) < 20).any()


@pytest.mark.slow
def test_the_readmes_picture_can_be_made(tmp_path, monkeypatch):
    from Testing.harness.picture import main

    monkeypatch.setenv("MEDDETECT_HOME", str(tmp_path / "before"))
    assert main(["--out", str(tmp_path / "new" / "panel.png")]) == 0
    with Image.open(tmp_path / "new" / "panel.png") as image:
        assert image.width > 900

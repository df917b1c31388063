"""Makes the picture of the module in the README: the panel and its three slice views.

    python -m Testing.harness.picture --out Resources/Screenshots/panel.png

A bundled sample is loaded, the model run by the real worker, two findings are judged and the
case is signed; then a second reader takes the largest finding in hand with its box. Nothing
is painted in: the panel is drawn by Qt, the views by Slicer's displayable managers. Only the
case store's folder, a temporary one, is shown under another name.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtGui import QColor, QImage, QPainter
from PySide6.QtWidgets import QLineEdit

from Testing.harness import kit
from Testing.harness.running import Harness, slicer_running
from Testing.harness.slices import SlicePicture
from Testing.harness.views import VIEWS

BAR = 22
"""Height in pixels of the coloured bar above a view."""
STORE = "/data/cases"
"""Shown where the temporary folder of the case store would be."""
ZOOM = 1.5
"""How much closer than the whole volume the views are."""


def views_picture(harness: Harness, size: tuple[int, int], zoom: float = ZOOM) -> QImage:
    """Return the three slice views, one below the other, each under its coloured bar.

    Args:
        harness: the running stand-in.
        size: width and height of the whole picture in pixels.
        zoom: 1 shows the whole background volume; more is closer.
    """
    width, height = size
    picture = QImage(width, height, QImage.Format.Format_RGB32)
    picture.fill(QColor(0, 0, 0))
    painter = QPainter(picture)
    each = height // len(VIEWS)
    for at, (name, (orientation, letter, colour)) in enumerate(VIEWS.items()):
        painter.fillRect(QRect(0, at * each, width, BAR), QColor.fromRgbF(*colour))
        painter.setPen(QColor(30, 30, 30))
        bar = QRect(8, at * each, width - 16, BAR)
        painter.drawText(bar, Qt.AlignmentFlag.AlignVCenter, f"{letter}   {orientation}")
        logic = harness.layout.widgets[name].sliceLogic()
        view = SlicePicture(logic, harness.logic, (width, each - BAR - 2))
        try:
            drawn = _drawn_closer(view, logic.GetSliceNode(), zoom)
        finally:
            view.close()
        rows, columns, _ = drawn.shape
        image = QImage(drawn.data, columns, rows, 3 * columns, QImage.Format.Format_RGB888)
        painter.drawImage(QPoint(0, at * each + BAR), image)
    painter.end()
    return picture


def _drawn_closer(view: SlicePicture, node: Any, zoom: float) -> Any:
    """Draw a view closer than the whole volume, around where its slice lies now."""
    place = [node.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
    view.pixels(fit=True)
    wide, high, deep = node.GetFieldOfView()
    node.SetFieldOfView(wide / zoom, high / zoom, deep)
    node.JumpSliceByCentering(*place)
    return view.pixels()


def panel_with_views(harness: Harness, panel: Any, path: Path) -> Path:
    """Write one picture: the panel at the left, the three slice views at the right.

    Raises:
        OSError: the file cannot be written.
    """
    kit.process(50)
    left = kit._native(panel.parent).grab().toImage()
    right = views_picture(harness, (left.height() * 5 // 12, left.height()))
    whole = QImage(left.width() + right.width(), left.height(), QImage.Format.Format_RGB32)
    painter = QPainter(whole)
    painter.drawImage(0, 0, left)
    painter.drawImage(left.width(), 0, right)
    painter.end()
    if not whole.save(str(path)):
        raise OSError(f"{path} cannot be written")
    return path


def review_a_sample(harness: Harness, sample: str, seconds: float = 300.0) -> Any:
    """Load a sample, let the model find, sign a first reading, and begin a second one.

    Args:
        harness: the running stand-in, MedDetect loaded.
        sample: the sample's and its model's name, like 'demo-chest-ct'.
        seconds: how long the model may take.

    Returns:
        The panel's Python widget.
    """
    import SampleData

    widget = harness.panel()
    panel, ui = widget.panel, widget.ui
    kit.process(50)
    every = (s for found in SampleData.SampleDataLogic.sampleDataSourcesByCategory().values()
             for s in found)  # fmt: skip
    source = next(s for s in every if any(sample in uri for uri in s.uris))
    node = SampleData.SampleDataLogic().downloadFromSource(source)[0]
    ui.inputSelector1.setCurrentNode(node)
    panel.model.select(sample)
    kit.until(lambda: ui.runButton.enabled, 30, "that the model can be run")
    kit.until(
        lambda: ui.memoryLabel.text not in ("", "–") and "…" not in ui.memoryLabel.text,
        seconds,
        "that the memory is estimated",
    )
    kit.click(ui.runButton)
    kit.until(
        lambda: panel.review.isOpen and not panel.detect.running and not panel.save.busy,
        seconds,
        "that the findings are there",
    )
    kit.click_cell(ui.findingsTable, 0, 0)
    kit.click(ui.acceptButton)
    kit.click_cell(ui.findingsTable, ui.findingsTable.rowCount - 1, 0)
    kit.click(ui.rejectButton)
    ui.reviewerEdit.text, ui.patientEdit.text = "Dr Adams", "P-001"
    kit.click(ui.signButton)
    kit.until(lambda: not panel.save.busy, seconds, "that the case is stored")
    ui.reviewerEdit.text = "Dr Brown"
    kit.click(ui.readingButton)
    kit.until(lambda: not panel.save.busy, seconds, "that the second reading is open")
    largest = max(panel.review.items, key=lambda item: item.volume_ml)
    panel.review.choose(largest.id)
    if not ui.boxButton.checked:
        kit.click(ui.boxButton)
    shown = kit._native(ui.storePath).findChild(QLineEdit)
    shown.blockSignals(True)
    shown.setText(STORE)
    kit.process(100)
    return widget


def main(arguments: list[str] | None = None) -> int:
    """Make the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--sample", default="demo-chest-ct", help="bundled sample and model")
    chosen = parser.parse_args(arguments)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    before = os.environ.get("MEDDETECT_HOME")
    with tempfile.TemporaryDirectory() as home, slicer_running() as harness:
        os.environ["MEDDETECT_HOME"] = home
        try:
            harness.load_module()
            widget = review_a_sample(harness, chosen.sample)
            panel_with_views(harness, widget, chosen.out)
        finally:
            os.environ.pop("MEDDETECT_HOME")
            if before is not None:
                os.environ["MEDDETECT_HOME"] = before
    print(chosen.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

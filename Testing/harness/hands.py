"""A user's hand in the slice views: dragging a box by its faces, drawing into a segment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import slicer
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget

from Testing.harness import kit
from Testing.harness.segment_editor import draw, erase

__all__ = ["button_down", "drag_box", "draw", "erase", "move_box"]


def _grasp(roi: Any, handle: str) -> None:
    display = roi.GetDisplayNode()
    if roi.GetScene() is None or display is None or not display.GetVisibility():
        raise AssertionError("the box is not shown, and cannot be dragged")
    if roi.GetLocked():
        raise AssertionError("the box is locked, and cannot be dragged")
    if not getattr(display, f"Get{handle}HandleVisibility")():
        raise AssertionError(f"the box shows no handles to {handle.lower()} it by")


def _drag(roi: Any, change: Any, steps: int) -> None:
    """Send the events Slicer's markups widget sends while the mouse goes `steps` moves."""
    with button_down():
        roi.InvokeCustomModifiedEvent(slicer.vtkMRMLMarkupsNode.PointStartInteractionEvent)
        for _step in range(steps):
            with slicer.util.NodeModify(roi):
                change()
            kit.process()
        roi.InvokeCustomModifiedEvent(slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent)
    kit.process()


@contextlib.contextmanager
def button_down() -> Iterator[None]:
    """Hold the left mouse button down inside, over a view that is nobody's.

    Qt and `qt.QApplication.mouseButtons()` know of it, as they do while a user drags.
    """
    view = QWidget(None, Qt.WindowType.ToolTip | Qt.WindowType.WindowDoesNotAcceptFocus)
    view.setAttribute(Qt.WidgetAttribute.WA_ShowWithoutActivating)
    view.resize(8, 8)
    view.show()
    window = view.windowHandle()
    QTest.mousePress(window, Qt.MouseButton.LeftButton)
    try:
        yield
    finally:
        QTest.mouseRelease(window, Qt.MouseButton.LeftButton)
        view.close()


def _axis(roi: Any, axis: int) -> np.ndarray:
    matrix = roi.GetObjectToNodeMatrix()
    return np.array([matrix.GetElement(row, axis) for row in range(3)])


def drag_box(roi: Any, axis: int, side: int, mm: float, steps: int = 4) -> None:
    """Drag one face of a box outward; the opposite face stays.

    Args:
        roi: a vtkMRMLMarkupsROINode.
        axis: which of the box's own axes, 0 to 2.
        side: -1 or 1, which of the axis' two faces.
        mm: how far outward, negative for inward.
        steps: moves of the mouse.

    Raises:
        AssertionError: a user could not: the box or its handles are hidden, or it is locked.
    """
    _grasp(roi, "Scale")
    direction = _axis(roi, axis)

    def change() -> None:
        size, centre = list(roi.GetSize()), np.array(roi.GetCenter())
        size[axis] += mm / steps
        roi.SetSize(size)
        roi.SetCenter(list(centre + direction * side * mm / steps / 2))

    _drag(roi, change, steps)


def move_box(roi: Any, by_ras_mm: tuple[float, float, float], steps: int = 4) -> None:
    """Drag a whole box by its centre.

    Raises:
        AssertionError: a user could not: the box or its handles are hidden, or it is locked.
    """
    _grasp(roi, "Translation")

    def change() -> None:
        centre = np.array(roi.GetCenter()) + np.array(by_ras_mm) / steps
        roi.SetCenter(list(centre))

    _drag(roi, change, steps)

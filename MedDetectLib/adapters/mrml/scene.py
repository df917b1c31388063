"""A scene of our own, outside the Slicer application."""

from __future__ import annotations

from typing import Any

import slicer

__all__ = ["new_scene"]


def new_scene() -> Any:
    """Return an empty vtkMRMLScene that knows every node class this package makes.

    The Markups logic registers how ROIs are stored, the Segmentations logic registers the
    conversions between a segment's representations; both write their registrations into
    the scene or into process-wide factories and need not outlive this function.
    """
    scene = slicer.vtkMRMLScene()
    application_logic = slicer.vtkSlicerApplicationLogic()
    application_logic.SetMRMLScene(scene)
    for logic_class in (slicer.vtkSlicerMarkupsLogic, slicer.vtkSlicerSegmentationsModuleLogic):
        logic = logic_class()
        logic.SetMRMLApplicationLogic(application_logic)
        logic.SetMRMLScene(scene)
    return scene

"""Pictures of the slice views, rendered by Slicer's own displayable managers, off screen."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
import vtk.util.numpy_support

# What draws over the image: segments, boxes, the crosshair.
_DRAWN = (
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
)


class SlicePicture:
    """One slice view off screen, over a slice logic that is already there.

    Args:
        slice_logic: the vtkMRMLSliceLogic of the view.
        application_logic: the vtkMRMLApplicationLogic.
        size: width and height in pixels.
    """

    def __init__(self, slice_logic: Any, application_logic: Any, size: tuple[int, int]) -> None:
        self._logic = slice_logic
        self._size = size
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.ShowWindowOff()
        self._window.SetSize(*size)
        self._image = vtk.vtkRenderer()
        self._over = vtk.vtkRenderer()
        self._window.SetNumberOfLayers(2)
        for layer, renderer in enumerate((self._image, self._over)):
            renderer.SetLayer(layer)
            renderer.GetActiveCamera().ParallelProjectionOn()
            self._window.AddRenderer(renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._interactor.Initialize()
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)  # the slice logic has applied window and level
        self._mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetDisplayLocationToBackground()
        self._image.AddViewProp(self._actor)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(application_logic)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.SetRenderer(self._image)
        for name in _DRAWN:
            manager = getattr(slicer, name)()
            manager.SetMRMLApplicationLogic(application_logic)
            self._group.AddDisplayableManager(manager)
        self._group.GetInteractor().Initialize()
        self._group.SetMRMLDisplayableNode(slice_logic.GetSliceNode())

    def pixels(self, fit: bool = False) -> np.ndarray:
        """Render, and return (height, width, 3) bytes.

        Args:
            fit: show the whole background volume first.
        """
        self._logic.ResizeSliceNode(*self._size)
        if fit:
            self._logic.FitSliceToBackground()
        self._logic.UpdatePipeline()
        connection = self._logic.GetImageDataConnection()
        self._actor.SetVisibility(connection is not None)
        if connection is not None:
            self._mapper.SetInputConnection(connection)
        self._window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self._window)
        grab.SetInputBufferTypeToRGB()
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        flat = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
        width, height, _ = image.GetDimensions()
        return flat.reshape(height, width, 3)[::-1].copy()

    def close(self) -> None:
        """Let go of the scene and of the graphics memory."""
        self._group.SetMRMLDisplayableNode(None)
        self._window.Finalize()

"""Between label arrays on a grid and the oriented images that segments hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from MedDetectLib.adapters.mrml.layers import Layer
from MedDetectLib.adapters.mrml.placement import array_from_matrix, matrix_from_array
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import FloatArray
from MedDetectLib.core.measure import tight_box

__all__ = [
    "GridView",
    "array_on_grid",
    "grid_view",
    "image_of_layer",
    "is_on",
    "matrix_of",
    "oriented_image",
]

SAME_PLACE_MM = 1e-6
ON_GRID_VOXELS = 1e-2
"""How far an image's voxel centres may lie from the grid's and still be the same voxels."""


@dataclass(frozen=True)
class GridView:
    """An image's labels in place: to write into them is to change the image.

    Args:
        array: [k, j, i] the image's own voxels, not a copy.
        start_kji: grid index of the first of them.
    """

    array: npt.NDArray[Any]
    start_kji: tuple[int, int, int]

    def window(self, slices: Sequence[slice]) -> npt.NDArray[Any] | None:
        """Return the part at some slices of the grid, None when it is not all in the image."""
        local = []
        for part, start, size in zip(slices, self.start_kji, self.array.shape, strict=True):
            if part.start < start or part.stop > start + size:
                return None
            local.append(slice(part.start - start, part.stop - start))
        return np.asarray(self.array[tuple(local)])


def grid_view(image: Any, ijk_to_node: FloatArray) -> GridView | None:
    """Return an image's voxels in place; None when they are not the grid's, or there are none.

    Args:
        image: vtkOrientedImageData in the node's coordinates.
        ijk_to_node: (4, 4), the grid's voxel centres to node mm.
    """
    low, stop = _extent_kji(image)
    if any(b <= a for a, b in zip(low, stop, strict=True)):
        return None
    offset = _offset_kji(image, ijk_to_node, low, stop)
    if offset is None:
        return None
    k, j, i = (a + shift for a, shift in zip(low, offset, strict=True))
    sizes = [b - a for a, b in zip(low, stop, strict=True)]
    labels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(sizes)
    return GridView(labels, (k, j, i))


def oriented_image(
    array: npt.NDArray[Any], ijk_to_node: FloatArray, start_kji: Sequence[int] = (0, 0, 0)
) -> Any:
    """Return labels as a vtkOrientedImageData that covers just its non-zero voxels.

    Args:
        array: [k, j, i] uint8 or uint16, a part of the grid (or all of it).
        ijk_to_node: (4, 4), the whole grid's voxel centres (i, j, k, 1) to node mm.
        start_kji: grid index of the array's first voxel; becomes the image's extent.
    """
    image = slicer.vtkOrientedImageData()
    image.SetImageToWorldMatrix(matrix_from_array(ijk_to_node))
    if not array.any():
        image.SetExtent(0, -1, 0, -1, 0, -1)
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        return image
    box = tight_box(array != 0)
    low, high = [int(e) for e in box[:3]], [int(e) for e in box[3:]]
    part = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    k, j, i = (a + s for a, s in zip(low, start_kji, strict=True))
    nk, nj, ni = part.shape
    image.SetExtent(i, i + ni - 1, j, j + nj - 1, k, k + nk - 1)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(part).ravel(), deep=True))
    return image


def is_on(image: Any, ijk_to_node: FloatArray) -> bool:
    """Whether an image's matrix is that of a grid, so that its extent is a part of it."""
    return bool(np.abs(matrix_of(image) - ijk_to_node).max() <= SAME_PLACE_MM)


def matrix_of(image: Any) -> FloatArray:
    """Return an image's voxel centres to node mm, (4, 4)."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return array_from_matrix(matrix)


def image_of_layer(layer: Layer, ijk_to_node: FloatArray) -> Any:
    """Return a layer as a vtkOrientedImageData that covers just its findings.

    Args:
        layer: findings and their voxels on the grid.
        ijk_to_node: (4, 4), the whole grid's voxel centres (i, j, k, 1) to node mm.
    """
    (k, j, i), (nk, nj, ni) = layer.window
    image = slicer.vtkOrientedImageData()
    image.SetImageToWorldMatrix(matrix_from_array(ijk_to_node))
    image.SetExtent(i, i + ni - 1, j, j + nj - 1, k, k + nk - 1)
    small = layer.dtype is np.uint8
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR if small else vtk.VTK_UNSIGNED_SHORT, 1)
    if nk * nj * ni:
        array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(nk, nj, ni)
        array.fill(0)
        layer.paint(array)
    return image


def array_on_grid(
    image: Any, ijk_to_node: FloatArray, shape_kji: tuple[int, int, int]
) -> npt.NDArray[Any]:
    """Return an image's labels as a [k, j, i] array on a grid; outside it they are dropped.

    An image on the grid's own voxels, whatever part of it it covers, is copied bit by bit.
    One on other voxels (someone changed the segmentation's source geometry) gives each
    voxel of the grid the label nearest to its centre.

    Args:
        image: vtkOrientedImageData in the node's coordinates.
        ijk_to_node: (4, 4), the grid's voxel centres to node mm.
        shape_kji: the grid's size.
    """
    low, stop = _extent_kji(image)
    if any(b <= a for a, b in zip(low, stop, strict=True)):
        return np.zeros(shape_kji, np.uint8)
    offset = _offset_kji(image, ijk_to_node, low, stop)
    if offset is None:
        image = _resampled(image, ijk_to_node, shape_kji)
        low, stop = _extent_kji(image)
        offset = (0, 0, 0)
    labels = _voxels(image, [b - a for a, b in zip(low, stop, strict=True)])
    array = np.zeros(shape_kji, labels.dtype)
    there, here = [], []
    for a, b, shift, size in zip(low, stop, offset, shape_kji, strict=True):
        first, last = max(a + shift, 0), min(b + shift, size)
        there.append(slice(first, max(first, last)))
        here.append(slice(first - a - shift, max(first, last) - a - shift))
    array[tuple(there)] = labels[tuple(here)]
    return array


def _extent_kji(image: Any) -> tuple[list[int], list[int]]:
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    return [k0, j0, i0], [k1 + 1, j1 + 1, i1 + 1]


def _offset_kji(
    image: Any, ijk_to_node: FloatArray, low: list[int], stop: list[int]
) -> tuple[int, ...] | None:
    """Return grid index minus image index; None when their voxels do not coincide."""
    to_grid = np.linalg.inv(ijk_to_node) @ matrix_of(image)
    corners_kji = np.array(np.meshgrid(*zip(low, stop, strict=True))).reshape(3, -1)
    corners = np.vstack([corners_kji[::-1], np.ones(corners_kji.shape[1])])
    shift = (to_grid @ corners - corners)[2::-1]
    whole = np.rint(shift[:, 0])
    if np.abs(shift - whole[:, None]).max() > ON_GRID_VOXELS:
        return None
    return tuple(int(n) for n in whole)


def _voxels(image: Any, shape_kji: list[int]) -> npt.NDArray[Any]:
    """Return the labels as unsigned integers, as scipy and numpy index with."""
    labels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape_kji)
    if labels.dtype in (np.uint8, np.uint16):
        return np.asarray(labels)
    return np.asarray(np.clip(labels, 0, 65535), dtype=np.uint16)


def _resampled(image: Any, ijk_to_node: FloatArray, shape_kji: tuple[int, int, int]) -> Any:
    grid = slicer.vtkOrientedImageData()
    k, j, i = shape_kji
    grid.SetExtent(0, i - 1, 0, j - 1, 0, k - 1)
    grid.SetImageToWorldMatrix(matrix_from_array(ijk_to_node))
    result = slicer.vtkOrientedImageData()
    resample = slicer.vtkOrientedImageDataResample
    if not resample.ResampleOrientedImageToReferenceOrientedImage(image, grid, result):
        raise InputError("bad-segment", "a segment's voxels cannot be brought onto the grid")
    return result

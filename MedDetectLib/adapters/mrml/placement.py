"""Where a node's own coordinates lie in the world."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import vtk

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import FloatArray

__all__ = ["array_from_matrix", "matrix_from_array", "to_world_matrix"]


def to_world_matrix(node: Any) -> FloatArray:
    """Return the (4, 4) matrix from a node's coordinates to world RAS mm.

    All parent transforms up to the world are composed; identity when there is none.

    Args:
        node: any transformable MRML node.

    Raises:
        InputError: ``nonlinear-transform`` when one of the transforms bends space.
    """
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    matrix = vtk.vtkMatrix4x4()
    if not parent.IsTransformToWorldLinear() or not parent.GetMatrixTransformToWorld(matrix):
        raise InputError(
            "nonlinear-transform",
            f"'{node.GetName()}' lies under the non-linear transform '{parent.GetName()}'",
            todo="harden the transform or remove it",
        )
    return array_from_matrix(matrix)


def array_from_matrix(matrix: Any) -> FloatArray:
    """Return a vtkMatrix4x4 as a (4, 4) array."""
    return np.array([[matrix.GetElement(row, col) for col in range(4)] for row in range(4)])


def matrix_from_array(array: npt.NDArray[Any]) -> Any:
    """Return a (4, 4) array as a vtkMatrix4x4."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy([float(value) for value in np.asarray(array).ravel()])
    return matrix

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import vtk
from mrml_samples import GRIDS

from MedDetectLib.adapters.mrml.scene import new_scene
from MedDetectLib.core.geometry import Geometry


@pytest.fixture
def scene() -> Any:
    return new_scene()


@pytest.fixture(params=list(GRIDS))
def geometry(request: pytest.FixtureRequest) -> Geometry:
    return GRIDS[request.param]


@pytest.fixture
def put_under(scene: Any) -> Callable[..., Any]:
    """Put a node under a new linear transform given as a (4, 4) array."""

    def put(node: Any, matrix: np.ndarray[Any, Any]) -> Any:
        values = vtk.vtkMatrix4x4()
        values.DeepCopy([float(v) for v in matrix.ravel()])
        transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "T")
        transform.SetMatrixTransformToParent(values)
        node.SetAndObserveTransformNodeID(transform.GetID())
        return transform

    return put

"""Places: where the slice views look, and how they are sent somewhere."""

import numpy as np
import slicer


def jumpTo(centre_ras_mm):
    """Send all slice views to a place, RAS mm."""
    node = slicer.vtkMRMLSliceNode
    node.JumpAllSlices(slicer.mrmlScene, *centre_ras_mm, node.CenteredJumpSlice)


def viewCentre(geometry):
    """Return where the slice planes meet, RAS mm; the grid's centre when they don't."""
    scene = slicer.mrmlScene
    normals, offsets = [], []
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        to_ras = scene.GetNthNodeByClass(n, "vtkMRMLSliceNode").GetSliceToRAS()
        normal = np.array([to_ras.GetElement(row, 2) for row in range(3)])
        origin = np.array([to_ras.GetElement(row, 3) for row in range(3)])
        if np.linalg.matrix_rank([*normals, normal], tol=0.1) > len(normals):
            normals.append(normal)
            offsets.append(normal @ origin)
    if len(normals) < 3:
        k, j, i = geometry.shape_kji
        return tuple(float(v) for v in geometry.box_centre_ras_mm((0.0, 0.0, 0.0, k, j, i)))
    return tuple(float(value) for value in np.linalg.solve(normals, offsets))

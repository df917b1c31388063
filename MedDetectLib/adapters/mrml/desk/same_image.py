"""Whether a node still holds the very voxels that a review is of."""

from __future__ import annotations

from collections.abc import Collection, Generator
from dataclasses import replace
from typing import Any

from MedDetectLib.adapters.mrml.desk.steps import in_background
from MedDetectLib.adapters.mrml.volume_node import volume_view
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume

__all__ = ["checked_image", "voxels_mark"]


def voxels_mark(volume_node: Any) -> int:
    """Return a number that is another one after each change of a node's voxels; cheap."""
    image = None if volume_node is None else volume_node.GetImageData()
    return 0 if image is None else int(image.GetMTime())


def checked_image(
    volume_node: Any, geometry: Geometry, wanted: Collection[str]
) -> Generator[float, None, Volume]:
    """Return a node's image where it lay when it was looked at, in steps.

    A transform that was put on the node since is no part of it: it moves the findings too.

    Args:
        volume_node: vtkMRMLScalarVolumeNode; its voxels are shared, not copied.
        geometry: the grid then.
        wanted: fingerprints of the images it may be; any image if empty.

    Raises:
        InputError: ``other-volume`` for other voxels, or what `volume_view` refuses.
    """
    view = volume_view(volume_node)
    if view.geometry.shape_kji != geometry.shape_kji:
        raise _other(view.name)
    image = replace(view, geometry=geometry)
    if wanted and (yield from in_background(lambda: image.sha256, 0.3)) not in wanted:
        raise _other(view.name)
    return image


def _other(name: str) -> InputError:
    return InputError(
        "other-volume",
        "the voxels are not those the review is of",
        where=name,
        todo="load the image again that the review was begun with",
    )

"""A whole scene for one case: the image, its findings, and a handle on the best of them."""

from __future__ import annotations

from typing import Any

from MedDetectLib.adapters.mrml.roi import roi_for_finding
from MedDetectLib.adapters.mrml.scene import new_scene
from MedDetectLib.adapters.mrml.segmentation import findings_to_node
from MedDetectLib.adapters.mrml.volume_node import volume_to_node
from MedDetectLib.core.findings import Findings
from MedDetectLib.core.volume import Volume

__all__ = ["findings_scene"]


def findings_scene(
    volume: Volume, findings: Findings, window_level: tuple[float, float] | None = None
) -> Any:
    """Return a new scene to review findings in.

    It holds the volume, one segmentation, and one ROI around the best-scored finding that
    nobody rejected.

    Args:
        volume: the image.
        findings: on the image's grid.
        window_level: (width, centre) to show the image with; from its voxels if None.

    Raises:
        InputError: ``other-grid`` when the findings lie on another grid.
    """
    scene = new_scene()
    volume_node = volume_to_node(scene, volume, window_level=window_level)
    findings_to_node(scene, findings, volume_node)
    open_items = [item for item in findings if item.state != "rejected"]
    if open_items:
        best = max(open_items, key=lambda item: item.score)
        roi_for_finding(scene, findings.geometry, best, findings.label_of(best), volume_node)
    return scene

"""A review on a desk, for the tests in this folder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import slicer
from mrml_samples import assert_same, make_findings, make_volume
from vtk.util.numpy_support import vtk_to_numpy

from MedDetectLib.adapters.mrml.desk.review_desk import ReviewDesk
from MedDetectLib.adapters.mrml.images import oriented_image
from MedDetectLib.adapters.mrml.read_back import findings_from_node
from MedDetectLib.adapters.mrml.volume_node import volume_to_node

Logic = slicer.vtkSlicerSegmentationsModuleLogic


def volume_and_findings(geometry, box_only=False):
    """A volume, and findings that say they were made from it."""
    volume, findings = make_volume(geometry), make_findings(geometry, box_only)
    provenance = replace(findings.provenance, input_sha256=volume.sha256)
    return volume, replace(findings, provenance=provenance)


def put_on_desk(scene, geometry, folder, box_only=False):
    """Begin a review and remember everything its listeners were told."""
    volume, findings = volume_and_findings(geometry, box_only)
    desk = ReviewDesk.begin(scene, volume_to_node(scene, volume), findings, folder)
    desk.told = []
    desk.subscribe(desk.told.append)
    return desk


def agree(desk):
    """The scene holds exactly the session's findings, and nothing is left to take."""
    assert not desk.is_dirty
    assert_same(findings_from_node(desk.segmentation_node), desk.findings)
    last = desk.session.last
    assert desk._joint.take_edits(everything=True) == ()
    assert desk.session.last is last


def mask_of(desk, finding_id):
    """The [k, j, i] voxels of one finding, as the session has them."""
    findings = desk.findings
    return findings.mask_of(next(item for item in findings if item.id == finding_id)).copy()


def paint(desk, segment_id, mask, over=()):
    """Replace a segment's voxels as the Segment Editor does; `over` are overwritten."""
    node = desk.segmentation_node
    image = oriented_image(mask.astype(np.uint8), desk._joint.mirror.ijk_to_node)
    assert Logic.SetBinaryLabelmapToSegment(
        image, node, segment_id, Logic.MODE_REPLACE, None, False, list(over)
    )


def add(desk, segment_id, mask, over=()):
    """Add voxels to a segment as one stroke of the brush does."""
    node = desk.segmentation_node
    image = oriented_image(mask.astype(np.uint8), desk._joint.mirror.ijk_to_node)
    assert Logic.SetBinaryLabelmapToSegment(
        image, node, segment_id, Logic.MODE_MERGE_MASK, None, False, list(over)
    )


def erase(desk, segment_id, mask):
    """Take voxels out of a segment as one stroke of the eraser does."""
    node, rest = desk.segmentation_node, np.where(mask, 0, 255).astype(np.uint8)
    image = slicer.vtkOrientedImageData()
    image.DeepCopy(oriented_image(np.ones_like(rest), desk._joint.mirror.ijk_to_node))
    vtk_to_numpy(image.GetPointData().GetScalars())[:] = rest.ravel()
    assert Logic.SetBinaryLabelmapToSegment(
        image, node, segment_id, Logic.MODE_MERGE_MIN, None, False, []
    )


def all_segments(desk):
    return list(desk.segmentation_node.GetSegmentation().GetSegmentIDs())


def acts(desk):
    """What was done, as (kind, finding) pairs, without looking at findings."""
    said = [(e.kind, e.act.get("finding_id")) for e in desk.session.history]
    return [pair for pair in said if pair[0] != "focus"]

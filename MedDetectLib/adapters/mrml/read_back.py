"""From edited nodes back to findings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from MedDetectLib.adapters.mrml.record import read_record
from MedDetectLib.adapters.mrml.roi import finding_id_of_roi, moved_box
from MedDetectLib.adapters.mrml.segment_voxels import SegmentVoxels, read_segments
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.core.labels import Label
from MedDetectLib.core.notes import Note
from MedDetectLib.review.edits import Redrawn, apply_roi_edit, redraw
from MedDetectLib.review.patches import Patch, patches_of

__all__ = ["ReadBack", "findings_from_node", "read_back"]


@dataclass(frozen=True, eq=False)
class ReadBack:
    """What the nodes say now.

    Args:
        findings: those still there; edited ones have state "edited".
        edited: ids of findings whose voxels or box changed.
        removed: findings whose segment was deleted or emptied, as they were before. They
            are no longer in `findings`; a review records them as rejected.
    """

    findings: Findings
    edited: tuple[str, ...] = ()
    removed: tuple[Finding, ...] = ()


def read_back(findings: Findings, node: Any, roi: Any = None) -> ReadBack:
    """Return findings as the user left them in the scene.

    Where nothing was changed the very same findings come back. After a mask edit the box
    is tight to the mask and sizes are measured anew. A moved ROI then moves its finding's
    box and crops its mask, see `apply_roi_edit`; the segment itself is redrawn by
    `update_node`. The nodes are only read.

    Args:
        findings: as last written to the node.
        node: the vtkMRMLSegmentationNode of `findings_to_node`.
        roi: the vtkMRMLMarkupsROINode of the finding in hand, or None.

    Raises:
        InputError: ``not-findings``, ``other-grid``, ``nonlinear-transform``,
            ``box-outside`` when the ROI was moved off the image.
    """
    record = read_record(node)
    if record.shape_kji != findings.geometry.shape_kji:
        raise InputError(
            "other-grid",
            f"the findings lie on {findings.geometry.shape_kji} voxels,"
            f" the segmentation on {record.shape_kji}",
            where=str(node.GetName()),
        )
    geometry = record.world_geometry(node)
    if not geometry.is_close(findings.geometry, 1e-6):
        findings = replace(findings, geometry=geometry)
    fingerprints = {key: patch.fingerprint for key, patch in patches_of(findings).items()}
    redrawn = _redraw_from(findings, read_segments(node, record), fingerprints)
    edited, after = set(redrawn.edited), redrawn.findings
    if not edited and not redrawn.removed:
        after = findings
    item_id = "" if roi is None else finding_id_of_roi(roi)
    item = next((each for each in after if each.id == item_id), None)
    box = None if item is None else moved_box(roi, after.geometry, item.box)
    if box is not None:
        after = apply_roi_edit(after, item_id, box)
        edited.add(item_id)
    ids = tuple(each.id for each in after if each.id in edited)
    return ReadBack(after, ids, redrawn.removed)


def findings_from_node(node: Any, adopt_user_segments: bool = False) -> Findings:
    """Return the findings a segmentation node holds, also after save and load.

    Segments that were edited since the findings were last written to the node come back as
    edited findings, deleted or emptied ones are left out.

    Args:
        node: vtkMRMLSegmentationNode made by `findings_to_node`.
        adopt_user_segments: also list segments the user made, as "added" findings of the
            class whose name they bear; the segments themselves are not touched.

    Raises:
        InputError: ``not-findings``, ``nonlinear-transform``, or what `Geometry` refuses.
    """
    record = read_record(node)
    voxels = read_segments(node, record)
    findings = _redraw_from(record.skeleton(node), voxels, record.fingerprints).findings
    return _adopted(findings, voxels, node) if adopt_user_segments else findings


def _redraw_from(
    findings: Findings, voxels: SegmentVoxels, fingerprints: dict[str, str]
) -> Redrawn:
    """Redraw from segments; a deleted segment removes its finding, even an empty one."""
    deleted = {item.id: "" for item in findings if item.id not in voxels.segment_ids}
    return redraw(findings, voxels.patches, {**fingerprints, **deleted})


def _adopted(findings: Findings, voxels: SegmentVoxels, node: Any) -> Findings:
    segmentation = node.GetSegmentation()
    known = set(voxels.segment_ids)
    for segment_id, patch in voxels.user_patches.items():
        name = str(segmentation.GetSegment(segment_id).GetName() or "")
        label = _label_named(name, findings.labels)
        if label is None:
            findings = findings.with_notes(
                Note("unknown-class", f"segment '{name}' bears the name of no class; left out")
            )
            continue
        item_id = segment_id if segment_id not in known else f"{segment_id}-copy"
        findings = _with_added(findings, item_id, label, patch)
    return findings


def _label_named(name: str, labels: tuple[Label, ...]) -> Label | None:
    """Return the class a segment's name means: its own, or the only one there is."""
    wanted = name.casefold()
    for label in labels:
        if label.name.casefold() in (wanted, *wanted.split()):
            return label
    return labels[0] if len(labels) == 1 else None


def _with_added(findings: Findings, item_id: str, label: Label, patch: Patch) -> Findings:
    empty = Finding(item_id, label.value, 1.0, patch.box, None, 0.0, 0.0, "added")
    patches = patches_of(findings)
    before = {key: each.fingerprint for key, each in patches.items()}
    with_item = replace(findings, items=(*findings.items, empty))
    return redraw(with_item, {**patches, item_id: patch}, before).findings

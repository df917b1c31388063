"""What a segmentation node remembers beyond its voxels, so that a loaded scene is whole."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from MedDetectLib.adapters.mrml.placement import to_world_matrix
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Findings
from MedDetectLib.core.geometry import FloatArray, Geometry
from MedDetectLib.review.patches import Patch

__all__ = ["Record", "plain_json", "plain_pair", "read_record", "write_parts", "write_record"]

ATTRIBUTE = "MedDetect.Findings"
FORMAT = "meddetect.mrml/1"
SAME_PLACE_MM = 1e-6
"""A grid that moved less than this since it was written down has not moved."""


@dataclass(frozen=True)
class Record:
    """The findings as last written to a node, without their label map.

    Args:
        findings: what `Findings.to_json` gave.
        ijk_to_node: (4, 4), the grid's voxel centres to the node's own mm.
        fingerprints: `Patch.fingerprint` of each finding's voxels, by id.
        has_label_map: whether the findings came with a label map, be it an empty one.
        unclaimed: `Patch.to_json` of the label map's voxels that belong to no finding and
            so to no segment, by value.
    """

    findings: dict[str, Any]
    ijk_to_node: FloatArray
    fingerprints: dict[str, str]
    has_label_map: bool
    unclaimed: dict[str, list[Any]]

    @property
    def shape_kji(self) -> tuple[int, int, int]:
        """The grid's size."""
        k, j, i = self.findings["geometry"]["shape_kji"]
        return int(k), int(j), int(i)

    def world_geometry(self, node: Any) -> Geometry:
        """Return the grid where the node's transforms put it now.

        It is the recorded one to the last bit while they have not changed.

        Raises:
            InputError: ``nonlinear-transform``, or what `Geometry` refuses.
        """
        recorded = Geometry.from_json(self.findings["geometry"])
        now = Geometry(self.shape_kji, to_world_matrix(node) @ self.ijk_to_node)
        return recorded if recorded.is_close(now, SAME_PLACE_MM) else now

    def skeleton(self, node: Any) -> Findings:
        """Return the recorded findings over a label map without any of their voxels."""
        label_map = np.zeros(self.shape_kji, np.uint16) if self.has_label_map else None
        if label_map is not None:
            for value, data in self.unclaimed.items():
                patch = Patch.from_json(data)
                label_map[patch.slices][patch.mask] = int(value)
        placed = {**self.findings, "geometry": self.world_geometry(node).to_json()}
        return Findings.from_json(placed, label_map)


def write_record(node: Any, record: Record) -> None:
    """Keep a record in a node; it is saved with the scene."""
    about = {key: value for key, value in record.findings.items() if key != "findings"}
    items = [plain_json(item) for item in record.findings["findings"]]
    prints = [plain_pair(key, text) for key, text in record.fingerprints.items()]
    write_parts(node, record, about, items, prints)


def write_parts(
    node: Any,
    record: Record,
    about: dict[str, Any],
    items: Iterable[str],
    prints: Iterable[str],
) -> None:
    """Keep a record whose findings are written down already, each as `plain_json`.

    Args:
        node: vtkMRMLSegmentationNode.
        record: everything but findings and fingerprints.
        about: what `Findings.to_json` gives, without the findings.
        items: each finding.
        prints: each fingerprint, as `plain_pair`.
    """
    rest = plain_json(
        {
            "format": FORMAT,
            "ijk_to_node": record.ijk_to_node.tolist(),
            "has_label_map": record.has_label_map,
            "unclaimed": record.unclaimed,
        }
    )
    findings = f'{plain_json(about)[:-1]},"findings":[{",".join(items)}]}}'
    text = f'{{"findings":{findings},"fingerprints":{{{",".join(prints)}}},{rest[1:]}'
    node.SetAttribute(ATTRIBUTE, text)


def plain_pair(item_id: str, fingerprint: str) -> str:
    """Return one entry of `Record.fingerprints` as it is written."""
    return f"{plain_json(item_id)}:{plain_json(fingerprint)}"


def read_record(node: Any) -> Record:
    """Return the record a node keeps.

    Raises:
        InputError: ``not-findings`` when the node holds none, or one of another version.
    """
    text = None if node is None else node.GetAttribute(ATTRIBUTE)
    name = "" if node is None else str(node.GetName())
    if not text:
        raise InputError(
            "not-findings",
            "the node holds no findings of MedDetect",
            where=name,
            todo="choose the segmentation that Detect made",
        )
    try:
        data = json.loads(text)
        if data.pop("format") != FORMAT:
            raise ValueError
        matrix = np.array(data.pop("ijk_to_node"), dtype=np.float64)
        return Record(ijk_to_node=matrix, **data)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "not-findings",
            f"the node's attribute '{ATTRIBUTE}' cannot be read",
            where=name,
            todo="load the scene with the MedDetect version that saved it",
        ) from error


def plain_json(data: Any) -> str:
    r"""Return JSON that survives as an MRML attribute and as a segment tag.

    MRML separates attributes by ``;`` and tags by ``|``; inside JSON strings, the only
    place where they occur, both are written as escapes. Everything else is ASCII.
    """
    text = json.dumps(data, separators=(",", ":"))
    for character in ";|%":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text

"""A folder of findings: what was found, for programs, for Slicer, and to read back.

findings.json           everything but the voxels
segmentation.seg.nrrd   one segment per finding (absent when there is neither finding
                        nor label map)
boxes.mrk.json          one Slicer ROI per finding, in LPS as the file itself declares
boxes.json              the same boxes in RAS, and as voxel edges
"""

from __future__ import annotations

import hashlib
import json
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from MedDetectLib.cases.atomic import make_folder, write_bytes
from MedDetectLib.cases.durable import said_plainly
from MedDetectLib.cases.label_files import (
    finding_title,
    read_segmentation,
    segmentation_of,
    write_segmentation,
)
from MedDetectLib.cases.lps import points_flipped
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.core.geometry import FloatArray

__all__ = ["read_findings", "write_findings"]

FINDINGS, SEGMENTATION = "findings.json", "segmentation.seg.nrrd"
MARKUPS, BOXES = "boxes.mrk.json", "boxes.json"
MARKUPS_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/"
    "Resources/Schema/markups-schema-v1.0.3.json#"
)


def write_findings(findings: Findings, folder: str | PathLike[str]) -> Path:
    """Write all files of a result; the same findings give the same bytes.

    Each file is replaced as a whole, ``findings.json`` last; it holds the fingerprint of the
    segmentation, so that a crash in between is noticed when they are read.

    Returns:
        The path of ``findings.json``.

    Raises:
        StoreError: ``cannot-write``, ``disk-full``.
    """
    folder = Path(folder)
    make_folder(folder)
    data = findings.to_json()
    with said_plainly(folder, "the findings"):
        segmentation = folder / SEGMENTATION
        if findings.items or findings.label_map is not None:
            write_segmentation(segmentation_of(findings), segmentation)
            digest = hashlib.sha256(segmentation.read_bytes()).hexdigest()
            data["segmentation"] = {
                "file": SEGMENTATION,
                "sha256": digest,
                "has_masks": findings.label_map is not None,
            }
        else:
            segmentation.unlink(missing_ok=True)
        _write_json(folder / MARKUPS, _markups(findings))
        _write_json(folder / BOXES, _boxes(findings))
        _write_json(folder / FINDINGS, data)
    return folder / FINDINGS


def read_findings(folder: str | PathLike[str]) -> Findings:
    """Read what `write_findings` wrote.

    Args:
        folder: the folder, or its ``findings.json``.

    Raises:
        InputError: ``no-file``, ``bad-findings-file``, ``torn-findings`` when the
            segmentation is not the one the findings were written with.
    """
    folder = Path(folder)
    path = folder if folder.name == FINDINGS else folder / FINDINGS
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            "no-file", "there are no findings", where=path, todo="run detect first"
        ) from error
    except (OSError, ValueError) as error:
        raise _bad(path, f"it cannot be read ({error})") from error
    label_map = None
    try:
        kept = data.get("segmentation")
        if kept is not None:
            segmentation = path.with_name(SEGMENTATION)
            _check_same(segmentation, str(kept["sha256"]))
            if kept["has_masks"]:
                label_map = np.ascontiguousarray(read_segmentation(segmentation).layers[0])
        return Findings.from_json(data, label_map)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _bad(path, f"it is incomplete ({error!r})") from error


def _check_same(path: Path, sha256: str) -> None:
    """Refuse another segmentation than the one that belongs to the findings."""
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        found = ""
    except OSError as error:
        raise _bad(path, f"it cannot be read ({error.strerror or error})") from error
    if found != sha256:
        raise InputError(
            "torn-findings",
            "the segmentation is not the one the findings were written with",
            where=path,
            todo="run detect again, or save edits through the review",
        )


def _bad(path: Path, what: str) -> InputError:
    return InputError("bad-findings-file", what, where=path, todo="run detect again")


def _write_json(path: Path, data: dict[str, Any]) -> None:
    """Write indented JSON; numbers that are not finite never get here."""
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode("utf-8"))


def _axes_ras(findings: Findings) -> FloatArray:
    """(3, 3) right-handed unit vectors of i, j, k as columns: a box has no handedness."""
    axes = findings.geometry.directions_ras.copy()
    if np.linalg.det(axes) < 0:
        axes[:, 2] *= -1.0
    return axes


def _size_ijk_mm(findings: Findings, item: Finding) -> list[float]:
    """Return the side lengths along i, j, k."""
    return [float(x) for x in findings.geometry.box_size_kji_mm(item.box)[::-1]]


def _boxes(findings: Findings) -> dict[str, Any]:
    """Return the boxes in RAS and in voxel edges."""
    axes = _axes_ras(findings)
    return {
        "format": "meddetect.boxes/1",
        "coordinate_system": "RAS",
        "unit": "mm",
        "boxes": [
            {
                "id": item.id,
                "label": findings.label_of(item).name,
                "score": item.score,
                "state": item.state,
                "centre_ras_mm": findings.geometry.box_centre_ras_mm(item.box).tolist(),
                "size_ijk_mm": _size_ijk_mm(findings, item),
                "axes_ijk_ras": axes.T.tolist(),
                "edges_kji": list(item.box),
            }
            for item in findings
        ],
    }


def _markups(findings: Findings) -> dict[str, Any]:
    """Return the boxes as Slicer ROI markups."""
    axes_lps = points_flipped(_axes_ras(findings).T).T
    markups = []
    for item in findings:
        label = findings.label_of(item)
        centre_lps = points_flipped(findings.geometry.box_centre_ras_mm(item.box)).tolist()
        title = finding_title(findings, item)
        orientation = [float(x) for x in axes_lps.ravel()]
        colour = [c / 255 for c in label.colour_rgb]
        markups.append(
            {
                "type": "ROI",
                "name": title,
                "coordinateSystem": "LPS",
                "coordinateUnits": "mm",
                "locked": False,
                "fixedNumberOfControlPoints": False,
                "labelFormat": "%N",
                "lastUsedControlPointNumber": 1,
                "roiType": "Box",
                "center": centre_lps,
                "orientation": orientation,
                "size": _size_ijk_mm(findings, item),
                "insideOut": False,
                "controlPoints": [
                    {
                        "id": "1",
                        "label": title,
                        "description": f"state {item.state}",
                        "associatedNodeID": "",
                        "position": centre_lps,
                        "orientation": orientation,
                        "selected": True,
                        "locked": False,
                        "visibility": True,
                        "positionStatus": "defined",
                    }
                ],
                "display": {
                    "visibility": True,
                    "color": colour,
                    "selectedColor": colour,
                },
            }
        )
    return {"@schema": MARKUPS_SCHEMA, "markups": markups}

"""Segmentations as Slicer's ``.seg.nrrd``, and plain label maps, in and out.

A ``.seg.nrrd`` is a NRRD label map whose key/value pairs say what each value means:
``Segment0_Name``, ``Segment0_LabelValue`` and so on. Segments that overlap lie in layers,
a list axis before the three of space.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.cases.atomic import replacing
from MedDetectLib.cases.image_files import read_volume
from MedDetectLib.cases.lps import to_sitk
from MedDetectLib.cases.nrrd_header import parse_nrrd
from MedDetectLib.cases.nrrd_write import write_nrrd
from MedDetectLib.cases.raw_image import read_layers
from MedDetectLib.cases.segments import Segment, Segmentation
from MedDetectLib.cases.sniff import kind_of
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding, Findings, LabelMap
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.labels import Code, Label
from MedDetectLib.core.quality import Intake
from MedDetectLib.core.rasterise import box_slices

__all__ = [
    "Segment",
    "Segmentation",
    "finding_title",
    "read_label_map",
    "read_segmentation",
    "segmentation_of",
    "terminology_entry",
    "write_label_map",
    "write_segmentation",
]

SEGMENT_KEY = re.compile(r"Segment(\d+)_(\w+)")
TISSUE = Code("SCT", "85756007", "Tissue")


def terminology_entry(label: Label) -> str:
    """Return a label's coded meaning as Slicer writes it into a segment's tag.

    A label without coded meaning gets Slicer's own default, Tissue.
    """
    coded = label.terminology
    category, kind = (coded.category, coded.type) if coded else (TISSUE, TISSUE)
    region = _triple(coded.anatomic_region) if coded and coded.anatomic_region else "^^"
    return "~".join(
        (
            "Segmentation category and type - DICOM master list",
            _triple(category),
            _triple(kind),
            "^^",
            "Anatomic codes - DICOM master list",
            region,
            "^^",
        )
    )


def finding_title(findings: Findings, item: Finding) -> str:
    """Return what a finding is called in lists: ``"F1 nodule 0.97"``."""
    return f"{item.id} {findings.label_of(item).name} {item.score:.2f}"


def segmentation_of(findings: Findings) -> Segmentation:
    """Return one segment per finding on the volume's own grid.

    Masks keep their values, in the first layer. A finding that is a box only becomes the
    voxels of its box (see `box_slices`), in the first layer where it overlaps nothing but
    never among the masks.
    """
    shape = findings.geometry.shape_kji
    masks = findings.label_map
    layers: list[LabelMap] = [] if masks is None else [masks]
    highest = [0] * len(layers)
    segments = []
    for item in findings:
        layer, used = 0, item.mask_value
        if used is None:
            where = box_slices(item.box, shape)
            layer = 0 if masks is None else 1
            while layer < len(layers) and layers[layer][where].any():
                layer += 1
            if layer == len(layers):
                layers.append(np.zeros(shape, np.uint16))
                highest.append(0)
            used = highest[layer] = highest[layer] + 1
            layers[layer][where] = used
        label = findings.label_of(item)
        tags = {
            "TerminologyEntry": terminology_entry(label),
            "MedDetect.FindingId": item.id,
            "MedDetect.Label": label.name,
            "MedDetect.Score": f"{item.score:.6g}",
            "MedDetect.State": item.state,
            "MedDetect.Model": f"{findings.provenance.model}"
            f" {findings.provenance.model_version}".strip(),
        }
        title = finding_title(findings, item)
        segments.append(Segment(item.id, title, label.colour_rgb, used, layer, tags))
    stacked = np.stack(layers) if layers else np.zeros((1, *shape), np.uint16)
    return Segmentation(findings.geometry, stacked, tuple(segments))


def write_segmentation(findings: Findings | Segmentation, path: str | PathLike[str]) -> None:
    """Write segments as ``.seg.nrrd``, at once or not at all.

    Raises:
        StoreError: ``cannot-write``.
    """
    whole = segmentation_of(findings) if isinstance(findings, Findings) else findings
    write_nrrd(Path(path), whole.layers, whole.geometry, _pairs(whole))


def read_segmentation(path: str | PathLike[str]) -> Segmentation:
    """Read a ``.seg.nrrd`` (ours or Slicer's), or any integer NRRD label map.

    A label map without segment descriptions gets one segment per value.

    Raises:
        InputError: ``bad-label-map`` when the voxels are not whole numbers from 0 to 65535 or
            a segment names a layer that is not there; else as `read_volume`.
    """
    path = Path(path)
    if (kind := kind_of(path)) != "nrrd":
        raise InputError("bad-label-map", f"this is a {kind} file, not NRRD", where=path,
                         todo="give a .seg.nrrd file")  # fmt: skip
    intake = Intake(path)
    layers, geometry = read_layers(path, intake)
    layers = _as_labels(layers, path)
    fields, _ = parse_nrrd(path, intake)
    segments = _segments(fields)
    if not segments:
        segments = [
            Segment(f"Segment_{v}", f"Segment {v}", (128, 174, 128), int(v), n)
            for n, layer in enumerate(layers)
            for v in np.unique(layer)
            if v
        ]
    if any(not 0 <= segment.layer < len(layers) for segment in segments):
        raise intake.error("bad-label-map", "a segment lies in a layer that is not there",
                           "save the segmentation again")  # fmt: skip
    return Segmentation(geometry, layers, tuple(segments))


def write_label_map(
    label_map: npt.NDArray[Any], geometry: Geometry, path: str | PathLike[str]
) -> None:
    """Write [k, j, i] label values as NIfTI, NRRD or MetaImage, by the name's suffix.

    Raises:
        StoreError: ``cannot-write``.
    """
    import SimpleITK

    with replacing(Path(path)) as made:
        try:
            SimpleITK.WriteImage(to_sitk(label_map, geometry), str(made), useCompression=True)
        except RuntimeError as error:
            raise OSError(str(error).strip().splitlines()[-1]) from error


def read_label_map(path: str | PathLike[str]) -> tuple[LabelMap, Geometry]:
    """Read a plain label map: [k, j, i] uint16 and its grid.

    Raises:
        InputError: ``bad-label-map`` when the voxels are not whole numbers from 0 to 65535;
            else as `read_volume`.
    """
    volume = read_volume(path)
    return _as_labels(volume.array, Path(path)), volume.geometry


def _as_labels(array: npt.NDArray[Any], path: Path) -> LabelMap:
    """Return uint16 labels, refusing what is none."""
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if low < 0 or high > 65535 or (array.dtype.kind == "f" and (array % 1 != 0).any()):
        raise InputError(
            "bad-label-map",
            f"its voxels reach from {low:g} to {high:g} and are not all label numbers",
            where=path,
            todo="give a label map: whole numbers from 0 to 65535",
        )
    return array.astype(np.uint16)


def _triple(code: Code) -> str:
    """Return a code as ``scheme^value^meaning`` without the characters that separate codes."""
    return "^".join(re.sub(r"[~^|\r\n]", " ", p) for p in (code.scheme, code.value, code.meaning))


def _pairs(whole: Segmentation) -> dict[str, str]:
    """Return the key/value pairs that describe the segments to Slicer."""
    pairs: dict[str, str] = {}
    extents = [_extents(layer) for layer in whole.layers]
    for n, segment in enumerate(whole.segments):
        key = f"Segment{n}_"
        # An empty segment ends before it begins.
        extent = extents[segment.layer].get(segment.value, (0, -1, 0, -1, 0, -1))
        red, green, blue = (f"{c / 255:.6g}" for c in segment.colour_rgb)
        tags = {k: re.sub(r"[|\r\n]", " ", v) for k, v in segment.tags.items()}
        pairs |= {
            f"{key}Color": f"{red} {green} {blue}",
            f"{key}ColorAutoGenerated": "0",
            f"{key}Extent": " ".join(map(str, extent)),
            f"{key}ID": segment.id,
            f"{key}LabelValue": str(segment.value),
            f"{key}Layer": str(segment.layer),
            f"{key}Name": segment.name,
            f"{key}NameAutoGenerated": "0",
            f"{key}Tags": "".join(f"{k}:{v}|" for k, v in tags.items()),
        }
    return pairs | {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ConversionParameters": "",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }


def _extents(layer: npt.NDArray[Any]) -> dict[int, Sequence[int]]:
    """Return the first and last i, j, k of every value of a layer."""
    from scipy.ndimage import find_objects

    return {
        value: [n for span in reversed(spans) for n in (span.start, span.stop - 1)]
        for value, spans in enumerate(find_objects(layer), 1)
        if spans is not None
    }


def _segments(fields: dict[str, str]) -> list[Segment]:
    """Rebuild the segments from the key/value pairs."""
    found: dict[int, dict[str, str]] = {}
    for key, value in fields.items():
        if match := SEGMENT_KEY.fullmatch(key):
            found.setdefault(int(match[1]), {})[match[2]] = value
    segments = []
    for n in sorted(found):
        data = found[n]
        colour = [round(float(c) * 255) for c in data.get("Color", "0.5 0.68 0.5").split()[:3]]
        pairs = [t.partition(":") for t in data.get("Tags", "").split("|") if ":" in t]
        name = data.get("ID", f"Segment_{n + 1}")
        segments.append(
            Segment(
                name, data.get("Name", name), (colour[0], colour[1], colour[2]),
                int(data.get("LabelValue", "1")), int(data.get("Layer", str(n))),
                {key: value for key, _, value in pairs},
            )
        )  # fmt: skip
    return segments

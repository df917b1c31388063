"""Masks of findings as one DICOM Segmentation, one segment per finding (PS3.3 A.51)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from MedDetectLib import __version__
from MedDetectLib.cases.clinical.identity import one_line, tracking_id, uid_from
from MedDetectLib.cases.clinical.reader import Reader, person_name
from MedDetectLib.cases.clinical.source import SourceSeries
from MedDetectLib.cases.clinical.stand_ins import stand_ins
from MedDetectLib.cases.clinical.terms import ALGORITHM_FAMILY, cie_lab, coded, terminology_of
from MedDetectLib.cases.lps import lps_parts
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Finding, Findings, LabelMap, Provenance, State

if TYPE_CHECKING:
    from highdicom.content import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from pydicom.dataset import Dataset

__all__ = ["MANUFACTURER", "Uids", "algorithm_name", "build_seg", "finish", "masked"]

MANUFACTURER = "MedDetect"
AlgorithmType = Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"]
ALGORITHM_TYPES: dict[State, AlgorithmType] = {
    "new": "AUTOMATIC",
    "accepted": "AUTOMATIC",
    "rejected": "AUTOMATIC",
    "edited": "SEMIAUTOMATIC",
    "added": "MANUAL",
}


@dataclass(frozen=True)
class Uids:
    """Identifiers and number of a series with one instance, and when it came to be."""

    series: str
    instance: str
    series_number: int
    moment: datetime


def masked(findings: Findings, items: Sequence[Finding]) -> list[Finding]:
    """Return those findings that have voxels, in order: segment n is the n-th of them."""
    if findings.label_map is None:
        return []
    values = {item.mask_value for item in items if item.mask_value is not None}
    lookup = np.zeros(1 << 16, bool)
    for plane in findings.label_map:
        lookup[plane.ravel()] = True
    return [item for item in items if item.mask_value in values and lookup[item.mask_value]]


def build_seg(
    source: SourceSeries,
    findings: Findings,
    items: Sequence[Finding],
    uids: Uids,
    tracking: Mapping[str, str],
    reader: Reader | None = None,
) -> Dataset:
    """Make the segmentation of findings that have voxels.

    Frames lie on the source images' own planes. Those of a resampled source (tilt, gaps) lie
    on the grid it was read on, in the same frame of reference.

    Args:
        source: the series.
        findings: all of them.
        items: out of `masked`; at least one.
        uids: of the segmentation.
        tracking: tracking UIDs by finding id.
        reader: who signed, None for nobody.

    Raises:
        InputError: ``other-grid`` when a mask reaches beyond the series.
    """
    from highdicom.seg import Segmentation
    from pydicom.uid import ExplicitVRLittleEndian

    if not items:
        raise InputError("nothing-to-export", "no finding has a mask")
    standing = stand_ins(source)
    made = Segmentation(
        source_images=standing.headers,
        pixel_array=_numbered(source, findings, items),
        segmentation_type="BINARY",
        segment_descriptions=_descriptions(findings, items, tracking),
        series_instance_uid=uids.series,
        series_number=uids.series_number,
        sop_instance_uid=uids.instance,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name="MedDetect",
        software_versions=__version__,
        device_serial_number=findings.provenance.model_sha256[:16] or "none",
        content_description="Findings of MedDetect",
        content_label="FINDINGS",
        content_creator_name=person_name(reader.name) if reader else None,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description=_series_description(findings.provenance, reader),
        content_date=uids.moment.date(),
        content_time=uids.moment.time(),
        **(_own_planes(source) if source.resampled else {}),
    )
    standing.point_at_images(made)
    _name_dimensions(made, uid_from("dimensions", uids.instance))
    finish(made, uids)
    return made


def finish(made: Dataset, uids: Uids) -> None:
    """Say when the object was made and in which alphabet; nothing in it is left to chance."""
    made.InstanceCreationDate = uids.moment.date()
    made.InstanceCreationTime = uids.moment.time()
    made.SeriesDate, made.SeriesTime = uids.moment.date(), uids.moment.time()
    for equipment in made.get("ContributingEquipmentSequence") or ():
        if "ContributionDateTime" in equipment:
            equipment.ContributionDateTime = uids.moment
    made.SpecificCharacterSet = "ISO_IR 192"


def _name_dimensions(made: Dataset, uid: str) -> None:
    """Give the dimension organization a UID that is worked out like all others."""
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid


def algorithm_name(made_by: Provenance) -> str:
    """Return the model's name as it may stand in LO."""
    return one_line(made_by.model) or "unknown"


def _series_description(made_by: Provenance, reader: Reader | None) -> str:
    kind = "signed" if reader and reader.signed else "unsigned"
    return one_line(f"MedDetect findings ({kind}) {algorithm_name(made_by)}")


def _numbered(source: SourceSeries, findings: Findings, items: Sequence[Finding]) -> LabelMap:
    """Return [k, j, i] segment numbers on the source grid."""
    label_map = findings.label_map
    if label_map is None:
        raise InputError("nothing-to-export", "no finding has a mask")
    lookup = np.zeros(1 << 16, np.uint16)
    for number, item in enumerate(items, 1):
        lookup[item.mask_value or 0] = number
    lookup[0] = 0
    return source.match.to_source(np.asarray(lookup[label_map]))


def _descriptions(
    findings: Findings, items: Sequence[Finding], tracking: Mapping[str, str]
) -> list[SegmentDescription]:
    from highdicom.seg import SegmentDescription

    algorithm = algorithm_identification(findings.provenance)
    made = []
    for number, item in enumerate(items, 1):
        label = findings.label_of(item)
        terms = terminology_of(label)
        kind = ALGORITHM_TYPES[item.state]
        description = SegmentDescription(
            segment_number=number,
            segment_label=tracking_id(findings, item),
            segmented_property_category=coded(terms.category),
            segmented_property_type=coded(terms.type),
            algorithm_type=kind,
            algorithm_identification=None if kind == "MANUAL" else algorithm,
            tracking_uid=tracking[item.id],
            tracking_id=tracking_id(findings, item),
            anatomic_regions=[coded(terms.anatomic_region)] if terms.anatomic_region else None,
        )
        description.SegmentDescription = f"{label.name}, {item.state}"
        description.RecommendedDisplayCIELabValue = cie_lab(label.colour_rgb)
        made.append(description)
    return made


def algorithm_identification(made_by: Provenance) -> AlgorithmIdentificationSequence:
    """Return which model found it: name, version, fingerprint of its weights."""
    from highdicom.content import AlgorithmIdentificationSequence

    return AlgorithmIdentificationSequence(
        name=algorithm_name(made_by),
        family=coded(ALGORITHM_FAMILY),
        version=one_line(made_by.model_version) or "unknown",
        source=MANUFACTURER,
        parameters={"sha256": made_by.model_sha256, "backend": made_by.backend,
                    "precision": made_by.precision, "MedDetect": made_by.meddetect_version},
    )  # fmt: skip


def _own_planes(source: SourceSeries) -> dict[str, Any]:
    """Return the planes of a resampled grid."""
    from highdicom.content import (
        PixelMeasuresSequence,
        PlaneOrientationSequence,
        PlanePositionSequence,
    )

    origin_lps, spacing_ijk, direction_lps = lps_parts(source.geometry)
    normal_lps = direction_lps[:, 2] * spacing_ijk[2]
    return {
        "plane_positions": [
            PlanePositionSequence("PATIENT", (origin_lps + n * normal_lps).tolist())
            for n in range(source.geometry.shape_kji[0])
        ],
        "plane_orientation": PlaneOrientationSequence(
            "PATIENT", [*direction_lps[:, 0].tolist(), *direction_lps[:, 1].tolist()]
        ),
        "pixel_measures": PixelMeasuresSequence(
            pixel_spacing=[float(spacing_ijk[1]), float(spacing_ijk[0])],
            slice_thickness=float(spacing_ijk[2]),
            spacing_between_slices=float(spacing_ijk[2]),
        ),
    }

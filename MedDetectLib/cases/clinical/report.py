"""Findings as a DICOM Structured Report: measurement report TID 1500 (PS3.16)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from MedDetectLib import __version__
from MedDetectLib.cases.clinical import terms
from MedDetectLib.cases.clinical.identity import one_line, tracking_id, uid_from
from MedDetectLib.cases.clinical.reader import Reader, person_name
from MedDetectLib.cases.clinical.regions import box_regions, box_surface
from MedDetectLib.cases.clinical.segmentation import (
    MANUFACTURER,
    Uids,
    algorithm_name,
    finish,
)
from MedDetectLib.cases.clinical.source import SourceSeries
from MedDetectLib.cases.clinical.stand_ins import frame_of_reference, patient_and_study
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.core.labels import Label

if TYPE_CHECKING:
    from highdicom.sr import (
        MeasurementsAndQualitativeEvaluations,
        ObservationContext,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )
    from pydicom.dataset import Dataset

__all__ = ["build_sr"]

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"


def build_sr(
    source: SourceSeries,
    findings: Findings,
    items: Sequence[Finding],
    seg: Dataset | None,
    segments: Sequence[Finding],
    uids: Uids,
    tracking: Mapping[str, str],
    reader: Reader | None = None,
) -> Dataset:
    """Make the report on findings.

    A finding with a mask points at its segment, one without has its box slice by slice. A case
    without findings says so; case scores are groups of their own.

    Args:
        source: the series.
        findings: all of them.
        items: those to report.
        seg: the segmentation, None when no finding has a mask.
        segments: whose segments they are, in order.
        uids: of the report.
        tracking: tracking UIDs by finding id.
        reader: who signed, None for nobody.
    """
    from highdicom.sr import Comprehensive3DSR, MeasurementReport

    evidence = _evidence(source)
    numbers = {item.id: number for number, item in enumerate(segments, 1)}
    groups: list[Any] = [
        _group(source, findings, item, tracking[item.id], seg, numbers.get(item.id, 0))
        for item in items
    ]
    groups += [
        _case_group(source, findings, label, f"{score.score * 100:.6g}")
        for score in findings.case_scores
        if (label := _label(findings, score.label)) is not None
    ]
    if not items:
        groups.append(_nothing_found(source, findings))
    report = MeasurementReport(
        observation_context=_observers(findings, reader),
        procedure_reported=terms.coded(
            terms.PROCEDURES.get(source.frames[0].file.text("Modality"), terms.PROCEDURE_OF_OTHERS)
        ),
        imaging_measurements=groups,
        referenced_images=_library(evidence),
    )
    signed = bool(reader and reader.signed)
    verified = signed and reader is not None and bool(reader.organisation)
    made = Comprehensive3DSR(
        evidence=[*evidence, *([seg] if seg is not None else [])],
        content=report[0],
        series_instance_uid=uids.series,
        series_number=uids.series_number,
        sop_instance_uid=uids.instance,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name="MedDetect",
        software_versions=__version__,
        device_serial_number=findings.provenance.model_sha256[:16] or "none",
        is_complete=signed,
        is_final=signed,
        is_verified=verified,
        verifying_observer_name=person_name(reader.name) if reader and verified else None,
        verifying_organization=reader.organisation if reader and verified else None,
        series_description=one_line(f"MedDetect report {algorithm_name(findings.provenance)}"),
        coding_schemes=terms.coding_schemes(),
        content_date=uids.moment.date(),
        content_time=uids.moment.time(),
    )
    if verified:
        made.VerifyingObserverSequence[0].VerificationDateTime = uids.moment
    if not signed:
        made.CompletionFlagDescription = "not signed by a reader"
    finish(made, uids)
    return made


def _evidence(source: SourceSeries) -> list[Dataset]:
    """Return one header per image file, with what highdicom takes from it."""
    from pydicom.dataset import Dataset

    made: dict[str, Dataset] = {}
    for frame in source.frames:
        file = frame.file
        uid = file.text("SOPInstanceUID")
        if uid in made:
            continue
        header = Dataset()
        for keyword, value in patient_and_study(source).items():
            setattr(header, keyword, value)
        for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
            setattr(header, keyword, file.text(keyword))
        header.FrameOfReferenceUID = frame_of_reference(source)
        header.Rows, header.Columns = frame.size_ij[1], frame.size_ij[0]
        # the place of each image is in the image; in the library it would only be a copy
        header.Modality = ""
        made[uid] = header
    return list(made.values())


def _library(evidence: Sequence[Dataset]) -> list[Dataset] | None:
    """Return the images for the library; None for kinds of image it has no modality for."""
    from highdicom.sr import ImageLibrary

    try:
        ImageLibrary(list({str(one.SOPClassUID): one for one in evidence}.values()))
    except ValueError:
        return None
    return list(evidence)


def _observers(findings: Findings, reader: Reader | None) -> ObservationContext:
    """Return who observed: the program with its model, and the reader who signed."""
    from highdicom.sr import (
        DeviceObserverIdentifyingAttributes,
        ObservationContext,
        ObserverContext,
        PersonObserverIdentifyingAttributes,
    )
    from pydicom.sr.codedict import codes

    made_by = findings.provenance
    name = algorithm_name(made_by)
    device = ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=uid_from("model", made_by.model, made_by.model_version, made_by.model_sha256),
            name=one_line(f"MedDetect {name}"),
            manufacturer_name=MANUFACTURER,
            model_name=one_line(f"{name} {made_by.model_version}"),
            serial_number=made_by.model_sha256[:64] or None,
        ),
    )
    if reader is None:
        return ObservationContext(observer_device_context=device)
    person = ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=PersonObserverIdentifyingAttributes(
            name=person_name(reader.name),
            login_name=reader.login or None,
            organization_name=reader.organisation or None,
        ),
    )
    return ObservationContext(observer_person_context=person, observer_device_context=device)


def _group(
    source: SourceSeries,
    findings: Findings,
    item: Finding,
    uid: str,
    seg: Dataset | None,
    segment: int,
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    """Return what is said about one finding; `segment` is 0 for a box only."""
    from highdicom.sr import (
        AlgorithmIdentification,
        FindingSite,
        QualitativeEvaluation,
        ReferencedSegment,
        SourceSeriesForSegmentation,
        TrackingIdentifier,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    label = findings.label_of(item)
    meaning = terms.terminology_of(label)
    where: dict[str, Any] = {}
    if segment and seg is not None:
        where["referenced_segment"] = ReferencedSegment(
            seg.SOPClassUID,
            seg.SOPInstanceUID,
            segment,
            source_series=SourceSeriesForSegmentation(source.frames[0].file.series_uid),
        )
    elif source.resampled:
        where["referenced_volume_surface"] = box_surface(source, item)
    else:
        where["referenced_regions"] = box_regions(source, item)
    algorithm = None
    if item.state != "added":
        made_by = findings.provenance
        algorithm = AlgorithmIdentification(
            name=algorithm_name(made_by),
            version=one_line(made_by.model_version) or "unknown",
            parameters=[f"sha256={made_by.model_sha256}"] if made_by.model_sha256 else None,
        )
    region = meaning.anatomic_region
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=uid, identifier=tracking_id(findings, item)),
        finding_category=terms.coded(meaning.category),
        finding_type=terms.coded(meaning.type),
        algorithm_id=algorithm,
        finding_sites=[FindingSite(terms.coded(region))] if region else None,
        measurements=_measurements(item),
        qualitative_evaluations=[
            QualitativeEvaluation(
                terms.coded(terms.REVIEW_STATE), terms.coded(terms.STATES[item.state])
            )
        ],
        **where,
    )


def _measurements(item: Finding) -> list[Any]:
    """Return volume, longest diameter, and how certain the model was of what it found."""
    from highdicom.sr import Measurement

    made = [
        Measurement(
            terms.coded(terms.VOLUME), _decimal(item.volume_ml), terms.coded(terms.MILLILITRE)
        ),
        Measurement(
            terms.coded(terms.DIAMETER), _decimal(item.diameter_mm),
            terms.coded(terms.MILLIMETRE), derivation=terms.coded(terms.MAXIMUM),
        ),
    ]  # fmt: skip
    if item.state != "added":
        made.append(_certainty(item.score * 100))
    return made


def _certainty(percent: float) -> Any:
    from highdicom.sr import Measurement

    return Measurement(terms.coded(terms.CERTAINTY), _decimal(percent), terms.coded(terms.PERCENT))


def _decimal(value: float) -> float:
    """Return a number that DS can hold (16 characters) and a person can read."""
    return float(f"{value:.7g}")


def _label(findings: Findings, value: int) -> Label | None:
    return next((label for label in findings.labels if label.value == value), None)


def _case_group(
    source: SourceSeries, findings: Findings, label: Label, percent: str
) -> MeasurementsAndQualitativeEvaluations:
    """Return how likely a class is for the case as a whole."""
    from highdicom.sr import MeasurementsAndQualitativeEvaluations, TrackingIdentifier

    meaning = terms.terminology_of(label)
    made_by = findings.provenance
    uid = uid_from("case score", source.key, made_by.model, made_by.model_sha256, str(label.value))
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=uid, identifier=one_line(f"case {label.name}")),
        finding_category=terms.coded(meaning.category),
        finding_type=terms.coded(meaning.type),
        measurements=[_certainty(float(percent))],
    )


def _nothing_found(
    source: SourceSeries, findings: Findings
) -> MeasurementsAndQualitativeEvaluations:
    """Return that nothing was found: a report must say something (TID 1500)."""
    from highdicom.sr import (
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        TrackingIdentifier,
    )
    from pydicom.sr.codedict import codes

    made_by = findings.provenance
    uid = uid_from("nothing found", source.key, made_by.model, made_by.model_sha256)
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=uid, identifier="case without findings"),
        qualitative_evaluations=[
            QualitativeEvaluation(terms.coded(terms.CLINICAL_FINDING), codes.SCT.Absent)
        ],
    )

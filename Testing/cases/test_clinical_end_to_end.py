"""A corrected case of a real series: reviewed, signed, out as SEG and SR, through a PACS, back."""

import contextlib
import io
import json

import highdicom
import numpy as np
import pydicom
import pytest
from clinical_samples import complaints_of_dciodvfy, findings_in
from orthanc_server import running_orthanc

from MedDetectLib.adapters.cli.main import main
from MedDetectLib.cases.clinical.grid_match import match_voxels
from MedDetectLib.cases.findings_files import read_findings, write_findings
from MedDetectLib.cases.image_files import read_volume
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.review.acts import Accept, AddMask, EditMask, Reject, Sign
from MedDetectLib.review.session import ReviewSession


def said(*arguments):
    """Run a command and return what it says as JSON."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([*map(str, arguments), "--json"])
    assert code == 0, out.getvalue()
    return json.loads(out.getvalue())


def reviewed(store, case_id, folder):
    """Correct a case as a reader would, sign it, and return what was signed."""
    reading = store.start_reading(case_id, "Doe^Jane")
    volume = store.volume(case_id)
    with ReviewSession.start(
        folder, reading.findings, volume_sha256=volume.sha256, about={"case": case_id}
    ) as session:
        session.do(Accept("F1"))
        grown = session.findings.mask_of(session.findings.items[1]).copy()
        k, j, i = np.argwhere(grown)[0]
        grown[k, j : j + 9, i : i + 9] = True
        session.do(EditMask.drawn("F2", grown))
        session.do(Reject("F4", "vessel"))
        missed = np.zeros(volume.array.shape, bool)
        missed[-1, 3:9, 4:11] = True
        session.do(AddMask.drawn(missed, 2))
        session.do(Sign("Doe^Jane"))
        findings = session.findings
    return store.sign_reading(reading, findings), findings


@pytest.mark.realdata
def test_a_corrected_case_goes_through_a_pacs_and_overlays_to_the_voxel(unpacked, tmp_path):
    pytest.importorskip("pynetdicom", reason="the extra 'pacs' is not installed")
    series = unpacked("ct_abdomen_dicom/CRLM-CT-1004") / "CRLM-CT-1004"
    original = read_volume(series)
    write_findings(findings_in(original), tmp_path / "found")
    case_id = said(
        "store", "import", series, "--store", tmp_path / "store", "--patient", "P1",
        "--findings", tmp_path / "found",
    )["id"]  # fmt: skip
    store = CaseStore(tmp_path / "store")
    version, corrected = reviewed(store, case_id, tmp_path / "review")
    assert not [p for p in said("dicom", "check", series) if p["blocks"]]
    made = said(
        "dicom", "export", "--store", tmp_path / "store", "--case", case_id[:6],
        "--series", series, "--out", tmp_path / "out", "--organisation", "General Hospital",
    )  # fmt: skip
    for name in ("seg", "sr"):
        assert complaints_of_dciodvfy(made[name]) == []
    (tmp_path / "pacs").mkdir()
    with running_orthanc(tmp_path / "pacs") as orthanc:
        for door in (("--to", orthanc.to), ("--web", orthanc.web)):
            assert len(said("dicom", "push", tmp_path / "out", *door)["stored"]) == 2
        assert orthanc.instances == sorted([made["seg_uid"], made["sr_uid"]])
        study = original.source["study_instance_uid"]
        found = said("dicom", "query", "--from", orthanc.to, "--study", study)
        assert sorted(one["modality"] for one in found) == ["SEG", "SR"]
        for name, door in (("dimse", ("--to", orthanc.to)), ("web", ("--web", orthanc.web))):
            back = tmp_path / name
            said("dicom", "fetch", *door, "--study", study, "--out", back)
            overlays(back / f"{made['seg_uid']}.dcm", series, corrected, tmp_path / f"{name}-in")
    lies_on_the_pixels(tmp_path / "web" / f"{made['seg_uid']}.dcm", series, original, corrected)
    report = highdicom.sr.srread(tmp_path / "dimse" / f"{made['sr_uid']}.dcm")
    speaks_of(report, corrected, version, made)


def overlays(seg, series, corrected, out):
    """What came back is every finding that was not rejected, voxel by voxel."""
    said("dicom", "import", seg, "--series", series, "--out", out)
    back = read_findings(out)
    assert back.geometry.is_close(corrected.geometry, 1e-9)
    kept = [f for f in corrected if f.state != "rejected" and f.mask_value]
    assert [f.id for f in back] == [f.id for f in kept]
    for item, before in zip(back, kept, strict=True):
        np.testing.assert_array_equal(back.mask_of(item), corrected.mask_of(before))
        assert (item.state, item.box) == (before.state, before.box)


def lies_on_the_pixels(seg_file, series, volume, corrected):
    """No geometry and no reader of ours: the image a frame names has the pixels of its slice."""
    seg = highdicom.seg.segread(seg_file)
    images = {}
    for path in series.rglob("*"):
        if path.is_file() and pydicom.misc.is_dicom(path):
            image = pydicom.dcmread(path)
            images[image.SOPInstanceUID] = image
    kept = [f for f in corrected if f.state != "rejected" and f.mask_value]
    drawn = {f.id: np.zeros(volume.array.shape, bool) for f in kept}
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for plane, groups in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        named = groups.DerivationImageSequence[0].SourceImageSequence[0]
        image = images[named.ReferencedSOPInstanceUID]
        shown = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
        (k,) = (n for n, each in enumerate(volume.array) if np.array_equal(each, shown))
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        drawn[kept[int(number) - 1].id][k] = plane
    for item in kept:
        np.testing.assert_array_equal(drawn[item.id], corrected.mask_of(item))


def speaks_of(report, corrected, version, made):
    """The report is signed, and gives the findings' own figures."""
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "VERIFIED")
    assert report.VerifyingObserverSequence[0].VerifyingObserverName == "Doe^Jane"
    groups = report.content.get_volumetric_roi_measurement_groups()
    kept = [f for f in corrected if f.state != "rejected"]
    assert [g.tracking_identifier.split()[0] for g in groups] == [f.id for f in kept]
    for group, item in zip(groups, kept, strict=True):
        assert group.tracking_uid == made["tracking"][item.id]
        figures = {m.name.meaning: m.value for m in group.get_measurements()}
        assert figures["Volume"] == pytest.approx(item.volume_ml, rel=1e-6)
        assert figures["Diameter"] == pytest.approx(item.diameter_mm, rel=1e-6)
    assert version.author == "Doe^Jane"


@pytest.mark.realdata
def test_detected_findings_go_out_without_a_store_and_unsigned(bright_model, unpacked, tmp_path):
    series = unpacked("dicom_seg_sr_small/dcmqi_seg") / "dcmqi_seg" / "ct-3slice"
    model = bright_model(600.0)
    found = tmp_path / "found"
    said("detect", series, "--model", model, "--out", found, "--no-scene")
    findings = read_findings(found)
    assert len(findings) > 0
    made = said(
        "dicom", "export", "--findings", found, "--series", series, "--out", tmp_path / "out"
    )
    assert pydicom.dcmread(made["sr"]).CompletionFlag == "PARTIAL"
    said("dicom", "import", made["seg"], "--series", series, "--out", tmp_path / "back")
    back = read_findings(tmp_path / "back")
    to_own = match_voxels(back.geometry, findings.geometry).to_source(back.label_map)
    np.testing.assert_array_equal(to_own > 0, findings.label_map > 0)
    assert len(back) == len(findings)
    assert complaints_of_dciodvfy(made["seg"]) == complaints_of_dciodvfy(made["sr"]) == []

"""Findings go out as SEG and SR: the right voxels on the right images, said in full."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from clinical_samples import CYST, SIGNED, VERIFIED, findings_in
from made_dicom import as_mr, enhanced, series, write

from MedDetectLib.cases.clinical.export import export_clinical
from MedDetectLib.cases.clinical.identity import tracking_uid
from MedDetectLib.cases.clinical.reader import Reader
from MedDetectLib.cases.clinical.reference import read_reference
from MedDetectLib.cases.clinical.terms import cie_lab, rgb_from_cie_lab
from MedDetectLib.cases.findings_files import write_findings
from MedDetectLib.cases.image_files import read_volume
from MedDetectLib.core.errors import InputError, StoreError
from MedDetectLib.core.findings import CaseScore
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.labels import Code, Terminology
from MedDetectLib.core.volume import Volume

BEHIND_THE_WALL = (
    "torch", "monai", "onnxruntime", "openvino", "pynetdicom", "jsonschema", "rich", "matplotlib",
    "nibabel", "pandas", "slicer", "vtk", "pylibjpeg", "skimage",
)  # fmt: skip
TURN = np.deg2rad(25)
OBLIQUE = [round(float(x), 6) for x in (np.cos(TURN), np.sin(TURN), 0, 0, 0, -1)]
WAYS = {
    "axial": {},
    "downwards": {"step": -2.5},
    "oblique": {"orientation": OBLIQUE},
    "sagittal": {"orientation": [0, 1, 0, 0, 0, -1]},
    "feet first": {"orientation": [-1, 0, 0, 0, 1, 0]},
    "turned about": {"orientation": [0, -1, 0, -1, 0, 0], "step": -3.0},
}


@pytest.fixture
def case(tmp_path):
    """A folder with a series, the findings in it, and where to export to."""
    folder = write(tmp_path / "ct", series(6))
    return folder, findings_in(read_volume(folder)), tmp_path / "out"


def frames_on_images(seg_file, folder):
    """Yield (segment, pixels, source header) by highdicom's reading, frame by frame.

    Each frame is paired with the image it names, and must lie exactly where that image does.
    """
    seg = highdicom.seg.segread(seg_file)
    images = {}
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        images[image.SOPInstanceUID] = image
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    shared = seg.SharedFunctionalGroupsSequence[0]
    for plane, groups in zip(pixels, seg.PerFrameFunctionalGroupsSequence, strict=True):
        source = groups.DerivationImageSequence[0].SourceImageSequence[0]
        image = images[source.ReferencedSOPInstanceUID]
        assert source.ReferencedSOPClassUID == image.SOPClassUID
        position = groups.PlanePositionSequence[0].ImagePositionPatient
        if "ImagePositionPatient" in image:
            assert np.allclose(position, image.ImagePositionPatient, atol=1e-6)
            orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
            assert np.allclose(orientation, image.ImageOrientationPatient, atol=1e-5)
        assert plane.any(), "an empty frame was written"
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        yield int(number), plane, image, source


@pytest.mark.parametrize("way", WAYS)
def test_every_frame_lies_on_its_image_and_comes_back_to_the_voxel_however_slices_run(
    way, tmp_path
):
    images = series(6, **WAYS[way])
    folder = write(tmp_path / "ct", images)
    volume = read_volume(folder)
    findings = findings_in(volume)
    made = export_clinical(findings, folder, tmp_path / "out", reader=SIGNED)
    count = 0
    for number, plane, image, _ in frames_on_images(made.seg, folder):
        stored = volume.array + 1024
        (k,) = [n for n in range(6) if np.array_equal(stored[n], image.pixel_array)]
        mask = findings.mask_of(findings.items[number - 1])
        np.testing.assert_array_equal(plane.astype(bool), mask[k])
        count += 1
    expected = sum(
        int(findings.mask_of(f).any(axis=(1, 2)).sum()) for f in findings if f.mask_value
    )
    assert count == expected
    back = read_reference(made.seg, volume).findings()
    assert [f.id for f in back] == ["F1", "F2", "F3"]
    for item in back:
        before = next(f for f in findings if f.id == item.id)
        np.testing.assert_array_equal(back.mask_of(item), findings.mask_of(before))
        assert item.state == before.state
        assert back.label_of(item).name == findings.label_of(before).name
        assert back.label_of(item).terminology == findings.label_of(before).terminology
        assert back.label_of(item).colour_rgb == findings.label_of(before).colour_rgb


def flipped(findings, volume, axes):
    """The same findings as another program holds them, its axes the other way round."""
    array = axes.apply(volume.array)
    grid = volume.geometry.reoriented(axes)
    held = Volume(np.ascontiguousarray(array), grid, "CT")
    boxes = axes.apply_boxes([f.box for f in findings], volume.geometry.shape_kji)
    items = tuple(
        replace(f, box=tuple(box)) for f, box in zip(findings, boxes.tolist(), strict=True)
    )
    label_map = np.ascontiguousarray(axes.apply(findings.label_map))
    made_by = replace(findings.provenance, input_sha256=held.sha256)
    return replace(findings, geometry=grid, items=items, label_map=label_map, provenance=made_by)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SAL", "PIR"])
def test_findings_on_turned_axes_land_on_the_same_voxels(orientation, case):
    folder, findings, out = case
    volume = read_volume(folder)
    axes = volume.geometry.axis_map_to(orientation)
    turned = flipped(findings, volume, axes)
    one = export_clinical(findings, folder, out, reader=SIGNED)
    straight = read_reference(one.seg, volume).findings().label_map
    other = export_clinical(turned, folder, out / "turned", reader=SIGNED)
    np.testing.assert_array_equal(read_reference(other.seg, volume).findings().label_map, straight)
    regions = [[item.GraphicData for item in scoords(path)] for path in (one.sr, other.sr)]
    assert np.allclose(
        [corners(r) for r in regions[0]], [corners(r) for r in regions[1]], atol=1e-4
    )


def corners(data):
    pairs = np.array(data).reshape(-1, 2)
    return [*pairs.min(axis=0), *pairs.max(axis=0)]


def test_findings_on_a_cropped_grid_land_on_the_same_voxels(case):
    folder, findings, out = case
    volume = read_volume(folder)
    grid = volume.geometry.cropped((0, 0, 0), (6, 30, 40))
    part = np.ascontiguousarray(volume.array[:, :30, :40])
    held = Volume(part, grid)
    cropped = replace(
        findings,
        geometry=grid,
        label_map=np.ascontiguousarray(findings.label_map[:, :30, :40]),
        provenance=replace(findings.provenance, input_sha256=held.sha256),
    )
    made = export_clinical(cropped, folder, out)
    back = read_reference(made.seg, volume).findings()
    np.testing.assert_array_equal(back.label_map[:, :30, :40] > 0, cropped.label_map > 0)


def test_a_multi_frame_source_is_named_with_its_frame_numbers(tmp_path):
    image = enhanced(1, 6)
    folder = write(tmp_path / "mr", [image])
    volume = read_volume(folder)
    findings = findings_in(volume)
    made = export_clinical(findings, folder, tmp_path / "out")
    frames = volume.source["frame_numbers"]
    seen = 0
    for number, plane, _, source in frames_on_images(made.seg, folder):
        k = frames.index(int(source.ReferencedFrameNumber))
        mask = findings.mask_of(findings.items[number - 1])
        np.testing.assert_array_equal(plane.astype(bool), mask[k])
        seen += 1
    assert seen == 2 + 3 + 1
    seg = pydicom.dcmread(made.seg)
    assert len(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 1
    assert len(seg.SourceImageSequence) == 1
    regions = [item.ContentSequence[0].ReferencedSOPSequence[0] for item in scoords(made.sr)]
    assert {int(r.ReferencedFrameNumber) for r in regions} <= set(frames)
    assert len(regions) == 3


@pytest.mark.parametrize("phase", [1, 2, 3])
def test_the_phase_the_findings_were_found_in_is_recognised_without_being_told(phase, tmp_path):
    folder = write(tmp_path / "mr", [enhanced(3, 4)])
    volume = read_volume(folder, series=f"1.2.3.4#{phase}")
    made = export_clinical(findings_in(volume), folder, tmp_path / "out")
    named = {
        int(source.ReferencedFrameNumber) for _, _, _, source in frames_on_images(made.seg, folder)
    }
    assert named == set(volume.source["frame_numbers"])
    assert read_reference(made.seg, volume).parts


def test_two_phases_of_one_series_have_different_tracking_uids(tmp_path):
    folder = write(tmp_path / "mr", [enhanced(2, 4)])
    uids = []
    for phase in (1, 2):
        findings = findings_in(read_volume(folder, series=f"#{phase}".replace("#", "1.2.3.4#")))
        uids.append(export_clinical(findings, folder, tmp_path / "out").tracking["F1"])
    assert uids[0] != uids[1]


# --- what is refused -------------------------------------------------------------------


def refused(*args, **options):
    with pytest.raises(InputError) as caught:
        export_clinical(*args, **options)
    return caught.value


def test_findings_of_another_image_on_the_same_grid_are_refused(case, tmp_path):
    _, findings, out = case
    other = write(tmp_path / "other", series(6, seed=9))
    error = refused(findings, other, out)
    assert error.code == "other-image"
    assert not out.exists()


def test_findings_on_another_grid_are_refused(case, tmp_path):
    folder, findings, out = case
    for grid in (
        Geometry.from_axes((6, 36, 48), (2.5, 0.75, 0.5), (10.2, 20, 30), np.diag([-1, -1, 1])),
        Geometry.from_axes((6, 36, 48), (2.6, 0.75, 0.5), (10, 20, 30), np.diag([-1, -1, 1])),
        Geometry.from_axes((6, 36, 48), (2.5, 0.75, 0.5), (900, 20, 30), np.diag([-1, -1, 1])),
    ):
        assert refused(replace(findings, geometry=grid), folder, out).code == "other-grid"
    assert not out.exists()


def test_findings_that_name_no_image_need_an_accepting_word(case):
    folder, findings, out = case
    bare = replace(findings, provenance=replace(findings.provenance, input_sha256=""))
    assert refused(bare, folder, out).code == "unverified-image"
    made = export_clinical(bare, folder, out, accept=["unverified-image"])
    assert "unverified-image" in [note.code for note in made.notes]


def test_a_tilted_series_is_refused_and_accepted_only_on_its_own_planes(tmp_path):
    folder = write(tmp_path / "ct", series(6, shift=(0.0, 0.75)))
    volume = read_volume(folder, accept=["gantry-tilt"])
    findings = findings_in(volume)
    out = tmp_path / "out"
    assert refused(findings, folder, out).code == "gantry-tilt"
    assert not out.exists()
    made = export_clinical(findings, folder, out, accept=["gantry-tilt"])
    back = read_reference(made.seg, volume).findings()
    for item in back:
        before = next(f for f in findings if f.id == item.id)
        np.testing.assert_array_equal(back.mask_of(item), findings.mask_of(before))
    seg = pydicom.dcmread(made.seg)
    assert (seg.Rows, seg.Columns) == volume.array.shape[1:]
    (surface,) = [item for item in contents(made.sr) if item.ValueType == "SCOORD3D"][:1]
    assert surface.ReferencedFrameOfReferenceUID == "1.2.3.5"


def test_a_series_with_a_gap_goes_out_on_the_grid_it_was_read_on(tmp_path):
    images = series(8)
    del images[4]
    folder = write(tmp_path / "ct", images)
    volume = read_volume(folder, accept=["slice-gap"])
    findings = findings_in(volume)
    made = export_clinical(findings, folder, tmp_path / "out", accept=["slice-gap"])
    back = read_reference(made.seg, volume).findings()
    np.testing.assert_array_equal(back.label_map > 0, findings.label_map > 0)


def test_an_unknown_accepting_word_is_refused(case):
    folder, findings, out = case
    assert refused(findings, folder, out, accept=["everything"]).code == "unknown-accept"


# --- what is said ----------------------------------------------------------------------


def contents(path):
    """Yield every content item of a report."""

    def walk(items):
        for item in items:
            yield item
            yield from walk(item.get("ContentSequence") or ())

    return list(walk(pydicom.dcmread(path).ContentSequence))


def scoords(path):
    return [item for item in contents(path) if item.ValueType == "SCOORD"]


def groups_of(path):
    report = highdicom.sr.srread(path)
    return {
        group.tracking_identifier.split(" ")[0]: group
        for group in report.content.get_volumetric_roi_measurement_groups()
    }


def test_seg_and_report_speak_of_the_same_findings(case):
    folder, findings, out = case
    made = export_clinical(findings, folder, out, reader=VERIFIED)
    seg = highdicom.seg.segread(made.seg)
    groups = groups_of(made.sr)
    assert list(groups) == ["F1", "F2", "F3", "F4"]
    for number, name in enumerate(("F1", "F2", "F3"), 1):
        description = seg.get_segment_description(number)
        assert description.tracking_uid == groups[name].tracking_uid == made.tracking[name]
        assert description.tracking_id == groups[name].tracking_identifier
        reference = groups[name].referenced_segment
        assert reference.referenced_sop_instance_uid == made.seg_uid == seg.SOPInstanceUID
        assert list(reference.referenced_segment_numbers) == [number]
        assert description.segmented_property_type == groups[name].finding_type
    assert len({group.tracking_uid for group in groups.values()}) == 4


def test_measurements_are_those_of_the_voxels_in_the_file(case):
    folder, findings, out = case
    made = export_clinical(findings, folder, out)
    back = read_reference(made.seg, read_volume(folder)).findings()
    for name, group in groups_of(made.sr).items():
        values = {m.name.meaning: (m.value, m.unit.value) for m in group.get_measurements()}
        item = next(f for f in findings if f.id == name)
        assert values["Volume"] == (pytest.approx(item.volume_ml, rel=1e-6), "mL")
        assert values["Diameter"] == (pytest.approx(item.diameter_mm, rel=1e-6), "mm")
        if item.mask_value:
            voxels = np.count_nonzero(back.label_map == back.items[int(name[1]) - 1].mask_value)
            assert values["Volume"][0] == pytest.approx(
                voxels * findings.geometry.voxel_volume_ml, rel=1e-6
            )
        if item.state == "added":
            assert "Certainty of Finding" not in values
        else:
            assert values["Certainty of Finding"] == (pytest.approx(100 * item.score), "%")


def test_the_algorithm_is_named_and_what_a_person_drew_is_not_its_work(case):
    folder, findings, out = case
    seg = highdicom.seg.segread(export_clinical(findings, folder, out).seg)
    kinds = [seg.get_segment_description(n).SegmentAlgorithmType for n in (1, 2, 3)]
    assert kinds == ["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"]
    named = seg.get_segment_description(1).algorithm_identification
    assert (named.name, named.version, named.source) == ("lung", "1.2", "MedDetect")
    assert named.parameters["sha256"] == "ab" * 32
    assert seg.get_segment_description(3).algorithm_identification is None
    assert seg.Manufacturer == "MedDetect"


def test_a_label_without_codes_gets_the_neutral_ones(case):
    folder, findings, out = case
    description = highdicom.seg.segread(
        export_clinical(findings, folder, out).seg
    ).get_segment_description(3)
    assert description.segmented_property_type.meaning == "Tissue"
    assert "cyst" in description.SegmentLabel
    assert description.anatomic_regions == []


def test_a_box_lies_on_each_slice_it_covers_to_the_fraction_of_a_pixel(case):
    folder, findings, out = case
    volume = read_volume(folder)
    made = export_clinical(findings, folder, out)
    box = next(f for f in findings if f.id == "F4").box
    regions = groups_of(made.sr)["F4"].roi
    uids = volume.source["sop_instance_uids"]
    named = [
        region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for region in regions
    ]
    assert [uids.index(uid) for uid in named] == [0, 1, 2]
    for region in regions:
        i0, j0, i1, j1 = corners(region.GraphicData)
        assert (j0, i0, j1, i1) == pytest.approx((box[1], box[2], box[4], box[5]), abs=1e-4)


def test_rejected_findings_stay_here_unless_asked_for(case):
    folder, findings, out = case
    made = export_clinical(findings, folder, out)
    assert "F5" not in groups_of(made.sr)
    assert [note.code for note in made.notes if note.code == "rejected"] == ["rejected"]
    made = export_clinical(findings, folder, out, include_rejected=True)
    states = {
        name: evaluation.value.value
        for name, group in groups_of(made.sr).items()
        for evaluation in group.get_qualitative_evaluations()
        if evaluation.name.value == "review-state"
    }
    assert states == {
        "F1": "accepted", "F2": "edited", "F3": "added", "F4": "not-reviewed", "F5": "rejected",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reader", "flags"),
    [
        (None, ("PARTIAL", "UNVERIFIED")),
        (Reader("Doe^Jane"), ("PARTIAL", "UNVERIFIED")),
        (SIGNED, ("COMPLETE", "UNVERIFIED")),
        (Reader("Doe^Jane", organisation="General Hospital"), ("PARTIAL", "UNVERIFIED")),
        (VERIFIED, ("COMPLETE", "VERIFIED")),
    ],
)
def test_only_a_signature_with_an_organisation_verifies(reader, flags, case):
    folder, findings, out = case
    report = highdicom.sr.srread(export_clinical(findings, folder, out, reader=reader).sr)
    assert (report.CompletionFlag, report.VerificationFlag) == flags
    observers = report.content.get_observer_contexts()
    kinds = [observer.observer_type.meaning for observer in observers]
    assert kinds == (["Device"] if reader is None else ["Person", "Device"])
    if flags[1] == "VERIFIED":
        (verifier,) = report.VerifyingObserverSequence
        assert verifier.VerifyingObserverName == "Doe^Jane"
        assert verifier.VerifyingOrganization == "General Hospital"


def test_the_images_are_in_the_library_and_the_evidence(case):
    folder, findings, out = case
    sr = pydicom.dcmread(export_clinical(findings, folder, out).sr)
    uids = {pydicom.dcmread(path).SOPInstanceUID for path in folder.iterdir()}
    (study,) = sr.CurrentRequestedProcedureEvidenceSequence
    listed = {
        item.ReferencedSOPInstanceUID
        for one in study.ReferencedSeriesSequence
        for item in one.ReferencedSOPSequence
    }
    assert uids < listed
    library = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in contents(out / "sr.dcm")
        if item.ValueType == "IMAGE" and item.RelationshipType == "CONTAINS"
    }
    assert uids <= library


def test_a_case_without_findings_says_so_and_needs_no_segmentation(case):
    folder, findings, out = case
    export_clinical(findings, folder, out)
    made = export_clinical(replace(findings, items=()), folder, out, reader=SIGNED)
    assert made.seg is None
    assert not (out / "seg.dcm").exists()
    assert "Absent" in [
        item.ConceptCodeSequence[0].CodeMeaning
        for item in contents(made.sr)
        if item.ValueType == "CODE"
    ]


def test_case_scores_are_reported(case):
    folder, findings, out = case
    scored = replace(findings, items=(), case_scores=(CaseScore(1, 0.75),))
    made = export_clinical(scored, folder, out)
    numbers = [
        float(item.MeasuredValueSequence[0].NumericValue)
        for item in contents(made.sr)
        if item.ValueType == "NUM" and item.ConceptNameCodeSequence[0].CodeValue == "111012"
    ]
    assert numbers == [75.0]


def test_a_mask_that_lost_its_voxels_is_reported_as_a_box(case):
    folder, findings, out = case
    empty = findings.label_map.copy()
    empty[empty == 5] = 0
    made = export_clinical(replace(findings, label_map=empty), folder, out)
    assert len(pydicom.dcmread(made.seg).SegmentSequence) == 2
    assert groups_of(made.sr)["F1"].roi
    assert "empty-mask" in [note.code for note in made.notes]


# --- the same again --------------------------------------------------------------------


def test_a_signed_review_exported_twice_gives_the_same_bytes(case, tmp_path):
    folder, findings, out = case
    one = export_clinical(findings, folder, out, reader=SIGNED)
    before = [path.read_bytes() for path in one.files]
    copied = shutil.copytree(folder, tmp_path / "elsewhere")
    two = export_clinical(findings, copied, tmp_path / "again", reader=SIGNED)
    assert [path.read_bytes() for path in two.files] == before


def test_another_signature_gives_new_instances_but_the_same_tracking(case):
    folder, findings, out = case
    one = export_clinical(findings, folder, out, reader=SIGNED)
    later = replace(SIGNED, signed="2026-02-01T08:00:00+00:00")
    two = export_clinical(findings, folder, out, reader=later)
    assert one.tracking == two.tracking
    assert {one.seg_uid, one.sr_uid}.isdisjoint({two.seg_uid, two.sr_uid})


def test_an_edited_finding_keeps_its_tracking_uid_and_another_model_has_its_own(case):
    _, findings, _ = case
    item = findings.items[0]
    uid = tracking_uid(findings, item, "image")
    assert tracking_uid(findings, replace(item, state="edited", label=2), "image") == uid
    other = replace(findings, provenance=replace(findings.provenance, model_sha256="cd" * 32))
    assert tracking_uid(other, item, "image") != uid
    assert tracking_uid(findings, item, "another image") != uid
    assert pydicom.uid.UID(uid).is_valid


def test_names_in_any_alphabet_arrive_whole(tmp_path):
    images = series(4, SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jürgen")
    folder = write(tmp_path / "ct", images)
    made = export_clinical(
        findings_in(read_volume(folder)), folder, tmp_path / "out",
        reader=Reader("Łukasz Żak", "2026-01-31T12:00:00Z", "Szpital Główny"),
    )  # fmt: skip
    for path in made.files:
        assert str(pydicom.dcmread(path).PatientName) == "Müller^Jürgen"
    report = pydicom.dcmread(made.sr)
    assert report.VerifyingObserverSequence[0].VerifyingOrganization == "Szpital Główny"
    assert str(report.VerifyingObserverSequence[0].VerifyingObserverName) == "Łukasz Żak^"


def test_a_reader_nobody_can_write_down_is_refused():
    for fields in (("",), ("a" * 65,), ("Doe\\Jane",), ("Doe^Jane", "yesterday")):
        with pytest.raises(InputError):
            Reader(*fields)


def test_a_magnetic_resonance_series_is_reported_as_such(tmp_path):
    folder = write(tmp_path / "mr", as_mr(series(4)))
    made = export_clinical(findings_in(read_volume(folder)), folder, tmp_path / "out")
    meanings = [
        item.ConceptCodeSequence[0].CodeMeaning
        for item in contents(made.sr)
        if item.ValueType == "CODE"
    ]
    assert "MRI unspecified body region" in meanings


def test_colours_survive_the_way_through_cie_lab():
    for colour in ((0, 0, 0), (255, 255, 255), (255, 128, 0), CYST.colour_rgb, (17, 200, 3)):
        assert rgb_from_cie_lab(cie_lab(colour)) == colour
    assert cie_lab((255, 255, 255))[0] == 65535


def test_an_export_inside_slicer_needs_nothing_slicer_does_not_ship(case, tmp_path):
    """What Slicer ships not is behind a wall; what the panel need not load stays unloaded."""
    folder, findings, out = case
    write_findings(findings, tmp_path / "found")
    script = f"""
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {BEHIND_THE_WALL!r}:
            raise ImportError(name + ' is behind the wall')
sys.meta_path.insert(0, Wall())
from MedDetectLib.cases.clinical.export import export_clinical
from MedDetectLib.cases.clinical.preflight import preflight
from MedDetectLib.cases.clinical.reader import Reader
from MedDetectLib.cases.clinical import pacs, reference
assert not {{'pydicom', 'highdicom', 'SimpleITK'}} & set(sys.modules)
from MedDetectLib.cases.findings_files import read_findings
findings = read_findings({str(tmp_path / "found")!r})
assert not [p for p in preflight({str(folder)!r}) if p.blocks]
made = export_clinical(findings, {str(folder)!r}, {str(out)!r}, reader=Reader('Doe^Jane'))
assert len(made.files) == 2
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("fails", ["SEG", "SR"])
def test_when_one_file_cannot_be_written_neither_is_replaced(fails, case, monkeypatch):
    folder, findings, out = case
    export_clinical(findings, folder, out, reader=SIGNED)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    save = pydicom.Dataset.save_as

    def full_disk(data, path, **options):
        if data.Modality == fails:
            raise OSError(28, "No space left on device")
        save(data, path, **options)

    monkeypatch.setattr(pydicom.Dataset, "save_as", full_disk)
    with pytest.raises(StoreError) as caught:
        export_clinical(findings, folder, out, reader=VERIFIED)
    assert caught.value.exit_code == 73
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("with_masks", [True, False])
def test_a_report_never_stands_beside_a_segmentation_it_does_not_speak_of(
    with_masks, case, monkeypatch
):
    """The disk fails in the very moment the new report takes its place."""
    folder, findings, out = case
    export_clinical(findings, folder, out, reader=SIGNED)
    before = (out / "seg.dcm").read_bytes()
    place = Path.replace

    def no_report(made, target):
        if Path(target).name == "sr.dcm":
            raise OSError(5, "Input/output error")
        return place(made, target)

    monkeypatch.setattr(Path, "replace", no_report)
    if not with_masks:
        findings = replace(findings, items=())
    with pytest.raises(StoreError):
        export_clinical(findings, folder, out, reader=VERIFIED)
    left = {path.name: path.read_bytes() for path in out.iterdir()}
    assert set(left) == ({"seg.dcm"} if with_masks else set())
    assert left.get("seg.dcm") != before


# --- whose it is -----------------------------------------------------------------------


def rewritten(folder, **elements):
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        for name, value in elements.items():
            setattr(image, name, value)
        image.save_as(path)


@pytest.mark.parametrize(
    "changed",
    [{"PatientName": "Roe^Richard"}, {"AccessionNumber": "A2"}, {"StudyDate": "20200101"}],
)
def test_a_corrected_patient_or_study_makes_new_instances_of_the_same_findings(changed, case):
    """One SOP Instance UID never stands for two contents."""
    folder, findings, out = case
    one = export_clinical(findings, folder, out, reader=SIGNED)
    rewritten(folder, **changed)
    two = export_clinical(findings, folder, out, reader=SIGNED)
    assert one.tracking == two.tracking
    assert {one.seg_uid, one.sr_uid}.isdisjoint({two.seg_uid, two.sr_uid})


def test_a_part_of_the_series_makes_other_instances_than_the_whole(case, tmp_path):
    folder, findings, out = case
    grid = findings.geometry
    cropped = replace(
        findings,
        geometry=Geometry((4, *grid.shape_kji[1:]), grid.ijk_to_ras),
        label_map=np.ascontiguousarray(findings.label_map[:4]),
        provenance=replace(findings.provenance, input_sha256=""),
    )
    options = {"reader": SIGNED, "accept": ["unverified-image"]}
    one = export_clinical(cropped, folder, out, **options)
    last = max(folder.iterdir(), key=lambda p: pydicom.dcmread(p).ImagePositionPatient[2])
    last.unlink()
    two = export_clinical(cropped, folder, tmp_path / "part", **options)
    assert {one.seg_uid, one.sr_uid}.isdisjoint({two.seg_uid, two.sr_uid})


def test_whose_the_id_is_and_that_nobody_is_named_goes_with_the_images(tmp_path):
    said = {
        "IssuerOfPatientID": "GENERAL", "StudyDescription": "Thorax",
        "PatientIdentityRemoved": "YES", "DeidentificationMethod": ["MedDetect", "PS3.15"],
    }  # fmt: skip
    folder = write(tmp_path / "ct", series(4, **said))
    made = export_clinical(findings_in(read_volume(folder)), folder, tmp_path / "out")
    for path in made.files:
        data = pydicom.dcmread(path)
        assert {name: data.get(name) for name in said} == said
    half = write(tmp_path / "half", series(4, PatientIdentityRemoved="YES"))
    made = export_clinical(findings_in(read_volume(half)), half, tmp_path / "out")
    assert "PatientIdentityRemoved" not in pydicom.dcmread(made.sr)  # invalid without a method


def test_ideographic_names_arrive_in_all_their_groups(tmp_path):
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    images = series(4, SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName=name)
    folder = write(tmp_path / "ct", images)
    made = export_clinical(
        findings_in(read_volume(folder)), folder, tmp_path / "out",
        reader=Reader("Kim^Minsu=金^民秀=김^민수", "2026-01-31T12:00:00Z", "病院"),
    )  # fmt: skip
    for path in made.files:
        assert str(pydicom.dcmread(path).PatientName) == name
    observer = pydicom.dcmread(made.sr).VerifyingObserverSequence[0]
    assert observer.VerifyingObserverName.phonetic == "김^민수"


@pytest.mark.parametrize("name", ["a=b=c=d", "a^b^c^d^e^f"])
def test_a_name_of_more_parts_than_dicom_has_is_refused(name):
    with pytest.raises(InputError):
        Reader(name)


def test_class_names_and_meanings_that_dicom_cannot_hold_are_mended(case):
    folder, findings, out = case
    long = Terminology(Code("SCT", "49755003", "m" * 80), Code("SCT", "27925004", ""))
    labels = (replace(CYST, value=1, name="left\\upper\nlobe", terminology=long), CYST)
    made = export_clinical(replace(findings, labels=labels), folder, out)
    segment = pydicom.dcmread(made.seg).SegmentSequence[0]
    assert segment.SegmentLabel == segment.TrackingID == "F1 left/upper lobe"
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "m" * 64
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "27925004"
    wrong = Terminology(Code("a scheme with a long name", "1", "x"), Code("SCT", "1", "x"))
    labels = (replace(CYST, value=1, terminology=wrong), CYST)
    with pytest.raises(InputError) as caught:
        export_clinical(replace(findings, labels=labels), folder, out)
    assert caught.value.code == "bad-code"


def test_two_readers_who_number_alike_what_they_add_speak_of_two_lesions(case):
    folder, findings, out = case
    one = export_clinical(findings, folder, out, reader=SIGNED)
    two = export_clinical(findings, folder, out, reader=replace(SIGNED, name="Roe^Richard"))
    same = {item.id: one.tracking[item.id] == two.tracking[item.id] for item in findings
            if item.state != "rejected"}  # fmt: skip
    assert same == {"F1": True, "F2": True, "F3": False, "F4": True}  # F3 was added


def test_the_example_of_the_guide_runs(case, tmp_path, monkeypatch, capsys):
    folder, findings, _ = case
    write_findings(findings, tmp_path / "found")
    folder.rename(tmp_path / "series")
    page = Path(__file__).parents[2] / "docs" / "clinical-exports.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert len([line for line in example.splitlines() if line]) == 5
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert pydicom.dcmread(tmp_path / "out" / "sr.dcm").CompletionFlag == "COMPLETE"
    assert (tmp_path / "out" / "seg.dcm").is_file()
    assert "F1" in capsys.readouterr().out

"""SEG and RTSTRUCT become reference labels of the volume they were drawn on, of no other."""

from dataclasses import replace

import highdicom
import numpy as np
import pydicom
import pytest
from clinical_samples import SIGNED, findings_in
from hypothesis import given, settings
from hypothesis import strategies as st
from made_dicom import series, write
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from MedDetectLib.adapters.cli.main import main
from MedDetectLib.cases.clinical.export import export_clinical
from MedDetectLib.cases.clinical.polygons import inside_polygon
from MedDetectLib.cases.clinical.reference import read_reference
from MedDetectLib.cases.image_files import list_series, read_volume
from MedDetectLib.cases.label_files import read_label_map
from MedDetectLib.cases.lps import points_flipped
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.core.errors import InputError


@pytest.fixture
def drawn_on(tmp_path):
    """A series of six slices and its volume."""
    folder = write(tmp_path / "ct", series(6))
    return folder, read_volume(folder)


def code_of(path, volume, **options):
    with pytest.raises(InputError) as caught:
        read_reference(path, volume, **options)
    return caught.value.code


def seg_of(folder, array, kind="BINARY", names=("a",), **options):
    """A SEG as others write it: highdicom from the source images as they are."""
    images = sorted(
        (pydicom.dcmread(path) for path in folder.iterdir()),
        key=lambda image: float(image.ImagePositionPatient[2]),
    )
    for image in images:
        for keyword in ("PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber"):
            setattr(image, keyword, "")
        image.StudyDate = image.StudyTime = None
    descriptions = [
        highdicom.seg.SegmentDescription(
            n, name, codes.SCT.Organ, codes.SCT.Liver, "MANUAL",
        )
        for n, name in enumerate(names, 1)
    ]  # fmt: skip
    seg = highdicom.seg.Segmentation(
        images, array, kind, descriptions, generate_uid(), 1, generate_uid(), 1,
        "Others", "Drawer", "1", "1", **options,
    )  # fmt: skip
    path = folder.parent / "seg.dcm"
    seg.save_as(path)
    return path


def overlapping(volume):
    """[k, j, i, segment] two blocks that share voxels."""
    array = np.zeros((*volume.array.shape, 2), np.uint8)
    array[1:4, 5:20, 10:30, 0] = 1
    array[3:5, 10:25, 15:35, 1] = 1
    return array


def test_overlapping_segments_are_kept_whole_and_as_findings_the_later_wins(drawn_on):
    folder, volume = drawn_on
    array = overlapping(volume)
    reference = read_reference(seg_of(folder, array, names=("a", "b")), volume)
    for n, part in enumerate(reference.parts):
        np.testing.assert_array_equal(reference.mask_of(part), array[..., n])
    findings = reference.findings()
    both = np.count_nonzero(array.all(axis=-1))
    assert both == 150
    assert [(n.code, str(both) in n.text) for n in findings.notes] == [("overlap", True)]
    np.testing.assert_array_equal(findings.mask_of(findings.items[1]), array[..., 1])
    np.testing.assert_array_equal(
        findings.mask_of(findings.items[0]), array[..., 0] & ~array[..., 1].astype(bool)
    )
    assert [findings.label_of(item).name for item in findings] == ["a", "b"]
    assert findings.labels[0].terminology.type.meaning == "Liver"


@pytest.mark.parametrize(("threshold", "expected"), [(0.1, 4), (0.5, 3), (0.7, 2), (1.0, 1)])
def test_fractions_count_from_the_threshold_on(threshold, expected, drawn_on):
    folder, volume = drawn_on
    array = np.zeros(volume.array.shape, np.float64)
    array[2, 3, 4:8] = [0.2, 0.6, 0.8, 1.0]
    path = seg_of(folder, array, "FRACTIONAL", max_fractional_value=200)
    reference = read_reference(path, volume, threshold=threshold)
    mask = reference.mask_of(reference.parts[0])
    assert np.argwhere(mask).tolist() == [[2, 3, i] for i in range(8 - expected, 8)]
    assert "fractional" in [note.code for note in reference.notes]


def test_another_threshold_of_one_object_is_another_version(drawn_on, tmp_path):
    folder, volume = drawn_on
    array = np.zeros(volume.array.shape, np.float64)
    array[2, 3, 4:8] = [0.2, 0.6, 0.8, 1.0]
    path = seg_of(folder, array, "FRACTIONAL", max_fractional_value=200)
    command = ["dicom", "import", str(path), "--series", str(folder), "--patient", "P1"]
    command += ["--store", str(tmp_path / "store")]
    for threshold in ("0.5", "0.1", "0.5"):
        assert main([*command, "--threshold", threshold]) == 0
    store = CaseStore(tmp_path / "store")
    (row,) = store.cases()
    found = [store.findings(row.id, version.number) for version in store.versions(row.id)]
    assert [np.count_nonzero(each.label_map) for each in found] == [3, 4]


def test_a_label_map_object_is_read(drawn_on):
    folder, volume = drawn_on
    array = np.zeros(volume.array.shape, np.uint8)
    array[1:3, 4:9, 2:20], array[4, 1, 1] = 1, 2
    path = seg_of(folder, array, "LABELMAP", names=("a", "b"))
    reference = read_reference(path, volume)
    for value, part in enumerate(reference.parts, 1):
        np.testing.assert_array_equal(reference.mask_of(part), array == value)


def test_an_empty_segment_is_left_out_of_the_findings_with_a_note(drawn_on):
    folder, volume = drawn_on
    array = overlapping(volume)
    array[..., 1] = 0
    findings = read_reference(seg_of(folder, array, names=("a", "b")), volume).findings()
    assert len(findings) == 1
    assert [note.code for note in findings.notes] == ["empty-part"]


# --- what is refused -------------------------------------------------------------------


def spoiled(path, change):
    data = pydicom.dcmread(path)
    change(data)
    data.save_as(path)
    return path


def test_another_frame_of_reference_is_refused_for_good(drawn_on):
    folder, volume = drawn_on
    path = seg_of(folder, overlapping(volume)[..., :1])
    spoiled(path, lambda seg: setattr(seg, "FrameOfReferenceUID", "1.2.9"))
    assert code_of(path, volume) == "other-frame-of-reference"
    accept = ["other-series", "no-reference"]
    assert code_of(path, volume, accept=accept) == "other-frame-of-reference"


def test_labels_of_another_series_need_an_accepting_word(drawn_on, tmp_path):
    folder, volume = drawn_on
    path = seg_of(folder, overlapping(volume)[..., :1])
    other = write(tmp_path / "t2", series(6, SeriesInstanceUID="1.2.7", seed=4))
    held = read_volume(other)
    assert code_of(path, held) == "other-series"
    reference = read_reference(path, held, accept=["other-series"])
    assert [note.code for note in reference.notes] == ["other-series"]
    np.testing.assert_array_equal(
        reference.mask_of(reference.parts[0]), overlapping(volume)[..., 0]
    )


def test_labels_of_another_phase_of_the_series_are_refused(drawn_on):
    folder, volume = drawn_on
    path = seg_of(folder, overlapping(volume)[..., :1])
    source = {**volume.source, "sop_instance_uids": [generate_uid()]}
    assert code_of(path, replace(volume, source=source)) == "other-series"


def test_an_object_that_names_no_image_needs_an_accepting_word(drawn_on):
    folder, volume = drawn_on

    def forget(seg):
        del seg.ReferencedSeriesSequence, seg.SourceImageSequence
        for groups in seg.PerFrameFunctionalGroupsSequence:
            del groups.DerivationImageSequence

    path = spoiled(seg_of(folder, overlapping(volume)[..., :1]), forget)
    assert code_of(path, volume) == "no-reference"
    assert read_reference(path, volume, accept=["no-reference"]).parts


def moved(lps):
    def change(seg):
        for groups in seg.PerFrameFunctionalGroupsSequence:
            place = groups.PlanePositionSequence[0]
            place.ImagePositionPatient = (np.array(place.ImagePositionPatient) + lps).tolist()

    return change


def wider(seg):
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [0.76, 0.51]


def turned(seg):
    plane = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    plane.ImageOrientationPatient = [0.8, 0.6, 0, -0.6, 0.8, 0]


@pytest.mark.parametrize(
    "change",
    [moved((0.25, 0, 0)), moved((0, 0, 1.0)), moved((0, 0, 25)), moved((30, 0, 0)), wider, turned],
)
def test_frames_beside_the_volumes_voxels_are_refused(change, drawn_on):
    folder, volume = drawn_on
    path = spoiled(seg_of(folder, overlapping(volume)[..., :1]), change)
    assert code_of(path, volume) == "other-grid"


def test_what_is_no_reference_is_refused(drawn_on, tmp_path):
    folder, volume = drawn_on
    image = next(folder.iterdir())
    assert code_of(image, volume) == "not-a-reference"
    assert code_of(tmp_path / "gone.dcm", volume) == "no-file"
    text = tmp_path / "text.dcm"
    text.write_text("no DICOM")
    assert code_of(text, volume) == "bad-header"
    assert code_of(image, volume, accept=["all"]) == "unknown-accept"
    assert code_of(image, volume, threshold=0.0) == "bad-threshold"


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_file_that_was_cut_short_is_refused(share, drawn_on):
    folder, volume = drawn_on
    path = seg_of(folder, overlapping(volume)[..., :1])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError):
        read_reference(path, volume)


def test_a_volume_without_uids_is_compared_by_place_and_says_so(drawn_on):
    folder, volume = drawn_on
    path = seg_of(folder, overlapping(volume)[..., :1])
    reference = read_reference(path, replace(volume, source={"kind": "nrrd"}))
    assert [note.code for note in reference.notes] == ["unverified-image"]


# --- contours --------------------------------------------------------------------------


def structure_set(folder, volume, regions, *, kind="CLOSED_PLANAR", **elements):
    """An RTSTRUCT; regions are lists of contours, [k, j, i] voxel-centre indices."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.Modality, data.Manufacturer = "RTSTRUCT", "Planner"
    of_series, study, frame = Dataset(), Dataset(), Dataset()
    of_series.SeriesInstanceUID = elements.get("series", "1.2.3.4")
    study.RTReferencedSeriesSequence = [of_series]
    frame.FrameOfReferenceUID = elements.get("frame", "1.2.3.5")
    frame.RTReferencedStudySequence = [study]
    data.ReferencedFrameOfReferenceSequence = [frame]
    data.StructureSetROISequence, data.ROIContourSequence = [], []
    for number, contours in enumerate(regions, 1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, f"region {number}"
        drawn.ReferencedROINumber, drawn.ROIDisplayColor = number, [255, 0, number]
        drawn.ContourSequence = []
        for corners in contours:
            contour = Dataset()
            contour.ContourGeometricType = kind
            places = points_flipped(volume.geometry.index_to_ras(np.array(corners, float)))
            contour.ContourData = [f"{x:.6g}" for x in places.ravel()]
            contour.NumberOfContourPoints = len(corners)
            drawn.ContourSequence.append(contour)
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(drawn)
    path = folder.parent / "rtstruct.dcm"
    data.save_as(path, enforce_file_format=True)
    return path


def square(k, low, high):
    return [(k, low, low), (k, low, high), (k, high, high), (k, high, low)]


def test_voxels_whose_centres_lie_inside_belong_and_a_contour_inside_cuts_a_hole(drawn_on):
    folder, volume = drawn_on
    outer, inner = square(2, 3.5, 12.5), square(2, 5.5, 8.5)
    reference = read_reference(
        structure_set(folder, volume, [[outer, inner], [square(4, 1.6, 2.4)]]), volume
    )
    expected = np.zeros(volume.array.shape, bool)
    expected[2, 4:13, 4:13] = True
    expected[2, 6:9, 6:9] = False
    np.testing.assert_array_equal(reference.mask_of(reference.parts[0]), expected)
    assert np.argwhere(reference.mask_of(reference.parts[1])).tolist() == [[4, 2, 2]]
    assert [part.name for part in reference.parts] == ["region 1", "region 2"]
    assert reference.parts[1].colour_rgb == (255, 0, 2)


def test_contours_that_cross_are_said(drawn_on):
    folder, volume = drawn_on
    nested = [square(2, 5.5, 8.5), square(2, 3.5, 12.5), square(2, 6.4, 7.6), square(2, 13.5, 15.5)]
    assert read_reference(structure_set(folder, volume, [nested]), volume).notes == ()
    crossing = [square(2, 3.5, 8.5), square(2, 6.5, 12.5)]
    reference = read_reference(structure_set(folder, volume, [crossing]), volume)
    assert [note.code for note in reference.notes] == ["crossing-contours"]
    assert not reference.mask_of(reference.parts[0])[2, 7:9, 7:9].any()


def test_a_keyhole_contour_has_its_hole(drawn_on):
    folder, volume = drawn_on
    keyhole = [
        *square(2, 3.5, 12.5), (2, 3.5, 3.5), *reversed(square(2, 5.5, 8.5)), (2, 8.5, 5.5),
    ]  # fmt: skip
    reference = read_reference(structure_set(folder, volume, [[keyhole]]), volume)
    mask = reference.mask_of(reference.parts[0])
    assert not mask[2, 6:9, 6:9].any()
    assert np.count_nonzero(mask) == 81 - 9


def test_empty_slices_between_and_points_are_noted(drawn_on):
    folder, volume = drawn_on
    path = structure_set(folder, volume, [[square(1, 3.5, 8.5), square(4, 3.5, 8.5)]])
    reference = read_reference(path, volume)
    assert [note.code for note in reference.notes] == ["skipped-slices"]
    assert "2 slices" in reference.notes[0].text
    path = structure_set(folder, volume, [[[(1, 3, 3)]]], kind="POINT")
    assert [note.code for note in read_reference(path, volume).notes] == ["open-contour"]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_contours_may_be_drawn_in_any_of_the_three_planes(axis, drawn_on):
    folder, volume = drawn_on
    corners = np.insert(np.array([(0.5, 0.5), (0.5, 3.5), (3.5, 3.5), (3.5, 0.5)]), axis, 2, axis=1)
    reference = read_reference(structure_set(folder, volume, [[corners.tolist()]]), volume)
    expected = np.zeros(volume.array.shape, bool)
    where = [slice(1, 4)] * 3
    where[axis] = 2
    expected[tuple(where)] = True
    np.testing.assert_array_equal(reference.mask_of(reference.parts[0]), expected)


@pytest.mark.parametrize(
    ("contours", "elements", "code"),
    [
        ([square(2.4, 3, 8)], {}, "other-grid"),
        ([square(9, 3, 8)], {}, "other-grid"),
        ([square(2, -30, 8)], {}, "other-grid"),
        ([square(2, 3, 8)], {"frame": "1.2.9"}, "other-frame-of-reference"),
        ([square(2, 3, 8)], {"series": "1.2.9"}, "other-series"),
    ],
)
def test_contours_that_do_not_belong_are_refused(contours, elements, code, drawn_on):
    folder, volume = drawn_on
    path = structure_set(folder, volume, [contours], **elements)
    assert code_of(path, volume) == code


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-3, 14, width=32), st.floats(-3, 18, width=32)),
        min_size=3, max_size=9,
    )
)  # fmt: skip
def test_a_polygon_is_filled_as_counting_crossings_says(corners):
    points = np.array(corners, np.float64) + 1e-3  # no corner on a voxel centre
    inside = inside_polygon(points, (12, 15))
    for j in range(12):
        for i in range(15):
            crossings = 0
            for (y0, x0), (y1, x1) in zip(points, np.roll(points, -1, axis=0), strict=True):
                if (y0 > j) != (y1 > j):
                    at = x0 + (j - y0) * (x1 - x0) / (y1 - y0)
                    if abs(at - i) < 1e-9:
                        return  # on the edge: either answer is right
                    crossings += at < i
            assert inside[j, i] == bool(crossings % 2), (j, i)


# --- real objects ----------------------------------------------------------------------


@pytest.fixture
def quantitative(unpacked):
    return unpacked("dicom_seg_sr_small/dcmqi_seg") / "dcmqi_seg"


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("seg", "images", "truth"),
    [
        ("liver.dcm", "ct-3slice", {1: ("liver_seg.nrrd", 1)}),
        ("partial_overlaps.dcm", "ct-3slice", {
            1: ("partial_overlaps-1.nrrd", 1), 2: ("partial_overlaps-2.nrrd", 2),
            3: ("partial_overlaps-3.nrrd", 3), 4: ("partial_overlaps-1.nrrd", 4),
            5: ("partial_overlaps-1.nrrd", 5)}),
        ("23x38x3/seg/label.seg", "23x38x3/image", {1: ("23x38x3/nrrd/label.nrrd", 1)}),
        ("24x38x3/seg/label.seg", "24x38x3/image", {1: ("24x38x3/nrrd/label.nrrd", 1)}),
        ("sparse-labelmap-noppv.dcm", "24x38x3/image", {1: ("sparse_labelmap_noppv_seg.nrrd", 1)}),
        ("sparse-labelmap-ppv5.dcm", "24x38x3/image", {1: ("sparse_labelmap_ppv5_seg.nrrd", 1)}),
    ],
)  # fmt: skip
def test_segmentations_of_other_programs_are_read_to_the_voxel(seg, images, truth, quantitative):
    volume = read_volume(quantitative / images)
    reference = read_reference(quantitative / seg, volume)
    assert len(reference.parts) == len(truth)
    for number, (file, value) in truth.items():
        expected = read_label_map(quantitative / file)[0] == value
        assert expected.any()
        np.testing.assert_array_equal(reference.mask_of(reference.parts[number - 1]), expected)


@pytest.mark.realdata
def test_a_fractional_segmentation_belongs_to_the_phases_it_was_drawn_on(unpacked):
    folder = unpacked("mr_dce_4d_dicom/UCSF-BR-06_dce")
    path = next((unpacked("mr_dce_4d_dicom/UCSF-BR-06_seg") / "mask").iterdir())
    uid = list_series(folder)[0].uid
    seg = pydicom.dcmread(path)
    for phase in (1, 2):
        reference = read_reference(path, read_volume(folder, series=f"{uid}#{phase}"))
        (part,) = reference.parts
        assert len(part.flat) == np.count_nonzero(seg.pixel_array >= 128) > 0
    third = read_volume(folder, series=f"{uid}#3")
    assert code_of(path, third) == "other-series"
    assert read_reference(path, third, accept=["other-series"]).parts


@pytest.mark.realdata
def test_a_real_structure_set_fills_to_the_mask_its_authors_computed(unpacked, data_folder):
    root = unpacked("ct_chest_rtstruct_small/ibsi1_phantom_dicom") / "ibsi"
    volume = read_volume(root / "image")
    reference = read_reference(next((root / "mask").iterdir()), volume)
    (part,) = reference.parts
    assert part.name == "GTV-1"
    truth = read_volume(data_folder / "ct_chest_rtstruct_small" / "mask.nii.gz")
    assert truth.geometry.is_close(volume.geometry, 0.01)
    mask, expected = reference.mask_of(part), truth.array > 0
    dice = 2 * np.count_nonzero(mask & expected) / (mask.sum() + expected.sum())
    assert dice > 0.984


def test_our_own_objects_come_back_under_their_own_names(drawn_on, tmp_path):
    folder, volume = drawn_on
    findings = findings_in(volume)
    made = export_clinical(findings, folder, tmp_path / "out", reader=SIGNED)
    back = read_reference(made.seg, volume).findings()
    assert back.provenance.model == "reference MedDetect"
    assert back.provenance.input_sha256 == volume.sha256
    for item in back:
        before = next(f for f in findings if f.id == item.id)
        assert item.volume_ml == pytest.approx(before.volume_ml)
        assert item.diameter_mm == pytest.approx(before.diameter_mm)
        assert item.box == before.box


def test_a_contour_without_area_between_two_pixels_does_not_spoil_the_others(drawn_on):
    """Planning systems leave such lines behind when a contour is edited away."""
    folder, volume = drawn_on
    line = [(2, 3.0, 5.5), (2, 8.0, 5.5), (2, 6.0, 5.5)]
    reference = read_reference(structure_set(folder, volume, [[square(2, 3.5, 8.5), line]]), volume)
    assert np.count_nonzero(reference.mask_of(reference.parts[0])) == 25

"""Segmentations and label maps survive a trip through a file, ours and Slicer's."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_files import good_array, nifti_bytes, nrrd_bytes, put
from made_findings import findings, oblique

from MedDetectLib.cases.label_files import (
    Segment,
    Segmentation,
    read_label_map,
    read_segmentation,
    segmentation_of,
    terminology_entry,
    write_label_map,
    write_segmentation,
)
from MedDetectLib.cases.lps import from_sitk
from MedDetectLib.core.errors import InputError, StoreError
from MedDetectLib.core.labels import Code, Label, Terminology
from MedDetectLib.core.rasterise import box_slices


def test_masks_keep_their_values_and_overlapping_boxes_get_layers_of_their_own():
    found = findings()
    whole = segmentation_of(found)
    np.testing.assert_array_equal(whole.layers[0], found.label_map)
    assert [segment.id for segment in whole.segments] == ["F1", "F2", "F3", "F4"]
    for item, segment in zip(found, whole.segments, strict=True):
        mask = whole.mask_of(segment)
        if item.mask_value is not None:
            np.testing.assert_array_equal(mask, found.mask_of(item))
        else:
            expected = np.zeros(found.geometry.shape_kji, bool)
            expected[box_slices(item.box, expected.shape)] = True
            np.testing.assert_array_equal(mask, expected)
    assert len({(s.layer, s.value) for s in whole.segments}) == 4


def test_a_box_outside_the_volume_is_an_empty_segment_of_its_own(tmp_path):
    found = findings(masks=False)
    away = replace(found.items[0], id="F9", box=(50.0, 50.0, 50.0, 60.0, 60.0, 60.0))
    whole = segmentation_of(replace(found, items=(away, *found.items)))
    assert [whole.mask_of(segment).any() for segment in whole.segments] == [False, True, True]
    write_segmentation(whole, tmp_path / "a.seg.nrrd")
    assert read_segmentation(tmp_path / "a.seg.nrrd").segments == whole.segments


@pytest.mark.parametrize("masks", [True, False])
def test_a_segmentation_comes_back_as_it_was_written(masks, tmp_path):
    whole = segmentation_of(findings(masks=masks))
    write_segmentation(whole, tmp_path / "a.seg.nrrd")
    again = read_segmentation(tmp_path / "a.seg.nrrd")
    np.testing.assert_array_equal(again.layers, whole.layers)
    assert again.segments == whole.segments
    assert again.geometry.is_close(whole.geometry, 1e-9)


def test_the_same_findings_give_the_same_bytes(tmp_path):
    for name in ("a.seg.nrrd", "b.seg.nrrd"):
        write_segmentation(findings(), tmp_path / name)
    assert (tmp_path / "a.seg.nrrd").read_bytes() == (tmp_path / "b.seg.nrrd").read_bytes()


def test_more_than_255_values_are_kept(tmp_path):
    layers = np.zeros((1, 3, 4, 5), np.uint16)
    layers[0, 1, 2, 3] = 40000
    whole = Segmentation(oblique((3, 4, 5)), layers, (Segment("a", "a", (1, 2, 3), 40000),))
    write_segmentation(whole, tmp_path / "a.seg.nrrd")
    np.testing.assert_array_equal(read_segmentation(tmp_path / "a.seg.nrrd").layers, layers)


def test_simpleitk_sees_the_same_voxels_in_the_same_place(tmp_path):
    found = findings(boxes=False)
    write_segmentation(found, tmp_path / "a.seg.nrrd")
    array, geometry = from_sitk(SimpleITK.ReadImage(str(tmp_path / "a.seg.nrrd")))
    np.testing.assert_array_equal(array, found.label_map)
    assert geometry.is_close(found.geometry)


def test_names_that_could_break_the_header_come_back_harmless(tmp_path):
    tags = {"MedDetect.Label": "a|b", "MedDetect.FindingId": "Knötchen: 3"}
    segment = Segment("F1", "Knötchen: \\ one\ntwo := three", (255, 0, 0), 1, 0, tags)
    whole = Segmentation(oblique((2, 2, 2)), np.ones((1, 2, 2, 2), np.uint16), (segment,))
    write_segmentation(whole, tmp_path / "a.seg.nrrd")
    (again,) = read_segmentation(tmp_path / "a.seg.nrrd").segments
    assert again.name == segment.name
    assert again.tags["MedDetect.FindingId"] == "Knötchen: 3"
    assert again.tags["MedDetect.Label"] == "a b"


def test_a_cropped_segmentation_is_laid_back_onto_the_volumes_grid():
    geometry = oblique((6, 7, 8))
    layers = np.zeros((1, 6, 7, 8), np.uint16)
    layers[0, 2:4, 3:5, 1:4] = 1
    segment = Segment("a", "a", (1, 2, 3), 1)
    cut = Segmentation(geometry.cropped((1, 2, 1), (5, 6, 7)), layers[:, 1:5, 2:6, 1:7], (segment,))
    np.testing.assert_array_equal(cut.on_grid(geometry).layers, layers)
    wide = Segmentation(geometry, layers, (segment,))
    back = wide.on_grid(cut.geometry)
    np.testing.assert_array_equal(back.layers, cut.layers)
    shifted = geometry.resampled((6, 7, 8), (1.1, 1.1, 1.1), anchor="first_centre")
    for target in (shifted, geometry.cropped((3, 3, 3), (6, 7, 8))):
        with pytest.raises(InputError) as caught:
            wide.on_grid(target)
        assert caught.value.code == "other-grid"


def test_a_terminology_is_written_as_slicer_spells_it():
    coded = Terminology(
        Code("SCT", "49755003", "Morphologically Altered Structure"),
        Code("SCT", "27925004", "Nodule"),
        Code("SCT", "39607008", "Lung"),
    )
    assert terminology_entry(Label(1, "nodule", (1, 2, 3), coded)) == (
        "Segmentation category and type - DICOM master list"
        "~SCT^49755003^Morphologically Altered Structure~SCT^27925004^Nodule~^^"
        "~Anatomic codes - DICOM master list~SCT^39607008^Lung~^^"
    )
    assert "85756007^Tissue" in terminology_entry(Label(1, "nodule", (1, 2, 3)))


def test_a_plain_label_map_has_one_segment_per_value(tmp_path):
    array = np.zeros((4, 5, 6), np.uint8)
    array[0, 0, 0], array[1, 1, 1] = 3, 9
    whole = read_segmentation(put(tmp_path, "a.nrrd", nrrd_bytes(array)))
    assert [segment.value for segment in whole.segments] == [3, 9]


@pytest.mark.parametrize("name", ["a.nrrd", "a.nii.gz", "a.mha"])
def test_a_label_map_comes_back_from_every_format(name, tmp_path):
    found = findings()
    write_label_map(found.label_map, found.geometry, tmp_path / name)
    again, geometry = read_label_map(tmp_path / name)
    np.testing.assert_array_equal(again, found.label_map)
    assert geometry.is_close(found.geometry, 1e-3)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("value", [-1, 70000, 0.5])
def test_what_is_no_label_map_is_refused(value, tmp_path):
    array = np.full((4, 5, 6), value, np.float32)
    path = put(tmp_path, "a.nii", nifti_bytes(array))
    with pytest.raises(InputError) as caught:
        read_label_map(path)
    assert caught.value.code == "bad-label-map"


def test_a_segmentation_that_is_no_nrrd_or_damaged_is_refused(tmp_path):
    with pytest.raises(InputError) as caught:
        read_segmentation(put(tmp_path, "a.nii", nifti_bytes(good_array())))
    assert caught.value.code == "bad-label-map"
    write_segmentation(findings(), tmp_path / "a.seg.nrrd")
    data = (tmp_path / "a.seg.nrrd").read_bytes()
    with pytest.raises(InputError) as caught:
        read_segmentation(put(tmp_path, "b.seg.nrrd", data[:-5]))
    assert caught.value.code == "truncated-data"
    wrong = data.replace(b"Segment1_Layer:=1", b"Segment1_Layer:=9")
    with pytest.raises(InputError) as caught:
        read_segmentation(put(tmp_path, "c.seg.nrrd", wrong))
    assert caught.value.code == "bad-label-map"


def test_a_folder_that_is_not_there_is_said_with_exit_73(tmp_path):
    for write in (
        lambda path: write_segmentation(findings(), path),
        lambda path: write_label_map(np.zeros((2, 2, 2), np.uint16), oblique((2, 2, 2)), path),
    ):
        with pytest.raises(StoreError) as caught:
            write(tmp_path / "absent" / "a.seg.nrrd")
        assert (caught.value.code, caught.value.exit_code) == ("cannot-write", 73)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(low=st.tuples(*[st.floats(-3, 9)] * 3), size=st.tuples(*[st.floats(0.01, 6)] * 3))
def test_a_box_covers_the_voxels_whose_centres_it_holds_and_at_least_one(low, size):
    shape = (5, 6, 7)
    box = (*low, *(a + b for a, b in zip(low, size, strict=True)))
    spans = box_slices(box, shape)
    if any(box[n + 3] <= 0 or box[n] >= shape[n] for n in range(3)):
        assert all(span == slice(0, 0) for span in spans)
        return
    for axis, span in enumerate(spans):
        centres = np.arange(shape[axis]) + 0.5
        held = np.flatnonzero((centres >= box[axis]) & (centres < box[axis + 3]))
        covered = np.arange(shape[axis])[span]
        if len(held):
            np.testing.assert_array_equal(covered, held)
        else:
            middle = (max(box[axis], 0) + min(box[axis + 3], shape[axis])) / 2
            assert len(covered) == 1
            assert abs(covered[0] + 0.5 - middle) <= 0.5


# --- Slicer's own reader ----------------------------------------------------------------


def test_slicer_reads_every_segment_with_its_name_colour_tags_and_place(tmp_path):
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    vtk = pytest.importorskip("vtk")
    found = findings()
    write_segmentation(found, tmp_path / "a.seg.nrrd")
    scene = slicer.vtkMRMLScene()
    node, storage = slicer.vtkMRMLSegmentationNode(), slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(tmp_path / "a.seg.nrrd"))
    assert storage.ReadData(node) == 1
    segmentation = node.GetSegmentation()
    whole = segmentation_of(found)
    assert segmentation.GetNumberOfSegments() == len(whole.segments)
    for n, expected in enumerate(whole.segments):
        segment = segmentation.GetNthSegment(n)
        assert segmentation.GetNthSegmentID(n) == expected.id
        assert segment.GetName() == expected.name
        colour = [c / 255 for c in expected.colour_rgb]
        np.testing.assert_allclose(segment.GetColor(), colour, atol=1e-5)
        for key, value in expected.tags.items():
            text = vtk.reference("")
            assert segment.GetTag(key, text)
            assert str(text) == value
        image, matrix = segment.GetRepresentation("Binary labelmap"), vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        found_matrix = [[matrix.GetElement(r, c) for c in range(4)] for r in range(4)]
        np.testing.assert_allclose(found_matrix, found.geometry.ijk_to_ras, atol=1e-6)
        i0, i1, j0, j1, k0, k1 = image.GetExtent()
        scalars = image.GetPointData().GetScalars()
        values = np.array([scalars.GetTuple1(v) for v in range(scalars.GetNumberOfTuples())])
        box = np.zeros(found.geometry.shape_kji, bool)
        box[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = (
            values.reshape(k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1) == segment.GetLabelValue()
        )
        np.testing.assert_array_equal(box, whole.mask_of(expected))


def test_what_slicer_writes_is_read_back_onto_the_grid(tmp_path):
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    found = findings()
    write_segmentation(found, tmp_path / "a.seg.nrrd")
    scene = slicer.vtkMRMLScene()
    node, storage = slicer.vtkMRMLSegmentationNode(), slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(tmp_path / "a.seg.nrrd"))
    assert storage.ReadData(node) == 1
    storage.SetCropToMinimumExtent(True)
    storage.SetFileName(str(tmp_path / "b.seg.nrrd"))
    assert storage.WriteData(node) == 1
    again = read_segmentation(tmp_path / "b.seg.nrrd").on_grid(found.geometry)
    whole = segmentation_of(found)
    for mine, theirs in zip(whole.segments, again.segments, strict=True):
        assert (mine.id, mine.name, mine.colour_rgb) == (theirs.id, theirs.name, theirs.colour_rgb)
        assert mine.tags.items() <= theirs.tags.items()
        np.testing.assert_array_equal(whole.mask_of(mine), again.mask_of(theirs))

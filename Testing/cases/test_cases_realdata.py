"""The real volumes of ../shared/data are read with the geometry they are known to have."""

import json

import numpy as np
import pydicom
import pytest
import SimpleITK

from MedDetectLib.cases.image_files import list_series, read_volume
from MedDetectLib.cases.label_files import read_label_map, read_segmentation
from MedDetectLib.cases.lps import from_sitk
from MedDetectLib.core.errors import InputError

pytestmark = pytest.mark.realdata


def _refused(path, code, **choice):
    with pytest.raises(InputError) as caught:
        read_volume(path, **choice)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _by_gdcm(folder):
    """SimpleITK's own reading of a plain series, for comparison."""
    reader = SimpleITK.ImageSeriesReader()
    (uid,) = reader.GetGDCMSeriesIDs(str(folder))
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), uid))
    return from_sitk(reader.Execute())


@pytest.mark.parametrize(
    ("name", "shape", "spacing", "orientation"),
    [
        ("ct_torso_multiorgan/example_ct.nii.gz", (112, 101, 122), (3, 3, 3), "RAS"),
        ("ct_torso_multiorgan/example_mr_sm.nii.gz", (20, 91, 117), (3, 3, 3), "LPS"),
        ("mr_spine_t2/t2.nii.gz", (52, 55, 60), (1, 1, 1), "PSR"),
        ("mr_t1_conformed/t1_crop.nii.gz", (256, 256, 256), (1, 1, 1), "LIA"),
        ("mr_tumour_t1gd/brain1_image.nrrd", (25, 256, 256), (6.5, 0.78125, 0.78125), "LAS"),
    ],
)
def test_files_have_the_known_geometry_and_agree_with_simpleitk(
    name, shape, spacing, orientation, data_folder
):
    volume = read_volume(data_folder / name)
    assert volume.geometry.shape_kji == shape
    np.testing.assert_allclose(volume.geometry.spacing_kji_mm, spacing, rtol=1e-4)
    assert volume.geometry.orientation == orientation
    assert volume.notes == ()
    array, geometry = from_sitk(SimpleITK.ReadImage(str(data_folder / name)))
    np.testing.assert_array_equal(volume.array, array)
    assert geometry.is_close(volume.geometry, 1e-3)


def test_label_maps_lie_on_the_grids_of_their_images(data_folder):
    for image, labels, count in (
        ("ct_torso_multiorgan/example_ct.nii.gz", "ct_torso_multiorgan/example_seg_117.nii.gz", 30),
        ("mr_tumour_t1gd/brain1_image.nrrd", "mr_tumour_t1gd/brain1_label.nrrd", 1),
        ("mr_spine_t2/t2.nii.gz", "mr_spine_t2/t2_seg-manual.nii.gz", 1),
    ):
        label_map, geometry = read_label_map(data_folder / labels)
        assert geometry.is_close(read_volume(data_folder / image).geometry, 0.01)
        assert label_map.dtype == np.uint16
        assert len(np.unique(label_map)) > count


def test_an_oblique_four_dimensional_nifti_needs_a_choice(data_folder):
    path = data_folder / "geometry_small/example4d.nii.gz"
    _refused(path, "four-d")
    first, second = (read_volume(path, series=f"#{n}") for n in (1, 2))
    assert first.geometry.shape_kji == (24, 96, 128)
    assert first.geometry.is_oblique
    assert (first.array != second.array).any()


def test_an_abdominal_ct_agrees_with_gdcm(unpacked):
    folder = unpacked("ct_abdomen_dicom/CRLM-CT-1004") / "CRLM-CT-1004"
    volume = read_volume(folder)
    array, geometry = _by_gdcm(folder)
    np.testing.assert_array_equal(volume.array, array)
    assert volume.geometry.is_close(geometry, 1e-3)
    assert volume.geometry.shape_kji == (41, 512, 512)
    assert volume.geometry.spacing_kji_mm == pytest.approx((5, 0.796875, 0.796875))
    assert (volume.modality, volume.array.dtype) == ("CT", np.int16)
    assert len(set(volume.source["sop_instance_uids"])) == 41


def test_a_small_head_ct_agrees_with_gdcm(unpacked):
    folder = unpacked("geometry_small/slicer_cthead_64") / "slicer_cthead"
    volume = read_volume(folder)
    array, geometry = _by_gdcm(folder)
    np.testing.assert_array_equal(volume.array, array)
    assert volume.geometry.is_close(geometry, 1e-2)
    assert volume.geometry.shape_kji == (93, 64, 64)


def test_a_chest_ct_with_a_structure_set_lies_on_the_grid_of_its_mask(unpacked, data_folder):
    volume = read_volume(unpacked("ct_chest_rtstruct_small/ibsi1_phantom_dicom"))
    mask, geometry = read_label_map(data_folder / "ct_chest_rtstruct_small/mask.nii.gz")
    assert volume.geometry.is_close(geometry, 0.01)
    inside = volume.array[mask > 0]
    assert -200 < np.median(inside) < 200  # a tumour among lung of -800


def test_a_tilted_phantom_is_refused_or_straightened(unpacked):
    folder = unpacked("ct_tilt_phantom_dicom/philips_tilt_m18.5")
    assert "18.5 degrees" in _refused(folder, "gantry-tilt")
    volume = read_volume(folder, accept=["gantry-tilt"])
    step = 2.5 * np.cos(np.deg2rad(18.5))
    assert volume.geometry.spacing_kji_mm == pytest.approx((step, 0.482421875, 0.482421875), 1e-4)
    assert [note.code for note in volume.notes] == ["gantry-tilt"]
    files = {str(d.SOPInstanceUID): d for d in map(pydicom.dcmread, sorted(folder.rglob("I*")))}
    rng = np.random.default_rng(0)
    for k in (0, 9, 27):
        data = files[volume.source["sop_instance_uids"][k]]
        row = np.array(data.ImageOrientationPatient[:3], float)
        column = np.array(data.ImageOrientationPatient[3:], float)
        stored = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
        index = np.stack([np.full(2000, k), *rng.integers(0, 512, (2, 2000))], axis=1)
        place = volume.geometry.index_to_ras(index) * [-1, -1, 1]
        offset = (place - np.array(data.ImagePositionPatient, float)) / 0.482421875
        assert np.abs(offset @ np.cross(row, column)).max() < 0.01  # they lie in the slice
        down, across = offset @ column, offset @ row
        top, left = np.floor(down + 1e-6).astype(int), np.rint(across).astype(int)
        inside = (top >= 0) & (top < 511)
        top, left, share = top[inside], left[inside], (down[inside] - top[inside])
        expected = stored[top, left] * (1 - share) + stored[top + 1, left] * share
        found = volume.array[tuple(index[inside].T)]
        np.testing.assert_allclose(found, expected, atol=1.0)


def test_the_phases_of_a_contrast_series_are_told_apart(unpacked, data_folder):
    expected = json.loads((data_folder / "mr_dce_4d_dicom/expected.json").read_text())
    folder = unpacked("mr_dce_4d_dicom/UCSF-BR-06_dce")
    (info,) = list_series(folder)
    assert len(info.groups) == expected["phases"]
    assert info.slices == expected["phases"] * expected["slices_per_phase"]
    assert all(time in text for time, text in zip(expected["times"], info.groups, strict=True))
    _refused(folder, "four-d")
    phases = [read_volume(folder, series=f"{info.uid}#{n}") for n in (1, 2, 3)]
    for phase in phases:
        assert phase.geometry.shape_kji == (60, 256, 256)
        np.testing.assert_allclose(phase.geometry.spacing_kji_mm[::-1], expected["spacing"])
        assert phase.geometry.is_close(phases[0].geometry)
        assert phase.geometry.orientation == "PIR"
    # Contrast agent makes the later phases brighter.
    assert phases[0].array.mean() < phases[1].array.mean()


def test_four_enhanced_sequences_share_the_true_grid(unpacked):
    folder = unpacked("mr_enhanced_multiframe/nema_BRTUM_flair_t2_t1_t1gd")
    infos = list_series(folder)
    assert [info.number for info in infos] == [3, 4, 5, 8]
    volumes = [read_volume(folder, series=info.uid) for info in infos]
    for volume in volumes:
        assert volume.geometry.shape_kji == (24, 256, 256)
        assert volume.geometry.spacing_kji_mm == pytest.approx((6, 0.8203, 0.8203), abs=1e-3)
        assert volume.geometry.is_close(volumes[0].geometry, 0.01)
        assert volume.modality == "MR"
    alone = read_volume(next(path for path in folder.rglob("BRTUM003")))
    assert alone.sha256 == volumes[0].sha256


def test_time_points_in_several_enhanced_files_agree_with_dcm2niix(unpacked):
    folder = unpacked("mr_enhanced_multiframe/siemens_xa10_4d")
    _refused(folder / "xa10", "four-d")
    for n in range(1, 5):
        volume = read_volume(folder / "xa10", series=f"#{n}")
        reference = read_volume(folder / "xa10_ref.nii", series=f"#{n}")
        flip = volume.geometry.axis_map_to(reference.geometry.orientation)
        turned = volume.reoriented(flip)
        assert turned.geometry.is_close(reference.geometry, 0.01)
        np.testing.assert_array_equal(turned.array, reference.array)


def test_noise_with_real_headers_is_refused_for_what_is_wrong_with_it(unpacked):
    folder = unpacked("geometry_small/d2n_geometry_noise_pixels")
    _refused(folder, "several-series")
    text = _refused(folder / "sliceincrement", "slice-gap")
    assert "10.00 mm apart, the rest 5.00 mm" in text
    filled = read_volume(folder / "sliceincrement", accept=["slice-gap"])
    assert filled.geometry.shape_kji == (5, 512, 512)
    _refused(folder / "sliceorientation", "mixed-orientation")
    for n in (1, 2):
        assert read_volume(folder / "sliceorientation", series=f"#{n}").array.shape[0] == 2
    assert "14.0 degrees" in _refused(folder / "gantrytilting", "gantry-tilt")
    straight = read_volume(folder / "gantrytilting", accept=["gantry-tilt"])
    assert straight.geometry.spacing_kji_mm[0] == pytest.approx(5 * np.cos(np.deg2rad(14)), 1e-3)


def test_reports_and_segmentations_are_no_volumes(unpacked):
    _refused(unpacked("dicom_seg_sr_small/dcmqi_sr_example"), "no-series")
    _refused(unpacked("mr_dce_4d_dicom/UCSF-BR-06_seg"), "no-series")


def test_classic_and_converted_multi_frame_objects_agree(unpacked):
    folder = unpacked("dicom_seg_sr_small/dcmqi_seg") / "dcmqi_seg"
    liver = read_volume(folder / "ct-3slice")
    assert liver.geometry.spacing_kji_mm == pytest.approx((1, 0.810547, 0.810547), 1e-4)
    for size in ("23x38x3", "24x38x3"):
        classic = read_volume(folder / size / "image")
        converted = read_volume(folder / size / "multiframe")
        assert classic.sha256 == converted.sha256


def test_segmentations_of_another_writer_are_read(unpacked):
    folder = unpacked("dicom_seg_sr_small/dcmqi_seg") / "dcmqi_seg"
    liver = read_volume(folder / "ct-3slice")
    whole = read_segmentation(folder / "liver_seg.nrrd")
    assert whole.geometry.is_close(liver.geometry, 0.01)
    assert len(whole.segments) == 1


@pytest.mark.parametrize(
    "name",
    ["normal_full.jpeg", "sample__normal__IM-0213-0001.jpeg", "widget__bacterial_pneumonia.png"],
)  # fmt: skip
def test_radiographs_are_read_as_one_flagged_slice(name, data_folder):
    path = data_folder / "cxr_images" / name
    _refused(path, "no-spacing")
    volume = read_volume(path, accept=["no-spacing", "rgb"])
    assert volume.array.shape[0] == 1
    assert volume.array.dtype == np.uint8
    assert "no-spacing" in {note.code for note in volume.notes}

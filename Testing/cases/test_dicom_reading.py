"""Good DICOM is read as it is meant: order, place, rescaling, every transfer syntax."""

import json

import numpy as np
import pydicom
import pytest
from made_dicom import (
    AXIAL,
    COLUMNS,
    ROWS,
    as_mr,
    enhanced,
    image,
    pixels,
    series,
    through_gdcm,
    write,
)
from pydicom import uid as uids
from pydicom.data import get_testdata_file

from MedDetectLib.cases.image_files import list_series, read_volume
from MedDetectLib.core.errors import InputError

HOUNSFIELD = pixels(5).astype(np.int16) - 1024


def test_slices_are_sorted_by_place_whatever_their_names_and_numbers_say(tmp_path):
    folder = write(tmp_path / "ct", series())
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, HOUNSFIELD)
    assert volume.array.dtype == np.int16
    expected = [[-0.5, 0, 0, 10], [0, -0.75, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.geometry.ijk_to_ras, expected)
    assert (volume.modality, volume.name, volume.notes) == ("CT", "made series", ())


def test_the_source_names_the_objects_but_not_the_patient(tmp_path):
    images = series()
    volume = read_volume(write(tmp_path / "ct", images))
    source = volume.source
    assert source["sop_instance_uids"] == [data.SOPInstanceUID for data in images]
    assert source["series_instance_uid"] == "1.2.3.4"
    assert source["study_instance_uid"] == "1.2.3"
    assert source["frame_of_reference_uid"] == "1.2.3.5"
    assert (source["kind"], source["path"]) == ("dicom", "ct")
    text = json.dumps(source)
    assert "P1" not in text
    assert "Made" not in text


def test_one_file_of_a_series_stands_for_its_series(tmp_path):
    folder = write(tmp_path / "ct", series())
    write(folder, series(3, SeriesInstanceUID="1.2.3.9"), "other")
    np.testing.assert_array_equal(read_volume(folder / "im002.dcm").array, HOUNSFIELD)


def test_an_oblique_series_keeps_its_orientation(tmp_path):
    turn = np.deg2rad(25)
    oblique = [np.cos(turn), np.sin(turn), 0, 0, 0, -1]
    volume = read_volume(write(tmp_path / "ct", series(orientation=[round(x, 6) for x in oblique])))
    np.testing.assert_allclose(volume.geometry.directions_ras[:, 0], [-oblique[0], -oblique[1], 0],
                               atol=1e-5)  # fmt: skip
    np.testing.assert_allclose(volume.geometry.directions_ras[:, 1], [0, 0, -1], atol=1e-6)
    np.testing.assert_array_equal(volume.array, HOUNSFIELD)


def test_positions_rounded_to_one_decimal_are_even(tmp_path):
    images = series(12, step=0.625)
    for data in images:
        data.ImagePositionPatient = [round(float(x), 1) for x in data.ImagePositionPatient]
    volume = read_volume(write(tmp_path / "ct", images))
    assert volume.geometry.spacing_kji_mm[0] == pytest.approx(0.625, abs=0.01)


# --- rescaling -------------------------------------------------------------------------


def test_each_slice_may_have_its_own_rescaling(tmp_path):
    images = series(3, Modality="PT")
    for data, slope in zip(images, (1.5, 2.0, 0.25), strict=True):
        data.RescaleSlope, data.RescaleIntercept = slope, 0
    volume = read_volume(write(tmp_path / "pt", images))
    expected = pixels(3) * np.array([1.5, 2.0, 0.25])[:, None, None]
    np.testing.assert_allclose(volume.array, expected)
    assert volume.array.dtype == np.float32


def test_without_rescaling_the_stored_type_stays(tmp_path):
    images = as_mr(series(RescaleSlope=None, RescaleIntercept=None))
    volume = read_volume(write(tmp_path / "mr", images))
    assert volume.array.dtype == np.uint16
    assert volume.modality == "MR"


def test_an_inverted_radiograph_is_turned_bright_and_noted(tmp_path):
    plain = {"RescaleSlope": None, "RescaleIntercept": None, "ImagePositionPatient": [0, 0, 0]}
    data = image(pixels(1)[0], Modality="DX", PhotometricInterpretation="MONOCHROME1", **plain)
    volume = read_volume(write(tmp_path / "dx", [data]))
    stored = pixels(1).astype(int)
    np.testing.assert_array_equal(volume.array, stored.max() + stored.min() - stored)
    assert [note.code for note in volume.notes] == ["monochrome1"]


# --- transfer syntaxes -----------------------------------------------------------------


@pytest.mark.parametrize(
    "syntax",
    [
        uids.ImplicitVRLittleEndian, uids.ExplicitVRLittleEndian, uids.ExplicitVRBigEndian,
        uids.DeflatedExplicitVRLittleEndian, uids.RLELossless, uids.JPEG2000Lossless,
    ],
    ids=lambda uid: uid.name,
)  # fmt: skip
def test_every_syntax_written_by_pydicom_gives_the_same_voxels(syntax, tmp_path):
    images = series()
    for data in images:
        if syntax.is_compressed and syntax != uids.DeflatedExplicitVRLittleEndian:
            data.compress(syntax, generate_instance_uid=False)
        else:
            data.file_meta.TransferSyntaxUID = syntax
            if not syntax.is_little_endian:
                data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
                data.set_original_encoding(False, False)
    np.testing.assert_array_equal(read_volume(write(tmp_path / "ct", images)).array, HOUNSFIELD)


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_every_lossless_syntax_written_by_gdcm_gives_the_same_voxels(compressor, tmp_path):
    images = [through_gdcm(data, compressor, tmp_path / "made") for data in series()]
    expected = {"JPEG": uids.JPEGLosslessSV1, "JPEG2000": uids.JPEG2000Lossless}[compressor]
    assert {data.file_meta.TransferSyntaxUID for data in images} == {expected}
    np.testing.assert_array_equal(read_volume(write(tmp_path / "ct", images)).array, HOUNSFIELD)


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_without_a_pydicom_plugin_simpleitk_decodes(compressor, tmp_path, monkeypatch):
    from pydicom.pixels.decoders.base import Decoder

    images = [through_gdcm(data, compressor, tmp_path / "made") for data in series()]
    folder = write(tmp_path / "ct", images)
    monkeypatch.setattr(Decoder, "is_available", property(lambda self: False))
    np.testing.assert_array_equal(read_volume(folder).array, HOUNSFIELD)


def test_jpeg_ls_without_a_pydicom_plugin_is_decoded_by_simpleitk(tmp_path, monkeypatch):
    from pydicom.pixels.decoders.base import Decoder

    packed = get_testdata_file("MR_small_jpeg_ls_lossless.dcm", download=False)
    if packed is None:
        pytest.skip("this pydicom ships no JPEG-LS image")
    data = pydicom.dcmread(packed)
    expected = data.pixel_array
    folder = write(tmp_path / "mr", [data])
    monkeypatch.setattr(Decoder, "is_available", property(lambda self: False))
    np.testing.assert_array_equal(read_volume(folder).array[0], expected)


@pytest.mark.parametrize(
    "name",
    ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm",
     "MR_small_bigendian.dcm", "MR_small_implicit.dcm"],
)  # fmt: skip
def test_the_same_image_of_other_writers_gives_the_same_voxels(name, tmp_path):
    plain = get_testdata_file("MR_small.dcm", download=False)
    other = get_testdata_file(name, download=False)
    if plain is None or other is None:
        pytest.skip(f"this pydicom ships no {name}")
    volumes = []
    for n, source in enumerate((plain, other)):
        folder = tmp_path / str(n)
        folder.mkdir()
        (folder / "one.dcm").write_bytes(open(source, "rb").read())  # noqa: SIM115
        volumes.append(read_volume(folder / "one.dcm"))
    np.testing.assert_array_equal(volumes[0].array, volumes[1].array)


def test_a_lossy_twelve_bit_jpeg_is_read_through_the_same_door(tmp_path):
    source = get_testdata_file("JPGExtended.dcm", download=False)
    if source is None:
        pytest.skip("this pydicom ships no JPGExtended.dcm")
    path = tmp_path / "one.dcm"
    path.write_bytes(open(source, "rb").read())  # noqa: SIM115
    data = pydicom.dcmread(source)
    volume = read_volume(path, accept=["no-spacing", "no-orientation"])
    assert volume.array.shape == (1, data.Rows, data.Columns)
    assert volume.array.max() > volume.array.min()


# --- multi-frame and several volumes ---------------------------------------------------


def test_an_enhanced_object_takes_place_and_rescaling_from_its_groups(tmp_path):
    folder = write(tmp_path / "mr", [enhanced()])
    for path in (folder, folder / "im000.dcm"):
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.array, pixels(4).astype(int) * 2)
        np.testing.assert_allclose(volume.geometry.spacing_kji_mm, (6, 0.75, 0.5))
        np.testing.assert_allclose(volume.geometry.origin_ras_mm, (10, 20, 30))
        assert volume.source["frame_numbers"] == [4, 3, 2, 1]


@pytest.mark.parametrize("syntax", [uids.RLELossless, uids.JPEG2000Lossless])
def test_a_compressed_enhanced_object_is_read(syntax, tmp_path):
    data = enhanced()
    data.compress(syntax, generate_instance_uid=False)
    volume = read_volume(write(tmp_path / "mr", [data]))
    np.testing.assert_array_equal(volume.array, pixels(4).astype(int) * 2)


def test_phases_of_an_enhanced_object_are_listed_and_chosen(tmp_path):
    folder = write(tmp_path / "mr", [enhanced(phases=3)])
    (info,) = list_series(folder)
    assert [text.split(" (")[0] for text in info.groups] == [
        f"TemporalPositionIndex {n}" for n in (1, 2, 3)
    ]
    with pytest.raises(InputError, match=r"1\.2\.3\.4#3") as caught:
        read_volume(folder)
    assert caught.value.code == "four-d"
    for n in (1, 2, 3):
        volume = read_volume(folder, series=f"1.2.3.4#{n}")
        expected = pixels(4, seed=n - 1).astype(int) * 2 + n - 1
        np.testing.assert_array_equal(volume.array, expected)


def _phases(key, values, per_phase=4):
    images = []
    for n, value in enumerate(values):
        phase = series(per_phase, seed=n, **({key: value} if key else {}))
        for k, data in enumerate(phase):
            data.InstanceNumber = n * per_phase + k + 1
        images += phase
    return images


@pytest.mark.parametrize(
    ("key", "values"),
    [("EchoTime", [4.6, 2.3]), ("TriggerTime", [100, 20]), ("ContentTime", ["102551", "093238"]),
     ("TemporalPositionIdentifier", [2, 1]), ("DiffusionBValue", [800.0, 0.0])],
)  # fmt: skip
def test_volumes_of_one_series_are_told_apart_and_ordered_by_what_differs(key, values, tmp_path):
    folder = write(tmp_path / "mr", as_mr(_phases(key, values)))
    (info,) = list_series(folder)
    assert [text.split()[0] for text in info.groups] == [key, key]
    first = read_volume(folder, series="#1")
    np.testing.assert_array_equal(first.array, pixels(4, seed=1).astype(int) - 1024)


def test_volumes_that_only_their_instance_numbers_tell_apart_keep_that_order(tmp_path):
    folder = write(tmp_path / "mr", as_mr(_phases(None, [0, 1, 2])))
    for n in range(3):
        volume = read_volume(folder, series=f"#{n + 1}")
        np.testing.assert_array_equal(volume.array, pixels(4, seed=n).astype(int) - 1024)


def test_a_lost_slice_of_one_phase_is_a_gap_of_that_phase_only(tmp_path):
    images = _phases("TemporalPositionIdentifier", [1, 2], per_phase=6)
    del images[8]
    folder = write(tmp_path / "mr", as_mr(images))
    assert read_volume(folder, series="#1").geometry.shape_kji[0] == 6
    with pytest.raises(InputError) as caught:
        read_volume(folder, series="#2")
    assert caught.value.code == "slice-gap"


def test_several_series_are_listed_and_chosen_by_uid_its_ends_or_number(tmp_path):
    write(tmp_path / "a", series(SeriesInstanceUID="1.2.3.41", SeriesNumber=3))
    write(tmp_path / "b", series(3, SeriesInstanceUID="1.2.9.42", SeriesNumber=12))
    write(tmp_path / "c", [enhanced()])
    infos = list_series(tmp_path)
    assert [(i.uid, i.number, i.slices, i.size_ij) for i in infos] == [
        ("1.2.3.41", 3, 5, (COLUMNS, ROWS)),
        ("1.2.3.4", 7, 4, (COLUMNS, ROWS)),
        ("1.2.9.42", 12, 3, (COLUMNS, ROWS)),
    ]
    with pytest.raises(InputError, match="--series UID") as caught:
        read_volume(tmp_path)
    assert caught.value.code == "several-series"
    assert all(info.uid in str(caught.value) for info in infos)
    for choice, slices in (
        ("1.2.9.42", 3),
        ("12", 3),
        ("1.2.9", 3),
        (".42", 3),
        ("3", 5),
        ("7", 4),
    ):
        assert read_volume(tmp_path, series=choice).geometry.shape_kji[0] == slices
    for choice, code in (("1.2", "ambiguous-series"), ("5.5", "no-series"), ("12#2", "no-series")):
        with pytest.raises(InputError) as caught:
            read_volume(tmp_path, series=choice)
        assert caught.value.code == code


def test_a_scout_inside_a_series_is_a_volume_of_its_own(tmp_path):
    images = series()
    scout = image(pixels(1)[0], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
                  ImageOrientationPatient=[1, 0, 0, 0, 0, -1], ImagePositionPatient=[0, 0, 0],
                  InstanceNumber=99)  # fmt: skip
    folder = write(tmp_path / "ct", [*images, scout])
    (info,) = list_series(folder)
    names = [text.split(" (")[0] for text in info.groups]
    assert sorted(n.split()[0] for n in names) == ["orientation", "scout"]
    with pytest.raises(InputError) as caught:
        read_volume(folder)
    assert caught.value.code == "mixed-orientation"
    choice = next(n for n, name in enumerate(names, 1) if name.startswith("orientation"))
    np.testing.assert_array_equal(read_volume(folder, series=f"#{choice}").array, HOUNSFIELD)


def test_objects_without_an_image_are_passed_over(tmp_path):
    folder = write(tmp_path / "ct", series())
    write(folder, [image(pixels(1)[0], Modality="SEG", SeriesInstanceUID="1.9")], "seg")
    report = image(pixels(1)[0], Modality="SR", SeriesInstanceUID="1.8", Rows=None, Columns=None)
    del report.PixelData
    write(folder, [report], "sr")
    (folder / "readme.txt").write_text("notes")
    (folder / "DICOMDIR").write_bytes(b"")
    assert [info.uid for info in list_series(folder)] == ["1.2.3.4"]
    assert read_volume(folder).geometry.shape_kji[0] == 5
    with pytest.raises(InputError, match="SEG") as caught:
        read_volume(folder / "seg000.dcm")
    assert caught.value.code == "not-an-image"


def test_a_single_slice_is_as_thick_as_it_says(tmp_path):
    volume = read_volume(write(tmp_path / "ct", series(1)))
    assert volume.geometry.spacing_kji_mm[0] == 2.5


def test_a_modality_stated_by_the_caller_wins(tmp_path):
    assert read_volume(write(tmp_path / "ct", series()), modality="MR").modality == "MR"


# --- accepted flaws --------------------------------------------------------------------


def test_an_accepted_gap_is_interpolated_onto_the_even_grid(tmp_path):
    images = series()
    del images[2]
    volume = read_volume(write(tmp_path / "ct", images), accept=["slice-gap"])
    middle = np.rint((HOUNSFIELD[1].astype(float) + HOUNSFIELD[3]) / 2)
    np.testing.assert_array_equal(volume.array[2], middle)
    np.testing.assert_array_equal(volume.array[[0, 1, 3, 4]], HOUNSFIELD[[0, 1, 3, 4]])
    assert volume.geometry.spacing_kji_mm[0] == 2.5
    assert volume.source["resampled"] is True
    assert [note.code for note in volume.notes] == ["slice-gap"]


def test_an_accepted_copy_is_dropped(tmp_path):
    images = series()
    twin = image(pixels(5)[2], ImagePositionPatient=list(images[2].ImagePositionPatient))
    folder = write(tmp_path / "ct", [*images, twin])
    volume = read_volume(folder, accept=["duplicate-slice"])
    np.testing.assert_array_equal(volume.array, HOUNSFIELD)
    assert [note.code for note in volume.notes] == ["duplicate-slice"]


@pytest.mark.parametrize("shift", [(0.0, 0.75), (0.0, -0.5), (0.3, 0.4), (-0.2, 0.0)])
def test_an_accepted_tilt_puts_every_slice_where_it_lies(shift, tmp_path):
    """Voxels that are a linear function of the place keep it, whatever the interpolation."""
    images = series(6, shift=shift, RescaleSlope=1, RescaleIntercept=0)
    j, i = np.mgrid[0:ROWS, 0:COLUMNS]
    for data in images:
        x, y, z = (float(v) for v in data.ImagePositionPatient)
        plane = 5000 + 200 * (x + 0.5 * i) + 100 * (y + 0.75 * j) + 30 * z
        data.PixelData = np.rint(plane).astype(np.uint16).tobytes()
    folder = write(tmp_path / "ct", images)
    with pytest.raises(InputError) as caught:
        read_volume(folder)
    assert caught.value.code == "gantry-tilt"
    volume = read_volume(folder, accept=["gantry-tilt"])
    geometry = volume.geometry
    assert geometry.spacing_kji_mm == pytest.approx((2.5, 0.75, 0.5))
    index = np.moveaxis(np.indices(volume.array.shape), 0, -1)
    x, y, z = np.moveaxis(geometry.index_to_ras(index) * [-1, -1, 1], -1, 0)
    expected = 5000 + 200 * x + 100 * y + 30 * z
    inside = np.ones(volume.array.shape, bool)
    for k, data in enumerate(images):
        x0, y0, _ = (float(v) for v in data.ImagePositionPatient)
        inside[k] = (
            (x[k] >= x0 - 1e-6) & (x[k] <= x0 + 0.5 * (COLUMNS - 1) + 1e-6)
            & (y[k] >= y0 - 1e-6) & (y[k] <= y0 + 0.75 * (ROWS - 1) + 1e-6)
        )  # fmt: skip
    assert inside.mean() > 0.5
    np.testing.assert_allclose(volume.array[inside], expected[inside], atol=1.5)
    assert [note.code for note in volume.notes] == ["gantry-tilt"]


def test_a_flaw_of_many_slices_is_noted_once(tmp_path):
    images = series()
    for data in images:
        data.PixelData += bytes(6)
    volume = read_volume(write(tmp_path / "ct", images), accept=["padded-data"])
    np.testing.assert_array_equal(volume.array, HOUNSFIELD)
    assert [note.code for note in volume.notes] == ["padded-data"]


def test_colour_dicom_is_read_as_brightness_when_accepted(tmp_path):
    plane = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    plane[..., 0], plane[..., 1], plane[..., 2] = 100, 50, 200
    flat = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0,
            "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "Rows": ROWS, "Columns": COLUMNS,
            "RescaleSlope": None, "RescaleIntercept": None}  # fmt: skip
    data = image(plane, ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=AXIAL, **flat)
    folder = write(tmp_path / "sc", [data])
    with pytest.raises(InputError) as caught:
        read_volume(folder)
    assert caught.value.code == "rgb"
    volume = read_volume(folder, accept=["rgb"])
    assert (volume.array == round(0.299 * 100 + 0.587 * 50 + 0.114 * 200)).all()

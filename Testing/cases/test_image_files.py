"""Good NIfTI, NRRD and MetaImage files are read as they are meant."""

import bz2
import gzip
import zlib

import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_files import good_array, meta_bytes, nifti_bytes, nrrd_bytes, put

from MedDetectLib.cases.image_files import read_volume
from MedDetectLib.cases.lps import from_sitk, to_sitk
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import Geometry

RAS_MATRIX = np.array([[1, 0, 0, 10], [0, 2, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]])
FLIP = np.diag([-1, -1, 1, 1])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_a_nifti_keeps_values_type_and_place(order, version, dtype, tmp_path):
    array = good_array(dtype)
    path = put(tmp_path, "scan.nii", nifti_bytes(array, order=order, version=version))
    volume = read_volume(path)
    assert volume.array.dtype == array.dtype
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.geometry.ijk_to_ras, RAS_MATRIX, atol=1e-6)
    assert (volume.name, volume.modality) == ("scan", "")
    assert volume.source == {"kind": "nifti", "path": "scan.nii"}


def test_a_nifti_pair_is_read_by_either_name(tmp_path):
    data = nifti_bytes(good_array(), magic=b"ni1\0", vox_offset=0)
    put(tmp_path, "scan.img", data[352:])
    for path in (put(tmp_path, "scan.hdr", data[:348]), tmp_path / "scan.img"):
        np.testing.assert_array_equal(read_volume(path).array, good_array())


def test_a_qform_alone_is_used_with_its_handedness(tmp_path):
    half = np.sqrt(0.5)  # a quarter turn about z, and k running down
    data = nifti_bytes(
        good_array(), sform_code=0, quatern=[0, 0, half], pixdim=[-1, 1, 2, 3, 0, 0, 0, 0]
    )
    expected = [[0, -2, 0, 10], [1, 0, 0, 20], [0, 0, -3, 30], [0, 0, 0, 1]]
    volume = read_volume(put(tmp_path, "scan.nii", data))
    np.testing.assert_allclose(volume.geometry.ijk_to_ras, expected, atol=1e-5)


def test_spacing_in_metres_or_microns_becomes_millimetres(tmp_path):
    pixdim = [1, 1000, 2000, 3000, 0, 0, 0, 0]
    srow = [1000, 0, 0, 10000, 0, 2000, 0, 20000, 0, 0, 3000, 30000]
    data = nifti_bytes(good_array(), xyzt_units=3, pixdim=pixdim, srow=srow, qform_code=0)
    volume = read_volume(put(tmp_path, "scan.nii", data))
    np.testing.assert_allclose(volume.geometry.ijk_to_ras, RAS_MATRIX, atol=1e-4)


@pytest.mark.parametrize(
    ("slope", "intercept", "kind"),
    [
        (0, 5, "int16"),
        (1, -1024, "int16"),
        (2, 0, "int16"),
        (1000, 0, "int32"),
        (0.5, 1, "float32"),
    ],
)
def test_rescaling_gives_integers_when_it_can(slope, intercept, kind, tmp_path):
    data = nifti_bytes(good_array(), scl_slope=slope, scl_inter=intercept)
    volume = read_volume(put(tmp_path, "scan.nii", data))
    used = (1, 0) if slope == 0 else (slope, intercept)
    np.testing.assert_array_equal(volume.array, good_array() * float(used[0]) + used[1])
    assert volume.array.dtype == kind


def test_one_volume_of_a_four_dimensional_file_is_chosen_by_number(tmp_path):
    array = np.stack([good_array(), good_array() + 1000])
    vectors = "(1,0,0) (0,2,0) (0,0,3)"
    files = [
        ("a.nii", nifti_bytes(array)),
        ("b.nrrd", nrrd_bytes(array, **{"space directions": f"{vectors} none",
                                        "kinds": "domain domain domain list"})),
        ("c.nrrd", nrrd_bytes(np.ascontiguousarray(np.moveaxis(array, 0, -1)),
                              **{"space directions": f"none {vectors}",
                                 "kinds": "list domain domain domain"})),
        ("d.mha", meta_bytes(array, TransformMatrix="1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1",
                             Offset="0 0 0 0", ElementSpacing="1 2 3 1")),
    ]  # fmt: skip
    for name, data in files:
        path = put(tmp_path, name, data)
        for choice, expected in (("#1", array[0]), ("#2", array[1])):
            np.testing.assert_array_equal(read_volume(path, series=choice).array, expected)
        with pytest.raises(InputError) as caught:
            read_volume(path, series="#3")
        assert caught.value.code == "no-series"


def test_a_file_has_no_series(tmp_path):
    path = put(tmp_path, "scan.nii", nifti_bytes(good_array()))
    with pytest.raises(InputError) as caught:
        read_volume(path, series="1.2.3")
    assert caught.value.code == "no-series"


@pytest.mark.parametrize("encoding", ["raw", "gzip", "ascii"])
@pytest.mark.parametrize(
    ("space", "signs"),
    [("left-posterior-superior", (-1, -1, 1)), ("RAS", (1, 1, 1)), ("LAS", (-1, 1, 1))],
)
def test_a_nrrd_lies_where_its_space_says(encoding, space, signs, tmp_path):
    path = put(tmp_path, "scan.nrrd", nrrd_bytes(good_array(), encoding=encoding, space=space))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, good_array())
    expected = np.diag([*signs, 1]) @ RAS_MATRIX
    np.testing.assert_allclose(volume.geometry.ijk_to_ras, expected)
    if encoding != "ascii":
        assert from_sitk(SimpleITK.ReadImage(str(path)))[1].is_close(volume.geometry)


def test_detached_voxels_are_found_with_bytes_and_lines_to_skip(tmp_path):
    put(tmp_path, "scan.raw", b"one line\nxy" + good_array().tobytes())
    for skip in ({"line skip": 1, "byte skip": 2}, {"byte skip": -1}):
        head = nrrd_bytes(good_array()[:0], sizes="6 5 4", **{"data file": "scan.raw", **skip})
        volume = read_volume(put(tmp_path, "scan.nhdr", head))
        np.testing.assert_array_equal(volume.array, good_array())
    for skip in (11, -1):
        head = meta_bytes(good_array(), data=b"", ElementDataFile="scan.raw", HeaderSize=skip)
        volume = read_volume(put(tmp_path, "scan.mhd", head))
        np.testing.assert_array_equal(volume.array, good_array())


def test_compressed_and_text_meta_images_are_read(tmp_path):
    for fields in (
        {"data": zlib.compress(good_array().tobytes()), "CompressedData": "True"},
        {"data": " ".join(map(str, good_array().ravel())).encode(), "BinaryData": "False"},
        {},
    ):
        volume = read_volume(put(tmp_path, "scan.mha", meta_bytes(good_array(), **fields)))
        np.testing.assert_array_equal(volume.array, good_array())
        np.testing.assert_allclose(volume.geometry.ijk_to_ras, FLIP @ RAS_MATRIX)


def test_gzip_in_several_members_is_whole(tmp_path):
    data = nifti_bytes(good_array())
    path = put(tmp_path, "scan.nii.gz", gzip.compress(data[:400]) + gzip.compress(data[400:]))
    np.testing.assert_array_equal(read_volume(path).array, good_array())


def test_bzip2_is_read(tmp_path):
    data = nrrd_bytes(good_array(), encoding="bzip2").split(b"\n\n")[0] + b"\n\n"
    path = put(tmp_path, "scan.nrrd", data + bz2.compress(good_array().tobytes()))
    np.testing.assert_array_equal(read_volume(path).array, good_array())


def test_an_sform_within_the_rounding_of_right_angles_is_read(tmp_path):
    srow = [1, 0.0008, 0, 10, 0.0004, 2, 0, 20, 0, 0, 3, 30]
    path = put(tmp_path, "scan.nii", nifti_bytes(good_array(), qform_code=0, srow=srow))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, good_array())
    np.testing.assert_allclose(volume.geometry.ijk_to_ras[0], srow[:4], atol=1e-6)


def test_two_volumes_written_by_simpleitk_as_vectors_are_told_apart(tmp_path):
    array = np.stack([good_array(), good_array() * 2], axis=-1)
    image = SimpleITK.GetImageFromArray(array, isVector=True)
    for name in ("scan.nii.gz", "scan.nrrd", "scan.mha"):
        SimpleITK.WriteImage(image, str(tmp_path / name))
        volume = read_volume(tmp_path / name, series="#2", accept=["no-orientation"])
        np.testing.assert_array_equal(volume.array, good_array() * 2)


@st.composite
def geometries(draw):
    """Oblique, anisotropic, flipped and permuted grids."""
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.2, 8)] * 3))
    origin = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    w, x, y, z = draw(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1))
    w, x, y, z = np.array([w, x, y, z]) / np.linalg.norm([w, x, y, z])
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    order = draw(st.permutations(range(3)))
    signs = draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    return Geometry.from_axes(shape, spacing, origin, (turn * signs)[:, order])


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(geometry=geometries(), seed=st.integers(0, 99))
@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.nii", "a.nii.gz"])
def test_write_and_read_keep_voxels_and_corners(name, geometry, seed, tmp_path):
    array = np.random.default_rng(seed).integers(-999, 999, geometry.shape_kji).astype("int16")
    SimpleITK.WriteImage(to_sitk(array, geometry), str(tmp_path / name))
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.array, array)
    assert volume.geometry.is_close(geometry, 1e-3)

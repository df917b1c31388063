from __future__ import annotations

import numpy as np
import pytest

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume


@pytest.fixture
def numbers(oblique_geometry):
    rng = np.random.default_rng(1)
    return rng.integers(-1000, 1000, oblique_geometry.shape_kji).astype(np.int16)


def test_the_fingerprint_is_the_same_whatever_type_and_layout_holds_the_voxels(
    numbers, oblique_geometry
):
    wide = np.zeros([2 * n for n in numbers.shape], np.float32)
    wide[::2, ::2, ::2] = numbers
    forms = [
        numbers,
        numbers.astype(np.float32),
        numbers.astype(np.float64),
        numbers.astype(">i2"),
        numbers.astype(">f8"),
        np.asfortranarray(numbers),
        wide[::2, ::2, ::2],
        numbers[::-1].copy()[::-1],
    ]
    assert len({Volume(form, oblique_geometry).sha256 for form in forms}) == 1


def test_minus_zero_is_zero_to_the_fingerprint():
    g = Geometry((1, 1, 2), np.eye(4))
    minus = np.array([[[0.0, 1.0]]]) * [-1.0, 1.0]
    assert Volume(minus, g).sha256 == Volume(np.array([[[0, 1]]], np.int16), g).sha256
    moved = np.eye(4)
    moved[0, 1] = -0.0
    assert Volume(minus, Geometry((1, 1, 2), moved)).sha256 == Volume(minus, g).sha256


def test_a_mask_of_booleans_has_a_fingerprint():
    g = Geometry((1, 1, 2), np.eye(4))
    flags = np.array([[[True, False]]])
    assert Volume(flags, g).sha256 == Volume(flags.astype(np.uint8), g).sha256


def test_the_fingerprint_changes_with_one_voxel_with_the_place_and_with_the_shape(
    numbers, oblique_geometry
):
    first = Volume(numbers, oblique_geometry).sha256
    changed = numbers.copy()
    changed[-1, -1, -1] += 1
    assert Volume(changed, oblique_geometry).sha256 != first
    moved = oblique_geometry.ijk_to_ras.copy()
    moved[0, 3] += 1e-4
    assert Volume(numbers, Geometry(numbers.shape, moved)).sha256 != first
    k, j, i = numbers.shape
    flat = Geometry((k, i, j), oblique_geometry.ijk_to_ras)
    assert Volume(numbers.reshape(k, i, j), flat).sha256 != first


def test_a_turned_volume_holds_the_same_value_at_the_same_place(
    numbers, any_axis_map, oblique_geometry
):
    from hypothesis import given

    volume = Volume(numbers, oblique_geometry)

    @given(any_axis_map)
    def check(axes):
        turned = volume.reoriented(axes)
        for index in np.ndindex(*turned.array.shape):
            if sum(index) % 7:
                continue
            ras = turned.geometry.index_to_ras(index)
            old = oblique_geometry.ras_to_index(ras)
            np.testing.assert_allclose(old, np.round(old), atol=1e-6)
            assert numbers[tuple(np.round(old).astype(int))] == turned.array[index]

    check()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2)),
        np.zeros((1, 2, 2, 2)),
        np.zeros((2, 2, 2), complex),
        np.zeros((2, 2, 2), object),
        np.zeros((2, 2, 2), "U3"),
        np.zeros((2, 2, 2), [("r", "u1"), ("g", "u1")]),
    ],
)
def test_what_is_not_a_scalar_volume_is_refused(array):
    with pytest.raises(InputError, match="bad-array"):
        Volume(array, Geometry((2, 2, 2), np.eye(4)))


def test_an_array_that_does_not_fit_its_grid_is_refused():
    with pytest.raises(InputError, match="bad-shape"):
        Volume(np.zeros((2, 3, 4)), Geometry((4, 3, 2), np.eye(4)))

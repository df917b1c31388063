from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.measure import as_box, measure_box, measure_mask, tight_box


def all_face_centres(mask):
    """Every face of every voxel, the definition taken literally."""
    steps = np.array(list(itertools.chain(*[(0.5 * row, -0.5 * row) for row in np.eye(3)])))
    return (np.argwhere(mask)[:, None] + 0.5 + steps[None]).reshape(-1, 3)


def farthest(points):
    return float(np.linalg.norm(points[:, None] - points[None], axis=-1).max())


@given(
    st.integers(0, 10**6),
    st.tuples(*[st.integers(1, 6)] * 3),
    st.tuples(*[st.sampled_from([0.3, 0.7, 1.0, 2.5, 5.0])] * 3),
    st.sampled_from([0.05, 0.3, 0.9]),
)
def test_the_diameter_is_within_half_a_percent_of_measuring_every_pair(seed, shape, mm, density):
    mask = np.random.default_rng(seed).uniform(size=shape) < density
    geometry = Geometry.from_axes(shape, mm)
    diameter, volume = measure_mask(mask, geometry)
    if not mask.any():
        assert (diameter, volume) == (0.0, 0.0)
        return
    exact = farthest(all_face_centres(mask) * np.array(mm))
    assert exact * 0.995 <= diameter <= exact * (1 + 1e-9)
    assert volume == pytest.approx(mask.sum() * np.prod(mm) / 1000)


@pytest.mark.parametrize("mm", [(1.0, 1.0, 1.0), (2.5, 0.7, 0.7)])
@pytest.mark.parametrize("radius", [3.0, 6.5, 9.0])
def test_a_digital_ball_measures_its_diameter(mm, radius):
    shape = [int(2 * radius / step) + 5 for step in mm]
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    offset = (index - (np.array(shape) - 1) / 2) * mm
    ball = np.linalg.norm(offset, axis=-1) <= radius
    diameter, volume = measure_mask(ball, Geometry.from_axes(shape, mm))
    assert diameter == pytest.approx(2 * radius, abs=1.2 * max(mm))
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.15)


def test_a_single_voxel_measures_its_longest_side(oblique_geometry):
    mask = np.zeros(oblique_geometry.shape_kji, bool)
    mask[2, 3, 4] = True
    diameter, volume = measure_mask(mask, oblique_geometry)
    assert diameter == pytest.approx(2.5)
    assert volume == pytest.approx(2.5 * 0.7 * 0.6 / 1000)


def test_sizes_do_not_depend_on_how_the_grid_is_turned(oblique_geometry, any_axis_map):
    mask = np.random.default_rng(4).uniform(size=oblique_geometry.shape_kji) < 0.2
    expected = measure_mask(mask, oblique_geometry)

    @given(any_axis_map)
    def check(axes):
        turned = measure_mask(axes.apply(mask), oblique_geometry.reoriented(axes))
        assert turned[0] == pytest.approx(expected[0], rel=0.006)
        assert turned[1] == pytest.approx(expected[1])

    check()


@given(st.integers(0, 10**6), st.tuples(*[st.integers(1, 7)] * 3))
def test_the_tight_box_holds_every_voxel_and_no_empty_border(seed, shape):
    mask = np.random.default_rng(seed).uniform(size=shape) < 0.3
    if not mask.any():
        with pytest.raises(InputError, match="empty-mask"):
            tight_box(mask)
        return
    where = np.argwhere(mask)
    assert tight_box(mask) == (*where.min(axis=0), *(where.max(axis=0) + 1))


def test_a_box_measures_its_longest_side_and_its_volume(oblique_geometry):
    diameter, volume = measure_box((0, 0, 0, 1, 5, 9), oblique_geometry)
    assert diameter == pytest.approx(9 * 0.6)
    assert volume == pytest.approx(2.5 * 5 * 0.7 * 9 * 0.6 / 1000)


def test_a_box_is_six_plain_floats():
    box = as_box(np.arange(6, dtype=np.float32))
    assert box == (0, 1, 2, 3, 4, 5)
    assert all(type(edge) is float for edge in box)
    with pytest.raises(ValueError, match="unpack"):
        as_box([1, 2, 3])

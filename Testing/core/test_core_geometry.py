from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import AxisMap, Geometry, is_orientation

TOLERANCE_MM = 1e-4


@pytest.fixture
def draws(any_geometry, any_axis_map):
    """Run a check on many grids and axis maps."""

    def check(function):
        given(any_geometry, any_axis_map, st.randoms(use_true_random=False))(function)()

    return check


def all_corner_voxels(geometry):
    return np.array(list(itertools.product(*((0, n - 1) for n in geometry.shape_kji))), float)


def mapped_index(index, axes, shape_kji):
    """Where AxisMap.apply puts an index; by the definition, not by the code under test."""
    new = np.empty_like(index)
    for axis, (source, flip) in enumerate(zip(axes.order, axes.flip, strict=True)):
        old = index[..., source]
        new[..., axis] = shape_kji[source] - 1 - old if flip else old
    return new


def test_an_index_maps_by_the_matrix_written_out_by_hand(oblique_geometry):
    g = oblique_geometry
    k, j, i = 3, 4, 5
    expected = [
        sum(g.ijk_to_ras[row, col] * v for col, v in enumerate((i, j, k, 1))) for row in range(3)
    ]
    np.testing.assert_allclose(g.index_to_ras([k, j, i]), expected, atol=1e-12)


def test_ras_and_index_are_inverse_on_any_grid(draws):
    def check(g, _axes, random):
        index = np.array([[random.uniform(-50, 50) for _ in range(3)] for _ in range(5)])
        np.testing.assert_allclose(g.ras_to_index(g.index_to_ras(index)), index, atol=1e-7)
        place = g.index_to_ras(index)
        np.testing.assert_allclose(g.index_to_ras(g.ras_to_index(place)), place, atol=TOLERANCE_MM)

    draws(check)


def test_edge_e_lies_at_index_e_minus_a_half(draws):
    def check(g, _axes, random):
        edge = np.array([random.uniform(-5, 20) for _ in range(3)])
        np.testing.assert_allclose(g.edge_to_ras(edge), g.index_to_ras(edge - 0.5), atol=1e-9)
        np.testing.assert_allclose(g.ras_to_edge(g.edge_to_ras(edge)), edge, atol=1e-7)

    draws(check)


def test_a_corner_voxel_keeps_its_place_when_axes_are_swapped_and_flipped(draws):
    def check(g, axes, _random):
        turned = g.reoriented(axes)
        corners = all_corner_voxels(g)
        there = turned.index_to_ras(mapped_index(corners, axes, g.shape_kji))
        np.testing.assert_allclose(there, g.index_to_ras(corners), atol=TOLERANCE_MM)
        assert turned.shape_kji == axes.apply(np.zeros(g.shape_kji)).shape

    draws(check)


def test_the_array_and_the_grid_are_turned_alike(draws):
    def check(g, axes, _random):
        index = np.stack(np.meshgrid(*(np.arange(n) for n in g.shape_kji), indexing="ij"), axis=-1)
        ras = np.moveaxis(g.index_to_ras(index), -1, 0)
        turned = g.reoriented(axes)
        new = np.stack(
            np.meshgrid(*(np.arange(n) for n in turned.shape_kji), indexing="ij"), axis=-1
        )
        expected = np.moveaxis(turned.index_to_ras(new), -1, 0)
        np.testing.assert_allclose(axes.apply(ras), expected, atol=TOLERANCE_MM)

    draws(check)


def test_a_box_edge_keeps_its_place_when_axes_are_swapped_and_flipped(draws):
    def check(g, axes, random):
        low = np.array([random.uniform(-1, n - 0.5) for n in g.shape_kji])
        high = low + [random.uniform(0.1, 4) for _ in range(3)]
        box = np.concatenate([low, high])
        new = axes.apply_boxes(box, g.shape_kji)[0]
        assert (new[3:] > new[:3]).all()
        np.testing.assert_allclose(
            g.reoriented(axes).box_centre_ras_mm(new), g.box_centre_ras_mm(box), atol=TOLERANCE_MM
        )
        old_corners = g.box_corners_ras_mm(box)
        new_corners = g.reoriented(axes).box_corners_ras_mm(new)
        gaps = np.linalg.norm(old_corners[:, None] - new_corners[None], axis=-1)
        assert gaps.min(axis=1).max() <= TOLERANCE_MM
        assert gaps.min(axis=0).max() <= TOLERANCE_MM

    draws(check)


def test_the_inverse_of_an_axis_map_takes_everything_back(draws):
    def check(g, axes, random):
        array = np.arange(np.prod(g.shape_kji)).reshape(g.shape_kji)
        back = axes.inverse.apply(axes.apply(array))
        np.testing.assert_array_equal(back, array)
        assert axes.inverse.inverse == axes
        assert g.reoriented(axes).reoriented(axes.inverse).is_close(g, TOLERANCE_MM)
        low = np.array([random.uniform(0, n) for n in g.shape_kji])
        box = np.concatenate([low, low + 1.5])
        turned_shape = g.reoriented(axes).shape_kji
        there = axes.apply_boxes(box, g.shape_kji)
        np.testing.assert_allclose(axes.inverse.apply_boxes(there, turned_shape)[0], box, atol=1e-9)

    draws(check)


def test_an_axis_map_leaves_leading_axes_alone():
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    axes = AxisMap((2, 0, 1), (True, False, True))
    for channel in range(2):
        np.testing.assert_array_equal(axes.apply(array)[channel], axes.apply(array[channel]))


def test_a_cropped_grid_keeps_every_voxel_in_place(draws):
    def check(g, _axes, random):
        start = [random.randrange(n) for n in g.shape_kji]
        stop = [random.randint(a + 1, n) for a, n in zip(start, g.shape_kji, strict=True)]
        part = g.cropped(start, stop)
        assert part.shape_kji == tuple(b - a for a, b in zip(start, stop, strict=True))
        corners = all_corner_voxels(part)
        np.testing.assert_allclose(
            part.index_to_ras(corners), g.index_to_ras(corners + start), atol=TOLERANCE_MM
        )

    draws(check)


def test_resampling_by_edges_keeps_the_outer_corners(draws):
    def check(g, _axes, random):
        shape = tuple(random.randint(1, 30) for _ in range(3))
        new = g.resampled(shape, anchor="edges")
        assert new.shape_kji == shape
        np.testing.assert_allclose(
            new.edge_to_ras(new.corners_edge()), g.edge_to_ras(g.corners_edge()), atol=TOLERANCE_MM
        )
        assert new.orientation == g.orientation
        assert new.resampled(g.shape_kji).is_close(g, TOLERANCE_MM)

    draws(check)


def test_resampling_by_the_first_centre_keeps_it_and_takes_the_spacing(draws):
    def check(g, _axes, random):
        spacing = tuple(random.uniform(0.1, 5) for _ in range(3))
        new = g.resampled((3, 4, 5), spacing, "first_centre")
        np.testing.assert_allclose(new.origin_ras_mm, g.origin_ras_mm, atol=1e-9)
        np.testing.assert_allclose(new.spacing_kji_mm, spacing, rtol=1e-12)
        np.testing.assert_allclose(new.directions_ras, g.directions_ras, atol=1e-12)
        ratio = np.array(spacing) / g.spacing_kji_mm
        index = np.array([2.0, 3.0, 4.0])
        np.testing.assert_allclose(
            new.index_to_ras(index), g.index_to_ras(index * ratio), atol=TOLERANCE_MM
        )

    draws(check)


def test_orientation_letters_are_nibabels(draws):
    nibabel = pytest.importorskip("nibabel")

    def check(g, _axes, _random):
        directions = np.abs(g.directions_ras)
        ordered = np.sort(directions, axis=0)
        if (ordered[2] - ordered[1]).min() < 0.2:
            return  # near 45 degrees nibabel's greedy choice and the best one may differ
        assert g.orientation == "".join(nibabel.aff2axcodes(g.ijk_to_ras))

    draws(check)


def test_orientation_of_all_48_right_angled_grids_is_nibabels():
    nibabel = pytest.importorskip("nibabel")
    seen = set()
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            directions = np.eye(3)[:, list(order)] * signs
            g = Geometry.from_axes((2, 3, 4), (3.0, 2.0, 1.0), (1, 2, 3), directions)
            letters = "".join(nibabel.aff2axcodes(g.ijk_to_ras))
            assert g.orientation == letters
            assert not g.is_oblique
            seen.add(letters)
    assert len(seen) == 48


def test_a_grid_is_brought_to_the_orientation_asked_for(draws):
    sides = [
        "".join(p)
        for o in itertools.permutations(("RL", "AP", "SI"))
        for p in itertools.product(*o)
    ]

    def check(g, _axes, random):
        wanted = random.choice(sides)
        axes = g.axis_map_to(wanted)
        turned = g.reoriented(axes)
        assert turned.reoriented(turned.axis_map_to(turned.orientation)).is_close(turned)
        own = g.orientation
        lookup = dict(zip("RLAPSI", "RRAASS", strict=True))
        got = [(own[2 - source], flip) for source, flip in zip(axes.order, axes.flip, strict=True)]
        for (letter, flip), target in zip(got, wanted[::-1], strict=True):
            assert lookup[letter] == lookup[target]
            assert flip == (letter != target)

    draws(check)


@pytest.mark.parametrize("letters", ["", "RA", "RASS", "RRA", "RAX", "LRS", "123"])
def test_what_does_not_name_three_patient_axes_is_no_orientation(letters, oblique_geometry):
    assert not is_orientation(letters)
    with pytest.raises(InputError, match="bad-orientation"):
        oblique_geometry.axis_map_to(letters)


def test_grids_are_close_only_when_every_corner_is(oblique_geometry):
    g = oblique_geometry
    assert g.is_close(g)
    moved = g.ijk_to_ras.copy()
    moved[2, 3] += 5e-4
    assert g.is_close(Geometry(g.shape_kji, moved))
    moved[2, 3] += 1e-3
    assert not g.is_close(Geometry(g.shape_kji, moved))
    stretched = g.ijk_to_ras.copy()
    stretched[:3, 0] *= 1.001  # 9 columns of 0.6 mm: 5 micrometres at the far end
    assert not g.is_close(Geometry(g.shape_kji, stretched))
    assert not g.is_close(Geometry((5, 7, 8), g.ijk_to_ras))


def test_box_corners_of_an_oblique_grid_span_the_box(oblique_geometry):
    g = oblique_geometry
    box = [1.0, 2.0, 3.0, 2.0, 4.0, 8.0]
    corners = g.box_corners_ras_mm(box)
    assert corners.shape == (8, 3)
    np.testing.assert_allclose(corners.mean(axis=0), g.box_centre_ras_mm(box), atol=1e-9)
    np.testing.assert_allclose(corners[0], g.edge_to_ras(box[:3]), atol=1e-9)
    np.testing.assert_allclose(corners[-1], g.edge_to_ras(box[3:]), atol=1e-9)
    diagonal = np.linalg.norm(corners[0] - corners[-1])
    np.testing.assert_allclose(diagonal, np.linalg.norm(g.box_size_kji_mm(box)), atol=1e-9)


def test_spacing_volume_and_directions_say_what_they_were_built_from(draws):
    def check(g, _axes, _random):
        k, j, i = g.spacing_kji_mm
        np.testing.assert_allclose(g.voxel_volume_ml * 1000, k * j * i, rtol=1e-9)
        rebuilt = Geometry.from_axes(
            g.shape_kji, g.spacing_kji_mm, g.origin_ras_mm, g.directions_ras
        )
        assert rebuilt.is_close(g, 1e-6)

    draws(check)


def test_a_grid_comes_back_exactly_from_json(draws):
    import json

    def check(g, _axes, _random):
        back = Geometry.from_json(json.loads(json.dumps(g.to_json())))
        assert back.shape_kji == g.shape_kji
        assert np.array_equal(back.ijk_to_ras, g.ijk_to_ras)

    draws(check)


def matrix(columns, origin=(0, 0, 0)):
    full = np.eye(4)
    full[:3, :3] = columns
    full[:3, 3] = origin
    return full


NAN = float("nan")
WRONG = {
    "sheared": (matrix([[1, 0.01, 0], [0, 1, 0], [0, 0, 1]]), "sheared-direction"),
    "gantry tilt": (matrix([[1, 0, 0], [0, 1, 0.2], [0, 0, 1]]), "sheared-direction"),
    "parallel": (matrix([[1, 1, 0], [0, 0, 0], [0, 0, 1]]), "singular-direction"),
    "coplanar": (matrix([[1, 0, 1], [0, 1, 1], [0, 0, 0]]), "singular-direction"),
    "zero column": (matrix([[1, 0, 0], [0, 0, 0], [0, 0, 1]]), "bad-spacing"),
    "all zero": (matrix(np.zeros((3, 3))), "bad-spacing"),
    "NaN": (matrix([[1, 0, 0], [0, NAN, 0], [0, 0, 1]]), "bad-matrix"),
    "infinite origin": (matrix(np.eye(3), (0, 0, np.inf)), "bad-matrix"),
    "3x3": (np.eye(3), "bad-matrix"),
    "projective": (np.vstack([np.eye(4)[:3], [0, 0, 1, 1]]), "bad-matrix"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_matrix_that_would_misplace_voxels_is_refused(name):
    wrong, code = WRONG[name]
    with pytest.raises(InputError) as caught:
        Geometry((2, 2, 2), wrong)
    assert caught.value.code == code


@pytest.mark.parametrize("shape", [(0, 1, 1), (1, -1, 1), (1, 1), (1, 1, 1, 1), ()])
def test_a_grid_without_voxels_is_refused(shape):
    with pytest.raises(InputError, match="bad-shape"):
        Geometry(shape, np.eye(4))


def test_rounded_dicom_directions_still_count_as_right_angles():
    rounded = np.round([[0.98078528, -0.19509032, 0], [0.19509032, 0.98078528, 0], [0, 0, 1.0]], 4)
    Geometry.from_axes((2, 2, 2), (1, 1, 1), directions_ras=rounded)


def test_a_grid_cannot_be_moved_behind_its_back():
    given_matrix = np.eye(4)
    g = Geometry((2, 2, 2), given_matrix)
    given_matrix[0, 3] = 99
    assert g.origin_ras_mm[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        g.ijk_to_ras[0, 3] = 1

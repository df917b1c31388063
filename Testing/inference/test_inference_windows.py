from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from MedDetectLib.inference.windows import plan_windows
from MedDetectLib.models.card import WindowSpec

# drawn by hand: (length, size, overlap) -> starts
TABLE = [
    ((8, 8, 0.5), [0]),
    ((9, 8, 0.5), [0, 1]),
    ((12, 8, 0.5), [0, 4]),
    ((13, 8, 0.5), [0, 2, 5]),
    ((16, 8, 0.5), [0, 4, 8]),
    ((16, 8, 0.0), [0, 8]),
    ((17, 8, 0.0), [0, 4, 9]),
    ((10, 8, 0.9), [0, 1, 2]),
    ((3, 1, 0.0), [0, 1, 2]),
    ((3, 1, 0.9), [0, 1, 2]),
    # a small volume lies in the middle; of an odd rest the smaller half comes first
    ((6, 8, 0.5), [-1]),
    ((5, 8, 0.5), [-1]),
    ((1, 8, 0.5), [-3]),
    ((4, 8, 0.5), [-2]),
]


STEPPED = [
    ((8, 8, 0.5), [0]),
    ((9, 8, 0.5), [0, 1]),
    ((13, 8, 0.5), [0, 4, 5]),
    ((16, 8, 0.5), [0, 4, 8]),
    ((22, 10, 0.2), [0, 8, 12]),
    ((10, 8, 0.9), [0, 1, 2]),  # a step below one voxel is one voxel
    ((12, 8, 0.66), [0, 2, 4]),  # a step of 2.72 voxels is cut to 2
    ((5, 8, 0.5), [-1]),
]


def starts_along_k(length, size, overlap, **fields):
    windows = plan_windows((length, 1, 1), WindowSpec((size, 1, 1), overlap, **fields))
    return [window.start_kji[0] for window in windows]


@pytest.mark.parametrize(("numbers", "starts"), TABLE)
def test_windows_start_where_the_drawing_says(numbers, starts):
    assert starts_along_k(*numbers) == starts


@pytest.mark.parametrize(("numbers", "starts"), STEPPED)
def test_stepped_windows_go_on_by_a_fixed_step_and_end_at_the_end(numbers, starts):
    assert starts_along_k(*numbers, placement="stepped") == starts


specs = st.builds(
    WindowSpec,
    st.tuples(*[st.integers(1, 12)] * 3),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.66, 0.9]),
    st.sampled_from(["gaussian", "constant"]),
    st.sampled_from([0.01, 0.125, 1.0]),
    placement=st.sampled_from(["even", "stepped"]),
    floor=st.sampled_from([0.0, 1e-3, 0.5]),
)
shapes = st.tuples(*[st.integers(1, 20)] * 3)
quick = settings(deadline=None, max_examples=60, derandomize=True, database=None)


@given(shapes, specs)
@quick
def test_every_voxel_is_seen_and_its_weights_add_up_to_one(shape, spec):
    total = np.zeros(shape)
    for window in plan_windows(shape, spec):
        weights = window.weights()
        assert weights.dtype == np.float32
        assert (weights > 0).all()
        total[window.inside] += weights
    np.testing.assert_allclose(total, 1.0, atol=1e-5)


@given(shapes, specs)
@quick
def test_neighbouring_windows_overlap_at_least_as_asked(shape, spec):
    for length, size in zip(shape, spec.shape_kji, strict=True):
        starts = starts_along_k(length, size, spec.overlap)
        assert starts == sorted(set(starts))
        if length > size:
            assert (starts[0], starts[-1]) == (0, length - size)
            steps = np.diff(starts)
            assert steps.max() <= max(1.0, np.ceil(size * (1 - spec.overlap) - 1e-9))


@given(shapes, specs)
@quick
def test_windows_come_slices_first(shape, spec):
    starts = [window.start_kji for window in plan_windows(shape, spec)]
    assert starts == sorted(starts)
    assert len(starts) == len(set(starts))


@given(shapes, specs)
@quick
def test_a_cut_is_the_padded_volume_at_that_place(shape, spec):
    array = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    margin = 12
    padded = np.pad(array, [(0, 0)] + [(margin, margin)] * 3, constant_values=spec.pad_value)
    for window in plan_windows(shape, spec):
        place = tuple(
            slice(a + margin, a + margin + n)
            for a, n in zip(window.start_kji, spec.shape_kji, strict=True)
        )
        cut = window.cut(array)
        assert cut.shape == (1, 2, *spec.shape_kji)
        assert cut.dtype == np.float32
        assert cut.flags.c_contiguous
        np.testing.assert_array_equal(cut[0], padded[(slice(None), *place)])
        np.testing.assert_array_equal(
            cut[(0, slice(None), *window.own)], array[(slice(None), *window.inside)]
        )


def test_the_overhang_is_filled_with_the_pad_value():
    spec = WindowSpec((3, 3, 3), pad_value=-7.5)
    cut = plan_windows((1, 1, 1), spec)[0].cut(np.ones((1, 1, 1, 1), np.float32))
    assert cut[0, 0, 1, 1, 1] == 1.0
    assert (np.delete(cut.ravel(), 13) == -7.5).all()


def test_weights_fall_off_towards_the_border_of_a_gaussian_window():
    windows = plan_windows((12, 1, 1), WindowSpec((8, 1, 1), 0.5, sigma=0.125))
    first, second = (w.weights()[:, 0, 0] for w in windows)
    profile = np.exp(-0.5 * ((np.arange(8) - 3.5) / (8 * 0.125)) ** 2)
    profile = np.maximum(profile, 1e-4)
    overlap = profile[4:] / (profile[4:] + profile[:4])
    np.testing.assert_allclose(first, [1, 1, 1, 1, *overlap], rtol=1e-5)
    np.testing.assert_allclose(second, [*(1 - overlap), 1, 1, 1, 1], rtol=1e-4)


def test_nnunets_gaussian_is_highest_on_the_voxel_after_the_middle():
    first, _ = plan_windows((12, 1, 1), WindowSpec((8, 1, 1), 0.5, centre="voxel"))
    profile = np.exp(-0.5 * ((np.arange(8) - 4) / (8 * 0.125)) ** 2)
    profile = np.maximum(profile, 1e-4)
    overlap = profile[4:] / (profile[4:] + profile[:4])
    np.testing.assert_allclose(first.weights()[:, 0, 0], [1, 1, 1, 1, *overlap], rtol=1e-5)


def test_constant_weights_are_the_share_of_each_window():
    windows = plan_windows((12, 1, 1), WindowSpec((8, 1, 1), 0.5, "constant"))
    np.testing.assert_allclose(windows[0].weights()[:, 0, 0], [1] * 4 + [0.5] * 4)


def test_windows_of_three_axes_are_all_combinations():
    spec = WindowSpec((4, 4, 4), 0.5)
    starts = {w.start_kji for w in plan_windows((4, 6, 8), spec)}
    assert starts == set(itertools.product([0], [0, 2], [0, 2, 4]))


def test_no_weight_falls_below_the_floor_before_they_are_shared_out():
    """As MONAI has it: the product of the axes is floored, not each axis."""
    spec = WindowSpec((8, 8, 8), 0.5, floor=0.3)
    axis = np.exp(-0.5 * ((np.arange(8) - 3.5) / (8 * 0.125)) ** 2)
    profile = np.maximum(axis[:, None, None] * axis[:, None] * axis, 0.3)
    total = np.zeros((12, 8, 8))
    total[:8] += profile
    total[4:] += profile
    first, second = plan_windows((12, 8, 8), spec)
    np.testing.assert_allclose(first.weights(), profile / total[:8], rtol=1e-5)
    np.testing.assert_allclose(second.weights(), profile / total[4:], rtol=1e-5)


@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.6])
@pytest.mark.parametrize("shape", [(9, 12, 17), (5, 8, 30), (16, 16, 16)])
def test_stepped_windows_with_monais_floor_blend_as_monai_does(shape, overlap):
    torch = pytest.importorskip("torch")
    inferers = pytest.importorskip("monai.inferers")
    spec = WindowSpec((8, 6, 10), overlap, pad_value=-0.5, placement="stepped", floor=1e-3)
    image = np.random.default_rng(5).normal(size=(1, *shape)).astype(np.float32)

    def network(batch):
        """Answers that depend on where in the window a voxel lies."""
        return batch * np.linspace(-1, 1, batch.size, dtype=np.float32).reshape(batch.shape)

    inferer = inferers.SlidingWindowInferer(
        spec.shape_kji, 1, overlap, mode="gaussian", sigma_scale=spec.sigma, cval=spec.pad_value
    )
    expected = inferer(
        torch.from_numpy(image)[None], lambda x: torch.from_numpy(network(x.numpy()))
    )
    blended = np.zeros(shape)
    for window in plan_windows(shape, spec):
        answer = network(window.cut(image))[0, 0]
        blended[window.inside] += answer[window.own] * window.weights()
    np.testing.assert_allclose(blended, np.asarray(expected)[0, 0], atol=2e-6)

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference.prepare import prepare
from MedDetectLib.inference.resample import Taps, resample, shrink_taps_between, taps_between


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


SIZES = [
    ((5, 9, 8), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0)),
    ((6, 9, 12), (2.5, 0.7, 0.7), (1.0, 1.0, 1.0)),
    ((11, 4, 7), (0.5, 1.0, 3.0), (0.5, 1.7, 1.1)),
    ((1, 8, 8), (5.0, 1.0, 1.0), (1.0, 1.0, 2.0)),
    ((3, 1, 1), (1.0, 1.0, 1.0), (0.3, 4.0, 0.6)),
    ((4, 6, 8), (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)),  # (n - 1) / 2: halves everywhere
    ((2, 2, 2), (1.0, 1.0, 1.0), (9.0, 9.0, 9.0)),
]


def volume_of(shape, spacing):
    array = np.random.default_rng(0).normal(0, 100, shape).astype(np.float32)
    return Volume(array, Geometry.from_axes(shape, spacing))


@pytest.mark.parametrize(("shape", "own", "wanted"), SIZES)
def test_edge_anchored_resampling_is_torchs_trilinear(torch, card_of, shape, own, wanted):
    volume = volume_of(shape, own)
    ours = prepare(volume, card_of(spacing_kji_mm=list(wanted), anchor="edges", channels=("",)))
    size = tuple(max(1, round(n * a / b)) for n, a, b in zip(shape, own, wanted, strict=True))
    assert ours.shape_kji == size
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(volume.array)[None, None], size=size, mode="trilinear", align_corners=False
    )
    np.testing.assert_allclose(ours.array[0], theirs[0, 0].numpy(), atol=1e-3)


@pytest.mark.parametrize("fit", [(3, 4, 5), (8, 8, 8), (1, 20, 3)])
def test_fitting_to_a_shape_is_torchs_trilinear(torch, card_of, fit):
    volume = volume_of((5, 9, 8), (2.0, 1.0, 1.0))
    ours = prepare(volume, card_of(fit_shape_kji=list(fit), channels=("",)))
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(volume.array)[None, None], size=fit, mode="trilinear", align_corners=False
    )
    np.testing.assert_allclose(ours.array[0], theirs[0, 0].numpy(), atol=1e-3)


@pytest.mark.parametrize("fit", [(5, 4, 3), (5, 5, 11), (5, 7, 8), (5, 2, 30)])
def test_antialiased_shrinking_is_torchs(torch, card_of, fit):
    """torch has it for two axes only: slices stay as they are."""
    volume = volume_of((5, 9, 8), (1.0, 1.0, 1.0))
    card = card_of(fit_shape_kji=list(fit), channels=("",), antialias=True)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(volume.array)[:, None], size=fit[1:], mode="bilinear",
        align_corners=False, antialias=True,
    )  # fmt: skip
    np.testing.assert_allclose(prepare(volume, card).array[0], theirs[:, 0].numpy(), atol=1e-3)


@pytest.mark.parametrize("anchor", ["edges", "first_centre"])
def test_antialiasing_keeps_a_constant_and_changes_nothing_that_grows(card_of, anchor):
    g = Geometry.from_axes((7, 9, 8), (1.0, 1.0, 1.0))
    flat = Volume(np.full(g.shape_kji, 37.5, np.float32), g)
    for spacing in ([2.3, 3.0, 1.0], [0.5, 0.4, 1.0], [50.0, 50.0, 50.0]):
        card = card_of(spacing_kji_mm=spacing, anchor=anchor, channels=("",), antialias=True)
        np.testing.assert_allclose(prepare(flat, card).array, 37.5, rtol=1e-5)
    noise = volume_of((7, 9, 8), (1.0, 1.0, 1.0))
    grown = [
        prepare(noise, card_of(spacing_kji_mm=[0.5, 0.4, 1.0], anchor=anchor, channels=("",),
                               antialias=flag)).array
        for flag in (False, True)
    ]  # fmt: skip
    np.testing.assert_array_equal(*grown)


@pytest.mark.parametrize(("shape", "own", "wanted"), SIZES)
def test_first_centre_resampling_is_monais_spacing(torch, card_of, shape, own, wanted):
    monai_data = pytest.importorskip("monai.data")
    transforms = pytest.importorskip("monai.transforms")
    volume = volume_of(shape, own)
    ours = prepare(
        volume, card_of(spacing_kji_mm=list(wanted), anchor="first_centre", channels=("",))
    )
    image = monai_data.MetaTensor(torch.from_numpy(volume.array)[None], affine=np.diag([*own, 1.0]))
    spacing = transforms.Spacing(
        pixdim=wanted, mode="bilinear", padding_mode="border", dtype=torch.float64
    )
    theirs = spacing(image).numpy()[0]
    assert ours.shape_kji == theirs.shape
    np.testing.assert_allclose(ours.array[0], theirs, atol=1e-3)


@given(st.integers(1, 12), st.integers(1, 25), st.floats(0.05, 12), st.sampled_from([0.0, 1.0]))
@settings(deadline=None, max_examples=150, derandomize=True, database=None)
def test_taps_weigh_the_two_neighbours_of_each_place(old, new, step, edges):
    anchor = "edges" if edges else "first_centre"
    taps = taps_between((old,) * 3, (new,) * 3, (step,) * 3, anchor)[0]
    values = np.random.default_rng(0).normal(size=old).astype(np.float32)
    offset = 0.5 * step - 0.5 if edges else 0.0
    places = np.arange(new) * step + offset
    expected = np.interp(places, np.arange(old), values)
    np.testing.assert_allclose(taps.apply(values, 0), expected, atol=1e-5)
    assert (np.diff(taps.low) >= 0).all()
    assert (np.diff(taps.high) >= 0).all()
    assert taps.high.max() < old


@given(st.integers(1, 9), st.integers(2, 25), st.floats(0.05, 5), st.data())
@settings(deadline=None, max_examples=100, derandomize=True, database=None)
def test_a_part_of_the_taps_gives_a_part_of_the_result(old, new, step, data):
    taps = taps_between((old,) * 3, (new,) * 3, (step,) * 3, "edges")[0]
    start = data.draw(st.integers(0, new - 1))
    stop = data.draw(st.integers(start + 1, new))
    values = np.random.default_rng(1).normal(size=(2, old, 3)).astype(np.float32)
    needed, part = taps.part(start, stop)
    np.testing.assert_array_equal(
        part.apply(values[:, needed], 1), taps.apply(values, 1)[:, start:stop]
    )


def test_the_same_grid_is_left_untouched():
    image = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    taps = taps_between((3, 4, 5), (3, 4, 5), (1.0, 1.0, 1.0), "edges")
    assert all(t.is_identity for t in taps)
    assert resample(image, taps) is image
    assert not Taps.at(np.array([0.0, 1.0, 1.5]), 3).is_identity
    assert not Taps.at(np.array([1.0, 0.0]), 2).is_identity


def test_resampling_does_not_write_into_its_input():
    image = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    before = image.copy()
    resample(image, taps_between((3, 4, 5), (6, 4, 2), (0.5, 1.0, 2.5), "edges"))
    np.testing.assert_array_equal(image, before)


def test_shrinking_along_slices_takes_little_memory_beside_its_result():
    image = np.random.default_rng(0).integers(-1000, 1000, (60, 120, 130)).astype(np.int16)
    sizes, steps = (20, 120, 130), (3.0, 1.0, 1.0)
    taps = shrink_taps_between(image.shape, sizes, steps, "edges")
    expected = taps[0].apply(image.astype(np.float32), 0)
    tracemalloc.start()
    shrunk = resample(image, taps)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_allclose(shrunk, expected, atol=1e-3)
    assert peak < 3 * shrunk.nbytes

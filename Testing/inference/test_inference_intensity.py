from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from MedDetectLib.inference.intensity import normalise
from MedDetectLib.models.card import (
    HU_PRESETS,
    Clip,
    IntensityWindow,
    Linear,
    MinMax,
    Percentile,
    ZScore,
)


@pytest.fixture
def image():
    image = np.random.default_rng(3).normal(0, 300, (5, 6, 7)).astype(np.float32)
    image[:2] = 0.0
    return image


def chosen(x, mask):
    return {"none": x, "nonzero": x[x != 0], "above_mean": x[x > x.mean()]}[mask]


MASKS = ("none", "nonzero", "above_mean")


def test_clipping_is_numpys(image):
    expected = np.clip(image.astype(float), -100, 50)
    np.testing.assert_allclose(normalise(image, [Clip(-100, 50)]), expected, rtol=1e-6)


def test_a_window_runs_from_zero_to_one(image):
    expected = (np.clip(image.astype(float), -100, 300) + 100) / 400
    np.testing.assert_allclose(normalise(image, [IntensityWindow(-100, 300)]), expected, atol=1e-6)


@pytest.mark.parametrize("mask", MASKS)
def test_min_max_takes_its_limits_from_the_mask(image, mask):
    x = image.astype(float)
    low, high = chosen(x, mask).min(), chosen(x, mask).max()
    expected = (np.clip(x, low, high) - low) / (high - low)
    np.testing.assert_allclose(normalise(image, [MinMax(mask)]), expected, atol=1e-6)


@pytest.mark.parametrize("mask", MASKS)
def test_percentiles_take_their_limits_from_the_mask(image, mask):
    x = image.astype(float)
    low, high = np.percentile(chosen(x, mask), [2, 95])
    expected = (np.clip(x, low, high) - low) / (high - low)
    np.testing.assert_allclose(normalise(image, [Percentile(2, 95, mask)]), expected, atol=1e-5)


@pytest.mark.parametrize("mask", MASKS)
def test_the_z_score_has_the_masks_mean_and_spread(image, mask):
    x = image.astype(float)
    values = chosen(x, mask)
    expected = (x - values.mean()) / values.std()
    np.testing.assert_allclose(normalise(image, [ZScore(mask)]), expected, atol=1e-5)


def test_linear_multiplies_then_adds(image):
    expected = image.astype(float) * 0.01 - 3
    np.testing.assert_allclose(normalise(image, [Linear(0.01, -3)]), expected, atol=1e-5)


def test_steps_are_taken_in_order_each_seeing_the_last_ones_image(image):
    x = np.clip(image.astype(float), -200, 200) * 2 + 5
    expected = (x - x.mean()) / x.std()
    steps = [Clip(-200, 200), Linear(2, 5), ZScore()]
    np.testing.assert_allclose(normalise(image, steps), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("preset", "level", "width"),
    [("lung", -600, 1500), ("bone", 400, 1800), ("brain", 40, 80), ("soft_tissue", 40, 400)],
)
def test_hu_presets_are_the_clinical_level_and_width(preset, level, width):
    assert HU_PRESETS[preset] == (level - width / 2, level + width / 2)
    hu = np.array([[[level - width, level - width / 2, level, level + width / 2, 3e4]]], np.float32)
    scaled = normalise(hu, [IntensityWindow(*HU_PRESETS[preset])])
    np.testing.assert_allclose(scaled.ravel(), [0, 0, 0.5, 1, 1], atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -1024.0, 1e-30, 1e-44, 3e38, -3e38])
@pytest.mark.parametrize(
    "step", [MinMax(), MinMax("nonzero"), Percentile(1, 99), ZScore(), ZScore("above_mean")]
)
def test_a_constant_image_becomes_zeros(value, step):
    image = np.full((3, 5, 7), value, np.float32)
    with np.errstate(all="raise", under="ignore"):
        result = normalise(image, [step])
    np.testing.assert_array_equal(result, 0.0)


@pytest.mark.parametrize("step", [MinMax(), Percentile(1, 99), ZScore()])
def test_a_spread_too_small_for_float32_gives_zeros_not_nan(step):
    image = np.array([[[1e-44, 2e-44, 3e-44]]], np.float32)
    result = normalise(image, [step])
    assert np.isfinite(result).all()


def test_the_result_stays_float32(image):
    steps = [Clip(-9, 9), IntensityWindow(-5, 5), MinMax(), Percentile(0, 100), ZScore(),
             Linear(1, 0)]  # fmt: skip
    for step in steps:
        assert normalise(image.copy(), [step]).dtype == np.float32


@pytest.mark.parametrize(
    "step", [ZScore(), ZScore("nonzero"), Percentile(1, 99, "nonzero")], ids=str
)
def test_statistics_take_little_more_memory_than_the_values_they_are_taken_from(step):
    image = np.random.default_rng(0).normal(0, 300, (40, 200, 200)).astype(np.float32)
    tracemalloc.start()
    normalise(image, [step])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * image.nbytes

"""Blending, bringing home and deciding: three ways of ours beside one that holds everything."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("hypothesis")

import hypothesis
from hypothesis import strategies as some

from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference.bands import BandedGather, bands_of
from MedDetectLib.inference.prepare import prepare
from MedDetectLib.inference.voxel_scores import VoxelGather
from MedDetectLib.inference.windows import plan_windows

SIZE, MM = some.integers(1, 16), some.floats(0.6, 4.0)
CARDS = {
    "labels": some.integers(1, 4),
    "window": some.tuples(*[some.integers(1, 12)] * 3),
    "overlap": some.sampled_from([0.0, 0.25, 0.5, 0.8]),
    "blend": some.sampled_from(["gaussian", "constant"]),
    "anchor": some.sampled_from(["edges", "first_centre"]),
    "spacing_kji_mm": some.tuples(MM, MM, MM).map(list),
    "window_fields": some.fixed_dictionaries(
        {
            "placement": some.sampled_from(["even", "stepped"]),
            "floor": some.sampled_from([0.0, 1e-3]),
            "centre": some.sampled_from(["middle", "voxel"]),
        }
    ),
    "output": some.fixed_dictionaries(
        {
            "activation": some.sampled_from(["softmax", "sigmoid"]),
            "blend_on": some.sampled_from(["logits", "probabilities"]),
        }
    ),
    "operating_point": some.one_of(
        some.just({}), some.floats(0.05, 0.95).map(lambda chance: {"voxel_threshold": chance})
    ),
}


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=0))
    return powers / powers.sum(axis=0)


def sigmoid(scores):
    return 1 / (1 + np.exp(-scores))


def chances_of_everything(card, own, prepared, windows, answers):
    """All scores of all classes at once, in float64, interpolated by scipy; as chances."""
    from scipy import ndimage

    likely = softmax if card.head.activation == "softmax" else sigmoid
    summed = card.head.blend_on == "probabilities"
    total = np.zeros((answers[0].shape[1], *prepared.shape_kji))
    for window, answer in zip(windows, answers, strict=True):
        scores = answer[0].astype(float)
        scores = (likely(scores) if summed else scores)[(slice(None), *window.own)]
        total[(slice(None), *window.inside)] += scores * window.weights()
    turned = own.reoriented(prepared.axes)
    places = turned.index_to_ras(np.moveaxis(np.indices(turned.shape_kji), 0, -1))
    index = prepared.geometry.ras_to_index(places).clip(0, np.array(prepared.shape_kji) - 1)
    at = np.moveaxis(index, -1, 0)
    home = np.stack([ndimage.map_coordinates(t, at, order=1, mode="nearest") for t in total])
    return home if summed else likely(home)


def decided(card, chances):
    """Class and chance per voxel, and how far each is from being decided otherwise."""
    threshold = card.operating_point.voxel_threshold
    if card.head.activation == "softmax":
        background, classes = chances[0], chances[1:]
        sure = 1 - background - threshold if threshold else classes.max(axis=0) - background
    else:
        classes = chances
        sure = classes.max(axis=0) - (threshold or 0.5)
    margin = np.abs(sure)
    if len(classes) > 1:
        ranked = np.sort(classes, axis=0)
        margin = np.minimum(margin, ranked[-1] - ranked[-2])
    best = np.where(sure > 0, classes.max(axis=0), 0)
    return np.where(sure > 0, classes.argmax(axis=0) + 1, 0), best, margin


def assert_same(maps, classes, chances, margin):
    differs = maps.classes != classes
    assert not (differs & (margin > 1e-5)).any()
    np.testing.assert_allclose(maps.scores[~differs], chances[~differs], atol=1e-4)


def test_every_way_of_holding_less_decides_as_holding_everything_does(card_of, directions_48):
    torch = pytest.importorskip("torch")
    from MedDetectLib.inference.device.scores import DeviceGather

    @hypothesis.settings(max_examples=30, deadline=None)
    @hypothesis.given(
        shape=some.tuples(SIZE, SIZE, SIZE),
        spacing=some.tuples(MM, MM, MM),
        place=some.integers(0, 47),
        target=some.integers(0, 47),
        fields=some.fixed_dictionaries(CARDS),
        bands=some.integers(2, 4),
        seed=some.integers(0, 99),
    )
    def check(shape, spacing, place, target, fields, bands, seed):
        rng = np.random.default_rng(seed)
        letters = Geometry.from_axes((1, 1, 1), (1, 1, 1), (0, 0, 0), directions_48[target])
        card = card_of(orientation=letters.orientation, channels=("",), **fields)
        own = Geometry.from_axes(shape, spacing, (5.0, -3.0, 8.0), directions_48[place])
        prepared = prepare(Volume(np.zeros(shape, np.float32), own), card)
        hypothesis.assume(np.prod(prepared.shape_kji) < 30_000)
        windows = plan_windows(prepared.shape_kji, card.input.window)
        hypothesis.assume(len(windows) < 2000)
        channels = fields["labels"] + (card.head.activation == "softmax")
        sizes = (1, channels, *card.input.window.shape_kji)
        answers = [rng.normal(0, 2, sizes).astype(np.float32) for _ in windows]
        right = decided(card, chances_of_everything(card, own, prepared, windows, answers))

        plain, there = VoxelGather(card, prepared), DeviceGather(card, prepared, "cpu")
        for window, answer in zip(windows, answers, strict=True):
            plain.add(window, {"scores": answer})
            there.add(window, torch.from_numpy(answer[0]))
        maps = plain.result()
        assert_same(maps, *right)
        assert_same(there.result(), *right)

        banded = BandedGather(card, prepared, bands_of(prepared, windows, bands))
        which = {id(window): answer for window, answer in zip(windows, answers, strict=True)}
        for window in banded.windows:
            banded.add(window, {"scores": which[id(window)]})
        in_bands = banded.result()
        np.testing.assert_array_equal(in_bands.classes, maps.classes)
        np.testing.assert_array_equal(in_bands.scores, maps.scores)

    check()

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from MedDetectLib.core.errors import ModelError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference import reduce_scores
from MedDetectLib.inference.prepare import prepare
from MedDetectLib.inference.voxel_scores import VoxelGather
from MedDetectLib.inference.windows import plan_windows

ndimage = pytest.importorskip("scipy.ndimage")


def softmax(scores):
    shifted = np.exp(scores - scores.max(axis=0))
    return shifted / shifted.sum(axis=0)


def sigmoid(scores):
    return 1 / (1 + np.exp(-scores))


def dense_reference(card, prepared, answers):
    """Blend everything in one array, sample it at each own voxel's RAS place, then decide.

    Nothing of the gather, the taps or the axis maps is used: places go through RAS.
    Returns classes and scores on the own grid, and how clear each decision is.
    """
    head, threshold = card.head, card.operating_point.voxel_threshold
    activate = softmax if head.activation == "softmax" else sigmoid
    windows = plan_windows(prepared.shape_kji, card.input.window)
    full = np.zeros((answers[0].shape[1], *prepared.shape_kji))
    for window, answer in zip(windows, answers, strict=True):
        scores = answer[0].astype(float)
        if head.blend_on == "probabilities":
            scores = activate(scores)
        inside = (slice(None), *window.inside)
        full[inside] += scores[(slice(None), *window.own)] * window.weights()
    index = np.stack(
        np.meshgrid(*(np.arange(n) for n in prepared.own.shape_kji), indexing="ij"), axis=-1
    )
    places = prepared.geometry.ras_to_index(prepared.own.index_to_ras(index))
    places = np.moveaxis(places, -1, 0)
    sampled = np.stack([ndimage.map_coordinates(c, places, order=1, mode="nearest") for c in full])
    chances = sampled if head.blend_on == "probabilities" else activate(sampled)
    if head.activation == "softmax":
        classes = sampled[1:].argmax(axis=0) + 1
        best = np.take_along_axis(chances, classes[None], axis=0)[0]
        if threshold is None:
            counts = sampled.argmax(axis=0) > 0
            clear = np.abs(sampled[1:].max(axis=0) - sampled[0])
        else:
            counts = 1 - chances[0] >= threshold
            clear = np.abs(1 - chances[0] - threshold)
        rivals = np.sort(sampled[1:], axis=0)
    else:
        classes = sampled.argmax(axis=0) + 1
        best = chances.max(axis=0)
        counts = best >= (0.5 if threshold is None else threshold)
        clear = np.abs(best - (0.5 if threshold is None else threshold))
        rivals = np.sort(sampled, axis=0)
    if len(rivals) > 1:
        # where background is sure to win, which class would have come second is nobody's
        clear = np.where(counts, np.minimum(clear, rivals[-1] - rivals[-2]), clear)
    return np.where(counts, classes, 0), np.where(counts, best, 0), clear


def gathered(card, prepared, answers):
    gather = VoxelGather(card, prepared)
    windows = plan_windows(prepared.shape_kji, card.input.window)
    for window, answer in zip(windows, answers, strict=True):
        gather.add(window, {"scores": answer})
    maps = gather.result()
    return prepared.restore_array(maps.classes), prepared.restore_array(maps.scores)


def random_answers(card, prepared, channels, seed=0):
    rng = np.random.default_rng(seed)
    windows = plan_windows(prepared.shape_kji, card.input.window)
    shape = (1, channels, *card.input.window.shape_kji)
    return [rng.normal(0, 2, shape).astype(np.float32) for _ in windows]


GRIDS = {
    "as it lies": {"own": (9, 8, 7), "spacing_kji_mm": None},
    "finer model grid": {"own": (6, 8, 7), "spacing_kji_mm": [0.4, 0.7, 0.9]},
    "coarser model grid": {"own": (23, 17, 14), "spacing_kji_mm": [2.6, 2.1, 1.7]},
    "finer slices, coarser rows": {"own": (9, 18, 7), "spacing_kji_mm": [0.45, 2.0, 1.0]},
    "fitted": {"own": (9, 8, 7), "fit_shape_kji": [7, 11, 3]},
    "window larger than the volume": {"own": (3, 4, 2), "spacing_kji_mm": [1.0, 1.2, 1.0]},
    "many windows along k": {"own": (41, 5, 6), "spacing_kji_mm": [0.9, 1.0, 1.0]},
    "many windows, much coarser": {"own": (90, 5, 6), "spacing_kji_mm": [3.1, 1.0, 1.0]},
    "many windows, much finer": {"own": (5, 5, 6), "spacing_kji_mm": [0.11, 1.0, 1.0]},
    "one slice": {"own": (1, 9, 8), "spacing_kji_mm": [1.0, 1.3, 0.8]},
    "one slice made many": {"own": (1, 5, 4), "spacing_kji_mm": [0.06, 1.0, 1.0]},
    "many slices made one": {"own": (7, 5, 4), "spacing_kji_mm": [30.0, 1.0, 1.0]},
    "one voxel": {"own": (1, 1, 1), "spacing_kji_mm": [1.0, 1.0, 1.0]},
}
WINDOWS = [
    {"window": (6, 6, 6), "overlap": 0.5},
    {"window": (5, 4, 7), "overlap": 0.0, "blend": "constant"},
    {"window": (1, 8, 8), "overlap": 0.25},
]
MANY_TILES = {"own": (21, 70, 150), "spacing_kji_mm": [1.3, 0.8, 1.4]}


def build(card_of, grid, anchor, directions, window, labels, output, operating_point=None):
    spec = {k: v for k, v in GRIDS[grid].items() if k != "own" and v is not None}
    card = card_of(
        **spec, **window, labels=labels, output=output, anchor=anchor, orientation="LPS",
        channels=("",), operating_point=operating_point or {},
    )  # fmt: skip
    shape = GRIDS[grid]["own"]
    geometry = Geometry.from_axes(shape, (1.0, 1.0, 1.0), (5, -7, 9), directions)
    # the own grid lies so that k, j, i of the table are those of the turned grid
    axes = geometry.axis_map_to("LPS").inverse
    own = Geometry.from_axes(shape, (1.0, 1.0, 1.0), (5, -7, 9)).reoriented(axes).shape_kji
    geometry = Geometry.from_axes(own, (1.0, 1.0, 1.0), (5, -7, 9), directions)
    prepared = prepare(Volume(np.zeros(own, np.int16), geometry), card)
    assert prepared.turned_shape_kji == shape
    return card, prepared


def compare(card, prepared, answers):
    classes, scores = gathered(card, prepared, answers)
    expected, chances, clear = dense_reference(card, prepared, answers)
    sure = clear > 1e-4
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(classes[sure], expected[sure])
    np.testing.assert_allclose(scores[sure], chances[sure], atol=2e-5)
    assert classes.dtype == np.uint16
    assert scores.dtype == np.float32


@pytest.mark.parametrize("window", WINDOWS, ids=["half", "none", "slices"])
@pytest.mark.parametrize("anchor", ["edges", "first_centre"])
@pytest.mark.parametrize("grid", GRIDS)
def test_the_gather_gives_what_blending_everything_at_once_gives(
    card_of, directions_48, grid, anchor, window
):
    if "fit_shape_kji" in GRIDS[grid] and anchor == "first_centre":
        anchor = "edges"
    directions = directions_48[sum(map(ord, grid + anchor)) % 48]
    card, prepared = build(card_of, grid, anchor, directions, window, 3, {})
    compare(card, prepared, random_answers(card, prepared, 4))


@pytest.mark.parametrize("threshold", [None, 0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("blend_on", ["logits", "probabilities"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("labels", [1, 4])
def test_every_way_to_decide_gives_what_blending_everything_at_once_gives(
    card_of, directions_48, activation, blend_on, threshold, labels
):
    output = {"activation": activation, "blend_on": blend_on}
    point = {} if threshold is None else {"voxel_threshold": threshold}
    card, prepared = build(
        card_of, "finer slices, coarser rows", "edges", directions_48[17], WINDOWS[0], labels,
        output, point,
    )  # fmt: skip
    channels = labels + (activation == "softmax")
    compare(card, prepared, random_answers(card, prepared, channels, seed=labels))


@pytest.mark.parametrize("threshold", [None, 0.4])
@pytest.mark.parametrize("blend_on", ["logits", "probabilities"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("labels", [1, 9])
def test_leaving_out_what_cannot_win_changes_nothing(
    card_of, directions_48, monkeypatch, activation, blend_on, threshold, labels
):
    """Classes that each hold their own place, with certainty: most tiles have few rivals."""
    monkeypatch.setitem(GRIDS, "many tiles", MANY_TILES)
    output = {"activation": activation, "blend_on": blend_on}
    point = {} if threshold is None else {"voxel_threshold": threshold}
    window = {"window": (8, 24, 32), "overlap": 0.25}
    card, prepared = build(
        card_of, "many tiles", "edges", directions_48[5], window, labels, output, point
    )
    channels = labels + (activation == "softmax")
    rng = np.random.default_rng(labels)
    places = np.stack(
        np.meshgrid(*(np.linspace(0, 1, n) for n in prepared.shape_kji), indexing="ij")
    )
    centres = rng.uniform(0, 1, (channels, 3, 1, 1, 1))
    scores = 30 - 120 * np.sqrt(((places - centres) ** 2).sum(axis=1))
    if activation == "softmax":
        scores[0] = 0
    padded = np.pad(scores, [(0, 0)] + [(32, 32)] * 3, mode="edge")
    answers = []
    for place in plan_windows(prepared.shape_kji, card.input.window):
        at = tuple(
            slice(start + 32, start + 32 + size)
            for start, size in zip(place.start_kji, place.size_kji, strict=True)
        )
        answers.append(padded[(slice(None), *at)][None].astype(np.float32))
    asked = []
    monkeypatch.setattr(
        reduce_scores._Samples, "at_voxels", spying(reduce_scores._Samples.at_voxels, asked)
    )
    compare(card, prepared, answers)
    tiles = -(-21 // 8) * -(-70 // 32) * -(-150 // 128)
    assert 0 < sum(asked) < (0.7 if threshold is None else 1.0) * tiles * channels


def spying(method, seen):
    def wrapped(self, channels):
        seen.append(len(channels))
        return method(self, channels)

    return wrapped


def test_no_voxel_counts_where_background_ties(card_of):
    card = card_of(channels=("",))
    volume = Volume(np.zeros((4, 4, 4)), Geometry((4, 4, 4), np.eye(4)))
    prepared = prepare(volume, card)
    answers = [np.zeros((1, 2, 8, 8, 8), np.float32)]
    assert not gathered(card, prepared, answers)[0].any()


def test_huge_logits_do_not_overflow(card_of):
    volume = Volume(np.zeros((4, 4, 4)), Geometry((4, 4, 4), np.eye(4)))
    for activation in ("softmax", "sigmoid"):
        card = card_of(labels=2, output={"activation": activation}, channels=("",))
        prepared = prepare(volume, card)
        answer = np.zeros((1, 2 + (activation == "softmax"), 8, 8, 8), np.float32)
        answer[:, -1], answer[:, 0] = 3e37, -3e37
        with np.errstate(over="raise", invalid="raise"):
            classes, scores = gathered(card, prepared, [answer])
        assert (classes == 2).all()
        np.testing.assert_allclose(scores, 1.0)


def held_bytes(gather):
    arrays = [value for value in vars(gather).values() if isinstance(value, np.ndarray)]
    return sum(array.nbytes for array in arrays)


@pytest.mark.parametrize("spacing", [[1.0] * 3, [0.7, 1.0, 1.0], [1.9, 1.0, 1.0]])
def test_what_is_held_does_not_grow_with_the_number_of_slices(card_of, spacing):
    card = card_of(labels=3, spacing_kji_mm=spacing, channels=("",))
    sizes = set()
    for slices in (40, 80, 160):
        volume = Volume(np.zeros((slices, 9, 9), np.int16), Geometry((slices, 9, 9), np.eye(4)))
        prepared = prepare(volume, card)
        gather = VoxelGather(card, prepared)
        for window in plan_windows(prepared.shape_kji, card.input.window):
            gather.add(window, {"scores": np.zeros((1, 4, 8, 8, 8), np.float32)})
            sizes.add(held_bytes(gather))
        gather.result()
        sizes.add(held_bytes(gather))
    assert len(sizes) == 1
    assert sizes.pop() <= 4 * 4 * (8 + 1) * 9 * 9


def test_a_hundred_classes_do_not_need_a_hundred_volumes(card_of):
    slices, side, classes = 96, 32, 100
    card = card_of(labels=classes, window=(16, 32, 32), channels=("",))
    shape = (slices, side, side)
    prepared = prepare(Volume(np.zeros(shape, np.int16), Geometry(shape, np.eye(4))), card)
    gather = VoxelGather(card, prepared)
    answer = np.random.default_rng(0).normal(size=(1, classes + 1, 16, 32, 32)).astype(np.float32)
    whole = 4 * (classes + 1) * slices * side * side
    tracemalloc.start()
    try:
        for window in plan_windows(prepared.shape_kji, card.input.window):
            gather.add(window, {"scores": answer})
        maps = gather.result()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert maps.classes.max() > 1
    assert peak < whole / 3


GOOD = (1, 2, 8, 8, 8)
BAD_OUTPUTS = {
    "a channel too many": np.zeros((1, 3, 8, 8, 8), np.float32),
    "a channel too few": np.zeros((1, 1, 8, 8, 8), np.float32),
    "another size": np.zeros((1, 2, 8, 8, 4), np.float32),
    "no batch": np.zeros((2, 8, 8, 8), np.float32),
    "two answers": np.zeros((2, 2, 8, 8, 8), np.float32),
    "a number": np.float32(1),
    "NaN": np.full(GOOD, np.nan, np.float32),
    "infinite": np.full(GOOD, -np.inf, np.float32),
    "beyond float32": np.full(GOOD, 1e300),
}


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("name", BAD_OUTPUTS)
def test_an_answer_that_is_not_what_the_card_says_is_a_model_error(card_of, name):
    card = card_of(channels=("",))
    prepared = prepare(Volume(np.zeros((8, 8, 8)), Geometry((8, 8, 8), np.eye(4))), card)
    window = plan_windows(prepared.shape_kji, card.input.window)[0]
    with pytest.raises(ModelError) as caught:
        VoxelGather(card, prepared).add(window, {"scores": BAD_OUTPUTS[name]})
    assert caught.value.code == "bad-output"


def test_a_single_nan_is_enough(card_of):
    card = card_of(channels=("",))
    prepared = prepare(Volume(np.zeros((8, 8, 8)), Geometry((8, 8, 8), np.eye(4))), card)
    window = plan_windows(prepared.shape_kji, card.input.window)[0]
    answer = np.zeros(GOOD, np.float32)
    answer[0, 1, 7, 7, 7] = np.nan
    with pytest.raises(ModelError, match="bad-output"):
        VoxelGather(card, prepared).add(window, {"scores": answer})


def test_a_missing_tensor_is_a_model_error_that_names_those_there_are(card_of):
    card = card_of(channels=("",))
    prepared = prepare(Volume(np.zeros((8, 8, 8)), Geometry((8, 8, 8), np.eye(4))), card)
    window = plan_windows(prepared.shape_kji, card.input.window)[0]
    with pytest.raises(ModelError) as caught:
        VoxelGather(card, prepared).add(window, {"logits": np.zeros(GOOD, np.float32)})
    assert caught.value.code == "wrong-tensor"
    assert "['logits']" in str(caught.value)
    assert "'scores'" in str(caught.value)

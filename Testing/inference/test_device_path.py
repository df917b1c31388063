"""The device's path, run by torch on the CPU, beside the ordinary one: same windows, weights."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from MedDetectLib.core.errors import Cancelled, InputError, ModelError
from MedDetectLib.core.geometry import AxisMap, Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.core.watch import Watch
from MedDetectLib.inference.backends.function import FunctionBackend
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.device import image as device_image
from MedDetectLib.inference.device import memory
from MedDetectLib.inference.device.room import device_bytes
from MedDetectLib.inference.intensity import normalise
from MedDetectLib.inference.model import Model
from MedDetectLib.inference.resample import resample, shrink_taps_between, taps_between
from MedDetectLib.models.card import (
    Clip,
    IntensityWindow,
    Linear,
    MinMax,
    Percentile,
    ZScore,
)


class OnDevice:
    """A backend whose network is a Python function on torch tensors, on the CPU."""

    def __init__(self, function, batch):
        self.device, self.batch, self.sizes = "cpu", batch, []
        self._function = function
        self.device_network = self
        self.choice = FunctionBackend(None).choice

    def stream(self):
        return contextlib.nullcontext()

    def __call__(self, windows):
        self.sizes.append(tuple(windows.shape))
        outputs = self._function(np.asarray(windows))
        return {name: torch.from_numpy(np.asarray(value)) for name, value in outputs.items()}

    def run(self, batch):
        raise AssertionError("the device's path goes by way of the device's network")


def blurry_scores(classes, activation="softmax"):
    """Scores that vary smoothly and differ from class to class, so that places matter."""
    channels = classes + (activation == "softmax")

    def answer(batch):
        x = batch[:, :1]
        near = sum(np.roll(x, n, axis) for axis in (-1, -2, -3) for n in (-1, 1)) / 6
        steps = np.linspace(-2.0, 2.0, channels, dtype=np.float32).reshape(1, -1, 1, 1, 1)
        return {"scores": (2 * x * steps + near * np.cos(3 * steps) - 0.2 * steps).astype("f4")}

    return answer


def noisy_volume(grid, spacing_kji_mm, directions, dtype=np.int16, modality="CT"):
    geometry = grid((4.0, -3.0, 7.0), 30.0, spacing_kji_mm, directions)
    rng = np.random.default_rng(7)
    rough = rng.normal(0.0, 1.0, [-(-n // 3) for n in geometry.shape_kji])
    for axis, size in enumerate(geometry.shape_kji):
        rough = np.repeat(rough, 3, axis).take(range(size), axis)
    return Volume((rough * 300).astype(dtype), geometry, modality, "noise")


def both_ways(volume, card, function, batch=3):
    """Findings through the ordinary path and through the device's."""
    on_device = OnDevice(function, batch)
    ordinary = detect(volume, Model(card, FunctionBackend(function)))
    return ordinary, detect(volume, Model(card, on_device)), on_device


def dice(one, other):
    total = one.sum() + other.sum()
    return 2.0 * (one & other).sum() / total if total else 1.0


def assert_same(ordinary, other, classes):
    """Dice 0.9999 per class; boxes and label map equal, unless rounding decided a tie."""
    one, two = ordinary.class_map(), other.class_map()
    assert one.any()
    for value in range(1, classes + 1):
        assert dice(one == value, two == value) >= 0.9999
    if (one == two).all():
        assert [f.box for f in ordinary.items] == [f.box for f in other.items]
        assert [f.label for f in ordinary.items] == [f.label for f in other.items]
        np.testing.assert_array_equal(ordinary.label_map, other.label_map)
        for a, b in zip(ordinary.items, other.items, strict=True):
            assert a.score == pytest.approx(b.score, abs=2e-6)
    else:
        assert (one != two).sum() <= 2


SPEC = {
    "window": (16, 16, 16),
    "orientation": "LPS",
    "spacing_kji_mm": [1.5, 1.2, 1.0],
    "intensity": [{"step": "window", "low": -300, "high": 300}],
    "operating_point": {"max_findings": 60000},
}


@pytest.mark.parametrize("spacing_kji_mm", [(1.1, 0.9, 1.3), (3.0, 0.7, 0.7), (0.8, 2.2, 1.0)])
@pytest.mark.parametrize("turn", ["straight", "flipped", "permuted", "oblique"])
def test_label_map_and_boxes_are_those_of_the_ordinary_path_on_any_grid(
    card_of, grid, directions_48, oblique, spacing_kji_mm, turn
):
    directions = {
        "straight": np.eye(3),
        "flipped": np.diag([-1.0, 1.0, -1.0]),
        "permuted": directions_48[29],
        "oblique": oblique,
    }[turn]
    volume = noisy_volume(grid, spacing_kji_mm, directions)
    card = card_of(labels=3, **SPEC)
    ordinary, other, _ = both_ways(volume, card, blurry_scores(3))
    assert_same(ordinary, other, 3)


CHANGES = {
    "one class": ({}, {}, 1, "softmax"),
    "one class, threshold": ({}, {"operating_point": {"voxel_threshold": 0.3}}, 1, "softmax"),
    "threshold": ({}, {"operating_point": {"voxel_threshold": 0.6}}, 4, "softmax"),
    "probabilities": ({"blend_on": "probabilities"}, {}, 4, "softmax"),
    "probabilities, threshold": (
        {"blend_on": "probabilities"},
        {"operating_point": {"voxel_threshold": 0.5}},
        4,
        "softmax",
    ),
    "sigmoid": ({"activation": "sigmoid"}, {}, 3, "sigmoid"),
    "sigmoid probabilities": (
        {"activation": "sigmoid", "blend_on": "probabilities"},
        {"operating_point": {"voxel_threshold": 0.4}},
        3,
        "sigmoid",
    ),
    "constant blend": ({}, {"blend": "constant"}, 2, "softmax"),
    "as MONAI": ({}, {"window_fields": {"placement": "stepped", "floor": 1e-3}}, 3, "softmax"),
    "no overlap": ({}, {"overlap": 0.0}, 2, "softmax"),
    "larger window than volume": ({}, {"window": (48, 16, 64), "pad_value": -0.5}, 2, "softmax"),
    "first centre": ({}, {"anchor": "first_centre"}, 2, "softmax"),
    "antialias": ({}, {"antialias": True, "spacing_kji_mm": [4.0, 3.0, 2.5]}, 2, "softmax"),
    "normalised before": ({}, {"normalise": "before_resample"}, 2, "softmax"),
    "own spacing": ({}, {"spacing_kji_mm": None}, 2, "softmax"),
    "finding per class": ({"one_finding_per": "class", "finding_score": "mean"}, {}, 3, "softmax"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_kind_of_card_gives_the_same_as_on_the_ordinary_path(card_of, grid, oblique, name):
    output, changes, classes, activation = CHANGES[name]
    spec = {key: value for key, value in {**SPEC, **changes}.items() if value is not None}
    spec["operating_point"] = {**SPEC["operating_point"], **changes.get("operating_point", {})}
    card = card_of(labels=classes, output=output, **spec)
    volume = noisy_volume(grid, (1.7, 1.0, 0.9), oblique)
    ordinary, other, _ = both_ways(volume, card, blurry_scores(classes, activation))
    assert_same(ordinary, other, classes)


@pytest.mark.parametrize("batch", [1, 2, 7, 100])
def test_the_number_of_windows_per_launch_changes_nothing(card_of, grid, batch):
    card = card_of(labels=2, **SPEC)
    volume = noisy_volume(grid, (1.2, 1.2, 1.2), np.eye(3))
    _, one, _ = both_ways(volume, card, blurry_scores(2), batch=3)
    _, other, network = both_ways(volume, card, blurry_scores(2), batch=batch)
    np.testing.assert_array_equal(one.label_map, other.label_map)
    assert max(sizes[0] for sizes in network.sizes) == min(batch, sum(s[0] for s in network.sizes))


def test_a_flat_network_is_given_four_axes_on_the_device(card_of, grid):
    card = card_of(labels=1, rank=4, **{**SPEC, "window": (1, 16, 16)})
    volume = noisy_volume(grid, (1.5, 1.2, 1.0), np.eye(3))

    def flat(batch):
        x = batch if batch.ndim == 4 else batch[:, :, 0]
        return {"scores": np.concatenate([0.4 - x, x - 0.4], axis=1)}

    ordinary, other, network = both_ways(volume, card, flat)
    assert {len(sizes) for sizes in network.sizes} == {4}
    assert_same(ordinary, other, 1)


@pytest.mark.parametrize("dtype", ["i2", "u1", "i4", "f4", "f8", "u2", ">i2"])
def test_any_number_type_gives_what_it_gives_on_the_ordinary_path(card_of, grid, dtype):
    card = card_of(labels=2, **SPEC)
    plain = noisy_volume(grid, (1.2, 1.3, 1.1), np.eye(3))
    volume = replace(plain, array=np.clip(plain.array, 0, 255).astype(dtype))
    ordinary, other, _ = both_ways(volume, card, blurry_scores(2))
    assert_same(ordinary, other, 2)


def test_a_read_only_volume_is_not_written_to(card_of, grid):
    volume = noisy_volume(grid, (1.2, 1.3, 1.1), np.eye(3), np.float32)
    volume.array.setflags(write=False)
    before = volume.array.copy()
    card = card_of(labels=1, **{key: SPEC[key] for key in ("window", "intensity")})
    both_ways(volume, card, blurry_scores(1))
    np.testing.assert_array_equal(volume.array, before)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_a_voxel_that_is_no_number_is_refused_on_the_device_too(card_of, grid, value):
    volume = noisy_volume(grid, (1.2, 1.3, 1.1), np.eye(3), np.float64)
    volume.array[2, 3, 4] = value
    with pytest.raises(InputError, match="not-finite"):
        detect(volume, Model(card_of(**SPEC), OnDevice(blurry_scores(1), 2)))


def test_memory_of_the_device_that_runs_out_on_the_way_is_told_as_such(card_of, grid):
    def full(batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    volume = noisy_volume(grid, (1.2, 1.3, 1.1), np.eye(3))
    with pytest.raises(InputError, match=r"not-enough-memory.*ran out"):
        detect(volume, Model(card_of(**SPEC), OnDevice(full, 2)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(card_of, grid, value):
    def wild(batch):
        scores = blurry_scores(1)(batch)["scores"]
        scores[0, 1, 2, 3, 4] = value
        return {"scores": scores}

    volume = noisy_volume(grid, (1.2, 1.3, 1.1), np.eye(3))
    with pytest.raises(ModelError, match="NaN or infinite"):
        detect(volume, Model(card_of(**SPEC), OnDevice(wild, 2)))


def test_scores_of_the_wrong_shape_are_refused(card_of, grid):
    volume = noisy_volume(grid, (1.2, 1.3, 1.1), np.eye(3))
    with pytest.raises(ModelError, match="by the card it must be"):
        detect(volume, Model(card_of(**SPEC), OnDevice(blurry_scores(2), 2)))


def test_a_stop_between_two_batches_is_obeyed(card_of, grid):
    volume = noisy_volume(grid, (1.2, 1.3, 1.1), np.eye(3))
    backend = OnDevice(blurry_scores(1), 1)
    watch = Watch(should_stop=lambda: len(backend.sizes) >= 3)
    with pytest.raises(Cancelled):
        detect(volume, Model(card_of(**SPEC), backend), watch)
    assert len(backend.sizes) == 3


def test_boxes_go_by_the_ordinary_path_with_the_same_engine(card_of, grid):
    card = card_of(output={"head": "boxes"}, window=(8, 8, 8))
    backend = OnDevice(None, 2)
    edges = np.array([[1.0, 1, 1, 4, 4, 4]], np.float32)
    backend.run = lambda batch: {
        "boxes": edges,
        "scores": np.array([0.9], np.float32),
        "labels": np.array([0]),
    }
    volume = Volume(np.zeros((8, 8, 8), np.int16), Geometry.from_axes((8, 8, 8), (1, 1, 1)), "CT")
    assert len(detect(volume, Model(card, backend))) == 1


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("batch", [1, 3])
def test_empty_windows_are_left_out_on_the_device_too_and_counted(card_of, grid, activation, batch):
    plain = noisy_volume(grid, (1.2, 1.2, 1.2), np.eye(3))
    array = plain.array.copy()
    array[:, :, : array.shape[2] // 2] = -1000
    array[: array.shape[0] // 2] = -1000
    volume = replace(plain, array=array)
    card = card_of(labels=2, output={"activation": activation}, **{**SPEC, "window": (8, 8, 8)})
    function = blurry_scores(2, activation)
    backend = OnDevice(function, batch)
    ordinary = detect(volume, Model(card, FunctionBackend(function)), skip_empty=True)
    other = detect(volume, Model(card, backend), skip_empty=True)
    # in small windows between background and noise many voxels are ties up to rounding
    assert (ordinary.class_map() == other.class_map()).mean() > 0.999
    assert other.class_map().any()
    assert ordinary.notes == other.notes
    assert [note.code for note in other.notes].count("empty-windows") == 1
    skipped, total = (int(word) for word in other.notes[-1].text.split() if word.isdigit())
    assert sum(sizes[0] for sizes in backend.sizes) == total - skipped
    assert 0 < skipped < total


# --- room ---------------------------------------------------------------------------------


def needed_bytes(card, volume, batch):
    return device_bytes(card, volume.geometry, [volume.array.itemsize], batch)


def test_fewer_windows_at_a_time_when_memory_is_short_and_the_same_findings(
    card_of, grid, monkeypatch
):
    card = card_of(labels=2, **SPEC)
    volume = noisy_volume(grid, (1.2, 1.2, 1.2), np.eye(3))
    _, roomy, network = both_ways(volume, card, blurry_scores(2), batch=3)
    assert max(sizes[0] for sizes in network.sizes) == 3
    monkeypatch.setattr(memory, "free_bytes", lambda device: needed_bytes(card, volume, 2))
    _, tight, network = both_ways(volume, card, blurry_scores(2), batch=3)
    assert max(sizes[0] for sizes in network.sizes) == 2
    np.testing.assert_array_equal(roomy.label_map, tight.label_map)


def test_a_ceiling_for_the_gpu_is_kept_whoever_sets_it(card_of, grid, monkeypatch):
    card = card_of(labels=2, **SPEC)
    volume = noisy_volume(grid, (1.2, 1.2, 1.2), np.eye(3))
    for given, variable in ((needed_bytes(card, volume, 2), ""), (None, "1MB")):
        monkeypatch.setenv("MEDDETECT_MAX_GPU_MEMORY", variable)
        backend = OnDevice(blurry_scores(2), 3)
        model = Model(card, backend)
        if given is None:
            with pytest.raises(InputError, match="not-enough-memory") as caught:
                detect(volume, model)
            assert "976.6 KiB are allowed" in caught.value.what
            assert "--max-gpu-memory" in caught.value.todo
            assert backend.sizes == []
        else:
            detect(volume, model, max_gpu_memory_bytes=given)
            assert max(sizes[0] for sizes in backend.sizes) == 2


def test_a_run_that_does_not_fit_is_refused_with_figures_before_it_begins(
    card_of, grid, monkeypatch
):
    card = card_of(labels=2, **SPEC)
    volume = noisy_volume(grid, (1.2, 1.2, 1.2), np.eye(3))
    monkeypatch.setattr(memory, "free_bytes", lambda device: needed_bytes(card, volume, 1) - 1)
    backend = OnDevice(blurry_scores(2), 4)
    with pytest.raises(InputError, match="not-enough-memory") as caught:
        detect(volume, Model(card, backend))
    assert "of the GPU's memory" in caught.value.what
    assert backend.sizes == []


def test_more_windows_classes_and_voxels_need_more(card_of, grid):
    small = noisy_volume(grid, (2.0, 2.0, 2.0), np.eye(3))
    large = noisy_volume(grid, (0.8, 0.8, 0.8), np.eye(3))
    few, many = card_of(labels=2, **SPEC), card_of(labels=9, **SPEC)
    assert needed_bytes(few, small, 1) < needed_bytes(few, small, 2)
    assert needed_bytes(few, small, 1) < needed_bytes(many, small, 1)
    assert needed_bytes(few, small, 1) <= needed_bytes(few, large, 1)


# --- the steps one by one ----------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flip", [(False, True, False), (True, True, True)])
def test_axes_are_turned_on_the_device_as_they_are_in_numpy(order, flip):
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    axes = AxisMap(order, flip)
    turned = device_image.turned(torch.from_numpy(array), axes)
    np.testing.assert_array_equal(turned.numpy(), axes.apply(array))


@pytest.mark.parametrize("between", [taps_between, shrink_taps_between])
@pytest.mark.parametrize("anchor", ["edges", "first_centre"])
def test_interpolation_on_the_device_is_the_same_to_a_millionth(between, anchor):
    image = np.random.default_rng(0).normal(size=(9, 14, 17)).astype(np.float32)
    taps = between((9, 14, 17), (20, 14, 6), (9 / 20, 1.0, 17 / 6), anchor)
    there = device_image.interpolated(torch.from_numpy(image), taps).numpy()
    np.testing.assert_allclose(there, resample(image, taps), atol=2e-6)


@pytest.mark.parametrize(
    "step",
    [
        Clip(-1.0, 0.5),
        IntensityWindow(-1.0, 2.0),
        MinMax(),
        MinMax("nonzero"),
        Percentile(0.5, 99.5),
        Percentile(5.0, 87.3, "above_mean"),
        ZScore(),
        ZScore("nonzero"),
        ZScore("above_mean"),
        Linear(0.01, -3.0),
    ],
    ids=str,
)
@pytest.mark.parametrize("content", ["noise", "constant", "zero"])
@pytest.mark.parametrize("piece", [4 << 20, 50])
def test_each_intensity_step_is_the_same_on_the_device(step, content, piece, monkeypatch):
    monkeypatch.setattr(device_image, "_PIECE", piece)
    image = np.random.default_rng(1).normal(3.0, 2.0, (7, 8, 9)).astype(np.float32)
    image[:2] = 0.0
    if content != "noise":
        image[...] = 2.5 if content == "constant" else 0.0
    there = device_image.normalised(torch.from_numpy(image.copy()), [step]).numpy()
    np.testing.assert_allclose(there, normalise(image.copy(), [step]), atol=3e-6)


def test_a_tensor_comes_back_as_it_went(grid):
    array = np.random.default_rng(0).integers(-5, 5, (6, 7, 8)).astype(np.int16)[::2, :, ::-1]
    np.testing.assert_array_equal(memory.download(memory.upload(array, "cpu")), array)
    kept = memory.empty_like_array(array, "cpu")
    assert (kept.dtype, tuple(kept.shape)) == (torch.int16, array.shape)
    assert memory.numpy_kind(kept) is np.int16

"""Leaving empty windows out is asked for, counted, and takes nothing that a neighbour sees."""

from __future__ import annotations

import numpy as np
import pytest

from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference.detect import detect


def volume_with(array):
    return Volume(array.astype(np.float32), Geometry(array.shape, np.eye(4)), "CT", "scan")


def scan():
    array = np.zeros((40, 8, 8))
    array[3:6, 3:6, 3:6] = 1.0  # only windows at this end see anything
    return array


def counting(calls, channels=2):
    def network(batch):
        calls.append(float(batch.max()))
        scores = np.concatenate([0.5 - batch, batch - 0.5], axis=1)
        return {"scores": scores if channels == 2 else scores[:, 1:]}

    return network


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("blend_on", ["logits", "probabilities"])
def test_what_is_found_stays_and_a_note_says_how_many_windows_were_not_run(
    model_of, activation, blend_on
):
    channels = 2 if activation == "softmax" else 1
    output = {"activation": activation, "blend_on": blend_on}
    calls = []
    model = model_of(counting(calls, channels), output=output)
    everything = detect(volume_with(scan()), model)
    windows = len(calls)
    calls.clear()
    some = detect(volume_with(scan()), model, skip_empty=True)
    np.testing.assert_array_equal(some.label_map, everything.label_map)
    assert len(some) == len(everything) == 1
    assert len(calls) < windows
    assert all(high > 0 for high in calls)
    (note,) = [note for note in some.notes if note.code == "empty-windows"]
    assert note.text.startswith(f"{windows - len(calls)} of {windows} windows")
    assert not [note for note in everything.notes if note.code == "empty-windows"]


def test_every_window_is_run_unless_somebody_asks(model_of):
    calls = []
    detect(volume_with(np.zeros((40, 8, 8))), model_of(counting(calls)))
    assert len(calls) == 9


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("threshold", [0.01, 0.005, 1e-4])
def test_a_window_left_out_is_background_however_low_the_threshold(model_of, activation, threshold):
    channels = 2 if activation == "softmax" else 1

    def sure(batch):
        scores = np.concatenate([20.0 - 40.0 * batch, 40.0 * batch - 20.0], axis=1)
        return {"scores": scores if channels == 2 else scores[:, 1:]}

    model = model_of(
        sure, output={"activation": activation}, operating_point={"voxel_threshold": threshold}
    )
    everything = detect(volume_with(scan()), model)
    some = detect(volume_with(scan()), model, skip_empty=True)
    assert some.label_map[20:].max() == everything.label_map[20:].max() == 0
    assert len(some) == len(everything) == 1


def test_a_volume_of_nothing_gives_no_findings_and_no_run(model_of):
    calls = []
    for activation, channels in (("softmax", 2), ("sigmoid", 1)):
        model = model_of(counting(calls, channels), output={"activation": activation})
        found = detect(volume_with(np.zeros((40, 8, 8))), model, skip_empty=True)
        assert len(found) == 0
        assert not found.label_map.any()
    assert calls == []


def test_noise_below_the_cards_number_is_empty_and_without_it_is_not(card_of, model_of):
    array = scan() + np.random.default_rng(0).uniform(0, 0.05, (40, 8, 8))
    plain, told = [], []
    detect(volume_with(array), model_of(counting(plain)), skip_empty=True)
    model = model_of(counting(told), window_fields={"empty_below": 0.1})
    detect(volume_with(array), model, skip_empty=True)
    assert len(plain) == 9
    assert len(told) == 2


def test_boxes_are_not_looked_for_in_empty_windows(model_of):
    calls = []

    def network(batch):
        calls.append(batch)
        return {
            "boxes": np.array([[1.0, 1, 1, 4, 4, 4]]),
            "scores": np.array([0.9]),
            "labels": np.array([0]),
        }

    model = model_of(network, output={"head": "boxes"})
    assert len(detect(volume_with(scan()), model, skip_empty=True)) == len(calls) == 2
    assert len(detect(volume_with(np.zeros((40, 8, 8))), model, skip_empty=True)) == 0


def test_a_case_score_is_the_mean_over_all_windows_also_the_empty_ones(model_of):
    output = {"head": "case_score", "activation": "sigmoid"}
    model = model_of(lambda batch: {"scores": np.array([[batch.max()]])}, output=output)
    plain = detect(volume_with(scan()), model)
    asked = detect(volume_with(scan()), model, skip_empty=True)
    assert asked.case_scores == plain.case_scores
    assert not [note for note in asked.notes if note.code == "empty-windows"]

"""A run's memory is foretold, kept below a ceiling, or refused with numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.memory import bytes_from_text
from MedDetectLib.core.memory_plan import MemoryPlan
from MedDetectLib.core.process_memory import resident_bytes
from MedDetectLib.core.volume import Volume
from MedDetectLib.core.watch import Watch
from MedDetectLib.inference import detect as detect_module
from MedDetectLib.inference import memory_plan
from MedDetectLib.inference.bands import BandedGather, bands_of, rows_held
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.device.room import Room
from MedDetectLib.inference.memory_plan import allowed_bytes, plan_memory
from MedDetectLib.inference.prepare import prepare
from MedDetectLib.inference.voxel_scores import VoxelGather
from MedDetectLib.inference.windows import plan_windows

GIB = 1 << 30
CT = Geometry.from_axes((300, 512, 512), (1.0, 0.7, 0.7))


def noise(directions, seed=0, shape=(21, 34, 27)):
    geometry = Geometry.from_axes(shape, (2.5, 0.9, 0.8), (3.0, -7.0, 11.0), directions)
    random = np.random.default_rng(seed)
    return Volume(random.integers(-100, 100, shape, dtype=np.int16), geometry, "CT", "noise")


def many_classes(batch):
    """Scores of 5 classes that differ from voxel to voxel and from window to window."""
    ramp = np.linspace(0, 1, batch.shape[-1], dtype=np.float32)
    return {"scores": np.concatenate([np.sin(batch * n + ramp) for n in range(1, 6)], axis=1)}


# --- bands ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [2, 3, 7])
def test_bands_give_the_maps_of_the_whole_to_the_byte(model_of, directions_48, seed, count):
    random = np.random.default_rng(seed)
    model = model_of(
        many_classes,
        labels=4,
        window=tuple(int(n) for n in random.integers(6, 14, 3)),
        overlap=float(random.choice([0.25, 0.5, 0.7])),
        window_fields={"placement": "stepped", "floor": 1e-3} if seed % 2 else {},
        orientation="RAS",
        spacing_kji_mm=[float(mm) for mm in random.uniform(0.8, 2.2, 3)],
    )
    prepared = prepare(noise(directions_48[int(random.integers(48))], seed), model.card)
    spec = model.card.input.window
    if seed % 2:
        spec = replace(spec, floor=0.001)
    windows = plan_windows(prepared.shape_kji, spec)
    whole = VoxelGather(model.card, prepared)
    for window in windows:
        whole.add(window, model.backend.run(window.cut(prepared.array)))
    banded = BandedGather(model.card, prepared, bands_of(prepared, windows, count))
    for window in banded.windows:
        banded.add(window, model.backend.run(window.cut(prepared.array)))
    expected, found = whole.result(), banded.result()
    assert len(np.unique(expected.classes)) > 2
    assert found.classes.tobytes() == expected.classes.tobytes()
    assert found.scores.tobytes() == expected.scores.tobytes()


def test_a_band_takes_no_more_rows_than_were_reckoned_with(model_of, directions_48):
    model = model_of(window=(8, 8, 8), orientation="RAS", spacing_kji_mm=[2.0, 1.3, 0.7])
    prepared = prepare(noise(directions_48[5], shape=(30, 41, 33)), model.card)
    windows = plan_windows(prepared.shape_kji, model.card.input.window)
    for count in (1, 2, 3, 5, 11):
        bands = bands_of(prepared, windows, count)
        most = max(band.rows.stop - band.rows.start for band in bands)
        assert most <= rows_held(prepared.shape_kji[1], prepared.turned_shape_kji[1], count)
        covered = [n for band in bands for n in range(*band.turned_rows.indices(1000))]
        assert covered == list(range(prepared.turned_shape_kji[1]))


# --- plans ----------------------------------------------------------------------------


def big_card(card_of, labels=104, **changes):
    spec = {"spacing_kji_mm": [1.5, 1.5, 1.5], "window": (96, 128, 128), **changes}
    return card_of(labels=labels, orientation="LPS", **spec)


def test_scores_of_many_classes_are_what_a_plan_counts_most(card_of):
    plan = plan_memory(big_card(card_of), CT, free_bytes=100 * GIB)
    rows = round(512 * 0.7 / 1.5)
    assert plan.parts["scores"] == pytest.approx(105 * 97 * rows * rows * 4, rel=0.03)
    assert plan.bands == 1
    assert plan.notes == ()
    assert plan.peak_bytes == plan.added_bytes == max(plan.tides.values())


def test_weights_with_a_floor_are_summed_over_the_whole_grid(card_of):
    plain = plan_memory(card_of(), CT)
    floored = plan_memory(card_of(window_fields={"floor": 1e-3}), CT)
    extra = floored.tides["detect"] - plain.tides["detect"]
    assert extra == floored.parts["sums of weights"] == 300 * 512 * 512 * 4


def test_two_classes_of_a_softmax_count_once(card_of):
    one = plan_memory(big_card(card_of, 1), CT, free_bytes=100 * GIB)
    two = plan_memory(big_card(card_of, 2), CT, free_bytes=100 * GIB)
    assert two.parts["scores"] == 3 * one.parts["scores"]


def test_a_ceiling_is_met_with_the_fewest_bands_and_the_findings_say_so(card_of):
    card = big_card(card_of)
    free = plan_memory(card, CT, free_bytes=100 * GIB)
    ceiling = free.peak_bytes - free.parts["scores"] // 3
    plan = plan_memory(card, CT, free_bytes=100 * GIB, ceiling_bytes=ceiling)
    assert plan.bands == 2
    assert plan.fits
    assert plan.peak_bytes <= ceiling
    assert [note.code for note in plan.notes] == ["memory-shrunk"]
    assert "2 bands" in plan.notes[0].text
    less = plan_memory(card, CT, free_bytes=free.added_bytes - 1)
    assert less.bands == 2
    assert "free" in less.notes[0].text
    assert MemoryPlan.from_json(plan.to_json()) == plan


def test_what_the_process_holds_counts_against_the_ceiling_and_not_against_free_memory(card_of):
    card = big_card(card_of, 1)
    alone = plan_memory(card, CT, free_bytes=100 * GIB)
    with_much = {"held_bytes": 50 * GIB, "free_bytes": alone.added_bytes}
    assert plan_memory(card, CT, **with_much).fits
    assert not plan_memory(card, CT, **with_much, ceiling_bytes=50 * GIB).fits


def test_a_model_of_boxes_has_no_scores_to_hold(card_of):
    card = card_of(output={"head": "boxes"}, spacing_kji_mm=[1.0, 1.0, 1.0])
    plan = plan_memory(card, CT, free_bytes=100 * GIB)
    assert plan.parts["scores"] == 0
    assert plan_memory(card, CT, free_bytes=1000).bands == 1


def test_on_a_gpu_scores_and_image_lie_there(card_of):
    card = big_card(card_of, 24)
    cpu = plan_memory(card, CT, free_bytes=100 * GIB)
    gpu = plan_memory(card, CT, free_bytes=100 * GIB, room=Room(2, 100 * GIB))
    assert (cpu.device_bytes, cpu.device_batch, gpu.device_batch) == (0, 0, 2)
    assert gpu.device_bytes > cpu.parts["scores"] + cpu.parts["image"]
    assert gpu.parts["scores"] == 0
    # classes and probabilities arrive in pinned memory, which comes in powers of two
    assert gpu.parts["maps"] == (256 << 20) + (512 << 20)


def test_the_larger_batch_that_fits_the_gpu_is_planned(card_of):
    card = big_card(card_of, 24)
    alone = [
        plan_memory(card, CT, free_bytes=100 * GIB, room=Room(n, 100 * GIB)).device_bytes
        for n in (1, 2, 3)
    ]
    assert alone == sorted(alone)
    for room in (Room(3, alone[1]), Room(3, 100 * GIB, alone[1])):
        plan = plan_memory(card, CT, free_bytes=100 * GIB, room=room)
        assert (plan.device_batch, plan.device_bytes, plan.fits) == (2, alone[1], True)
    plan = plan_memory(card, CT, free_bytes=100 * GIB, room=Room(3, 100 * GIB, alone[0] - 1))
    assert (plan.device_batch, plan.fits) == (1, False)
    assert MemoryPlan.from_json(plan.to_json()) == plan


# --- runs -----------------------------------------------------------------------------


def test_a_run_below_a_ceiling_finds_the_same_and_notes_it(model_of, directions_48, monkeypatch):
    model = model_of(many_classes, labels=4, window=(8, 10, 12), spacing_kji_mm=[1.5, 1.0, 1.0])
    volume = noise(directions_48[13])
    free = detect(volume, model)
    plan = plan_memory(model.card, volume.geometry)
    monkeypatch.setattr(memory_plan, "available_bytes", lambda: plan.added_bytes - 1)
    tight = detect(volume, model)
    assert [note.code for note in tight.notes] == ["memory-shrunk"]
    assert free.notes == ()
    assert len(free) > 10
    assert [item.to_json() for item in tight] == [item.to_json() for item in free]
    assert tight.label_map.tobytes() == free.label_map.tobytes()


def test_an_empty_window_that_two_bands_need_counts_once(model_of, directions_48, monkeypatch):
    geometry = Geometry.from_axes((21, 34, 27), (2.5, 0.9, 0.8))
    array = np.zeros(geometry.shape_kji, np.int16)
    array[:4, 20:, 20:] = 100
    volume = Volume(array, geometry, "CT", "corner")
    model = model_of(many_classes, labels=4, window=(8, 8, 8))

    def noted(ceiling=None):
        found = detect(volume, model, max_memory_bytes=ceiling, skip_empty=True)
        return {note.code: note.text for note in found.notes}

    whole = noted()
    plan = plan_memory(model.card, geometry)
    monkeypatch.setattr(memory_plan, "resident_bytes", lambda: 0)
    in_bands = noted(plan.peak_bytes - plan.parts["scores"] // 3)
    assert "memory-shrunk" in in_bands
    assert in_bands["empty-windows"] == whole["empty-windows"]


def test_progress_of_a_run_in_bands_only_grows(model_of, directions_48, monkeypatch):
    model = model_of(many_classes, labels=4, window=(8, 10, 12))
    volume = noise(directions_48[0])
    plan = plan_memory(model.card, volume.geometry)
    monkeypatch.setattr(memory_plan, "available_bytes", lambda: plan.added_bytes - 1)
    heard = []
    findings = detect(volume, model, Watch(heard.append))
    assert findings.notes
    fractions = [progress.fraction for progress in heard if progress.stage == "detect"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_what_cannot_fit_is_refused_with_numbers_before_anything_is_made(
    model_of, directions_48, monkeypatch
):
    model = model_of()
    volume = noise(directions_48[0])

    def never(*_arguments, **_named):
        raise AssertionError("prepared in spite of it")

    monkeypatch.setattr(detect_module, "prepare", never)
    with pytest.raises(InputError) as ceiling:
        detect(volume, model, max_memory_bytes=1_000_000)
    assert ceiling.value.code == "not-enough-memory"
    assert "976.6 KiB are allowed" in ceiling.value.what
    assert "--max-memory" in ceiling.value.todo
    assert ceiling.value.where == "noise"
    monkeypatch.setattr(memory_plan, "available_bytes", lambda: 2 << 20)
    with pytest.raises(InputError, match=r"not-enough-memory.*more memory at the least.*2\.0 MiB"):
        detect(volume, model)
    assert model.backend.calls == 1  # to see what the network takes, as there was a ceiling


def test_a_generous_ceiling_changes_nothing(model_of, directions_48, monkeypatch):
    model = model_of()
    volume = noise(directions_48[0])
    ceiling = resident_bytes() + GIB
    assert detect(volume, model, max_memory_bytes=ceiling).notes == ()
    monkeypatch.setenv("MEDDETECT_MAX_MEMORY", "1 MB")
    assert allowed_bytes() == 1_000_000
    assert allowed_bytes(5) == 5
    with pytest.raises(InputError, match="not-enough-memory"):
        detect(volume, model)
    monkeypatch.setenv("MEDDETECT_MAX_MEMORY", "plenty")
    with pytest.raises(InputError, match=r"bad-memory.*MEDDETECT_MAX_MEMORY.*8GB"):
        detect(volume, model)


@pytest.mark.parametrize(
    ("text", "count"),
    [("8GB", 8 * 10**9), ("1.5 GiB", 3 << 29), ("500m", 5 * 10**8), ("42", 42), ("2TiB", 2 << 40)],
)
def test_amounts_of_memory_are_read_as_people_write_them(text, count):
    assert bytes_from_text(text) == count


@pytest.mark.parametrize("text", ["", "much", "0GB", "-3GB", "8 bananas", "1e9"])
def test_what_is_no_amount_of_memory_is_refused(text):
    with pytest.raises(InputError, match="bad-memory"):
        bytes_from_text(text)

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from MedDetectLib.core.errors import Cancelled
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.core.watch import Watch
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.fingerprints import Fingerprints


def volume(slices, seed=0):
    shape = (slices, 64, 64)
    array = np.random.default_rng(seed).integers(0, 2, shape).astype(np.int16)
    return Volume(array, Geometry.from_axes(shape, (1, 1, 1)), "CT")


def test_they_are_those_of_the_volumes_in_their_order():
    volumes = [volume(3), volume(4, 1), volume(2, 2)]
    with Fingerprints(volumes) as prints:
        assert prints.result() == [each.sha256 for each in volumes]


def hashing():
    return [t for t in threading.enumerate() if t.name.startswith("fingerprints")]


def test_leaving_early_ends_the_thread_before_anybody_takes_the_voxels_away():
    large = volume(4000)
    begin = time.perf_counter()
    whole = large.sha256
    needed = time.perf_counter() - begin
    begin = time.perf_counter()
    with pytest.raises(Cancelled), Fingerprints([large] * 20):
        raise Cancelled
    assert hashing() == []
    assert time.perf_counter() - begin < 10 * needed
    assert len(whole) == 64


def test_a_stopped_run_leaves_nobody_reading_the_voxels(model_of):
    watch = Watch(should_stop=lambda: True)
    with pytest.raises(Cancelled):
        detect(volume(40), model_of(), watch)
    assert hashing() == []


def test_findings_name_the_volume_they_came_from(model_of):
    given = volume(10)
    assert detect(given, model_of()).provenance.input_sha256 == given.sha256

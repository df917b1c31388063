"""The rows of the GPU: what they say without one, and that they compare what they claim to."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

pytest.importorskip("jsonschema")

from MedDetectLib.core.errors import BackendUnavailable
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.evaluation.bench import gpu
from MedDetectLib.evaluation.bench.comparison import Setting, rows_of
from MedDetectLib.evaluation.bench.unet_onnx import THIRTY_MILLION, UNet, write_unet


def rough_scan(shape_kji, spacing_kji_mm):
    rng = np.random.default_rng(0)
    array = np.kron(rng.normal(0, 500, [-(-n // 4) for n in shape_kji]), np.ones((4, 4, 4)))
    k, j, i = shape_kji
    array = array[:k, :j, :i].astype(np.int16)
    return Volume(array, Geometry.from_axes(shape_kji, spacing_kji_mm), "CT")


def test_without_a_gpu_every_row_says_that_it_was_not_run(monkeypatch):
    def no_gpu():
        raise BackendUnavailable("no-gpu", "there is no NVIDIA driver here")

    monkeypatch.setattr(gpu, "find_gpu", no_gpu)
    rows = [row for one in gpu.COMPARISONS for row in rows_of(one, Setting(rough_scan, True))]
    assert [row.name for row in rows] == [
        "gpu/detect-half-a-second", "gpu/monai-amp", "gpu/nnunet-torch-25",
    ]  # fmt: skip
    assert [row.target for row in rows] == [1.0, 3.0, 4.0]
    for row in rows:
        assert (row.ratio, row.equal_output) == (None, None)
        assert "no NVIDIA driver" in row.detail


def test_the_rows_against_monai_compare_the_same_work(monkeypatch):
    """On a pretended GPU: every device is the CPU."""
    pytest.importorskip("torch")
    pytest.importorskip("monai")
    pytest.importorskip("onnx")
    monai, network, load = gpu.monai_path, gpu.torch_network, gpu.load_model
    monkeypatch.setattr(gpu, "find_gpu", lambda: None)
    monkeypatch.setattr(gpu, "monai_path", lambda *given: monai(*given[:3]))
    monkeypatch.setattr(gpu, "torch_network", lambda path, device, half=False: network(path))
    monkeypatch.setattr(gpu, "load_model", lambda folder, *_: load(folder, "torch"))
    found = gpu.COMPARISONS[0].measure(Setting(rough_scan, quick=True))
    assert set(found) == {"gpu/detect-half-a-second", "gpu/monai-amp"}
    for measured in found.values():
        assert measured.equal_output
        assert measured.ratio > 0
        assert "25 classes" in measured.detail


@functools.lru_cache
def large_network():
    pytest.importorskip("onnx")
    return UNet(25, THIRTY_MILLION)


def test_the_large_network_has_thirty_million_parameters():
    count = sum(math.prod(weight.dims) for weight in large_network().weights)
    assert 29e6 < count < 33e6


def test_scores_of_the_random_network_are_neither_tiny_nor_huge(tmp_path):
    """Or half precision would be judged on nothing, or overflow."""
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    write_unet(tmp_path / "model.onnx", 5, (8, 16, 24))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    image = np.random.default_rng(0).standard_normal((1, 1, 16, 16, 16), np.float32)
    (scores,) = session.run(None, {"image": image})
    assert scores.shape == (1, 5, 16, 16, 16)
    assert 0.1 < scores.std() < 10
    assert len(np.unique(scores.argmax(1))) == 5

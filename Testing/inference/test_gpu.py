"""What only a GPU can show. Run with ``pytest -m gpu`` on a machine that has one.

Each backend is compared with ONNX Runtime on the CPU, end to end, on the same network.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace

import numpy as np
import pytest

from MedDetectLib.core.errors import BackendUnavailable, Cancelled, InputError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.core.watch import Watch
from MedDetectLib.inference.backends.choose import BACKENDS, open_backend
from MedDetectLib.inference.backends.engine_cache import EngineCache
from MedDetectLib.inference.backends.gpu import find_gpu
from MedDetectLib.inference.backends.parity import TOLERANCE
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.model import Model, load_model

pytestmark = pytest.mark.gpu

ON_GPU = [
    (key, precision)
    for key, engine in BACKENDS.items()
    if engine.on_gpu
    for precision in engine.gpu_precisions
]
LEAST_AGREEMENT = {"f32": 0.9999, "f16": 0.99, "bf16": 0.97}
"""Of voxels; weights are random, so many voxels are ties up to rounding."""


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A GPU, and a folder of its own for engines."""
    for package in ("torch", "onnx", "onnxruntime"):
        pytest.importorskip(package)
    try:
        gpu = find_gpu()
    except BackendUnavailable as error:
        pytest.skip(f"needs a CUDA GPU: {error.what}")
    monkeypatch.setenv("MEDDETECT_HOME", str(tmp_path / "home"))
    return gpu


def opened(folder, key, precision="f32", watch=None):
    """Open a model on the GPU; skip where the package is not installed."""
    try:
        BACKENDS[key].version()
    except BackendUnavailable as error:
        pytest.skip(error.what)
    model = load_model(folder, key, precision, watch or Watch())
    assert model.backend.choice.device.startswith("cuda"), model.backend.choice.reason
    return model


def rough_volume(shape_kji=(70, 90, 80), spacing_kji_mm=(2.0, 1.1, 1.3), directions=None):
    rng = np.random.default_rng(3)
    rough = rng.normal(0, 500, [-(-n // 5) for n in shape_kji])
    for axis, size in enumerate(shape_kji):
        rough = np.repeat(rough, 5, axis).take(range(size), axis)
    geometry = Geometry.from_axes(shape_kji, spacing_kji_mm, (3, -7, 11), directions)
    return Volume(rough.astype(np.int16), geometry, "CT")


@pytest.fixture
def unet(tmp_path):
    """Make the folder of a U-Net with 6 classes and windows of 32."""
    from MedDetectLib.evaluation.bench.models import plain_card_data, write_model
    from MedDetectLib.evaluation.bench.unet_onnx import write_unet

    def make(name="unet", change=lambda content: content, classes=6, features=(16, 32, 64)):
        folder = tmp_path / name
        folder.mkdir()
        write_unet(folder / "model.onnx", classes, features)
        path = folder / "model.onnx"
        path.write_bytes(change(path.read_bytes()))
        data = plain_card_data(
            name,
            labels=classes - 1,
            spacing_kji_mm=(1.5, 1.5, 1.5),
            window_kji=(32, 32, 32),
            orientation="LPS",
            intensity=[{"step": "window", "low": -1000, "high": 1000}],
        )
        return write_model(folder, data)

    return make


@pytest.mark.parametrize(("key", "precision"), ON_GPU)
@pytest.mark.parametrize("turn", ["straight", "oblique"])
def test_every_backend_finds_on_the_gpu_what_the_cpu_finds(unet, oblique, key, precision, turn):
    folder = unet()
    volume = rough_volume(directions=oblique if turn == "oblique" else np.diag([1.0, -1.0, 1.0]))
    with load_model(folder, "onnxruntime") as reference:
        if reference.backend.choice.device != "cpu":
            card = reference.card
            from MedDetectLib.inference.backends.onnxruntime import OnnxRuntimeBackend

            on_cpu = Model(card, OnnxRuntimeBackend(card, folder, "f32", "reference"))
            expected = detect(volume, on_cpu).class_map()
        else:
            expected = detect(volume, reference).class_map()
    with opened(folder, key, precision) as model:
        assert model.backend.device_network is not None
        findings = detect(volume, model)
        again = detect(volume, model)
    assert len(np.unique(expected)) >= 4
    assert (findings.class_map() == expected).mean() >= LEAST_AGREEMENT[precision]
    np.testing.assert_array_equal(findings.label_map, again.label_map)
    assert findings.provenance.device.startswith("cuda")
    assert findings.provenance.precision == precision


@pytest.mark.parametrize(("key", "precision"), ON_GPU)
def test_windows_by_way_of_the_cpu_give_the_same_scores(unet, key, precision):
    """The path of boxes and case scores."""
    folder = unet()
    batch = np.random.default_rng(0).standard_normal((5, 1, 32, 32, 32), np.float32)
    from MedDetectLib.inference.backends.onnxruntime import OnnxRuntimeBackend

    with opened(folder, key, precision) as model:
        answer = model.backend.run(batch)["logits"]
        expected = OnnxRuntimeBackend(model.card, folder, "f32", "").run(batch)["logits"]
    error = np.sqrt(np.mean((answer - expected) ** 2)) / expected.std()
    assert error <= TOLERANCE[precision]


@pytest.mark.parametrize("key", ["tensorrt", "tensorrt_rtx"])
def test_an_engine_is_built_once_kept_and_opened_quickly(unet, key):
    folder = unet()
    heard = []
    watch = Watch(lambda progress: heard.append(progress.stage))
    opened(folder, key, watch=watch).close()
    assert "build engine" in heard
    heard.clear()
    opened(folder, key, watch=watch).close()
    assert heard == []
    (_, facts), = EngineCache().facts()  # fmt: skip
    assert facts["parity"]["error"] <= facts["parity"]["tolerance"]


@pytest.mark.parametrize("key", ["tensorrt", "tensorrt_rtx"])
def test_a_damaged_kept_engine_is_built_again_and_said_so(unet, key):
    folder = unet()
    opened(folder, key).close()
    engine = next(EngineCache().folder.glob("*/*.engine"))
    engine.write_bytes(engine.read_bytes()[:-100])
    with opened(folder, key) as model:
        assert "is damaged and is made anew" in model.backend.choice.reason


@pytest.mark.parametrize("key", ["tensorrt", "tensorrt_rtx"])
def test_a_build_on_the_gpu_is_left_within_a_second(unet, key):
    folder = unet(features=(32, 64, 128, 256))
    begun = []

    def hear(progress):
        if progress.stage == "build engine" and not begun:
            begun.append(time.monotonic())

    watch = Watch(hear, lambda: bool(begun) and time.monotonic() - begun[0] > 0.2)
    with pytest.raises(Cancelled):
        opened(folder, key, watch=watch)
    assert time.monotonic() - begun[0] < 1.2


def retrained(content):
    import onnx
    from onnx import numpy_helper

    network = onnx.load_from_string(content)
    rng = np.random.default_rng(5)
    for weight in network.graph.initializer:
        values = numpy_helper.to_array(weight)
        values = values + rng.normal(0, 0.05, values.shape).astype(np.float32)
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float32), weight.name))
    return network.SerializeToString()


@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_fine_tuned_weights_go_into_the_parents_engine(unet, precision):
    parent, child = unet("parent"), unet("child", retrained)
    opened(parent, "tensorrt", precision).close()
    heard = []
    watch = Watch(lambda progress: heard.append(progress.stage))
    with opened(child, "tensorrt", precision, watch) as model:
        assert "refitted from" in model.backend.choice.reason
    assert "build engine" not in heard
    assert "check engine" in heard


@pytest.mark.parametrize("key", ["tensorrt", "tensorrt_rtx"])
def test_a_recorded_launch_answers_what_the_first_one_did(unet, key):
    """Also when batches of different sizes take turns, as at the end of a volume."""
    import torch

    with opened(unet(), key) as model:
        network = model.backend.device_network
        assert network.batch == 4
        windows = torch.randn(4, 1, 32, 32, 32, device=network.device)
        with network.stream():
            whole = [network(windows)["logits"].clone() for _ in range(3)]
            parts = [network(windows[n : n + 1])["logits"].clone() for n in range(4)]
            last = network(windows)["logits"].clone()
    for other in (*whole[1:], last):
        assert torch.equal(whole[0], other)
    spread = float(whole[0].std())
    assert float((torch.cat(parts) - whole[0]).abs().max()) < 1e-2 * spread


@pytest.mark.parametrize("dtype", ["i2", "u1", "f4", "f8", ">i2"])
def test_a_volume_goes_up_and_comes_back_through_pinned_memory(dtype):
    from MedDetectLib.inference.device import memory

    array = np.random.default_rng(0).integers(0, 255, (70, 512, 600)).astype(dtype)
    for given in (array, array[::2, ::-1], array.transpose(2, 0, 1)):
        np.testing.assert_array_equal(memory.download(memory.upload(given, "cuda:0")), given)


def test_a_voxel_that_is_no_number_is_refused_on_the_gpu(unet):
    volume = rough_volume()
    array = volume.array.astype(np.float32)
    array[3, 4, 5] = np.nan
    with opened(unet(), "torch") as model, pytest.raises(InputError, match="not-finite"):
        detect(replace(volume, array=array), model)


def test_a_stop_between_two_launches_is_obeyed_within_a_second(unet):
    stop_at = []

    def hear(progress):
        if progress.stage == "detect" and progress.fraction > 0.2 and not stop_at:
            stop_at.append(time.monotonic())

    watch = Watch(hear, lambda: bool(stop_at))
    with opened(unet(), "torch") as model, pytest.raises(Cancelled):
        detect(rough_volume((200, 200, 200)), model, watch)
    assert time.monotonic() - stop_at[0] < 1.0


@pytest.mark.parametrize("key", ["tensorrt", "tensorrt_rtx", "torch"])
def test_a_whole_chest_with_thirty_million_parameters_fits_and_agrees(tmp_path, key, capsys):
    import torch

    from MedDetectLib.evaluation.bench.gpu import Size, write_large_model

    folder = tmp_path / "large"
    folder.mkdir()
    assert write_large_model(folder, Size()) > 29e6
    volume = rough_volume((300, 512, 512), (1.0, 0.75, 0.75))
    with opened(folder, "torch") as model:
        expected = detect(volume, model).class_map()
    with opened(folder, key, "f16") as model:
        detect(volume, model)
        torch.cuda.reset_peak_memory_stats()
        begin = time.perf_counter()
        findings = detect(volume, model)
        seconds = time.perf_counter() - begin
    assert (findings.class_map() == expected).mean() >= LEAST_AGREEMENT["f16"]
    told = {"backend": key, "seconds": round(seconds, 3), "stages": findings.provenance.seconds,
            "torch_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2)}  # fmt: skip
    with capsys.disabled():
        print(json.dumps(told))


def test_the_model_in_the_provenance_is_the_one_that_ran(unet):
    folder = unet()
    with opened(folder, "torch") as model:
        findings = detect(rough_volume((40, 40, 40)), model)
    content = (folder / "model.onnx").read_bytes()
    assert findings.provenance.model_sha256 == hashlib.sha256(content).hexdigest()


def test_auto_takes_the_gpu(unet):
    folder = unet()
    with load_model(folder) as model:
        assert model.backend.choice.device.startswith("cuda")
        assert model.backend.choice.reason.startswith("auto")
    backend = open_backend(model.card, folder, "openvino")
    assert backend.choice.device == "cpu"
    backend.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpu/monai-amp", "gpu/nnunet-torch-25"])
def test_the_benchs_rows_of_the_gpu_are_reached(name):
    """512 x 512 x 300 voxels, 30 M parameters: half a second, 3x MONAI, 4x nnU-Net."""
    from MedDetectLib.adapters.cli.bench_command import _scan, comparisons
    from MedDetectLib.evaluation.bench.comparison import Setting, chosen, rows_of

    for comparison in chosen(comparisons(), [name]):
        for row in rows_of(comparison, Setting(_scan)):
            assert row.ratio is not None, row.detail
            assert row.equal_output, row.detail
            assert row.ratio >= row.target, row.detail

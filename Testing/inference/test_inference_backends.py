from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from MedDetectLib.core.errors import BackendUnavailable, ModelError
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference.backends.choose import BACKENDS, open_backend
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.model import load_model

onnx = pytest.importorskip("onnx")


def threshold_network(
    path,
    *,
    rank=5,
    input_name="image",
    output_name="scores",
    sizes=None,
    element=onnx.TensorProto.FLOAT,
):
    """logits = [0.5 - x, x - 0.5]; element 1 is float32"""
    dims = sizes or ["n", 1, *"kji"[5 - rank :]]
    half = onnx.helper.make_tensor("half", element, [], [0.5])
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Sub", ["half", input_name], ["below"]),
            onnx.helper.make_node("Sub", [input_name, "half"], ["above"]),
            onnx.helper.make_node("Concat", ["below", "above"], [output_name], axis=1),
        ],
        "threshold",
        [onnx.helper.make_tensor_value_info(input_name, element, dims)],
        [onnx.helper.make_tensor_value_info(output_name, element, [dims[0], 2, *dims[2:]])],
        [half],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(model, path)
    return path


@pytest.fixture
def network_folder(tmp_path, card_of):
    """Write a threshold network and its card; return both."""

    def build(card=None, **changes):
        threshold_network(tmp_path / "model.onnx", **changes)
        return vouched(card or card_of(), tmp_path), tmp_path

    return build


@pytest.fixture(
    params=[
        pytest.param(key, marks=pytest.mark.gpu if key.startswith("tensorrt") else ())
        for key in BACKENDS
    ]
)
def engine(request):
    """The name of each engine that is installed here; TensorRT runs on a GPU only."""
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture
def opened(engine):
    return lambda card, folder: open_backend(vouched(card, folder), folder, engine)


def vouched(card, folder):
    """The card with the fingerprint of the network as it now lies in the folder."""
    path = folder / card.weights
    if not path.exists():
        return card
    return replace(card, files={card.weights: hashlib.sha256(path.read_bytes()).hexdigest()})


def test_a_network_replaced_after_its_card_was_checked_is_not_run(network_folder, engine):
    card, folder = network_folder()
    threshold_network(folder / "model.onnx", input_name="picture")
    with pytest.raises(ModelError, match="changed-file"):
        open_backend(card, folder, engine)


def test_the_network_answers_what_the_formula_says(network_folder, engine, opened):
    backend = opened(*network_folder())
    batch = np.random.default_rng(0).normal(size=(1, 1, 8, 8, 8)).astype(np.float32)
    outputs = backend.run(batch)
    assert list(outputs) == ["scores"]
    np.testing.assert_array_equal(
        outputs["scores"], np.concatenate([0.5 - batch, batch - 0.5], axis=1)
    )
    choice = backend.choice
    assert choice.backend == f"{engine} {BACKENDS[engine].version()}"
    assert (choice.device, choice.precision, choice.reason) == ("cpu", "f32", "asked for")


def test_a_batch_that_is_not_contiguous_gives_the_same_answer(network_folder, opened):
    backend = opened(*network_folder())
    wide = np.random.default_rng(0).normal(size=(1, 1, 16, 8, 24)).astype(np.float32)
    batch = wide[..., ::2, ::-1, ::3]
    expected = np.concatenate([0.5 - batch, batch - 0.5], axis=1)
    np.testing.assert_array_equal(backend.run(batch)["scores"], expected)


def test_a_flat_network_is_given_four_axes(network_folder, card_of, opened):
    card = card_of(rank=4, window=(1, 8, 8))
    backend = opened(*network_folder(card, rank=4))
    outputs = backend.run(np.zeros((1, 1, 1, 8, 8), np.float32))
    assert outputs["scores"].shape == (1, 2, 8, 8)


def bad_files():
    return {
        "nothing": b"",
        "words": b"this is no network",
        "zeros": bytes(1000),
        "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00]\x94.",
        "half a network": None,
    }


@pytest.mark.parametrize("name", bad_files())
def test_a_file_that_is_no_network_is_refused_in_one_line(network_folder, name, opened):
    card, folder = network_folder()
    path = folder / "model.onnx"
    content = bad_files()[name]
    path.write_bytes(path.read_bytes()[:60] if content is None else content)
    with pytest.raises(ModelError) as caught:
        opened(card, folder)
    assert caught.value.code == "bad-network"
    assert "model.onnx" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_is_refused(card_of, tmp_path, opened):
    with pytest.raises(ModelError, match="missing-file"):
        opened(card_of(), tmp_path)


def test_the_wrong_name_of_the_input_is_noticed_when_the_network_is_opened(network_folder, opened):
    with pytest.raises(ModelError) as caught:
        opened(*network_folder(input_name="picture"))
    assert caught.value.code == "wrong-tensor"
    assert "['picture']" in str(caught.value)
    assert "'image'" in str(caught.value)


HEADS = {
    "voxels": ({}, "scores"),
    "case": ({"head": "case_score", "activation": "sigmoid"}, "scores"),
    "decoded": ({"head": "boxes"}, "boxes"),
    "anchors": (
        {
            "head": "boxes",
            "levels": [
                {
                    "scores_tensor": "s",
                    "deltas_tensor": "d",
                    "stride_kji": [1, 1, 1],
                    "anchor_sizes_kji": [[1, 1, 1]],
                }
            ],
        },
        "s",
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_the_wrong_name_of_an_output_is_noticed_when_the_network_is_opened(
    network_folder, card_of, name, opened
):
    """Not after minutes of preparing a volume."""
    output, missing = HEADS[name]
    with pytest.raises(ModelError) as caught:
        opened(*network_folder(card_of(output=output), output_name="logits"))
    assert caught.value.code == "wrong-tensor"
    assert "['logits']" in str(caught.value)
    assert f"'{missing}'" in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": [1, 1, 4, 4, 4]},  # another window
        {"sizes": [1, 3, "k", "j", "i"]},  # three channels
        {"rank": 4},
        {"element": onnx.TensorProto.FLOAT16},
        {"element": onnx.TensorProto.DOUBLE},
    ],
    ids=["window", "channels", "rank", "half", "double"],
)
def test_a_network_that_cannot_take_the_window_fails_as_a_model_error(
    network_folder, engine, opened, changes
):
    """OpenVINO gives such a network the card's shape and type, if its operations allow."""
    card, folder = network_folder(**changes)
    batch = np.full((1, 1, 8, 8, 8), 0.25, np.float32)
    if engine == "openvino":
        scores = opened(card, folder).run(batch)["scores"]
        np.testing.assert_array_equal(scores[0, :, 0, 0, 0], [0.25, -0.25])
        return
    with pytest.raises(ModelError) as caught:
        opened(card, folder).run(batch)
    assert caught.value.code in ("bad-network", "network-failed")
    assert "model.onnx" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    if caught.value.code == "network-failed":
        assert "(1, 1, 8, 8, 8)" in str(caught.value)


@pytest.mark.parametrize("kind", ["BFLOAT16", "INT32", "UINT8"])
def test_a_network_that_would_be_given_another_image_is_refused_by_every_engine(
    network_folder, opened, kind
):
    """OpenVINO would cut it to whole numbers, or hand bits out that NumPy takes for others."""
    card, folder = network_folder(element=onnx.TensorProto.DataType.Value(kind))
    with pytest.raises(ModelError, match="bad-network") as caught:
        opened(card, folder)
    if kind != "BFLOAT16":  # some engines do not even read such a network
        assert "not float32" in caught.value.what


def test_closing_twice_is_harmless_and_running_then_is_an_error_of_ours(network_folder, opened):
    backend = opened(*network_folder())
    backend.close()
    backend.close()
    with pytest.raises(ModelError):
        backend.run(np.zeros((1, 1, 8, 8, 8), np.float32))


def test_an_answer_is_not_changed_by_the_next_window(network_folder, opened):
    backend = opened(*network_folder())
    first = backend.run(np.zeros((1, 1, 8, 8, 8), np.float32))["scores"]
    before = np.array(first)
    backend.run(np.ones((1, 1, 8, 8, 8), np.float32))
    np.testing.assert_array_equal(first, before)


def test_without_the_engine_the_way_out_is_named(network_folder, engine, monkeypatch):
    import sys

    card, folder = network_folder()
    monkeypatch.setitem(sys.modules, engine, None)
    with pytest.raises(BackendUnavailable) as caught:
        open_backend(card, folder, engine)
    assert caught.value.code == f"no-{engine}"
    assert "install" in caught.value.todo


def test_without_any_engine_auto_says_so(network_folder, monkeypatch):
    import sys

    card, folder = network_folder()
    for name in BACKENDS:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendUnavailable) as caught:
        open_backend(card, folder)
    assert caught.value.todo


def test_a_fallback_is_never_silent(network_folder, monkeypatch):
    import sys

    first, second = "openvino", "onnxruntime"
    pytest.importorskip(second)
    monkeypatch.setitem(sys.modules, first, None)
    choice = open_backend(*network_folder()).choice
    assert choice.backend.startswith(second)
    assert choice.reason.startswith("auto")
    assert first.casefold() in choice.reason.casefold()


def test_an_unknown_backend_is_refused_with_those_there_are(network_folder):
    with pytest.raises(BackendUnavailable) as caught:
        open_backend(*network_folder(), "abacus")
    assert caught.value.code == "no-backend"
    assert all(name in str(caught.value) for name in BACKENDS)


# --- from the disk to findings --------------------------------------------------------


@pytest.fixture
def model_folder(tmp_path):
    folder = tmp_path / "threshold model"
    folder.mkdir()
    path = threshold_network(folder / "model.onnx")
    card = {
        "format": "meddetect.model/1",
        "name": "threshold",
        "version": "2.0.1",
        "task": "segmentation",
        "weights": "model.onnx",
        "files": {"model.onnx": hashlib.sha256(path.read_bytes()).hexdigest()},
        "input": {
            "tensor": "image",
            "channels": [{"name": "CT", "modality": "CT"}],
            "orientation": "LPS",
            "spacing_kji_mm": [1.5, 1.0, 1.0],
            "intensity": [{"step": "window", "low": 0, "high": 200}],
            "window": {"shape_kji": [16, 16, 16]},
        },
        "output": {
            "head": "voxel_scores",
            "tensor": "scores",
            "activation": "softmax",
            "labels": [{"value": 1, "name": "ball", "colour_rgb": [255, 0, 0]}],
        },
    }
    (folder / "model.json").write_text(json.dumps(card), "utf-8")
    return folder


def test_a_model_from_the_disk_finds_bright_balls_where_they_are(
    model_folder, engine, grid, ball_volume, oblique
):
    centres = [((3.0, 4.0, -6.0), 5.0), ((-8.0, -7.0, 7.0), 4.0)]
    plain = ball_volume(grid((0, 0, 0), 36, (1.4, 1.0, 0.9), oblique), centres)
    volume = Volume((plain.array * 200).astype(np.int16), plain.geometry, "CT", "balls")
    with load_model(model_folder, engine) as model:
        findings = detect(volume, model)
    assert len(findings) == 2
    found = np.array([volume.geometry.box_centre_ras_mm(f.box) for f in findings.items])
    for centre, _ in centres:
        assert np.linalg.norm(found - centre, axis=-1).min() < 1.4
    assert findings.provenance.model == "threshold"
    assert findings.provenance.model_version == "2.0.1"
    assert findings.provenance.backend.startswith(engine)


def test_the_function_and_the_network_give_the_same_findings(
    model_folder, engine, grid, ball_volume, model_of
):
    plain = ball_volume(grid((0, 0, 0), 30, (2.0, 1.1, 0.9), np.eye(3)), [((1, 2, 3), 8.0)])
    volume = Volume(plain.array * 200, plain.geometry, "CT", "balls")
    spec = {"orientation": "LPS", "spacing_kji_mm": [1.5, 1.0, 1.0], "window": (16, 16, 16),
            "intensity": [{"step": "window", "low": 0, "high": 200}]}  # fmt: skip
    with load_model(model_folder, engine) as model:
        through_network = detect(volume, model)
    through_function = detect(volume, model_of(**spec))
    assert through_network.items == through_function.items
    assert through_network.label_map.tobytes() == through_function.label_map.tobytes()


def test_a_tampered_network_is_not_run(model_folder):
    path = model_folder / "model.onnx"
    path.write_bytes(path.read_bytes().replace(b"threshold", b"THRESHOLD"))
    with pytest.raises(ModelError, match="changed-file"):
        load_model(model_folder)

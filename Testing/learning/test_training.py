from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from MedDetectLib.learning import train_demo  # noqa: E402
from MedDetectLib.learning.networks import ResidualUNet, export_onnx  # noqa: E402
from MedDetectLib.learning.train_demo import (  # noqa: E402
    Options,
    TrainingCase,
    loss_of,
    prepared_case,
    random_batch,
    train,
)


def toy_case(seed: int) -> TrainingCase:
    """A noisy box of 40 voxels with one bright ball."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(12, 28, 3)
    distance = np.linalg.norm(np.indices((40, 40, 40)).T - place[::-1], axis=-1).T
    truth = distance < 6
    image = (0.3 + 0.5 * truth + 0.05 * rng.normal(size=truth.shape)).astype(np.float16)
    return TrainingCase(image, truth, np.ones(truth.shape, np.float16), place[None], np.ones(1))


TINY = Options(steps=14, patch=32, batch=2, rate=1e-2, warm_up=2, cases=2, first_cases=2)


@pytest.fixture
def toy_phantoms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_demo, "prepared_case", lambda task, seed, options: toy_case(seed))


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_demo, "export_onnx", lambda network, path: path.write_bytes(b"-"))


@pytest.mark.usefixtures("toy_phantoms")
def test_a_few_steps_lower_the_loss_and_leave_a_model_with_its_card(tmp_path: Path) -> None:
    losses = train("chest", tmp_path, TINY)
    assert len(losses) == 14
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    assert {"model.onnx", "model.json", "model.pt", "log.jsonl"} == {
        path.name for path in tmp_path.iterdir()
    }


@pytest.mark.usefixtures("toy_phantoms", "no_export")
def test_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    train("chest", tmp_path, replace(TINY, steps=3))
    losses = train("chest", tmp_path, replace(TINY, steps=5))
    assert len(losses) == 2


@pytest.mark.usefixtures("toy_phantoms", "no_export")
def test_the_same_seed_trains_the_same_way(tmp_path: Path) -> None:
    few = replace(TINY, steps=3)
    assert train("chest", tmp_path / "a", few) == train("chest", tmp_path / "b", few)


def test_held_out_phantoms_are_refused_for_training() -> None:
    with pytest.raises(ValueError, match="held out"):
        prepared_case("chest", 19, Options())


def test_a_training_case_has_its_lesions_where_the_image_has_them() -> None:
    case = prepared_case("brain", 10_002, replace(Options(), lesions=(4, 4)))
    assert case.image.shape == case.truth.shape == case.weight.shape
    for place in case.places:
        k, j, i = np.rint(place).astype(int)
        assert case.truth[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2].any()
    assert case.image.min() >= 0
    assert case.image.max() <= 1
    assert case.weight.max() <= Options.small_lesion_weight
    images, truth, weights = random_batch([case], np.random.default_rng(0), Options(batch=2))
    assert images.shape == (2, 1, 48, 48, 48)
    assert truth.shape == weights.shape == (2, 48, 48, 48)


def test_a_perfect_answer_costs_nothing_and_a_wrong_one_costs_much() -> None:
    truth = torch.zeros(1, 8, 8, 8, dtype=torch.int64)
    truth[:, 2:5, 2:5, 2:5] = 1
    right = torch.stack([10.0 - 20 * truth, 20.0 * truth - 10], 1)
    weight = torch.ones(1, 8, 8, 8)
    assert float(loss_of(right, truth, weight)) < 1e-3
    assert float(loss_of(-right, truth, weight)) > 1.5


def network_with_history() -> ResidualUNet:
    """A network whose normalisations have seen something."""
    torch.manual_seed(3)
    network = ResidualUNet(widths=(8, 12, 16), depths=(1, 1, 1)).train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(2, 1, 16, 16, 16) * 2 + 1)
    return network.eval()


def test_the_onnx_file_answers_as_the_network_does_for_any_size(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network = network_with_history()
    export_onnx(network, tmp_path / "model.onnx")
    assert b".py" not in (tmp_path / "model.onnx").read_bytes()  # no trace of this machine
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert [port.name for port in session.get_inputs()] == ["image"]
    assert [port.name for port in session.get_outputs()] == ["logits"]
    for shape in ((1, 1, 16, 24, 32), (3, 1, 40, 8, 16)):
        image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        (answer,) = session.run(None, {"image": image})
        with torch.no_grad():
            expected = network(torch.from_numpy(image)).numpy()
        assert answer.shape == (shape[0], 2, *shape[2:])
        assert np.abs(answer - expected).max() <= 1e-4


def test_a_voxel_gets_the_same_answer_in_windows_of_different_size() -> None:
    network = network_with_history()
    image = torch.randn(1, 1, 128, 48, 48)
    with torch.no_grad():
        whole = network(image)
        part = network(image[:, :, 16:112])
    middle = slice(44, 52)
    assert torch.allclose(whole[:, :, 16:112][:, :, middle], part[:, :, middle], atol=1e-5)

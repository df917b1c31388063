"""The models and samples that ship: cards, files, and the figures the cards claim."""

import json
from pathlib import Path

import numpy as np
import pytest

from MedDetectLib.core.findings import Finding, Findings, Provenance
from MedDetectLib.core.labels import Label
from MedDetectLib.learning.demo_cards import HELD_OUT_SEEDS, TRAINING_SEEDS_FROM
from MedDetectLib.learning.evaluate_demo import compare, figures
from MedDetectLib.learning.make_samples import SAMPLE_SEEDS
from MedDetectLib.learning.phantoms import Phantom, chest_phantom

ROOT = Path(__file__).resolve().parents[2]
MODELS = {
    "chest": ROOT / "Resources/Models/demo-chest-ct",
    "brain": ROOT / "Resources/Models/demo-brain-mr",
}
SAMPLES = ROOT / "Resources/SampleData"
BOTH = pytest.mark.parametrize("kind", list(MODELS))


def findings_of(phantom: Phantom, masks: list[np.ndarray]) -> Findings:
    """Findings with the given masks, as a model might have answered."""
    label_map = np.zeros(phantom.truth.shape, np.uint16)
    items = []
    for number, mask in enumerate(masks, start=1):
        label_map[mask] = number
        items.append(Finding(f"F{number}", 1, 0.9, (0, 0, 0, 1, 1, 1), number, 5.0, 0.1))
    label = Label(1, "Nodule", (255, 0, 0))
    made_by = Provenance("m", "1.0.0", "0", "b", "fp32", "cpu", "v", "0", "0")
    return Findings(phantom.volume.geometry, (label,), tuple(items), label_map, made_by)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return chest_phantom(12, spacing_kji_mm=(3.0, 2.5, 2.5), lesion_count=(3, 3))


def test_an_answer_equal_to_the_truth_scores_one_everywhere(phantom: Phantom) -> None:
    masks = [phantom.truth == lesion.value for lesion in phantom.lesions]
    result = figures([compare(phantom, findings_of(phantom, masks))])
    assert result["sensitivity"] == 1.0
    assert result["mean_dice_of_hits"] == 1.0
    assert result["false_positives_per_scan"] == 0.0


def test_a_finding_beside_every_lesion_is_a_false_positive(phantom: Phantom) -> None:
    stray = np.zeros(phantom.truth.shape, bool)
    stray[:2, :2, :2] = True
    result = compare(phantom, findings_of(phantom, [stray]))
    assert result.false_positives == 1
    assert all(lesion.dice is None for lesion in result.lesions)


@BOTH
def test_a_shipped_model_is_small_and_its_card_is_true_to_its_files(kind: str) -> None:
    read_card = pytest.importorskip("MedDetectLib.models.card_file").read_card
    card = read_card(MODELS[kind])
    assert (MODELS[kind] / "model.onnx").stat().st_size <= 4_000_000
    assert b".py" not in (MODELS[kind] / "model.onnx").read_bytes()  # no trace of its makers' disk
    assert card.labels[0].terminology is not None
    assert card.training_data["seeds"][0] >= TRAINING_SEEDS_FROM
    assert card.metrics["seeds"] == list(HELD_OUT_SEEDS)
    assert not set(SAMPLE_SEEDS.values()) & set(HELD_OUT_SEEDS)


@BOTH
def test_a_shipped_model_finds_lesions_of_6_mm_and_more_with_few_false_positives(
    kind: str,
) -> None:
    metrics = json.loads((MODELS[kind] / "model.json").read_text())["metrics"]
    large = [row for name, row in metrics["by_size"].items() if name != "4-6 mm"]
    assert sum(row["found"] for row in large) >= 0.95 * sum(row["lesions"] for row in large)
    assert metrics["false_positives_per_scan"] <= 1.0
    assert metrics["mean_dice_of_hits"] >= 0.80


def test_the_chest_model_reaches_what_was_asked_of_it() -> None:
    metrics = json.loads((MODELS["chest"] / "model.json").read_text())["metrics"]
    assert metrics["n_scans"] == 20
    assert metrics["sensitivity"] >= 0.95
    assert metrics["false_positives_per_scan"] <= 1.0
    assert metrics["mean_dice_of_hits"] >= 0.80


@BOTH
def test_a_sample_scan_lists_its_lesions_where_its_truth_has_them(kind: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    scan = SAMPLES / f"{MODELS[kind].name}.nii.gz"
    assert scan.stat().st_size <= 3_500_000
    listed = json.loads((SAMPLES / f"{MODELS[kind].name}.truth.json").read_text())
    truth = sitk.ReadImage(str(SAMPLES / f"{MODELS[kind].name}.truth.nrrd"))
    image = sitk.ReadImage(str(scan))
    assert image.GetSize() == truth.GetSize()
    assert np.allclose(image.GetOrigin(), truth.GetOrigin(), atol=1e-3)
    array = sitk.GetArrayFromImage(truth)
    assert listed["lesions"]
    for lesion in listed["lesions"]:
        k, j, i = np.argwhere(array == lesion["value"]).mean(axis=0)
        place_lps = np.array(truth.TransformContinuousIndexToPhysicalPoint((i, j, k)))
        place_ras = place_lps * [-1, -1, 1]
        assert np.linalg.norm(place_ras - lesion["centre_ras_mm"]) <= 1.5


@BOTH
def test_every_lesion_of_a_sample_scan_is_found_with_few_false_positives(kind: str) -> None:
    pytest.importorskip("onnxruntime")
    from MedDetectLib.inference.detect import detect
    from MedDetectLib.inference.model import load_model
    from MedDetectLib.learning.make_samples import sample_phantom

    sample = sample_phantom(kind)  # type: ignore[arg-type]
    with load_model(MODELS[kind]) as model:
        result = compare(sample, detect(sample.volume, model))
    assert all(lesion.dice is not None for lesion in result.lesions)
    assert result.false_positives <= 2


@pytest.mark.slow
@BOTH
def test_the_figures_in_the_card_can_be_measured_again(kind: str) -> None:
    pytest.importorskip("onnxruntime")
    from MedDetectLib.learning.evaluate_demo import measure

    claimed = json.loads((MODELS[kind] / "model.json").read_text())["metrics"]
    found = figures(measure(kind, MODELS[kind], HELD_OUT_SEEDS))  # type: ignore[arg-type]
    assert found["n_lesions"] == claimed["n_lesions"]
    assert abs(found["sensitivity"] - claimed["sensitivity"]) <= 0.02
    assert abs(found["false_positives_per_scan"] - claimed["false_positives_per_scan"]) <= 0.1
    assert abs(found["mean_dice_of_hits"] - claimed["mean_dice_of_hits"]) <= 0.01

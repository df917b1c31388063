"""Published networks, described by a card, give their reference answers on real images."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from MedDetectLib import detect, load_model, read_volume

pytestmark = pytest.mark.realdata


def organs(names):
    colours = np.random.default_rng(0).integers(40, 255, (len(names), 3)).tolist()
    return [
        {"value": n, "name": name, "colour_rgb": colours[n - 1]}
        for n, name in enumerate(names, start=1)
    ]


def whole_brain_card(name, tensor_in, tensor_out, labels):
    return {
        "name": name,
        "task": "segmentation",
        "input": {
            "tensor": tensor_in,
            "channels": [{"name": "T1", "modality": "MR"}],
            "orientation": "LIA",
            "spacing_kji_mm": [1, 1, 1],
            "intensity": [{"step": "min_max"}],
            "window": {"shape_kji": [256, 256, 256]},
        },
        "output": {
            "head": "voxel_scores",
            "tensor": tensor_out,
            "activation": "softmax",
            "one_finding_per": "class",
            "labels": organs(labels),
        },
    }


def test_meshnet_segments_white_and_grey_matter_exactly_as_its_reference(data_folder, model_folder):
    card = whole_brain_card("gwm5", "input", "output", ["white matter", "grey matter"])
    volume = read_volume(data_folder / "mr_t1_conformed/t1_crop.nii.gz", modality="MR")
    folder = model_folder("model_meshnet_gwm5/meshnet_gwm5_256.onnx", card)
    with load_model(folder, backend="onnxruntime") as model:
        findings = detect(volume, model)
    image = sitk.ReadImage(str(data_folder / "mr_t1_conformed/ref_gwm5_seg.nii.gz"))
    reference = sitk.GetArrayFromImage(image)
    assert np.array_equal(findings.class_map(), reference)
    with load_model(folder, backend="openvino") as model:
        differing = np.count_nonzero(detect(volume, model).class_map() != reference)
    assert differing < 20, "OpenVINO rounds differently, but not in more than a few voxels"
    assert [findings.label_of(item).name for item in findings] == ["white matter", "grey matter"]


@pytest.mark.slow
def test_meshnet_segments_18_structures_as_its_reference(data_folder, model_folder):
    names = json.loads((data_folder / "model_meshnet18/labels.json").read_text())["labels"][1:]
    card = whole_brain_card("meshnet18", "input", "output", names)
    volume = read_volume(data_folder / "mr_t1_conformed/t1_crop.nii.gz", modality="MR")
    with load_model(model_folder("model_meshnet18/model18cls.onnx", card)) as model:
        findings = detect(volume, model)
    reference = sitk.GetArrayFromImage(
        sitk.ReadImage(str(data_folder / "mr_t1_conformed/ref_model18cls_seg.nii.gz"))
    )
    found = findings.class_map()
    dice = {}
    for value, name in enumerate(names, start=1):
        ours, theirs = found == value, reference == value
        dice[name] = 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum())
    # the reference was computed on a crop of the head, so the network saw other borders
    assert min(dice.values()) > 0.99, dice


@pytest.mark.parametrize(
    ("picture", "normal"),
    [
        ("normal_full.jpeg", True),
        ("sample__normal__IM-0213-0001.jpeg", True),
        ("sample__normal__IM-0431-0001.jpeg", True),
        ("sample__bacterial_pneumonia__person1405_bacteria_3571.jpeg", False),
        ("sample__viral_pneumonia__person116_virus_221.jpeg", False),
        ("widget__bacterial_pneumonia.png", False),
    ],
)
def test_lenet_tells_normal_chest_x_rays_from_pneumonia(data_folder, model_folder, picture, normal):
    card = {
        "name": "lenet",
        "task": "classification",
        "input": {
            "tensor": "input",
            "rank": 4,
            "channels": [{"name": "X-ray"}],
            "fit_shape_kji": [1, 32, 32],
            "antialias": True,
            "intensity": [{"step": "linear", "scale": 2 / 255, "offset": -1}],
            "window": {"shape_kji": [1, 32, 32]},
        },
        "output": {
            "head": "case_score",
            "tensor": "output",
            "activation": "softmax",
            "labels": organs(["normal", "bacterial pneumonia", "viral pneumonia"]),
        },
    }
    volume = read_volume(data_folder / "cxr_images" / picture, accept={"no-spacing", "rgb"})
    with load_model(model_folder("model_cxr_lenet/lenet_pneumonia.onnx", card)) as model:
        scores = {s.label: s.score for s in detect(volume, model).case_scores}
    assert sum(scores.values()) == pytest.approx(1)
    assert scores[1] >= 0.94 if normal else scores[1] <= 0.18
    expected = json.loads((data_folder / "cxr_images/expected.json").read_text())[picture]
    reference = expected["lenet_softmax[NORMAL,BACTERIA,VIRAL]"]
    assert list(scores.values()) == pytest.approx(reference, abs=0.01)

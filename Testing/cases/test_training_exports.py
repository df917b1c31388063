"""Training exports: what goes in, what stays out, and that the frameworks load them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import training_samples as world_of
from training_samples import array_of, every_byte, samples

from MedDetectLib.adapters.cli.main import main
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.cases.store.signing import Saying
from MedDetectLib.cases.store.split import Ratios
from MedDetectLib.cases.training.box_formats import straightened
from MedDetectLib.cases.training.exporting import FORMATS, export_training
from MedDetectLib.cases.training.selection import Wanted
from MedDetectLib.core.errors import InputError, StoreError
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return world_of.world(tmp_path_factory.mktemp("world") / "store")


@pytest.fixture
def exported(world, tmp_path):
    """Export in a format; give the folder, the report and what lists the cases."""

    def run(name, wanted=None):
        folder = tmp_path / "Dataset501_MedDetect"
        report = export_training(world.store, folder, name, wanted)
        return folder, report

    return run


def read(path):
    return json.loads(path.read_text("utf-8"))


# --- which cases ----------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_frozen_unreviewed_and_unsaid_cases_stay_out_and_are_counted(exported, world, name):
    folder, report = exported(name)
    assert world.ids["frozen"] in report.left_out["frozen"]
    assert report.left_out["unreviewed"] == [world.ids["unreviewed"]]
    assert world.ids["unsaid"] in report.left_out["nothing-said"]
    names = every_byte(folder).decode("latin-1").split("manifest.json")[0]
    for what in ("frozen", "unreviewed", "unsaid"):
        assert world.ids[what] not in names, what
    assert report.cases["test"] == 0
    assert report.empty == 1


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_in_the_folder_tells_a_patient_a_reader_or_an_old_file_name(exported, name):
    folder, _ = exported(name)
    everything = every_byte(folder)
    for secret in (b"Miller", b"1956", b"Jekyll", b"Hyde", b"scan-", b"1.2.3."):
        assert secret not in everything, secret


def test_frozen_cases_become_a_test_set_only_on_request(exported, world):
    folder, report = exported("msd", Wanted(frozen_as_test=True))
    assert report.cases["test"] == 1
    name = f"case_{world.ids['frozen']}.nii.gz"
    assert (folder / "imagesTs" / name).is_file()
    assert not (folder / "imagesTr" / name).exists()
    assert read(folder / "dataset.json")["test"] == [f"./imagesTs/{name}"]


def test_a_frozen_case_asked_for_by_name_is_not_allowed(world, tmp_path):
    with pytest.raises(InputError) as caught:
        export_training(
            world.store, tmp_path / "out", "monai", Wanted(cases=(world.ids["frozen"],))
        )
    assert (caught.value.code, caught.value.exit_code) == ("frozen-case", 77)
    assert list(tmp_path.iterdir()) == []


def test_a_split_alone_can_be_exported(exported, world):
    _, report = exported("monai", Wanted(splits=("validation",)))
    assert report.cases == {"training": 0, "validation": 1, "test": 0}
    assert world.ids["reviewed"] in report.left_out["other-split"]


def test_what_only_a_model_said_is_truth_only_on_request_and_is_marked(exported, world):
    folder, report = exported("coco", Wanted(include_unreviewed=True))
    assert "unreviewed" not in report.left_out
    marks = {entry["case"]: entry["reviewed"] for entry in read(folder / "manifest.json")["cases"]}
    assert marks[world.ids["unreviewed"]] is False
    assert marks[world.ids["reviewed"]] is True


def test_a_models_version_restored_by_a_person_is_not_thereby_reviewed(tmp_path):
    store = CaseStore.open_or_create(tmp_path / "s", Ratios(1.0, 0.0, 0.0))
    case = store.import_volume(samples.volume(1), "P").case
    store.add_version(case.id, samples.findings(), Saying("ai", "lung"))
    store.restore(case.id, 1, "Dr A")
    with pytest.raises(InputError, match="1 unreviewed"):
        export_training(store, tmp_path / "out", "monai")


def test_readings_that_nobody_settled_are_counted(exported):
    assert exported("monai")[1].unsettled == 1


def test_a_case_of_boxes_only_teaches_boxes_and_no_empty_voxels(exported, world, tmp_path):
    _, report = exported("monai")
    assert report.left_out["no-mask"] == [world.ids["boxes"]]
    boxes = export_training(world.store, tmp_path / "boxes", "coco")
    assert "no-mask" not in boxes.left_out
    assert boxes.labels == {"cyst": 1, "nodule": 2}


@pytest.mark.parametrize(("name", "what"), [("monai", "image"), ("nnunet", "findings")])
def test_one_damaged_file_costs_its_case_and_not_the_whole_export(world, tmp_path, name, what):
    root = shutil.copytree(world.store.folder, tmp_path / "store")
    store = CaseStore(root)
    hit = world.ids["reviewed"]
    blob = store.case(hit).image if what == "image" else store.truth(hit).findings
    (root / "blobs" / blob.name[:2] / blob.name).write_bytes(b"broken")
    report = export_training(store, tmp_path / "Dataset007_x", name)
    lost = report.left_out["damaged"]  # equal findings of several cases are one file
    assert hit in lost
    before = export_training(world.store, tmp_path / "before" / "Dataset007_x", name)
    assert sum(report.cases.values()) == sum(before.cases.values()) - len(lost)


def test_an_image_with_voxels_that_are_no_numbers_stays_out(tmp_path):
    store = CaseStore.open_or_create(tmp_path / "s", Ratios(1.0, 0.0, 0.0))
    array = np.zeros(samples.SHAPE, np.float32)
    for seed, value in enumerate((1.0, np.nan)):
        spoiled = array.copy()
        spoiled[0, 0, 0] = value
        case = store.import_volume(Volume(spoiled, samples.oblique(), "CT"), f"P{seed}").case
        store.add_version(case.id, samples.findings(), Saying("review", "Dr A"))
    report = export_training(store, tmp_path / "out", "monai")
    assert report.left_out == {"not-finite": [case.id]}


def test_a_format_of_one_kind_of_image_refuses_two(tmp_path):
    store = CaseStore.open_or_create(tmp_path / "s", Ratios(1.0, 0.0, 0.0))
    for seed, modality in enumerate(("CT", "MR")):
        volume = replace(samples.volume(seed), modality=modality)
        case = store.import_volume(volume, f"P{seed}").case
        store.add_version(case.id, samples.findings(), Saying("review", "Dr A"))
    with pytest.raises(InputError, match="the cases are CT, MR"):
        export_training(store, tmp_path / "Dataset001_X", "nnunet")
    report = export_training(store, tmp_path / "Dataset001_X", "nnunet", Wanted(modality="MR"))
    assert report.cases["training"] == 1
    assert read(tmp_path / "Dataset001_X" / "dataset.json")["channel_names"] == {"0": "MR"}


def test_classes_can_be_named_in_an_order_and_none_may_be_missing(exported, world, tmp_path):
    _, report = exported("coco", Wanted(labels=("nodule", "mass", "cyst")))
    assert report.labels == {"nodule": 1, "mass": 2, "cyst": 3}
    for labels, code in (
        (("cyst",), "unknown-class"),
        (("nodule", "cyst", "Background"), "bad-label"),
        (("nodule", "cyst", "nodule"), "bad-label"),
    ):
        with pytest.raises(InputError) as caught:
            export_training(world.store, tmp_path / "no", "coco", Wanted(labels=labels))
        assert caught.value.code == code


# --- voxels ---------------------------------------------------------------------------


def test_label_maps_lie_on_the_images_very_matrix_with_classes_not_findings(exported, world):
    folder, _ = exported("monai")
    data = read(folder / "datalist.json")
    for item in [*data["training"], *data["validation"]]:
        image, label = nibabel.load(folder / item["image"]), nibabel.load(folder / item["label"])
        np.testing.assert_array_equal(image.affine, label.affine)
        np.testing.assert_array_equal(image.get_qform(), label.get_qform())
        np.testing.assert_allclose(image.affine, samples.oblique().ijk_to_ras, atol=1e-5)
    name = f"case_{world.ids['reviewed']}.nii.gz"
    volume = world.store.volume(world.ids["reviewed"])
    found = world.store.findings(world.ids["reviewed"], 2)
    np.testing.assert_array_equal(array_of(folder / "images" / name), volume.array)
    np.testing.assert_array_equal(array_of(folder / "labels" / name), found.class_map())


def test_rejected_findings_are_no_truth_and_are_kept_as_hard_negatives(exported, world):
    folder, report = exported("monai")
    name = f"case_{world.ids['rejected']}"
    found = world.store.findings(world.ids["rejected"], 2)
    label = array_of(folder / "labels" / f"{name}.nii.gz")
    np.testing.assert_array_equal(label, found.label_map == found.items[0].mask_value)
    kept = read(folder / "hard_negatives.json")["hard_negatives"]
    (one,) = kept[name]
    assert (one["label"], one["box_edges_kji"]) == ("nodule", list(found.items[1].box))
    mask = array_of(folder / one["mask"])
    np.testing.assert_array_equal(mask, found.label_map == found.items[1].mask_value)
    assert report.hard_negatives == 3
    assert len(kept[f"case_{world.ids['empty']}"]) == 2


def test_an_image_reviewed_as_empty_is_a_case(exported, world, tmp_path):
    folder, _ = exported("monai")
    name = f"case_{world.ids['empty']}"
    assert not array_of(folder / "labels" / f"{name}.nii.gz").any()
    export_training(world.store, tmp_path / "d", "monai-detection")
    items = {i["case"]: i for i in read(tmp_path / "d" / "datalist.json")["training"]}
    assert (items[name]["box"], items[name]["label"]) == ([], [])
    assert len(items[name]["hard_negative_box"]) == 2


# --- the frameworks -------------------------------------------------------------------


def test_monai_loads_the_datalist_and_batches_it(exported):
    from monai.data import DataLoader, Dataset, load_decathlon_datalist
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

    folder, report = exported("monai")
    items = load_decathlon_datalist(folder / "datalist.json", True, "training")
    assert len(items) == report.cases["training"]
    steps = Compose([LoadImaged(["image", "label"]), EnsureChannelFirstd(["image", "label"])])
    (batch,) = DataLoader(Dataset(items, steps), batch_size=len(items))
    assert batch["image"].shape == (len(items), 1, 8, 6, 4)
    np.testing.assert_array_equal(batch["image"].affine, batch["label"].affine)


def test_monai_loads_the_decathlon_layout(exported):
    from monai.data import load_decathlon_datalist, load_decathlon_properties

    folder, report = exported("msd", Wanted(frozen_as_test=True))
    for key in ("training", "validation", "test"):
        items = load_decathlon_datalist(folder / "dataset.json", True, key)
        assert len(items) == report.cases[key]
        for item in items:
            assert Path(item["image"]).is_file()
    said = load_decathlon_properties(folder / "dataset.json", ["labels", "modality", "numTest"])
    assert said == {
        "labels": {"0": "background", "1": "nodule"}, "modality": {"0": "CT"}, "numTest": 1,
    }  # fmt: skip


def test_nnunet_verifies_the_raw_data_set(exported, world):
    pytest.importorskip("nnunetv2", reason="nnU-Net is not installed")
    folder, report = exported("nnunet")
    script = (
        "import sys\n"
        "from nnunetv2.experiment_planning.verify_dataset_integrity import *\n"
        "if __name__ == '__main__': verify_dataset_integrity(sys.argv[1], 1)\n"
    )
    (folder.parent / "verify.py").write_text(script)
    done = subprocess.run(
        [sys.executable, folder.parent / "verify.py", folder], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verify_dataset_integrity Done" in done.stdout
    assert "Warning" not in done.stdout
    assert "Error" not in done.stdout
    assert read(folder / "dataset.json")["numTraining"] == sum(report.cases.values())


def test_nnunet_data_sets_have_the_names_and_files_nnunet_looks_for(exported, world, tmp_path):
    folder, report = exported("nnunet", Wanted(frozen_as_test=True))
    data = read(folder / "dataset.json")
    assert data["labels"] == {"background": 0, "nodule": 1}
    assert data["channel_names"] == {"0": "CT"}
    images = {path.name for path in (folder / "imagesTr").iterdir()}
    labels = {path.name for path in (folder / "labelsTr").iterdir()}
    assert len(images) == data["numTraining"] == report.cases["training"] + 1
    assert {name.replace("_0000", "") for name in images} == labels
    assert (folder / "imagesTs" / f"case_{world.ids['frozen']}_0000.nii.gz").is_file()
    (fold,) = read(folder / "splits_final.json")
    assert fold["val"] == [f"case_{world.ids['validation']}"]
    with pytest.raises(InputError, match="nnU-Net finds no data set"):
        export_training(world.store, tmp_path / "nodules", "nnunet")


def test_folds_without_a_validation_split_keep_each_patient_on_one_side(tmp_path):
    store = CaseStore.open_or_create(tmp_path / "s", Ratios(1.0, 0.0, 0.0))
    patient_of = {}
    for seed in range(12):
        case = store.import_volume(samples.volume(seed), f"P{seed // 2}").case
        store.add_version(case.id, samples.findings(), Saying("review", "Dr A"))
        patient_of[f"case_{case.id}"] = seed // 2
    export_training(store, tmp_path / "Dataset002_X", "nnunet")
    folds = read(tmp_path / "Dataset002_X" / "splits_final.json")
    assert len(folds) == 5
    assert sorted(name for fold in folds for name in fold["val"]) == sorted(patient_of)
    for fold in folds:
        assert sorted(fold["train"] + fold["val"]) == sorted(patient_of)
        assert not {patient_of[n] for n in fold["train"]} & {patient_of[n] for n in fold["val"]}


@pytest.mark.parametrize(("patients", "folds"), [(3, 3), (1, None)])
def test_few_patients_are_divided_too_and_one_alone_cannot_be(patients, folds, tmp_path):
    """nnU-Net would draw folds of cases, and a patient would stand on both sides."""
    store = CaseStore.open_or_create(tmp_path / "s", Ratios(1.0, 0.0, 0.0))
    patient_of = {}
    for seed in range(6):
        case = store.import_volume(samples.volume(seed), f"P{seed % patients}").case
        store.add_version(case.id, samples.findings(), Saying("review", "Dr A"))
        patient_of[f"case_{case.id}"] = seed % patients
    export_training(store, tmp_path / "Dataset002_X", "nnunet")
    file = tmp_path / "Dataset002_X" / "splits_final.json"
    assert file.is_file() == bool(folds)
    made = read(file) if folds else []
    assert len(made) == (folds or 0)
    for fold in made:
        assert not {patient_of[n] for n in fold["train"]} & {patient_of[n] for n in fold["val"]}


# --- boxes ----------------------------------------------------------------------------

GRIDS = {
    "oblique": samples.oblique(),
    "axial": Geometry.from_axes(samples.SHAPE, (3.0, 0.7, 0.8), (1, 2, 3), np.diag([-1, -1, 1])),
    "sagittal": Geometry.from_axes(
        samples.SHAPE, (2.0, 0.5, 0.6), (5, -6, 7), [[0, 0, -1], [1, 0, 0], [0, -1, 0]]
    ),
    "a little turned": Geometry.from_axes(
        samples.SHAPE, (3.0, 0.7, 0.8), (0, 0, 0),
        [[np.cos(0.02), -np.sin(0.02), 0], [np.sin(0.02), np.cos(0.02), 0], [0, 0, 1]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GRIDS)
def test_monais_own_transforms_give_back_our_boxes_on_any_grid(name, tmp_path):
    from monai.apps.detection.transforms.dictionary import (
        AffineBoxToImageCoordinated,
        ConvertBoxToStandardModed,
        StandardizeEmptyBoxd,
    )
    from monai.data import load_decathlon_datalist
    from monai.transforms import Compose, EnsureChannelFirstd, EnsureTyped, LoadImaged

    grid = GRIDS[name]
    store = CaseStore.open_or_create(tmp_path / "s", Ratios(1.0, 0.0, 0.0))
    case = store.import_volume(replace(samples.volume(), geometry=grid), "P").case
    truth = replace(samples.findings(boxes=True), geometry=grid)
    store.add_version(case.id, truth, Saying("review", "Dr A"))
    export_training(store, tmp_path / "out", "monai-detection")
    path = tmp_path / "out" / "datalist.json"
    (item,) = load_decathlon_datalist(path, True, "training", tmp_path / "out")
    mode = read(path)["box_mode"]
    assert read(path)["box_world"] == "LPS"
    steps = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            EnsureTyped(["box"]),
            StandardizeEmptyBoxd(["box"], box_ref_image_keys="image"),
            ConvertBoxToStandardModed(["box"], mode=mode),
            AffineBoxToImageCoordinated(["box"], "image", affine_lps_to_ras=True),
        ]
    )
    done = steps(item)
    ours = np.array([found.box for found in truth])
    # MONAI counts voxel centres from 0, our edges half a voxel before; axes run i, j, k.
    xyz = np.asarray(done["box"]) + 0.5
    np.testing.assert_allclose(xyz[:, [2, 1, 0, 5, 4, 3]], ours, atol=1e-3)
    assert done["label"] == [1, 1, 0]
    np.testing.assert_array_equal(np.asarray(done["image"][0]).T, store.volume(case.id).array)


def test_a_grid_along_the_patients_axes_is_not_touched_and_others_keep_their_size():
    for name in ("axial", "sagittal"):
        assert straightened(GRIDS[name]) is GRIDS[name]
    turned = straightened(GRIDS["oblique"])
    assert not turned.is_oblique
    assert turned.orientation == GRIDS["oblique"].orientation
    np.testing.assert_allclose(turned.spacing_kji_mm, GRIDS["oblique"].spacing_kji_mm)


def test_coco_boxes_say_what_their_numbers_are(exported, world):
    folder, _ = exported("coco")
    data = read(folder / "instances_training.json")
    assert {"bbox", "bbox_origin", "ijk_to_ras_mm"} <= set(data["info"])
    image = next(i for i in data["images"] if i["case"] == f"case_{world.ids['boxes']}")
    assert (image["width"], image["height"], image["depth"]) == (8, 6, 4)
    boxes = [a for a in data["annotations"] if a["image_id"] == image["id"]]
    found = world.store.findings(world.ids["boxes"], 2)
    names = {c["id"]: c["name"] for c in data["categories"]}
    for box, item in zip(boxes, found, strict=True):
        k0, j0, i0, k1, j1, i1 = item.box
        assert box["bbox"] == [i0, j0, k0, i1 - i0, j1 - j0, k1 - k0]
        assert names[box["category_id"]] == found.label_of(item).name
    ids = [a["id"] for a in data["annotations"]]
    assert len(set(ids)) == len(ids)
    assert len(data["hard_negatives"]) == 3


# --- whole or not at all --------------------------------------------------------------


def test_the_manifest_has_the_fingerprint_of_every_file_and_no_other(exported, world):
    import hashlib

    folder, report = exported("msd")
    manifest = read(folder / "manifest.json")
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(manifest["files"]) == there - {"manifest.json"}
    for name, said in manifest["files"].items():
        data = (folder / name).read_bytes()
        assert said == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    assert manifest["report"] == report.to_json()
    versions = {entry["case"]: entry["version"] for entry in manifest["cases"]}
    assert (versions[world.ids["reviewed"]], versions[world.ids["twice"]]) == (2, 3)
    for entry in manifest["cases"]:
        record = world.store.versions(entry["case"])[entry["version"] - 1]
        assert record.number == entry["version"]
        kept = record.label_map.sha256 if record.label_map else None
        assert (entry["truth_sha256"], entry["label_map_sha256"]) == (record.findings.sha256, kept)


def test_the_same_cases_give_the_same_bytes(world, tmp_path):
    for name in ("one", "two"):
        export_training(world.store, tmp_path / name, "monai")
    assert every_byte(tmp_path / "one") == every_byte(tmp_path / "two")


def test_a_folder_that_holds_something_is_left_alone(world, tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(StoreError) as caught:
        export_training(world.store, tmp_path, "monai")
    assert (caught.value.code, caught.value.exit_code) == ("exists", 73)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_export_that_fails_leaves_nothing(world, tmp_path):
    def refuse(folder):
        assert (folder / "manifest.json").is_file()
        raise InputError("no", "refused")

    with pytest.raises(InputError, match="refused"):
        export_training(world.store, tmp_path / "out", "monai", None, refuse)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_export_leaves_no_folder(world, tmp_path):
    """SIGKILL at the last moment before the folder gets its name."""
    script = (
        "import os, signal, sys\n"
        "from MedDetectLib.cases.store.case_store import CaseStore\n"
        "from MedDetectLib.cases.training.exporting import export_training\n"
        "def die(folder): os.kill(os.getpid(), signal.SIGKILL)\n"
        "export_training(CaseStore(sys.argv[1]), sys.argv[2], 'monai', None, die)\n"
    )
    store = world.store._store.root
    done = subprocess.run(
        [sys.executable, "-c", script, store, tmp_path / "out"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
    )
    assert done.returncode == -9, done.stderr
    assert not (tmp_path / "out").exists()
    export_training(CaseStore(store), tmp_path / "out", "monai")


# --- the command line -----------------------------------------------------------------


def test_the_command_exports_says_what_stayed_out_and_refuses_frozen_cases(world, tmp_path, capsys):
    store = str(world.store._store.root)
    out = tmp_path / "Dataset003_Cli"
    ask = ["store", "export", "--store", store, "--out"]
    assert main([*ask, str(out), "--format", "nnunet", "--split", "train", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["cases"]["validation"] == 0
    assert said["left_out"]["unreviewed"] == [world.ids["unreviewed"]]
    assert main([*ask, str(out), "--format", "nnunet"]) == 73
    frozen = world.ids["frozen"]
    ask = [*ask, str(tmp_path / "f"), "--format", "monai", "--case", frozen[:8]]
    assert main(ask) == 77
    assert main([*ask, "--frozen-as-test", "--label", "nodule"]) == 0
    assert "1 test in" in capsys.readouterr().out
    assert main(["store", "export", "--store", store, "--out", str(tmp_path / "p")]) == 65
    assert main([*ask, "--version", "1"]) == 65
    assert "plain-only" in capsys.readouterr().err

"""Real labelled volumes through the store into training folders, and back to the voxel."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from training_samples import array_of, samples

from MedDetectLib.cases.image_files import read_volume
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.cases.store.signing import Saying
from MedDetectLib.cases.store.split import Ratios
from MedDetectLib.cases.training.exporting import export_training
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.core.labels import Label

pytestmark = pytest.mark.realdata
PAIRS = [
    ("mr_tumour_t1gd", "brain1_image.nrrd", "brain1_label.nrrd"),
    ("mr_spine_t2", "t2.nii.gz", "t2_seg-manual.nii.gz"),
]


@pytest.fixture(params=PAIRS, ids=lambda pair: pair[0])
def labelled(request, data_folder, tmp_path):
    """A store with one real image, its true label map as findings; the volume; the mask."""
    name, image, label = request.param
    volume = read_volume(data_folder / name / image, modality="MR")
    mask = read_volume(data_folder / name / label, modality="MR").array > 0
    parts, count = ndimage.label(mask)
    items = []
    for n, spans in enumerate(ndimage.find_objects(parts), 1):
        box = (*(float(s.start) for s in spans), *(float(s.stop) for s in spans))
        items.append(Finding(f"F{n}", 1, 1.0, box, n, 1.0, 1.0, "added"))
    findings = Findings(
        volume.geometry, (Label(1, "lesion", (255, 0, 0)),), tuple(items),
        parts.astype(np.uint16), samples.RAN,
    )  # fmt: skip
    assert count > 0
    store = CaseStore.open_or_create(tmp_path / "store", Ratios(1.0, 0.0, 0.0))
    case = store.import_volume(volume, "P1").case
    store.add_version(case.id, findings, Saying("review", "Dr A"))
    return store, volume, mask, findings


def test_a_real_image_and_its_label_come_back_to_the_voxel(labelled, tmp_path):
    store, volume, mask, _ = labelled
    export_training(store, tmp_path / "Dataset001_Real", "nnunet")
    (image,) = (tmp_path / "Dataset001_Real" / "imagesTr").iterdir()
    (label,) = (tmp_path / "Dataset001_Real" / "labelsTr").iterdir()
    np.testing.assert_array_equal(array_of(image), volume.array)
    np.testing.assert_array_equal(array_of(label), mask)
    read = [sitk.ReadImage(str(path)) for path in (image, label)]
    assert read[0].GetOrigin() == read[1].GetOrigin()
    assert read[0].GetDirection() == read[1].GetDirection()
    assert read[0].GetSpacing() == read[1].GetSpacing()
    assert read_volume(image).geometry.is_close(volume.geometry, 1e-3)


def test_boxes_of_a_real_image_come_back_through_monai(labelled, tmp_path):
    from monai.apps.detection.transforms.dictionary import (
        AffineBoxToImageCoordinated,
        ConvertBoxToStandardModed,
    )
    from monai.transforms import Compose, EnsureChannelFirstd, EnsureTyped, LoadImaged

    store, _, _, findings = labelled
    export_training(store, tmp_path / "out", "monai-detection")
    (item,) = json.loads((tmp_path / "out" / "datalist.json").read_text())["training"]
    steps = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            EnsureTyped(["box"]),
            ConvertBoxToStandardModed(["box"], mode="cccwhd"),
            AffineBoxToImageCoordinated(["box"], "image", affine_lps_to_ras=True),
        ]
    )
    done = steps({**item, "image": str(tmp_path / "out" / item["image"])})
    xyz = np.asarray(done["box"]) + 0.5
    ours = np.array([found.box for found in findings])
    np.testing.assert_allclose(xyz[:, [2, 1, 0, 5, 4, 3]], ours, atol=1e-3)

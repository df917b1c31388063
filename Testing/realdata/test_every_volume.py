"""Every real volume goes the whole way, and comes out where it lies in the patient."""

import time

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from volumes import CASES, brightest_in_dicom

from MedDetectLib import detect, load_model, read_volume
from MedDetectLib.adapters.outputs import write_outputs

pytestmark = pytest.mark.realdata


def located(case, data_folder, unpacked):
    """Return where the volume lies and the series to choose, its shorthand filled in."""
    if not case.path.endswith(".tar.xz"):
        return data_folder / case.path, case.series
    folder = unpacked(case.path.removesuffix(".tar.xz")) / case.inside
    if case.series is None or not case.series.startswith("UID#"):
        return folder, case.series
    import pydicom

    first = next(p for p in sorted(folder.rglob("*")) if p.is_file())
    uid = pydicom.dcmread(first, stop_before_pixels=True).SeriesInstanceUID
    return folder, case.series.replace("UID", uid)


def read(case, data_folder, unpacked):
    path, series = located(case, data_folder, unpacked)
    return read_volume(path, series=series, accept=case.accept, modality=case.modality)


def brightest_elsewhere(case, data_folder, unpacked):
    """Return (value, RAS mm) of the brightest voxel, found without MedDetect's readers."""
    path, series = located(case, data_folder, unpacked)
    if path.name.endswith(".nii.gz"):
        image = nibabel.load(path)
        voxels = np.asarray(image.dataobj)
        if voxels.ndim == 4:
            voxels = voxels[..., int(series.removeprefix("#")) - 1]
        ijk = np.unravel_index(voxels.argmax(), voxels.shape)
        return float(voxels.max()), nibabel.affines.apply_affine(image.affine, ijk)
    if path.suffix == ".nrrd":
        image = sitk.ReadImage(str(path))
        voxels = sitk.GetArrayViewFromImage(image)
        kji = np.unravel_index(voxels.argmax(), voxels.shape)
        lps = image.TransformIndexToPhysicalPoint([int(n) for n in kji[::-1]])
        return float(voxels.max()), np.array(lps) * [-1, -1, 1]
    uid_end, phase = series or "", None
    if "#" in uid_end:
        uid_end, number = uid_end.split("#")
        phase = int(number) - 1, 4 if "xa10" in case.path else 3
    value, lps = brightest_in_dicom(path, uid_end, phase)
    return value, np.array(lps) * [-1, -1, 1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_brightest_voxel_is_found_at_its_place_in_the_patient(
    case, data_folder, unpacked, bright_model, tmp_path
):
    value, place_ras_mm = brightest_elsewhere(case, data_folder, unpacked)
    volume = read(case, data_folder, unpacked)
    k, j, i = np.rint(volume.geometry.ras_to_index(place_ras_mm)).astype(int)
    assert np.linalg.norm(volume.geometry.index_to_ras([k, j, i]) - place_ras_mm) < 0.02
    assert volume.array[k, j, i] == pytest.approx(value, rel=1e-5)

    least = float(volume.array.min())
    threshold = value - 0.05 * (value - least)
    card = {"input": {"orientation": "RAS"}, "operating_point": {"max_findings": 65535}}
    with load_model(bright_model(threshold, **card)) as model:
        findings = detect(volume, model)
    write_outputs(volume, findings, tmp_path / "out", scene=False)

    written = sitk.ReadImage(str(tmp_path / "out" / "segmentation.seg.nrrd"))
    place_lps_mm = [float(x) for x in place_ras_mm * [-1, -1, 1]]
    assert written.GetPixel(written.TransformPhysicalPointToIndex(place_lps_mm)) > 0
    edge = findings.geometry.ras_to_edge(place_ras_mm)
    boxes = np.array([finding.box for finding in findings])
    assert ((boxes[:, :3] < edge) & (edge < boxes[:, 3:])).all(axis=1).any()


def test_liver_lies_to_the_patients_right_of_the_spleen(data_folder):
    """Read through the library, in a label map whose classes are known."""
    labels = read_volume(data_folder / "ct_torso_multiorgan/example_seg_117.nii.gz")
    liver, spleen = (
        labels.geometry.index_to_ras(np.argwhere(labels.array == value)).mean(axis=0)
        for value in (5, 1)
    )
    assert liver[0] > spleen[0] + 50


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_demo_models_run_on_every_volume(case, data_folder, unpacked, tmp_path):
    volume = read(case, data_folder, unpacked)
    name = "demo-chest-ct" if volume.modality == "CT" else "demo-brain-mr"
    start = time.perf_counter()
    with load_model(name) as model:
        findings = detect(volume, model)
    findings, files = write_outputs(volume, findings, tmp_path / "out")
    print(
        f"\n{case.name}: {volume.geometry.shape_kji} {volume.geometry.orientation}"
        f" {len(findings)} finding(s) in {time.perf_counter() - start:.1f} s"
        f" {findings.provenance.seconds}"
    )
    assert findings.geometry.is_close(volume.geometry)
    assert len(files) == 7

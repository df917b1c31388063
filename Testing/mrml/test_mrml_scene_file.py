from __future__ import annotations

import getpass
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mrml_samples import (
    GEOMETRIES,
    GRIDS,
    LABELS,
    assert_same,
    make_findings,
    make_volume,
    random_findings,
    rotation,
)

from MedDetectLib.adapters.mrml import scene_file
from MedDetectLib.adapters.mrml.findings_scene import findings_scene
from MedDetectLib.adapters.mrml.read_back import findings_from_node, read_back
from MedDetectLib.adapters.mrml.roi import box_from_roi, roi_for_finding
from MedDetectLib.adapters.mrml.scene_file import load_scene, save_scene
from MedDetectLib.adapters.mrml.segment_voxels import tag_of
from MedDetectLib.adapters.mrml.segmentation import findings_to_node
from MedDetectLib.adapters.mrml.volume_node import volume_from_node, volume_to_node
from MedDetectLib.core.errors import InputError, StoreError


def nodes_of(scene):
    kinds = ("ScalarVolume", "Segmentation", "MarkupsROI")
    return [scene.GetFirstNodeByClass(f"vtkMRML{kind}Node") for kind in kinds]


def test_a_saved_scene_loads_again_bit_by_bit(tmp_path, geometry):
    volume, findings = make_volume(geometry), make_findings(geometry)
    path = save_scene(findings_scene(volume, findings, (1500, -600)), tmp_path / "scene.mrb")
    scene = load_scene(path)
    volume_node, node, roi = nodes_of(scene)
    back = volume_from_node(volume_node)
    assert back.array.tobytes() == volume.array.tobytes()
    assert (back.sha256, back.modality) == (volume.sha256, "CT")
    assert_same(findings_from_node(node), findings)
    assert read_back(findings, node, roi).findings is findings
    assert box_from_roi(roi, geometry) == findings.items[0].box
    assert volume_node.GetDisplayNode().GetWindow() == 1500


def test_box_only_findings_make_the_round_trip_too(tmp_path, geometry):
    findings = make_findings(geometry, box_only=True)
    path = save_scene(findings_scene(make_volume(geometry), findings), tmp_path / "scene.mrb")
    scene = load_scene(path)
    assert_same(findings_from_node(nodes_of(scene)[1]), findings)


@given(geometry=GEOMETRIES, seed=st.integers(0, 2**32 - 1), highest=st.sampled_from([2, 255, 900]))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_case_on_any_grid_survives_save_and_load(tmp_path, geometry, seed, highest):
    volume = make_volume(geometry)
    findings = random_findings(geometry, np.random.default_rng(seed), highest)
    loaded = load_scene(save_scene(findings_scene(volume, findings), tmp_path / "scene.mrb"))
    volume_node, node, roi = nodes_of(loaded)
    assert volume_from_node(volume_node).sha256 == volume.sha256
    assert_same(findings_from_node(node), findings)
    assert read_back(findings, node, roi).findings is findings


@pytest.mark.parametrize("kept", [0, 2, 3])
def test_segmentations_with_hardly_a_voxel_survive_cropping_on_save(tmp_path, scene, kept):
    findings = make_findings(GRIDS["oblique"])
    label_map = np.where(findings.label_map == 300, findings.label_map, 0)
    label_map[8, 8, 9] = 300
    findings = replace(findings, items=findings.items[3 - kept : 3], label_map=label_map)
    node = findings_to_node(scene, findings)
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetCropToMinimumExtent(True)
    loaded = load_scene(save_scene(scene, tmp_path / "scene.mrb"))
    assert_same(findings_from_node(nodes_of(loaded)[1]), findings)


def test_a_segmentation_cut_to_one_voxel_is_refused_because_loading_it_crashes_slicer(
    tmp_path, scene, monkeypatch
):
    findings = make_findings(GRIDS["oblique"])
    label_map = np.where(findings.label_map == 300, findings.label_map, 0)
    findings = replace(findings, items=findings.items[2:3], label_map=label_map)
    node = findings_to_node(scene, findings)
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetCropToMinimumExtent(True)
    path = tmp_path / "scene.mrb"
    with pytest.raises(InputError, match="crop to minimum extent"):
        save_scene(scene, path)
    assert list(tmp_path.iterdir()) == []
    with monkeypatch.context() as careless:
        careless.setattr(scene_file, "_check_archive", lambda *_: None)
        save_scene(scene, path)
    with pytest.raises(InputError, match="single voxel"):
        load_scene(path)


def test_transforms_tags_colours_and_terms_come_back(tmp_path, scene, put_under):
    volume_node = volume_to_node(scene, make_volume(GRIDS["oblique"]))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(0.4, -0.2, 0.9), (10.123456789, -20, 1 / 3)
    put_under(volume_node, matrix)
    findings = make_findings(volume_from_node(volume_node).geometry)
    node = findings_to_node(scene, findings, volume_node)
    roi_for_finding(scene, findings.geometry, findings.items[3], LABELS[0], volume_node)
    loaded = load_scene(save_scene(scene, tmp_path / "a b.mrb"))
    volume_back, node_back, roi_back = nodes_of(loaded)
    assert node_back.GetTransformNodeID() == volume_back.GetTransformNodeID()
    assert volume_from_node(volume_back).geometry.is_close(findings.geometry, 1e-9)
    assert_same(findings_from_node(node_back), findings)
    assert box_from_roi(roi_back, findings.geometry) == findings.items[3].box
    for item in findings:
        one = node.GetSegmentation().GetSegment(item.id)
        two = node_back.GetSegmentation().GetSegment(item.id)
        assert two.GetName() == one.GetName()
        assert np.allclose(two.GetColor(), one.GetColor(), atol=1e-6)
        for tag in ("FindingId", "Label", "Score", "State", "Model", "Box", "HasMask"):
            assert tag_of(two, f"MedDetect.{tag}") == tag_of(one, f"MedDetect.{tag}")
        term = one.GetTerminologyEntryTagName()
        assert tag_of(two, term) == tag_of(one, term)


def test_an_edit_made_before_saving_is_found_after_loading(tmp_path, scene):
    findings = make_findings(GRIDS["oblique"])
    node = findings_to_node(scene, findings)
    node.GetSegmentation().RemoveSegment("F1")
    expected = read_back(findings, node).findings
    loaded = load_scene(save_scene(scene, tmp_path / "scene.mrb"))
    assert_same(findings_from_node(loaded.GetFirstNodeByClass(node.GetClassName())), expected)


def test_the_file_names_no_place_of_this_machine(tmp_path):
    geometry = GRIDS["oblique"]
    scene = findings_scene(make_volume(geometry), make_findings(geometry))
    path = save_scene(scene, tmp_path / "scene.mrb")
    secrets = [str(tmp_path), str(Path.home()), os.getcwd(), "/tmp/", f"/{getpass.getuser()}/"]
    with zipfile.ZipFile(path) as packed:
        assert all(name.startswith("scene/") for name in packed.namelist())
        for name in packed.namelist():
            content = packed.read(name)
            for secret in secrets:
                assert secret.encode() not in content, (name, secret)


def test_saving_again_replaces_the_file_and_leaves_nothing_else(tmp_path, scene):
    findings_to_node(scene, make_findings(GRIDS["identity"]))
    path = tmp_path / "scene.mrb"
    path.write_bytes(b"old")
    save_scene(scene, path)
    save_scene(scene, path)
    assert [each.name for each in tmp_path.iterdir()] == ["scene.mrb"]
    assert zipfile.is_zipfile(path)


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path, scene):
    (tmp_path / "file").write_text("")
    for folder in ("missing", "file"):
        with pytest.raises(StoreError, match="choose a folder") as caught:
            save_scene(scene, tmp_path / folder / "scene.mrb")
        assert caught.value.exit_code == 73
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    with pytest.raises(InputError, match=r"ends in \.mrb"):
        save_scene(scene, tmp_path / "scene.zip")


@pytest.mark.parametrize("step", ["_write_bundle", "_zip", "os.replace"])
def test_a_failure_at_any_step_leaves_the_old_file_and_no_rubbish(
    tmp_path, scene, monkeypatch, step
):
    def full(*_):
        raise OSError(28, "No space left on device")

    findings_to_node(scene, make_findings(GRIDS["identity"]))
    path = tmp_path / "scene.mrb"
    path.write_bytes(b"old")
    owner, name = (os, "replace") if step == "os.replace" else (scene_file, step)
    monkeypatch.setattr(owner, name, full)
    with pytest.raises(StoreError, match="No space left") as caught:
        save_scene(scene, path)
    assert caught.value.exit_code == 74
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["scene.mrb"]


def test_slicers_own_failure_to_write_becomes_our_error(tmp_path, scene, monkeypatch):
    findings_to_node(scene, make_findings(GRIDS["identity"]))

    def break_it(bundle_of):
        def write(scene, bundle, path):
            bundle.rmdir()
            bundle.write_text("in the way")
            return bundle_of(scene, bundle, path)

        return write

    monkeypatch.setattr(scene_file, "_write_bundle", break_it(scene_file._write_bundle))
    with pytest.raises(StoreError, match="could not be saved"):
        save_scene(scene, tmp_path / "scene.mrb")
    assert list(tmp_path.iterdir()) == []


def test_saving_prints_nothing_on_stdout(tmp_path):
    """A program that answers in JSON on stdout must not find Slicer's remarks in it."""
    code = (
        "import sys; from MedDetectLib.adapters.mrml.scene import new_scene;"
        "from MedDetectLib.adapters.mrml.scene_file import save_scene, load_scene;"
        "load_scene(save_scene(new_scene(), sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "scene.mrb")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == ""


def test_what_is_no_scene_is_refused(tmp_path):
    with pytest.raises(StoreError, match="cannot be read") as caught:
        load_scene(tmp_path / "missing.mrb")
    assert caught.value.exit_code == 74
    bad = tmp_path / "bad.mrb"
    bad.write_bytes(b"not a zip")
    with pytest.raises(InputError, match="not a scene archive"):
        load_scene(bad)
    for name, reason in (
        ("scene/readme.txt", "no .mrml scene"),
        ("../scene.mrml", "outside its own folder"),
        ("/etc/scene.mrml", "outside its own folder"),
    ):
        with zipfile.ZipFile(bad, "w") as packed:
            packed.writestr(name, "x")
        with pytest.raises(InputError, match=reason):
            load_scene(bad)


def test_a_damaged_scene_is_refused(tmp_path, scene):
    findings_to_node(scene, make_findings(GRIDS["identity"]))
    path = save_scene(scene, tmp_path / "scene.mrb")
    content = bytearray(path.read_bytes())
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError):
        load_scene(path)
    content[200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError):
        load_scene(path)
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("scene/scene.mrml", "<MRML><Volume")
    with pytest.raises(InputError, match="could not be loaded"):
        load_scene(path)


def test_only_the_best_finding_nobody_rejected_gets_an_roi():
    from mrml_samples import with_state

    geometry = GRIDS["identity"]
    findings = with_state(make_findings(geometry), "F1", "rejected")
    scene = findings_scene(make_volume(geometry), findings)
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 1
    assert nodes_of(scene)[2].GetName().startswith("F2 ")

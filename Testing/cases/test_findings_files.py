"""A folder of findings comes back whole, or is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from made_findings import findings

from MedDetectLib.cases import atomic
from MedDetectLib.cases.findings_files import read_findings, write_findings
from MedDetectLib.core.errors import InputError, StoreError


@pytest.mark.parametrize("kind", [{}, {"masks": False}, {"boxes": False}])
def test_findings_come_back_as_they_were_written(kind, tmp_path):
    found = findings(**kind)
    path = write_findings(found, tmp_path / "out")
    for where in (tmp_path / "out", path):
        again = read_findings(where)
        assert again.to_json() == found.to_json()
        if found.label_map is None:
            assert again.label_map is None
        else:
            np.testing.assert_array_equal(again.label_map, found.label_map)
            assert again.label_map.dtype == np.uint16


def test_the_same_findings_give_the_same_files(tmp_path):
    for name in ("a", "b"):
        write_findings(findings(), tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["boxes.json", "boxes.mrk.json", "findings.json", "segmentation.seg.nrrd"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_findings_without_items_leave_no_old_segmentation_behind(tmp_path):
    write_findings(findings(), tmp_path)
    none = replace(findings(), items=(), label_map=None)
    write_findings(none, tmp_path)
    assert not (tmp_path / "segmentation.seg.nrrd").exists()
    assert len(read_findings(tmp_path)) == 0


def test_boxes_are_given_in_ras_with_centre_size_and_axes(tmp_path):
    found = findings()
    write_findings(found, tmp_path)
    data = json.loads((tmp_path / "boxes.json").read_text())
    assert data["coordinate_system"] == "RAS"
    for item, box in zip(found, data["boxes"], strict=True):
        centre, size = np.array(box["centre_ras_mm"]), np.array(box["size_ijk_mm"])
        axes = np.array(box["axes_ijk_ras"])
        assert np.linalg.det(axes) == pytest.approx(1)
        corners = {
            tuple((centre + (np.array(s) * size / 2) @ axes).round(4))
            for s in np.ndindex(2, 2, 2)
            for s in [np.array(s) * 2 - 1]
        }
        expected = {tuple(c.round(4)) for c in found.geometry.box_corners_ras_mm(item.box)}
        assert corners == expected
        assert (box["id"], box["label"]) == (item.id, found.label_of(item).name)


def test_slicer_reads_every_box_as_the_roi_it_is(tmp_path):
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    found = findings()
    write_findings(found, tmp_path)
    data = json.loads((tmp_path / "boxes.mrk.json").read_text())
    assert all(markup["coordinateSystem"] == "LPS" for markup in data["markups"])
    assert data["markups"][0]["controlPoints"][0]["label"] == "F1 nodule 0.97"
    for item, markup in zip(found, data["markups"], strict=True):
        alone = tmp_path / f"{item.id}.mrk.json"
        alone.write_text(json.dumps({**data, "markups": [markup]}))
        scene = slicer.vtkMRMLScene()
        node, storage = slicer.vtkMRMLMarkupsROINode(), slicer.vtkMRMLMarkupsROIJsonStorageNode()
        scene.AddNode(node)
        scene.AddNode(storage)
        storage.SetFileName(str(alone))
        assert storage.ReadData(node) == 1
        expected = found.geometry.box_centre_ras_mm(item.box)
        np.testing.assert_allclose(node.GetCenter(), expected, atol=1e-9)
        sizes = found.geometry.box_size_kji_mm(item.box)[::-1]
        np.testing.assert_allclose(node.GetSize(), sizes, atol=1e-9)
        matrix = node.GetObjectToWorldMatrix()
        axes = np.array([[matrix.GetElement(r, c) for c in range(3)] for r in range(3)])
        assert np.linalg.det(axes) == pytest.approx(1)
        cosines = (axes * found.geometry.directions_ras).sum(axis=0)
        np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-9)


def test_a_segmentation_exchanged_behind_the_findings_back_is_noticed(tmp_path):
    write_findings(findings(), tmp_path / "a")
    write_findings(findings(boxes=False), tmp_path / "b")
    name = "segmentation.seg.nrrd"
    (tmp_path / "a" / name).write_bytes((tmp_path / "b" / name).read_bytes())
    with pytest.raises(InputError) as caught:
        read_findings(tmp_path / "a")
    assert caught.value.code == "torn-findings"
    (tmp_path / "a" / name).unlink()
    with pytest.raises(InputError) as caught:
        read_findings(tmp_path / "a")
    assert caught.value.code == "torn-findings"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "other"}', "null"])
def test_a_findings_file_of_another_kind_is_refused(text, tmp_path):
    (tmp_path / "findings.json").write_text(text)
    with pytest.raises(InputError) as caught:
        read_findings(tmp_path)
    assert caught.value.code == "bad-findings-file"
    assert "\n" not in str(caught.value)


def test_every_field_is_needed(tmp_path):
    path = write_findings(findings(), tmp_path)
    data = json.loads(path.read_text())
    for key in set(data) - {"segmentation"}:
        path.write_text(json.dumps({k: v for k, v in data.items() if k != key}))
        with pytest.raises(InputError) as caught:
            read_findings(tmp_path)
        assert caught.value.code == "bad-findings-file"


def test_absent_findings_are_said_to_be_absent(tmp_path):
    with pytest.raises(InputError) as caught:
        read_findings(tmp_path)
    assert caught.value.code == "no-file"


def test_a_write_that_fails_at_any_point_leaves_the_old_or_the_new_findings(tmp_path, monkeypatch):
    old, new = findings(boxes=False), findings()
    real = atomic.Path.replace
    for stop in range(4):
        folder = tmp_path / str(stop)
        write_findings(old, folder)
        calls = []

        def failing(self, target, calls=calls, stop=stop):
            calls.append(target)
            if len(calls) > stop:
                raise OSError(28, "No space left on device")
            return real(self, target)

        monkeypatch.setattr(atomic.Path, "replace", failing)
        with pytest.raises(StoreError) as caught:
            write_findings(new, folder)
        monkeypatch.undo()
        assert caught.value.exit_code == 73
        assert not [p for p in folder.iterdir() if p.name.startswith(".writing")]
        try:
            again = read_findings(folder)
        except InputError as error:
            assert error.code == "torn-findings"  # noqa: PT017
        else:
            assert again.to_json() == old.to_json()

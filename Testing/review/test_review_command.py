"""`meddetect review` from end to end, as a person and as a script uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from review_samples import GRID, SHAPE, block, made_findings, same

from MedDetectLib.adapters.cli.main import main
from MedDetectLib.cases.findings_files import read_findings, write_findings
from MedDetectLib.cases.label_files import write_label_map
from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.volume import Volume
from MedDetectLib.review.case_note import read_note
from MedDetectLib.review.session import ReviewSession


@pytest.fixture
def say(capsys):
    """Run an action of `meddetect review`; return its exit code, its output and its error."""

    def run(*arguments, command="review"):
        capsys.readouterr()
        code = main([command, *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def ask(say):
    """Run an action that succeeds; return what `--json` printed."""

    def run(*arguments, command="review"):
        code, out, err = say(*arguments, "--json", command=command)
        assert (code, err) == (0, "")
        return json.loads(out)

    return run


@pytest.fixture
def review(say, tmp_path):
    """A review of a result's folder."""
    write_findings(made_findings(), tmp_path / "result")
    folder = tmp_path / "review"
    assert say("start", "--session", folder, "--result", tmp_path / "result")[0] == 0
    return folder


@pytest.fixture
def store(tmp_path):
    return CaseStore.open_or_create(tmp_path / "store")


@pytest.fixture
def case(store):
    array = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    volume, found = Volume(array, GRID, "CT", "scan"), made_findings()
    found = replace(found, provenance=replace(found.provenance, input_sha256=volume.sha256))
    return store.import_volume(volume, "P1", found).case.id


@pytest.fixture
def read(ask, store, case, tmp_path):
    """Begin a reading of the case; return the session's folder."""

    def begin(reader, *more):
        folder = tmp_path / f"{reader.replace(' ', '-')}-{len(list(tmp_path.iterdir()))}"
        start = ("start", "--session", folder, "--store", store.folder, "--case", case[:6])
        ask(*start, "--reader", reader, *more)
        return folder

    return begin


def by_id(rows):
    return {row["id"]: row for row in rows}


def test_a_result_is_judged_signed_and_exported(say, ask, review, tmp_path):
    (entry,) = ask("accept", review, "F1")
    assert (entry["seq"], entry["kind"], entry["ids"]) == (1, "accept", ["F1"])
    ask("reject", review, "F2", "F4", "--reason", "vessel")
    ask("relabel", review, "F3", "nodule")
    ask("comment", review, "hard to see", "--finding", "F5")
    assert say("undo", review)[1] == "6  undo of act 5\n"
    assert "redo of act 5" in say("redo", review)[1]
    rows = by_id(ask("list", review))
    states = {key: row["state"] for key, row in rows.items()}
    assert states == {
        "F1": "accepted", "F2": "rejected", "F3": "edited", "F4": "rejected", "F5": "new"
    }  # fmt: skip
    assert (rows["F3"]["label"], rows["F3"]["label_name"]) == (1, "nodule")
    assert say("sign", review, "--reader", "Dr A", "--comment", "done")[:2] == (
        0, "signed by Dr A\n"
    )  # fmt: skip
    assert ask("export", review, "--out", tmp_path / "out")["findings"] == 5
    with ReviewSession.open(review, read_only=True) as session:
        assert same(read_findings(tmp_path / "out"), session.findings)
    said = json.loads((tmp_path / "out" / "review.json").read_text())
    assert said["reasons"] == {"F2": "vessel", "F4": "vessel"}
    assert said["signature"]["reviewer"] == "Dr A"
    assert "signed by Dr A" in say("list", review)[1]
    history = ask("history", review)
    assert [act["kind"] for act in history["acts"]] == [
        "accept", "reject", "reject", "relabel", "comment", "undo", "redo", "sign"
    ]  # fmt: skip
    assert history["effort"]["F2"]["acts"] == 1
    assert say("history", review)[1].splitlines()[1].endswith('reject F2 "vessel"')


def test_a_box_in_ras_and_the_same_in_voxel_edges_are_one_finding_on_an_oblique_grid(
    ask, say, tmp_path
):
    turn, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    grid = Geometry.from_axes(SHAPE, (2.5, 0.75, 0.5), (-12.5, 40.25, 7.0), turn)
    write_findings(replace(made_findings(), geometry=grid), tmp_path / "result")
    review = tmp_path / "review"
    ask("start", "--session", review, "--result", tmp_path / "result")
    edges = (2.0, 3.0, 4.0, 4.0, 7.0, 10.0)
    centre = [f"{n:.6f}" for n in grid.box_centre_ras_mm(edges)]
    size = [f"{n:.6f}" for n in grid.box_size_kji_mm(edges)]
    (entry,) = ask(
        "add-box", review, "--label", "4", "--centre-ras-mm", *centre, "--size-mm", *size
    )
    assert entry["added"] == ["F6"]
    ask("edit-box", review, "F5", "--edges", *edges)
    rows = by_id(ask("list", review))
    assert rows["F6"]["box"] == rows["F5"]["box"] == list(edges)
    assert (rows["F6"]["state"], rows["F6"]["label_name"]) == ("added", "cyst")
    assert np.allclose(rows["F6"]["centre_ras_mm"], grid.box_centre_ras_mm(edges))
    one_size = ("--centre-ras-mm", *centre, "--size-mm", "2.5")
    ask("edit-box", review, "F4", *one_size)
    low, high = np.split(np.array(by_id(ask("list", review))["F4"]["box"]), 2)
    assert (high - low).tolist() == [1, 3, 5]
    code, _, err = say("add-box", review, "--label", "4", "--centre-ras-mm", "900", "0", "0",
                       "--size-mm", "3")  # fmt: skip
    assert (code, err.split(":")[0]) == (65, "error[box-outside]")
    code, _, err = say("edit-box", review, "F4", "--centre-ras-mm", *centre)
    assert (code, err.split(":")[0]) == (65, "error[bad-size]")


def test_masks_come_from_label_files_on_the_same_grid(ask, say, review, tmp_path):
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[5:8, 1:4, 1:3] = 3
    write_label_map(drawn, GRID, tmp_path / "drawn.nii.gz")
    ask("edit-mask", review, "F1", "--from", tmp_path / "drawn.nii.gz")
    with ReviewSession.open(review, read_only=True) as session:
        assert session.patch_of("F1").is_same(block((5, 8), (1, 4), (1, 3)))
    drawn[0, 0, 5] = 9
    write_label_map(drawn, GRID, tmp_path / "drawn.nii.gz")
    code, _, err = say("edit-mask", review, "F1", "--from", tmp_path / "drawn.nii.gz")
    assert (code, err.split(":")[0]) == (65, "error[which-segment]")
    one = ("--from", tmp_path / "drawn.nii.gz", "--segment", "9")
    (entry,) = ask("add-mask", review, "--label", "cyst", *one)
    (new,) = entry["added"]
    with ReviewSession.open(review, read_only=True) as session:
        assert session.patch_of(new).is_same(block((0, 1), (0, 1), (5, 6)))
    other = Geometry.from_axes(SHAPE, (2.5, 0.75, 0.5), (-12.3, 40.25, 7.0))
    write_label_map(drawn, other, tmp_path / "moved.nii.gz")
    code, _, err = say("edit-mask", review, "F1", "--from", tmp_path / "moved.nii.gz",
                       "--segment", "9")  # fmt: skip
    assert (code, err.split(":")[0]) == (65, "error[other-grid]")
    code, _, err = say("edit-mask", review, "F1", *one[:2], "--segment", "liver")
    assert (code, err.split(":")[0]) == (65, "error[no-segment]")


def test_our_own_segmentation_comes_back_by_the_findings_id(ask, review, tmp_path):
    ask("export", review, "--out", tmp_path / "out")
    before = by_id(ask("list", review))["F2"]
    ask("edit-box", review, "F2", "--edges", "1", "5", "2", "2", "6", "3")
    ask("edit-mask", review, "F2", "--from", tmp_path / "out" / "segmentation.seg.nrrd")
    assert by_id(ask("list", review))["F2"]["box"] == before["box"]


def test_findings_are_merged_and_split_again(ask, say, review):
    (entry,) = ask("merge", review, "F1", "F2")
    assert entry["removed"] == ["F2"]
    (entry,) = ask("split", review, "F3")
    assert len(entry["added"]) == 1
    place = GRID.index_to_ras((2, 4, 4))
    point = ("--point-ras-mm", *(f"{n:.3f}" for n in place))
    normal = ("--normal-ras", *(f"{n:.3f}" for n in GRID.directions_ras[:, 1]))
    assert len(ask("split", review, "F1", *point, *normal)[0]["added"]) == 1
    assert say("split", review, "F1", *point)[2].startswith("error[half-a-plane]: ")


def test_an_act_that_makes_no_sense_leaves_no_trace(say, review):
    for arguments, code in (
        (("accept", review, "F1", "F99"), "unknown-finding"),
        (("relabel", review, "F1", "liver"), "unknown-label"),
        (("reject", review, "F1", "--reason", " "), "no-reason"),
        (("undo", review), "nothing-to-undo"),
    ):
        exit_code, out, err = say(*arguments)
        assert (exit_code, out, err.split(":")[0]) == (65, "", f"error[{code}]")
        assert len(err.splitlines()) == 1
    with ReviewSession.open(review, read_only=True) as session:
        assert session.history == ()


def test_who_is_refused_is_told_by_the_exit_code(say, review, tmp_path):
    with ReviewSession.open(review):
        assert say("accept", review, "F1")[0] == 75
        assert say("list", review)[0] == 0
    say("sign", review, "--reader", "Dr A")
    assert say("accept", review, "F1")[2].startswith("error[signed]: ")
    assert say("accept", review, "F1")[0] == 77
    assert say("sign", review, "--reader", "Dr A")[0] == 0
    assert say("sign", review, "--reader", "Dr B")[0] == 77
    assert say("sign", review, "--reader", "Dr A", "--comment", "other words")[0] == 77
    assert say("reopen", review, "--reader", "Dr A", "--reason", "missed one")[0] == 0
    assert say("accept", review, "F1")[0] == 0
    assert say("list", tmp_path)[2].startswith("error[not-a-session]: ")
    code, out, _ = say("list", tmp_path, "--json")
    assert json.loads(out)["error"]["exit_code"] == code == 74
    result = tmp_path / "result"
    assert say("start", "--session", review, "--result", result)[0] == 74
    new = ("--session", tmp_path / "new", "--result", result, "--reader", "Dr A")
    assert say("start", *new)[2].startswith("error[not-of-a-case]: --reader ")


def test_two_blinded_readings_agree_as_far_as_they_do_and_a_third_settles_them(
    ask, say, read, store, case, tmp_path
):
    first = read("Dr A", "--blinded")
    ask("reject", first, "F3", "--reason", "vessel")
    assert ask("sign", first, "--reader", "Dr A")["version"]["number"] == 2
    second = read("Dr B", "--blinded")
    assert {row["state"] for row in ask("list", second)} == {"new"}
    ask("relabel", second, "F1", "cyst")
    version = ask("sign", second, "--reader", "Dr B", "--comment", "one cyst")["version"]
    assert (version["number"], version["parent"], version["blinded"]) == (3, 1, True)

    place = ("--store", store.folder)
    agreement = ask("agreement", case, 2, 3, *place, command="store")
    assert agreement["only_second"] == ["F3"]
    assert {m["first"]: m["same_label"] for m in agreement["matches"]}["F1"] is False

    settle = ("start", "--store", store.folder, "--case", case, "--settles", "2", "3")
    third = tmp_path / "third"
    code, _, err = say(*settle, "--session", third, "--reader", "Dr A")
    assert (code, err.split(":")[0], third.exists()) == (65, "error[not-independent]", False)
    ask(*settle, "--session", third, "--reader", "Dr C")
    assert by_id(ask("list", third))["F3"]["state"] == "rejected"
    ask("relabel", third, "F1", "cyst")
    settled = ask("sign", third, "--reader", "Dr C", "--comment", "agreed")["version"]
    assert (settled["kind"], settled["of"], settled["author"]) == ("adjudicated", [2, 3], "Dr C")
    assert settled["details"]["effort"]["F1"]["acts"] == 1
    (row,) = ask("list", *place, command="store")
    assert row["status"] == "adjudicated"


def test_what_was_signed_while_a_review_was_under_way_is_told(ask, say, read, store, case):
    first, second, blinded = read("Dr A"), read("Dr A"), read("Dr B", "--blinded")
    ask("reject", first, "F3", "--reason", "vessel")
    assert ask("sign", first, "--reader", "Dr A")["not_built_on"] == []
    ask("reopen", first, "--reader", "Dr A", "--reason", "one more")
    assert ask("sign", first, "--reader", "Dr A", "--comment", "again")["not_built_on"] == []
    ask("accept", second, "F1")
    assert ask("sign", second, "--reader", "Dr A")["not_built_on"] == [2, 3]
    said = say("sign", second, "--reader", "Dr A")[1]
    assert "note[not-built-on]: Dr A signed version 2 meanwhile" in said
    assert ask("sign", blinded, "--reader", "Dr B")["not_built_on"] == []


def test_a_crash_between_sign_and_store_is_made_good_by_repeating_it(ask, say, read, store, case):
    folder = read("Dr A")
    ask("accept", folder, "F1")
    dies = (
        "import os, sys\n"
        "from MedDetectLib.adapters.cli.main import main\n"
        "from MedDetectLib.cases.store.case_store import CaseStore\n"
        "CaseStore.sign_reading = lambda *args, **options: os._exit(9)\n"
        "main(['review', 'sign', sys.argv[1], '--reader', 'Dr A', '--comment', 'one nodule'])\n"
    )
    killed = subprocess.run([sys.executable, "-c", dies, folder], timeout=60, check=False)
    assert killed.returncode == 9
    assert len(store.versions(case)) == 1
    assert ask("history", folder)["signature"]["reviewer"] == "Dr A"
    for _ in range(2):
        version = ask("sign", folder, "--reader", "Dr A")["version"]
        assert (version["number"], version["comment"]) == (2, "one nodule")
    assert len(store.versions(case)) == 2
    say("reopen", folder, "--reader", "Dr A", "--reason", "missed one")
    assert ask("sign", folder, "--reader", "Dr A")["version"]["number"] == 3


def test_a_case_is_signed_in_the_name_it_was_read_in(say, read, store, case):
    folder = read("Dr A")
    code, _, err = say("sign", folder, "--reader", "Dr B")
    assert (code, err.split(":")[0]) == (65, "error[other-reader]")
    with ReviewSession.open(folder, read_only=True) as session:
        assert session.signature is None
    moved = store.folder.rename(store.folder.with_name("moved"))
    assert say("sign", folder, "--reader", "Dr A")[2].startswith("error[no-store]: ")
    assert say("sign", folder, "--reader", "Dr A", "--store", moved)[0] == 0
    assert len(CaseStore(moved).versions(case)) == 2


def test_a_case_no_model_has_seen_is_read_with_classes_of_ones_own(ask, say, store, tmp_path):
    array = np.ones(SHAPE, np.int16)
    array[0] = 5
    case = store.import_volume(Volume(array, GRID, "CT", "new"), "P2").case.id
    start = ("start", "--store", store.folder, "--case", case, "--reader", "Dr A")
    assert say(*start, "--session", tmp_path / "r")[2].startswith("error[no-labels]: ")
    ask(*start, "--session", tmp_path / "r", "--label", "nodule", "--label", "cyst")
    edges = ("1", "1", "1", "3", "4", "5")
    ask("add-box", tmp_path / "r", "--label", "cyst", "--edges", *edges)
    assert ask("sign", tmp_path / "r", "--reader", "Dr A")["version"]["labels"] == ["cyst"]


def test_a_review_whose_note_was_never_written_still_knows_its_case(ask, read, case):
    folder = read("Dr A", "--blinded")
    before = read_note(folder)
    (folder / "case.json").unlink()
    assert read_note(folder) == before
    assert ask("sign", folder, "--reader", "Dr A")["version"]["blinded"] is True


@pytest.mark.parametrize("action", ["add-box", "edit-box"])
def test_help_says_in_which_frame_a_box_is_given(action, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["review", action, "--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "world RAS millimetres" in said
    assert "voxel edges k0 j0 i0 k1 j1 i1" in said

from __future__ import annotations

import os

import pytest

pytest.importorskip("jsonschema")

from MedDetectLib.core.errors import ModelError
from MedDetectLib.models import card_file, registry
from MedDetectLib.models.registry import find_model, list_models


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The three places models are looked for, empty; none of this machine's own."""
    listed, home, bundled = (tmp_path / n for n in ("listed", "home", "bundled"))
    for folder in (listed, home / "models", bundled / "Models"):
        folder.mkdir(parents=True)
    monkeypatch.setenv("MEDDETECT_MODELS", str(listed))
    monkeypatch.setenv("MEDDETECT_HOME", str(home))
    monkeypatch.setattr(registry, "resource_folder", lambda: bundled)
    monkeypatch.chdir(tmp_path)
    return [listed, home / "models", bundled / "Models"]


def test_the_first_place_that_has_a_name_wins(places, put_model):
    for place, version in zip(places, ("3.0.0", "2.0.0", "1.0.0"), strict=True):
        put_model(place / "folder", name="same", version=version)
    for place, version in zip(places, ("3.0.0", "2.0.0", "1.0.0"), strict=True):
        folder, card = find_model("same")
        assert (folder, card.version) == (place / "folder", version)
        assert [entry.card.version for entry in list_models()] == [version]
        (folder / "model.json").unlink()
    with pytest.raises(ModelError, match="no-model"):
        find_model("same")


def test_models_of_all_places_are_listed_in_order(places, put_model):
    for place, name in zip(places, "cba", strict=True):
        put_model(place / "z", name=f"{name}-2")
        put_model(place / "y", name=f"{name}-1")
    assert [e.card.name for e in list_models()] == ["c-1", "c-2", "b-1", "b-2", "a-1", "a-2"]


def test_the_environment_may_name_several_places_or_a_model_itself(
    places, put_model, tmp_path, monkeypatch
):
    put_model(tmp_path / "one" / "m", name="in-a-place")
    put_model(tmp_path / "two", name="itself")
    parts = [str(tmp_path / "one"), "", str(tmp_path / "gone"), str(tmp_path / "two")]
    monkeypatch.setenv("MEDDETECT_MODELS", os.pathsep.join(parts))
    assert [e.card.name for e in list_models()] == ["in-a-place", "itself"]


def test_a_broken_model_is_listed_with_its_error_and_hides_no_other(places, put_model):
    broken = put_model(places[0] / "a-broken")
    (broken / "model.onnx").write_bytes(b"changed")
    (places[0] / "b-binary").mkdir()
    (places[0] / "b-binary" / "model.json").write_bytes(b"\xff\xfe\0")
    (places[0] / "c-deep").mkdir()
    (places[0] / "c-deep" / "model.json").write_bytes(b"[" * 100_000)
    (places[0] / "d-stray.txt").write_text("not a model")
    (places[0] / "e-empty").mkdir()
    put_model(places[0] / "f-good", name="good", operating_point={"min_score": 10**4})
    put_model(places[1] / "g-good", name="good")
    entries = list_models()
    assert [(e.folder.name, e.error.code if e.error else e.card.name) for e in entries] == [
        ("a-broken", "changed-file"),
        ("b-binary", "bad-card"),
        ("c-deep", "bad-card"),
        ("f-good", "bad-card"),
        ("g-good", "good"),
    ]
    assert find_model("good")[0].name == "g-good"


def test_asking_for_a_broken_model_by_its_folder_name_tells_what_is_wrong(places, put_model):
    folder = put_model(places[0] / "mine")
    (folder / "model.onnx").unlink()
    for name in ("mine", folder, str(folder), folder / "model.json"):
        with pytest.raises(ModelError, match="missing-file"):
            find_model(name)


def test_only_the_files_of_the_model_that_is_meant_are_read(places, put_model, monkeypatch):
    """A shelf of models of gigabytes must not slow down each start."""
    for name in ("one", "two", "three"):
        put_model(places[0] / name, name=f"the-{name}")
    read, check = [], card_file._check_file

    def counting(path, expected):
        read.append(path.parent.name)
        check(path, expected)

    monkeypatch.setattr(card_file, "_check_file", counting)
    assert find_model("the-two")[0].name == "two"
    assert read == ["two"]
    (places[0] / "two" / "model.onnx").write_bytes(b"changed")
    with pytest.raises(ModelError, match="changed-file"):
        find_model("the-two")


def test_a_model_is_found_by_the_path_of_its_folder_or_card(places, put_model, tmp_path):
    folder = put_model(tmp_path / "some where" / "m ö del", name="by-path")
    for name in (folder, str(folder), folder / "model.json", str(folder / "model.json")):
        found, card = find_model(name)
        assert found == folder
        assert card.name == "by-path"


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "..",
        "../..",
        "a\0b",
        "x" * 5000,
        "a/" * 3000,
        "model.json",
        "nul",
        "*",
        "ünï",
        "x\ny",
        "\ud800",
        "-rf",
        "~",
        "%s",
        "C:\\models",
    ],
)
def test_a_name_of_weird_characters_is_simply_not_found(places, put_model, name):
    put_model(places[0] / "m", name="known")
    with pytest.raises(ModelError) as caught:
        find_model(name)
    assert caught.value.code == "no-model"
    assert "known" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_place_that_cannot_be_read_is_passed_over(places, put_model, monkeypatch):
    put_model(places[1] / "m", name="known")
    closed = places[0]
    plain = type(closed).iterdir

    def iterdir(path):
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(type(closed), "iterdir", iterdir)
    assert [e.card.name for e in list_models()] == ["known"]


def test_a_place_that_is_a_file_is_passed_over(places, put_model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    put_model(places[1] / "m", name="known")
    monkeypatch.setenv("MEDDETECT_MODELS", str(tmp_path / "file"))
    assert [e.card.name for e in list_models()] == ["known"]


def test_the_users_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDDETECT_HOME", str(tmp_path))
    assert registry.user_folder() == tmp_path
    monkeypatch.delenv("MEDDETECT_HOME")
    monkeypatch.setattr(registry.sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "x"))
    assert registry.user_folder() == tmp_path / "x" / "meddetect"

from __future__ import annotations

import copy
import json

import pytest

jsonschema = pytest.importorskip("jsonschema")

from MedDetectLib.core.errors import BackendUnavailable, ModelError  # noqa: E402
from MedDetectLib.models import card as cards  # noqa: E402
from MedDetectLib.models.card_file import (  # noqa: E402
    card_schema,
    check_card,
    read_card,
    sha256_of_file,
)


def subschemas(schema):
    yield schema
    for value in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(value, (dict, list)):
            yield from subschemas(value)


def test_the_schema_is_a_valid_draft_2020_12_schema():
    schema = card_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_every_reference_in_the_schema_leads_somewhere():
    schema = card_schema()
    targets = [s["$ref"] for s in subschemas(schema) if isinstance(s, dict) and "$ref" in s]
    assert targets
    for target in targets:
        place = schema
        for step in target.removeprefix("#/").split("/"):
            place = place[step]


def test_every_pattern_is_anchored_and_stops_at_a_trailing_newline():
    patterns = [
        s["pattern"]
        for s in subschemas(card_schema())
        if isinstance(s, dict) and isinstance(s.get("pattern"), str)
    ]
    assert len(patterns) >= 5
    assert all(p.startswith("^") and p.endswith("$(?!\n)") for p in patterns)


def test_a_good_card_becomes_values(card_data):
    card = check_card(card_data)
    assert (card.name, card.version, card.parent) == ("test-model", "1.2.3", None)
    assert card.input.window == cards.WindowSpec((8, 16, 16), 0.25)
    assert card.input.spacing_kji_mm == (2.0, 1.0, 1.0)
    assert card.input.fit_shape_kji is None
    assert card.input.intensity == (cards.IntensityWindow(-1350.0, 150.0),)
    assert (card.input.rank, card.input.anchor) == (5, "edges")
    assert card.input.normalise == "after_resample"
    assert card.head == cards.VoxelScores("scores", "softmax")
    assert [label.name for label in card.labels] == ["one", "two"]
    assert card.operating_point == cards.OperatingPoint(0.4, 0.5)
    assert card.weights_sha256 == card_data["files"]["model.onnx"]


def test_the_fingerprint_of_a_network_covers_every_file_its_weights_may_lie_in(card_data):
    prints = set()
    for digit in "ab":
        card_data["files"] = {"model.onnx": "0" * 64, "model.onnx.data": digit * 64}
        prints.add(check_card(card_data).weights_sha256)
    assert len(prints) == 2
    assert {len(sha256) for sha256 in prints} == {64}


def test_checking_a_card_does_not_change_its_data(card_data):
    before = copy.deepcopy(card_data)
    check_card(card_data)
    assert card_data == before


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("voxel_scores", cards.VoxelScores),
        ("case_score", cards.CaseScoreHead),
        ("decoded", cards.DecodedBoxes),
        ("anchors", cards.AnchorBoxes),
    ],
)
def test_each_kind_of_output_is_read(card_with_head, kind, expected):
    assert isinstance(check_card(card_with_head(kind)).head, expected)


def test_anchors_are_read_to_the_last_number(card_with_head):
    head = check_card(card_with_head("anchors", delta_weights=[1, 1, 1, 2, 2, 2])).head
    level = cards.AnchorLevel("s", "d", (1, 2, 2), ((2, 4.5, 4), (3, 3, 3)))
    assert head == cards.AnchorBoxes(
        "sigmoid", (level,), cards.Merge("wbf", 0.5), delta_weights=(1, 1, 1, 2, 2, 2)
    )


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"step": "clip", "low": -1, "high": 1}, cards.Clip(-1, 1)),
        ({"step": "window", "low": -1, "high": 1}, cards.IntensityWindow(-1, 1)),
        ({"step": "window", "preset": "bone"}, cards.IntensityWindow(-500, 1300)),
        ({"step": "min_max"}, cards.MinMax()),
        ({"step": "percentile", "lower": 1, "upper": 99}, cards.Percentile(1, 99)),
        ({"step": "z_score", "mask": "nonzero"}, cards.ZScore("nonzero")),
        ({"step": "linear", "scale": 2, "offset": -1}, cards.Linear(2, -1)),
    ],
)
def test_each_intensity_step_is_read(card_data, step, expected):
    card_data["input"]["intensity"] = [step]
    assert check_card(card_data).input.intensity == (expected,)


def test_the_defaults_in_the_schema_are_those_of_the_values(card_with_head):
    """Two places say each default; a reader of either must not be misled."""
    schema = card_schema()["$defs"]
    card = check_card(card_with_head("anchors"))
    window = schema["input"]["properties"]["window"]["properties"]
    for name in ("overlap", "blend", "sigma", "pad_value", "placement", "floor", "centre"):
        assert getattr(cards.WindowSpec((1, 1, 1)), name) == window[name]["default"]
    for name in ("rank", "anchor", "normalise"):
        assert getattr(card.input, name) == schema["input"]["properties"][name]["default"]
    for name in ("max_per_window", "delta_weights"):
        default = schema["anchorBoxes"]["properties"][name]["default"]
        value = getattr(card.head, name)
        assert (list(value) if isinstance(value, tuple) else value) == default
    for name in ("coordinates", "order"):
        assert getattr(card.head, name) == schema["boxCommon"]["properties"][name]["default"]
    voxel = cards.VoxelScores("t", "softmax")
    for name in ("blend_on", "one_finding_per", "finding_score"):
        assert getattr(voxel, name) == schema["voxelScores"]["properties"][name]["default"]


def test_whole_numbers_written_as_32_0_are_whole_numbers(card_with_head):
    """JSON Schema takes 32.0 for an integer; numpy does not take it for a size."""
    data = card_with_head("anchors", max_per_window=300.0)
    data["input"]["window"]["shape_kji"] = [8.0, 16.0, 16.0]
    data["input"]["rank"] = 5.0
    del data["input"]["spacing_kji_mm"]
    data["input"]["fit_shape_kji"] = [4.0, 4.0, 4.0]
    data["operating_point"]["max_findings"] = 7.0
    data["output"]["levels"][0]["stride_kji"] = [1.0, 2.0, 2.0]
    card = check_card(data)
    numbers = [
        *card.input.window.shape_kji,
        *card.input.fit_shape_kji,
        card.input.rank,
        card.head.max_per_window,
        card.operating_point.max_findings,
        *card.head.levels[0].stride_kji,
    ]
    assert all(type(number) is int for number in numbers)
    decoded = check_card(card_with_head("decoded", first_label=2.0))
    assert type(decoded.head.first_label) is int


def at(*path_and_value):
    *path, key, value = path_and_value

    def change(data):
        for step in path:
            data = data[step]
        data[key] = value

    return change


def drop(*path):
    def change(data):
        for step in path[:-1]:
            data = data[step]
        del data[path[-1]]

    return change


def step(**values):
    return at("input", "intensity", [{"step": "clip", "low": 0, "high": 1}, values])


NAN, INF = float("nan"), float("inf")
SHA = "0" * 64
LABEL = {"value": 1, "name": "x", "colour_rgb": [0, 0, 0]}
WRONG = [
    # what, change, path, and a word the message must hold
    ("another format", at("format", "meddetect.model/2"), "$.format", "meddetect.model/1"),
    ("no version", drop("version"), "$", "version"),
    ("extra key", at("extra", 1), "$", "extra"),
    ("name of a wrong type", at("name", 3), "$.name", "string"),
    ("name with capitals", at("name", "Model"), "$.name", "Model"),
    ("name with a slash", at("name", "a/b"), "$.name", "a/b"),
    ("name of dots", at("name", ".."), "$.name", ".."),
    ("empty name", at("name", ""), "$.name", ""),
    ("endless name", at("name", "a" * 65), "$.name", "aaa"),
    ("name with a newline at its end", at("name", "model\n"), "$.name", ""),
    ("version with a newline", at("version", "1.0.0\n"), "$.version", ""),
    ("version of two numbers", at("version", "1.0"), "$.version", "1.0"),
    ("unknown task", at("task", "guessing"), "$.task", "guessing"),
    ("parent of a wrong type", at("parent", []), "$.parent", ""),
    ("weights up the tree", at("weights", "../model.onnx"), "$.weights", ".."),
    ("weights in a folder", at("weights", "a/model.onnx"), "$.weights", "a/"),
    ("weights at an absolute path", at("weights", "/etc/passwd"), "$.weights", "/etc"),
    ("weights on a drive", at("weights", "C:\\x"), "$.weights", "C:"),
    ("weights that are the folder", at("weights", "."), "$.weights", "."),
    ("weights with a newline", at("weights", "model.onnx\n"), "$.weights", ""),
    ("weights not listed", at("weights", "other.onnx"), "$.weights", "other.onnx"),
    ("file up the tree", at("files", {"../x": SHA}), "$.files", "../x"),
    ("file at an absolute path", at("files", {"/x": SHA}), "$.files", "/x"),
    ("hidden file", at("files", {".x": SHA}), "$.files", ".x"),
    ("no files", at("files", {}), "$.files", ""),
    ("sha too short", at("files", {"model.onnx": "0" * 63}), "$.files", "000"),
    ("sha in capitals", at("files", {"model.onnx": "A" * 64}), "$.files", "AAA"),
    ("sha with a newline", at("files", {"model.onnx": SHA + "\n"}), "$.files", "000"),
    ("no channels", at("input", "channels", []), "$.input.channels", ""),
    ("unnamed channel", at("input", "channels", 0, "name", ""), "$.input.channels[0].name", ""),
    ("modality in words", at("input", "channels", 0, "modality", "Tomo"),
     "$.input.channels[0].modality", "Tomo"),
    ("rank 3", at("input", "rank", 3), "$.input.rank", "3"),
    ("rank 4 with deep windows", at("input", "rank", 4), "$.input.window.shape_kji", "one slice"),
    ("orientation RRA", at("input", "orientation", "RRA"), "$.input.orientation", "RRA"),
    ("orientation RL S", at("input", "orientation", "RLS"), "$.input.orientation", "RLS"),
    ("orientation ras", at("input", "orientation", "ras"), "$.input.orientation", "ras"),
    ("orientation with a newline", at("input", "orientation", "RAS\n"), "$.input.orientation", ""),
    ("spacing zero", at("input", "spacing_kji_mm", 1, 0), "$.input.spacing_kji_mm[1]", "0"),
    ("spacing of two", at("input", "spacing_kji_mm", [1, 1]), "$.input.spacing_kji_mm", ""),
    ("spacing of words", at("input", "spacing_kji_mm", 0, "1"), "$.input.spacing_kji_mm[0]", "1"),
    ("spacing and fit", at("input", "fit_shape_kji", [1, 1, 1]), "$.input", "not both"),
    ("window zero", at("input", "window", "shape_kji", 0, 0), "$.input.window.shape_kji[0]", ""),
    ("window halves", at("input", "window", "shape_kji", 0, 8.5),
     "$.input.window.shape_kji[0]", "8.5"),
    ("window true", at("input", "window", "shape_kji", 0, True),
     "$.input.window.shape_kji[0]", "True"),
    ("window huge", at("input", "window", "shape_kji", 0, 10**6),
     "$.input.window.shape_kji[0]", ""),
    ("overlap one", at("input", "window", "overlap", 1), "$.input.window.overlap", ""),
    ("sigma zero", at("input", "window", "sigma", 0), "$.input.window.sigma", ""),
    ("unknown blend", at("input", "window", "blend", "x"), "$.input.window.blend", ""),
    ("unknown step", step(step="eval"), "$.input.intensity[1].step", "eval"),
    ("no step", step(step=None), "$.input.intensity[1].step", ""),
    ("clip low = high", step(step="clip", low=1, high=1), "$.input.intensity[1]", "lower"),
    ("window low > high", step(step="window", low=2, high=1), "$.input.intensity[1]", "lower"),
    ("clip without high", step(step="clip", low=1), "$.input.intensity[1]", "high"),
    ("clip of words", step(step="clip", low="a", high=1), "$.input.intensity[1].low", "a"),
    ("unknown preset", step(step="window", preset="tooth"), "$.input.intensity[1].preset", "tooth"),
    ("preset and limits", step(step="window", preset="lung", low=0, high=1),
     "$.input.intensity[1]", "low"),
    ("percentiles crossed", step(step="percentile", lower=9, upper=1), "$.input.intensity[1]", ""),
    ("percentile 101", step(step="percentile", lower=9, upper=101),
     "$.input.intensity[1].upper", "101"),
    ("unknown mask", step(step="z_score", mask="x"), "$.input.intensity[1].mask", "x"),
    ("step with an extra key", step(step="min_max", code="x"), "$.input.intensity[1]", "code"),
    ("unknown head", at("output", "head", "magic"), "$.output.head", "magic"),
    ("no head", drop("output", "head"), "$.output", "head"),
    ("unknown activation", at("output", "activation", "relu"), "$.output.activation", "relu"),
    ("no activation", drop("output", "activation"), "$.output", "activation"),
    ("key of another head", at("output", "merge", {}), "$.output", "merge"),
    ("tensor of a wrong type", at("output", "tensor", 1), "$.output.tensor", ""),
    ("no labels", at("output", "labels", []), "$.output.labels", ""),
    ("label gap", at("output", "labels", 1, "value", 3), "$.output.labels", "gaps"),
    ("label twice", at("output", "labels", 1, "value", 1), "$.output.labels", "share"),
    ("label zero", at("output", "labels", 1, "value", 0), "$.output.labels[1].value", "0"),
    ("label without a name", drop("output", "labels", 0, "name"), "$.output.labels[0]", "name"),
    ("colour 256", at("output", "labels", 0, "colour_rgb", 2, 256),
     "$.output.labels[0].colour_rgb[2]", "256"),
    ("terminology of words", at("output", "labels", 0, "terminology", "lung"),
     "$.output.labels[0].terminology", "lung"),
    ("threshold 1.1", at("operating_point", "voxel_threshold", 1.1),
     "$.operating_point.voxel_threshold", "1.1"),
    ("max_findings 65536", at("operating_point", "max_findings", 65536),
     "$.operating_point.max_findings", "65536"),
    ("operating point extra", at("operating_point", "x", 1), "$.operating_point", "x"),
    ("training data of words", at("training_data", "many"), "$.training_data", "many"),
    ("NaN pad value", at("input", "window", "pad_value", NAN),
     "$.input.window.pad_value", "finite"),
    ("NaN threshold", at("operating_point", "voxel_threshold", NAN),
     "$.operating_point.voxel_threshold", "finite"),
    ("NaN spacing", at("input", "spacing_kji_mm", 2, NAN), "$.input.spacing_kji_mm[2]", "finite"),
    ("infinite clip", step(step="clip", low=0, high=INF), "$.input.intensity[1].high", "finite"),
    ("NaN scale", step(step="linear", scale=NAN, offset=0), "$.input.intensity[1].scale", "finite"),
    ("beyond float32", step(step="linear", scale=1e39, offset=0),
     "$.input.intensity[1].scale", "float32"),
    ("beyond float64", at("input", "spacing_kji_mm", 0, 10**400),
     "$.input.spacing_kji_mm[0]", "float32"),
    ("NaN metric", at("metrics", {"dice": {"lung": [1, NAN]}}), "$.metrics.dice.lung[1]", "finite"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "path", "word"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_a_wrong_card_is_refused_with_the_path_of_the_wrong_field(card_data, change, path, word):
    change(card_data)
    with pytest.raises(ModelError) as caught:
        check_card(card_data, "here.json")
    error = caught.value
    assert error.code == "bad-card"
    assert error.exit_code == 78
    found, _, message = error.what.partition(": ")
    if path == "$.files":  # the name of a file may follow
        assert found.startswith(path)
    else:
        assert found == path
    assert word in message
    assert len(str(error)) < 600
    assert "\n" not in str(error)
    assert "here.json" in str(error)


BOXES = [
    ("anchors", at("levels", []), "$.output.levels"),
    ("anchors", at("levels", 0, "stride_kji", [1, 1]), "$.output.levels[0].stride_kji"),
    ("anchors", at("levels", 0, "anchor_sizes_kji", 0, 0, 0),
     "$.output.levels[0].anchor_sizes_kji[0][0]"),
    ("anchors", at("levels", 0, "anchor_sizes_kji", 0, 1, NAN),
     "$.output.levels[0].anchor_sizes_kji[0][1]"),
    ("anchors", at("delta_weights", [1, 1, 1, 1, 1, 0]), "$.output.delta_weights[5]"),
    ("anchors", at("max_per_window", 0), "$.output.max_per_window"),
    ("anchors", at("format", "magic"), "$.output.format"),
    ("anchors", drop("format"), "$.output"),
    ("anchors", at("boxes_tensor", "b"), "$.output"),
    ("anchors", at("labels", 0, "value", 5), "$.output.labels"),
    ("decoded", at("merge", "method", "vote"), "$.output.merge.method"),
    ("decoded", at("merge", "iou", 1.5), "$.output.merge.iou"),
    ("decoded", drop("merge"), "$.output"),
    ("decoded", at("coordinates", "corner"), "$.output.coordinates"),
    ("decoded", at("order", "xyzxyz"), "$.output.order"),
    ("decoded", at("first_label", 0.5), "$.output.first_label"),
    ("decoded", at("activation", "softmax"), "$.output"),
    ("case_score", at("activation", "none"), "$.output.activation"),
    ("case_score", drop("tensor"), "$.output"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "path"), BOXES)
def test_a_wrong_output_of_any_kind_is_refused_with_its_path(card_with_head, kind, change, path):
    data = card_with_head(kind)
    change(data["output"])
    with pytest.raises(ModelError) as caught:
        check_card(data)
    assert caught.value.what.startswith(path + ": ")


def test_decoded_boxes_may_skip_label_values(card_with_head):
    """Their classes come as numbers, not as channels."""
    data = card_with_head("decoded")
    data["output"]["labels"][1]["value"] = 40
    assert [label.value for label in check_card(data).labels] == [1, 40]


@pytest.mark.parametrize("data", [None, 3, "card", [], [{}], {}, True])
def test_what_is_no_card_at_all_is_refused(data):
    with pytest.raises(ModelError, match="bad-card"):
        check_card(data)


@pytest.mark.parametrize("depth", [50, 900, 960, 980, 3000, 100_000])
@pytest.mark.parametrize(("field", "leaf"), [("name", 1), ("metrics", NAN)])
def test_nesting_of_any_depth_is_refused_in_one_line(card_data, field, leaf, depth):
    nest = leaf
    for _ in range(depth):
        nest = [nest]
    with pytest.raises(ModelError) as caught:
        check_card({**card_data, field: nest})
    assert caught.value.code == "bad-card"
    assert len(str(caught.value)) < 500 or field == "metrics"
    while isinstance(nest, list):  # unwrapped by hand: deleting it whole would recurse
        nest = nest[0]


# --- from the disk --------------------------------------------------------------------


def test_a_model_folder_is_read_and_every_file_checked(tmp_path, put_model):
    folder = put_model(tmp_path / "m")
    assert read_card(folder).name == "test-model"
    assert sha256_of_file(folder / "model.onnx") == read_card(folder).weights_sha256


def texts():
    return {
        "nothing": b"",
        "words": b"not json",
        "half a card": b'{"format": "meddetect.model/1", ',
        "binary": bytes(range(256)),
        "UTF-16": '{"a": 1}'.encode("utf-16"),
        "byte order mark": b"\xef\xbb\xbf{}",
        "a list": b"[]",
        "deep lists": b"[" * 200_000,
        "deep objects": b'{"a":' * 200_000,
        "endless number": b"1" * 10_000,
        "two values": b"{} {}",
        "single quotes": b"{'a': 1}",
    }


@pytest.mark.parametrize("name", texts())
def test_a_file_that_is_not_a_card_is_refused(tmp_path, name):
    (tmp_path / "model.json").write_bytes(texts()[name])
    with pytest.raises(ModelError) as caught:
        read_card(tmp_path)
    assert caught.value.code == "bad-card"
    assert str(tmp_path) in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e400"])
def test_numbers_json_does_not_know_are_refused_in_a_file(tmp_path, put_model, number):
    folder = put_model(tmp_path)
    path = folder / "model.json"
    text = path.read_text("utf-8").replace('"voxel_threshold": 0.4', f'"voxel_threshold": {number}')
    assert number in text
    path.write_text(text, "utf-8")
    with pytest.raises(ModelError) as caught:
        read_card(folder)
    assert caught.value.code == "bad-card"
    assert "$.operating_point.voxel_threshold" in caught.value.what


def test_a_name_given_twice_in_a_card_is_refused(tmp_path, put_model):
    folder = put_model(tmp_path)
    path = folder / "model.json"
    text = path.read_text("utf-8").replace('"min_score"', '"voxel_threshold": 0.1, "min_score"')
    path.write_text(text, "utf-8")
    with pytest.raises(ModelError) as caught:
        read_card(folder)
    assert caught.value.code == "bad-card"
    assert "'voxel_threshold' is given twice" in caught.value.what


def test_a_card_of_more_than_4_mib_is_not_read(tmp_path, put_model):
    folder = put_model(tmp_path, description="x" * (4 << 20))
    with pytest.raises(ModelError, match="larger than 4 MiB"):
        read_card(folder)


def test_a_card_of_just_under_4_mib_is_read(tmp_path, put_model):
    folder = put_model(tmp_path, description="x" * ((4 << 20) - 5000))
    assert read_card(folder).name == "test-model"


def test_a_changed_weight_file_is_refused(tmp_path, put_model):
    folder = put_model(tmp_path)
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelError) as caught:
        read_card(folder)
    assert caught.value.code == "changed-file"
    assert "model.onnx" in str(caught.value)


def test_every_listed_file_is_checked_not_only_the_weights(tmp_path, put_model, card_data):
    folder = put_model(tmp_path, files={**card_data["files"], "labels.txt": SHA})
    (folder / "labels.txt").write_text("x")
    with pytest.raises(ModelError) as caught:
        read_card(folder)
    assert caught.value.code == "changed-file"
    assert "labels.txt" in str(caught.value)


def test_a_missing_weight_file_is_refused(tmp_path, put_model):
    folder = put_model(tmp_path)
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError) as caught:
        read_card(folder)
    assert caught.value.code == "missing-file"


def test_a_folder_where_weights_should_be_is_refused(tmp_path, put_model):
    folder = put_model(tmp_path)
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").mkdir()
    with pytest.raises(ModelError, match="missing-file"):
        read_card(folder)


def test_a_folder_without_a_card_says_so(tmp_path):
    with pytest.raises(ModelError) as caught:
        read_card(tmp_path)
    assert caught.value.code == "no-card"
    (tmp_path / "model.json").mkdir()
    with pytest.raises(ModelError) as caught:
        read_card(tmp_path)
    assert caught.value.code == "no-card"


def test_without_jsonschema_a_card_is_not_trusted(card_data, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(BackendUnavailable, match="no-jsonschema"):
        check_card(card_data)


def test_a_card_survives_the_way_through_a_file(tmp_path, put_model, card_data):
    data = json.loads((put_model(tmp_path) / "model.json").read_text("utf-8"))
    assert data == card_data


def test_a_task_that_does_not_go_with_the_head_is_refused(card_with_head):
    card = card_with_head("case_score")
    card["task"] = "segmentation"
    with pytest.raises(ModelError, match="classification") as refused:
        check_card(card)
    assert refused.value.what.startswith("$.task")

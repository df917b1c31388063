from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import CaseScore, Finding, Findings, Provenance
from MedDetectLib.core.labels import Code, Label, Terminology
from MedDetectLib.core.notes import Note

TERM = Terminology(Code("SCT", "1", "a"), Code("SCT", "2", "b"), Code("SCT", "3", "ç ü 肺"))
LABELS = (
    Label(1, "nodule", (255, 0, 10), TERM),
    Label(7, "Läsion\n«x»", (1, 2, 3), replace(TERM, anatomic_region=None)),
)


@pytest.fixture
def findings(oblique_geometry):
    label_map = np.zeros(oblique_geometry.shape_kji, np.uint16)
    label_map[1:3, 1:3, 1:3] = 2
    label_map[4, 6, 8] = 65535
    return Findings(
        geometry=oblique_geometry,
        labels=LABELS,
        items=(
            Finding("F1", 1, 1 / 3, (1.0, 1.0, 1.0, 3.0, 3.0, 3.0), 2, 0.1 + 0.2, 1e-9),
            Finding("F2", 7, 0.25, (4.0, 6.0, 8.0, 5.0, 7.0, 9.0), 65535, 2.5, 0.00105, "edited"),
            Finding("F3", 1, 0.0, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), None, 1.0, 2.0, "rejected"),
        ),
        label_map=label_map,
        provenance=Provenance(
            "m", "1.0.0", "ab" * 32, "ort", "f32", "cpu", "näme", "cd" * 32, "0.1.0", {"x": 0.1}
        ),
        case_scores=(CaseScore(1, 0.1), CaseScore(7, 0.9)),
        notes=(Note("a-b", "one; two"),),
    )


def same(a, b):
    assert a.geometry.shape_kji == b.geometry.shape_kji
    assert np.array_equal(a.geometry.ijk_to_ras, b.geometry.ijk_to_ras)
    for name in ("labels", "items", "provenance", "case_scores", "notes"):
        assert getattr(a, name) == getattr(b, name), name


def test_findings_come_back_exactly_from_json_text(findings):
    text = json.dumps(findings.to_json(), allow_nan=False)
    back = Findings.from_json(json.loads(text), findings.label_map)
    same(findings, back)
    assert json.dumps(back.to_json(), allow_nan=False) == text


def test_plain_data_handed_out_is_not_the_findings_own(findings):
    data = findings.to_json()
    before = copy.deepcopy(data)
    data["findings"][0]["box"][0] = -1
    data["labels"][0]["name"] = "changed"
    assert findings.to_json() == before


def test_the_class_map_merges_findings_of_a_class(findings):
    expected = np.zeros(findings.geometry.shape_kji, np.uint16)
    expected[1:3, 1:3, 1:3] = 1
    expected[4, 6, 8] = 7
    np.testing.assert_array_equal(findings.class_map(), expected)
    assert findings.class_map().dtype == np.uint16


def test_voxels_that_belong_to_no_finding_are_of_no_class(findings):
    """A finding removed in review leaves its voxels behind: they must not crash or count."""
    label_map = findings.label_map.copy()
    label_map[0, 0, 0] = 40000
    fewer = replace(findings, items=findings.items[:1], label_map=label_map)
    class_map = fewer.class_map()
    assert class_map[0, 0, 0] == 0
    assert class_map[4, 6, 8] == 0
    assert (class_map == 1).sum() == 8


def test_findings_without_a_label_map_have_an_empty_class_map(findings):
    boxes_only = replace(findings, items=findings.items[2:], label_map=None)
    assert not boxes_only.class_map().any()
    assert boxes_only.mask_of(boxes_only.items[0]) is None


def test_each_finding_has_its_own_mask_and_label(findings):
    first, second, third = findings
    assert len(findings) == 3
    assert findings.mask_of(first).sum() == 8
    assert findings.mask_of(second).sum() == 1
    assert findings.mask_of(third) is None
    assert findings.label_of(second).value == 7


def test_notes_are_added_not_replaced(findings):
    assert findings.with_notes(Note("c", "d")).notes == (Note("a-b", "one; two"), Note("c", "d"))


def broken(item_number, **changes):
    def change(findings):
        items = list(findings.items)
        items[item_number] = replace(items[item_number], **changes)
        return replace(findings, items=tuple(items))

    return change


REFUSED = {
    "unknown label": (broken(0, label=3), "bad-finding"),
    "label zero": (broken(0, label=0), "bad-finding"),
    "double id": (broken(1, id="F1"), "bad-finding"),
    "double mask": (broken(1, mask_value=2), "bad-finding"),
    "mask zero": (broken(1, mask_value=0), "bad-finding"),
    "negative mask": (broken(1, mask_value=-1), "bad-finding"),
    "mask beyond uint16": (broken(1, mask_value=65536), "bad-finding"),
    "empty box": (broken(0, box=(1, 1, 1, 1, 2, 2)), "bad-finding"),
    "NaN box": (broken(0, box=(1, 1, 1, float("nan"), 2, 2)), "bad-finding"),
    "infinite box": (broken(0, box=(1, 1, 1, float("inf"), 2, 2)), "bad-finding"),
    "NaN score": (broken(0, score=float("nan")), "bad-finding"),
    "infinite diameter": (broken(0, diameter_mm=float("inf")), "bad-finding"),
    "mask without map": (lambda f: replace(f, label_map=None), "bad-finding"),
    "map of another shape": (lambda f: replace(f, label_map=f.label_map[1:]), "bad-label-map"),
    "map of another type": (
        lambda f: replace(f, label_map=f.label_map.astype(np.int16)),
        "bad-label-map",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_findings_that_contradict_themselves_are_refused(findings, name):
    change, code = REFUSED[name]
    with pytest.raises(InputError) as caught:
        change(findings)
    assert caught.value.code == code


def without(*path):
    def change(data):
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return change


def with_value(value, *path):
    def change(data):
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


DAMAGED = {
    "another format": with_value("meddetect.findings/9", "format"),
    "no format": without("format"),
    "no findings": without("findings"),
    "no matrix": without("geometry", "ijk_to_ras"),
    "short box": with_value([1, 2, 3], "findings", 0, "box"),
    "box of words": with_value(["a"] * 6, "findings", 0, "box"),
    "unknown field": with_value(1, "findings", 0, "colour"),
    "missing field": without("findings", 0, "score"),
    "score that is a word": with_value("high", "findings", 0, "score"),
    "label without colour": without("labels", 0, "colour_rgb"),
    "findings that are a number": with_value(3, "findings"),
    "provenance that is a list": with_value([], "provenance"),
    "note without text": without("notes", 0, "text"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_findings_file_is_refused_by_name(findings, name):
    data = json.loads(json.dumps(findings.to_json()))
    DAMAGED[name](data)
    with pytest.raises(InputError) as caught:
        Findings.from_json(data, findings.label_map)
    assert caught.value.code == "bad-findings-file"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [[], "text", None, 3])
def test_what_is_not_even_an_object_is_refused(data):
    with pytest.raises(InputError, match="bad-findings-file"):
        Findings.from_json(data, None)

"""The report stands alone, says everything, and can be tricked into nothing."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from MedDetectLib.adapters.report import write_report
from MedDetectLib.core.findings import CaseScore, Finding, Findings, Provenance
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.labels import Label
from MedDetectLib.core.notes import Note
from MedDetectLib.core.volume import Volume

ATTACK = "<script>alert(1)</script>\"'><img src=http://x.example/a onerror=go()>"
PICTURE = b"\x89PNG\r\n\x1a\n not really"
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Collects tags, attributes and text; fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def made(name: str = "scan.nii.gz", *, found: bool = True) -> tuple[Volume, Findings]:
    geometry = Geometry.from_axes(
        (10, 20, 30), (2.0, 1.0, 0.5), (49.85, 40.0, -20.0), np.diag([-1.0, -1.0, 1.0])
    )
    provenance = Provenance(
        *("chest-model", "1.2.0", "ab12" * 16, f"onnxruntime ({name})", "fp32", "CPU"),
        *(name, "cd" * 32, "0.1.0"),
        seconds={"prepare": 1.234, "network": 5.0},
    )
    box = (1.0, 2.0, 4.0, 3.0, 12.0, 24.0)
    items = (
        Finding("F1", 1, 0.40, box, None, 10.0, 0.4, "rejected"),
        Finding("F2", 1, 0.97, (0.0, 0.0, 0.0, 2.0, 2.0, 2.0), None, 4.0, 0.004),
    )
    notes = (Note("fallback", f"ran on the CPU {name}"),)
    labels = (Label(1, f"nodule {name}", (255, 170, 40)),)
    findings = Findings(geometry, labels, items if found else (), None, provenance, notes=notes)
    volume = Volume(np.zeros(geometry.shape_kji), geometry, "CT", name)
    return volume, findings


def written(volume: Volume, findings: Findings, folder: Path) -> str:
    write_report(volume, findings, PICTURE, folder / "report.html")
    return (folder / "report.html").read_text("utf-8")


def test_the_page_says_everything_about_findings_and_their_origin(tmp_path):
    text = Page(written(*made(), tmp_path)).text
    for said in (
        *("scan.nii.gz", "nodule", "97 %", "40 %", "rejected", "10.0", "0.40", "0.004"),
        *("R 43.1 A 33.5 I 17.0", "10.0 × 10.0 × 4.0"),
        *("chest-model 1.2.0", "ab12" * 16, "cd" * 32, "fp32", "CPU", "prepare 1.23 s"),
        *("30 × 20 × 10", "0.5 × 1 × 2", "LPS", "box only", "ran on the CPU"),
        "For research use; not a medical device",
    ):
        assert said in text, said
    assert text.index("F2") < text.index("F1"), "best score first"


def test_nothing_is_fetched_and_nothing_runs(tmp_path):
    source = written(*made(), tmp_path)
    page = Page(source)
    sources = [a[key] for _, a in page.tags for key in ("src", "href") if key in a]
    assert len(sources) == 1
    kind, data = sources[0].split(",", 1)
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == PICTURE
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "form"}
    assert not re.search(r"@import|url\(|https?:", source)


def test_names_from_files_stay_text(tmp_path):
    page = Page(written(*made(ATTACK), tmp_path))
    assert "script" not in {tag for tag, _ in page.tags}
    assert [tag for tag, _ in page.tags].count("img") == 1
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert page.text.count("<script>alert(1)</script>") >= 4


@pytest.mark.parametrize("name", ["a\udce9b", "up\u202egnp.exe", "two\nlines\x00", "日本"])
def test_any_file_name_can_be_written(name, tmp_path):
    text = Page(written(*made(name), tmp_path)).text
    assert "\u202e" not in text
    assert "\x00" not in text


def test_case_scores_are_listed_best_first(tmp_path):
    volume, findings = made(found=False)
    labels = (Label(1, "normal", (1, 2, 3)), Label(2, "pneumonia", (4, 5, 6)))
    scores = (CaseScore(1, 0.02), CaseScore(2, 0.9991), CaseScore(9, 0.5))
    text = Page(
        written(volume, replace(findings, labels=labels, case_scores=scores), tmp_path)
    ).text
    assert "pneumonia >99 % class 9 50 % normal 2 %" in text


def test_nothing_found_is_said(tmp_path):
    assert "The model found nothing" in Page(written(*made(found=False), tmp_path)).text


def test_the_same_findings_give_the_same_bytes_and_leave_one_file(tmp_path):
    first = written(*made(), tmp_path)
    (tmp_path / "montage.png").write_bytes(PICTURE)
    volume, findings = made()
    write_report(volume, findings, tmp_path / "montage.png", tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text("utf-8") == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["montage.png", "report.html"]


def test_an_oblique_grid_is_named(tmp_path):
    volume, findings = made(found=False)
    c, s = np.cos(0.2), np.sin(0.2)
    turned = Geometry.from_axes(
        (10, 20, 30), (2, 1, 0.5), (0, 0, 0), np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    )
    volume = replace(volume, geometry=turned)
    text = Page(written(volume, replace(findings, geometry=turned), tmp_path)).text
    assert "Oblique yes" in text

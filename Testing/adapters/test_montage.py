"""The montage shows every finding where it is, hung as a radiologist hangs it."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from MedDetectLib.adapters.finding_text import percent_text, place_text
from MedDetectLib.adapters.montage import draw_montage
from MedDetectLib.adapters.plane_views import (
    PlaneView,
    choose_display,
    plane_views,
    point_in_finding,
    view_limits,
    whole_limits,
    zoom_mm,
)
from MedDetectLib.core.findings import CaseScore, Finding, Findings, Provenance
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.labels import Label
from MedDetectLib.core.measure import measure_box, measure_mask, tight_box
from MedDetectLib.core.notes import Note
from MedDetectLib.core.volume import Volume

LABELS = (Label(1, "nodule $x^2$", (255, 170, 40)), Label(2, "cyst", (0, 0, 0)))
MADE = Provenance(
    "tiny", "1.0", "ab" * 32, "onnxruntime", "fp32", "CPU", "in.nii.gz", "cd" * 32, "0.1.0"
)
SUPINE = np.diag([-1.0, -1.0, 1.0])
ORIENTATIONS = ["LPS", "RAS", "LAS", "PIR", "SLA", "ARI"]


def axes_towards(orientation: str) -> np.ndarray:
    sides = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    directions = np.zeros((3, 3))
    for column, letter in enumerate(orientation):
        row, sign = sides[letter]
        directions[row, column] = sign
    return directions


def turned(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]) @ SUPINE


def ball(geometry: Geometry, centre_ras: list[float], radius_mm: float) -> np.ndarray:
    places = geometry.index_to_ras(np.stack(np.indices(geometry.shape_kji), axis=-1))
    return np.linalg.norm(places - centre_ras, axis=-1) <= radius_mm


def case(
    geometry: Geometry, masks: list[np.ndarray], scores: list[float] | None = None
) -> tuple[Volume, Findings]:
    """A made-up CT: lung with one bright ball per mask, each a finding."""
    rng = np.random.default_rng(0)
    array = rng.normal(-850, 20, geometry.shape_kji)
    label_map = np.zeros(geometry.shape_kji, np.uint16)
    items = []
    for n, mask in enumerate(masks, start=1):
        array[mask] = 40
        label_map[mask] = n
        score = scores[n - 1] if scores else 1 - n / 20
        size = measure_mask(mask, geometry)
        items.append(Finding(f"F{n}", 1, score, tight_box(mask), n, *size))
    volume = Volume(array.astype(np.int16), geometry, "CT", "made-up")
    return volume, Findings(geometry, LABELS, tuple(items), label_map, MADE)


def grid(orientation: str = "LPS") -> Geometry:
    shape, spacing = (40, 50, 60), (2.0, 1.5, 1.0)
    directions = axes_towards(orientation)
    centred = Geometry.from_axes(shape, spacing, (0, 0, 0), directions)
    middle = centred.index_to_ras([(n - 1) / 2 for n in shape])
    return Geometry.from_axes(shape, spacing, -middle, directions)


def png_pixels(path: Path) -> np.ndarray:
    image = pytest.importorskip("PIL.Image")
    return np.asarray(image.open(io.BytesIO(path.read_bytes())).convert("RGB"), int)


def views_of(volume: Volume, edge: np.ndarray | None = None) -> dict[str, PlaneView]:
    return {view.name: view for view in plane_views(volume, edge)}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_voxel_at_the_patients_left_front_top_is_drawn_on_those_sides(orientation):
    geometry = grid(orientation)
    edge = geometry.ras_to_edge((-15, 12, 16))  # left, anterior, superior
    array = np.zeros(geometry.shape_kji)
    array[tuple(np.floor(edge).astype(int))] = 1
    views = views_of(Volume(array, geometry), edge)
    expected = {"axial": ("right", "top"), "coronal": ("right", "top"), "sagittal": ("left", "top")}
    for name, (across, down) in expected.items():
        pixels = views[name].pixels
        ((row, column),) = np.argwhere(pixels == 1)
        assert (column > pixels.shape[1] / 2) == (across == "right"), name
        assert (row < pixels.shape[0] / 2) == (down == "top"), name
    assert views["axial"].sides == ("R", "L", "A", "P")
    assert views["coronal"].sides == ("R", "L", "S", "I")
    assert views["sagittal"].sides == ("A", "P", "S", "I")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_box_and_mask_and_bright_pixels_coincide_in_every_plane(orientation):
    geometry = grid(orientation)
    volume, findings = case(geometry, [ball(geometry, [-8, 5, -10], 9)])
    (item,) = findings.items
    mask = findings.mask_of(item)
    for view in plane_views(volume, point_in_finding(findings, item)):
        assert view.crosses(item.box)
        cut = view.cut(mask)
        np.testing.assert_array_equal(cut, view.pixels == 40)
        left, top, width, height = view.rectangle_mm(item.box)
        rows, columns = np.nonzero(cut)
        high, wide = view.spacing_mm
        assert left <= columns.min() * wide + 1e-9
        assert left + width >= (columns.max() + 1) * wide - 1e-9
        assert top <= rows.min() * high + 1e-9
        assert top + height >= (rows.max() + 1) * high - 1e-9


def test_the_rectangle_has_the_sides_of_the_box_in_millimetres():
    geometry = grid("LPS")  # kji spacing 2, 1.5, 1
    box = (3.0, 4.0, 5.0, 10.0, 20.0, 45.0)
    views = views_of(Volume(np.zeros(geometry.shape_kji), geometry))
    assert views["axial"].rectangle_mm(box) == pytest.approx((5, 6, 40, 24))
    assert views["coronal"].rectangle_mm(box) == pytest.approx((5, 2 * 30, 40, 14))
    assert views["sagittal"].rectangle_mm(box) == pytest.approx((6, 2 * 30, 24, 14))
    assert views["coronal"].extent_mm == (0, 60, 80, 0)


def test_a_box_crosses_the_planes_whose_voxels_it_holds_and_no_other():
    geometry = grid("LPS")
    volume = Volume(np.zeros(geometry.shape_kji), geometry)
    crossing = {
        k: views_of(volume, np.array([k + 0.5, 1, 1]))["axial"].crosses((3, 0, 0, 5, 9, 9))
        for k in range(2, 7)
    }
    assert crossing == {2: False, 3: True, 4: True, 5: False, 6: False}


def test_a_turned_grid_names_both_sides_and_an_upright_one_names_one():
    volume = Volume(
        np.zeros((4, 5, 6)), Geometry.from_axes((4, 5, 6), (1, 1, 1), (0, 0, 0), SUPINE)
    )
    assert views_of(volume)["axial"].sides == ("R", "L", "A", "P")
    tilted = replace(
        volume, geometry=Geometry.from_axes((4, 5, 6), (1, 1, 1), (0,) * 3, turned(30))
    )
    assert views_of(tilted)["axial"].sides == ("RA", "LP", "AL", "PR")


def test_the_planes_pass_through_the_mask_even_if_the_box_centre_does_not():
    geometry = grid("LPS")
    shell = ball(geometry, [0, 0, 0], 20) & ~ball(geometry, [0, 0, 0], 14)
    volume, findings = case(geometry, [shell])
    point = point_in_finding(findings, findings.items[0])
    assert shell[tuple(np.floor(point).astype(int))]
    assert all(view.cut(shell).any() for view in plane_views(volume, point))


def test_the_field_around_a_small_finding_stays_small_and_inside_the_plane():
    shape = (100, 300, 300)
    geometry = Geometry.from_axes(shape, (1, 1, 1), (0, 0, 0), SUPINE)
    volume = Volume(np.zeros(shape, np.int16), geometry)
    box = (0.0, 0.0, 290.0, 4.0, 4.0, 294.0)
    item = Finding("F1", 1, 0.5, box, None, *measure_box(box, geometry))
    view = views_of(volume, np.array([2, 2, 292]))["axial"]
    side = zoom_mm((view,), item, geometry)
    left, right, bottom, top = view_limits(view, box, side)
    assert 50 <= side <= 60
    assert (left, right, bottom, top) == (300 - side, 300, side, 0)
    wide = view_limits(view, box, 400)
    assert wide == (-50, 350, 350, -50)
    assert whole_limits(view, 100) == (0, 300, 300, 0)


def test_ct_is_shown_as_lung_beside_lung_and_as_soft_tissue_elsewhere():
    shape = (20, 100, 100)
    geometry = Geometry.from_axes(shape, (2, 2, 2), (0, 0, 0), SUPINE)
    array = np.full(shape, 40, np.int16)
    array[:, :, 50:] = -850
    volume = Volume(array, geometry, "CT")
    against_the_wall, deep = (8, 40, 46, 12, 44, 50), (8, 40, 10, 12, 44, 14)
    assert choose_display(volume, against_the_wall).low == -1350
    assert choose_display(volume, deep).low == -160
    assert choose_display(replace(volume, modality="MR")).low == -850


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_a_constant_image_still_has_grey_levels(value):
    geometry = Geometry.from_axes((3, 4, 5), (1, 1, 1))
    display = choose_display(Volume(np.full((3, 4, 5), value), geometry))
    assert display.low < display.high


def test_words_for_places_and_scores():
    assert place_text((-41.24, -7.0, 102.5)) == "L 41.2  P 7.0  S 102.5"
    assert place_text((-0.01, 0.0, -0.04)) == "R 0.0  A 0.0  S 0.0"
    assert [percent_text(s) for s in (0, 0.001, 0.5, 0.9991, 1)] == [
        *("0 %", "<1 %", "50 %", ">99 %", "100 %")
    ]


def test_the_picture_shows_the_box_in_the_labels_colour_and_repeats_byte_for_byte(tmp_path):
    pytest.importorskip("matplotlib")
    geometry = grid("LPS")
    volume, findings = case(geometry, [ball(geometry, [0, 0, 0], 8), ball(geometry, [9, 5, 3], 6)])
    draw_montage(volume, findings, tmp_path / "a.png")
    draw_montage(volume, findings, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]
    pixels = png_pixels(tmp_path / "a.png")
    assert pixels.shape[1] == 1500
    panels = pixels[450:, 330:]
    assert (np.abs(panels - [255, 170, 40]).sum(axis=-1) < 40).sum() > 200


def test_only_the_best_findings_get_a_row(tmp_path):
    pytest.importorskip("matplotlib")
    geometry = grid("LPS")
    masks = [ball(geometry, [9 * n - 20, 0, 0], 3) for n in range(5)]
    volume, findings = case(geometry, masks)
    heights = []
    for most in (0, 2, 12):
        draw_montage(volume, findings, tmp_path / "m.png", max_findings=most)
        heights.append(len(png_pixels(tmp_path / "m.png")))
    assert heights[1] - heights[0] == 2 * (heights[2] - heights[1]) / 3


def odd_cases() -> dict[str, tuple[Volume, Findings]]:
    flat = Geometry.from_axes((1, 30, 40), (1, 1, 1), (0, 0, 0), SUPINE)
    picture = Volume(
        np.arange(1200.0).reshape(1, 30, 40), flat, "CR", "pic", (Note("no-spacing", "none"),)
    )
    upright = grid("LPS")
    box = (5.0, 5.0, 5.0, 20.0, 20.0, 20.0)
    boxed = Finding("F1", 2, 1.0, box, None, *measure_box(box, upright), "rejected")
    around = replace(boxed, id="F2", box=(-3.0, 2.0, 2.0, 45.0, 25.0, 25.0), score=0.4)
    noise = np.random.default_rng(1).normal(size=upright.shape_kji)
    noise[0, 0, 0] = np.inf
    oblique = Geometry.from_axes((20, 30, 30), (2, 1, 1), (5, 5, 5), turned(20))
    scores = (CaseScore(1, 0.9), CaseScore(2, 0.1), CaseScore(7, 0.0))
    tiny = Geometry.from_axes((1, 1, 1), (1, 1, 1))
    name = "a\nb $\\frac$ \udce9 日本 " * 9
    return {
        "one slice with case scores": (picture, Findings(flat, LABELS, (), None, MADE, scores)),
        "scores of a volume": (
            Volume(noise, upright),
            Findings(upright, LABELS, (), None, MADE, scores),
        ),
        "boxes only, overlapping, beyond the edge": (
            Volume(noise, upright),
            Findings(upright, LABELS, (around, boxed), None, MADE),
        ),
        "oblique": case(oblique, [ball(oblique, list(oblique.index_to_ras((9, 14, 14))), 6)]),
        "nothing found, a name from hell": (
            Volume(np.zeros(upright.shape_kji), upright, "MR", name),
            Findings(upright, LABELS, (), None, MADE),
        ),
        "one voxel": (Volume(np.zeros((1, 1, 1)), tiny), Findings(tiny, LABELS, (), None, MADE)),
    }


@pytest.mark.parametrize("name", list(odd_cases()))
def test_every_odd_case_becomes_a_picture(name, tmp_path):
    pytest.importorskip("matplotlib")
    volume, findings = odd_cases()[name]
    draw_montage(volume, findings, tmp_path / "montage.png")
    height, width, _ = png_pixels(tmp_path / "montage.png").shape
    assert width == 1500
    assert 300 < height < 2000


def test_a_flat_image_has_one_plane():
    volume, _ = odd_cases()["one slice with case scores"]
    assert [view.name for view in plane_views(volume)] == ["axial"]
    standing = replace(
        volume, geometry=Geometry.from_axes((1, 30, 40), (1, 1, 1), (0,) * 3, axes_towards("LIP"))
    )
    assert [view.name for view in plane_views(standing)] == ["coronal"]


def test_importing_the_montage_does_not_import_matplotlib():
    code = "import sys, MedDetectLib.adapters.montage; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

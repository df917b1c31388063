"""`montage.png`: every finding in three planes, with its box, contour and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MedDetectLib.adapters.finding_text import (
    best_first,
    is_placed,
    percent_text,
    place_text,
    plain,
    volume_text,
)
from MedDetectLib.adapters.montage_sheet import (
    AMBER,
    BRIGHT,
    DIM,
    FAINT,
    TEXT,
    Mark,
    Sheet,
    draw_panel,
    on_dark,
)
from MedDetectLib.adapters.plane_views import (
    Display,
    PlaneView,
    choose_display,
    plane_views,
    point_in_finding,
    view_limits,
    whole_limits,
    zoom_mm,
)
from MedDetectLib.cases.atomic import write_bytes
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.core.geometry import FloatArray
from MedDetectLib.core.volume import Volume

__all__ = ["draw_montage"]

WIDTH, MARGIN, GAP = 1500, 26, 12
HEADER, WARNING, FOOTER = 96, 30, 60
OVERVIEW_HEIGHT = 540
PANEL, ROW_GAP = 376, 20
SCORE_LINE, MOST_SCORES = 40, 12
STATE_COLOURS = {"accepted": "#56d364", "rejected": "#f85149", "edited": "#79c0ff"}


def draw_montage(
    volume: Volume,
    findings: Findings,
    path: Path,
    *,
    max_findings: int = 12,
    display: tuple[float, float] | None = None,
) -> None:
    """Draw the findings of one volume as a PNG picture, 1500 pixels wide.

    First an overview: the planes of the whole volume through the best finding, with every
    box that crosses them; then one row per finding, best score first. Radiological
    convention: the patient's right is on the viewer's left in axial and coronal planes,
    anterior is on the viewer's left in sagittal ones. The planes are those of the volume's
    own grid, in true proportions; the picture says when that grid is oblique. The same
    findings give the same bytes.

    Args:
        volume: the image the findings lie on.
        findings: on the volume's own grid.
        path: the file to write.
        max_findings: rows; the picture says how many more there are.
        display: lowest and highest value shown, in the volume's unit; chosen by modality
            and surroundings if None.

    Raises:
        BackendUnavailable: ``no-matplotlib``.
        StoreError: ``cannot-write``.
    """
    write_bytes(path, _Montage(volume, findings, max_findings, display).png())


@dataclass(frozen=True)
class _Frame:
    """A rectangle of the page: left, top, width and height in pixels."""

    x: float
    y: float
    width: float
    height: float


class _Montage:
    """Lays one montage out and draws it."""

    def __init__(
        self,
        volume: Volume,
        findings: Findings,
        max_findings: int,
        display: tuple[float, float] | None,
    ) -> None:
        self.volume, self.findings = volume, findings
        self.items = best_first(findings)
        self.shown = self.items[: max(0, max_findings)]
        self.fixed = None if display is None else Display(*display)
        self.codes = list(dict.fromkeys(note.code for note in (*volume.notes, *findings.notes)))
        self.doubt_scale = "?" if "no-spacing" in self.codes else ""
        self.doubt_sides = "?" if "no-orientation" in self.codes else ""
        self.has_place = is_placed(volume, findings)
        best = self.items[0] if self.items else None
        self.centre = None if best is None else point_in_finding(findings, best)
        self.views = plane_views(volume, self.centre)
        least = max(max(view.size_mm) for view in self.views) / 4
        self.fields = [whole_limits(view, least) for view in self.views]
        self.warnings = [plain(code, 40) for code in self.codes]
        if volume.geometry.is_oblique:
            self.warnings.insert(0, "oblique grid: its planes are tilted against the body")
        self.top = HEADER + (WARNING if self.warnings else 0)
        self.scores = sorted(findings.case_scores, key=lambda score: -score.score)[:MOST_SCORES]
        self.beside = bool(self.scores) and len(self.views) == 1

    def png(self) -> bytes:
        """Draw everything; return the file."""
        frames, overview = self._overview_frames()
        scores = 0 if self.beside or not self.scores else 34 + SCORE_LINE * len(self.scores)
        rows = len(self.shown) * (PANEL + ROW_GAP)
        height = self.top + overview + ROW_GAP + scores + rows + FOOTER
        self.sheet = Sheet(WIDTH, round(height))
        self._draw_header()
        self._draw_overview(frames)
        y: float = self.top + overview + ROW_GAP
        if self.beside:
            left = frames[0].x + frames[0].width + 50
            self._draw_scores(left, self.top + 30, WIDTH - MARGIN - left)
        elif self.scores:
            self._draw_scores(MARGIN, y + 20, WIDTH - 2 * MARGIN)
        y += scores
        for item in self.shown:
            self._draw_row(item, y)
            y += PANEL + ROW_GAP
        self._draw_footer()
        return self.sheet.png()

    # --- words ------------------------------------------------------------------------

    def _draw_header(self) -> None:
        sheet, made = self.sheet, self.findings.provenance
        sheet.text(MARGIN, 44, plain(self.volume.name, 60), px=27, colour=BRIGHT, bold=True)
        model = f"{plain(made.model, 60)} {plain(made.model_version, 20)}"
        modality = plain(self.volume.modality, 10) or "unknown modality"
        sheet.text(MARGIN, 74, f"{modality}  ·  {model}  ·  MedDetect", px=17, colour=DIM)
        right = WIDTH - MARGIN
        sheet.text(right, 44, self._count_text(), px=22, colour=BRIGHT, align="right")
        hidden = len(self.items) - len(self.shown)
        if hidden:
            text = f"the best {len(self.shown)} shown, {hidden} more not shown"
            sheet.text(right, 74, text, px=17, colour=AMBER, align="right")
        if self.warnings:
            text = plain("!  " + "  ·  ".join(self.warnings), 150)
            sheet.text(MARGIN, 104, text, px=16, colour=AMBER)

    def _count_text(self) -> str:
        count = len(self.items)
        if count:
            return f"{count} finding{'s' if count > 1 else ''}"
        return "" if self.scores else "no findings"

    def _draw_footer(self) -> None:
        self.sheet.bar(MARGIN, self.sheet.height - 44, WIDTH - 2 * MARGIN, 1, FAINT)
        y = self.sheet.height - 18
        self.sheet.text(MARGIN, y, "For research use; not a medical device.", px=15, colour=DIM)
        if not self.has_place:
            return
        text = "Patient's right on the left of axial and coronal planes, anterior on the left of"
        self.sheet.text(
            WIDTH - MARGIN, y, f"{text} sagittal planes.", px=15, colour=DIM, align="right"
        )

    def _draw_scores(self, x: float, y: float, width: float) -> None:
        names = {label.value: label for label in self.findings.labels}
        self.sheet.text(x, y, "Scores of the whole case", px=17, colour=DIM)
        name_width, number_width = min(360.0, 0.45 * width), 90.0
        room = width - name_width - number_width
        for place, score in enumerate(self.scores):
            line = y + 44 + SCORE_LINE * place
            label = names.get(score.label)
            name = label.name if label else f"class {score.label}"
            colour = on_dark(label.colour_rgb) if label else TEXT
            shade = BRIGHT if place == 0 else TEXT
            fitting = int(name_width / 11)
            self.sheet.text(x, line, plain(name, fitting), px=20, colour=shade, bold=place == 0)
            left = x + name_width
            self.sheet.bar(left, line - 13, room, 12, FAINT)
            self.sheet.bar(left, line - 13, room * min(max(score.score, 0.0), 1.0), 12, colour)
            self.sheet.text(
                x + width, line, percent_text(score.score), px=20, colour=shade, align="right"
            )

    # --- pictures ---------------------------------------------------------------------

    def _overview_frames(self) -> tuple[list[_Frame], float]:
        """Return where the overview's panels go, all to one scale, and its height."""
        sizes = [(right - left, bottom - top) for left, right, bottom, top in self.fields]
        room = WIDTH - 2 * MARGIN - GAP * (len(sizes) - 1)
        room = room // 2 if self.beside else room
        scale = min(room / sum(w for w, _ in sizes), OVERVIEW_HEIGHT / max(h for _, h in sizes))
        tallest = scale * max(h for _, h in sizes)
        used = scale * sum(w for w, _ in sizes) + GAP * (len(sizes) - 1)
        x = MARGIN if self.beside else (WIDTH - used) / 2
        frames = []
        for width, height in ((scale * w, scale * h) for w, h in sizes):
            frames.append(_Frame(x, self.top + (tallest - height) / 2, width, height))
            x += width + GAP
        return frames, max(tallest, 70 + SCORE_LINE * len(self.scores) if self.beside else 0.0)

    def _draw_overview(self, frames: Sequence[_Frame]) -> None:
        best = self.items[0] if self.items else None
        display = self.fixed or choose_display(self.volume, best.box if best else None)
        named = {item.id for item in self.shown}
        bar = 0.36 * min(right - left for left, right, _, _ in self.fields)
        for view, frame, field in zip(self.views, frames, self.fields, strict=True):
            marks = [
                self._mark(view, item, is_main=item is best, named=item.id in named)
                for item in reversed(self.items)
                if view.crosses(item.box)
            ]
            cross = None
            if self.centre is not None and len(self.views) > 1:
                left, top, width, height = view.rectangle_mm(_voxel_box(self.centre))
                cross = (left + width / 2, top + height / 2)
            self._draw_panel(view, frame, display, field, marks, cross=cross, bar_mm=bar)

    def _draw_row(self, item: Finding, y: float) -> None:
        """Draw one finding: what is known of it, and its planes."""
        views = plane_views(self.volume, point_in_finding(self.findings, item))
        display = self.fixed or choose_display(self.volume, item.box)
        self.sheet.bar(MARGIN, y - ROW_GAP / 2, WIDTH - 2 * MARGIN, 1, FAINT)
        self._draw_facts(item, display, y)
        side = zoom_mm(views, item, self.volume.geometry)
        left = WIDTH - MARGIN - 3 * PANEL - 2 * GAP
        for column, view in enumerate(views):
            others = [
                self._mark(view, other, is_main=False, named=True)
                for other in self.items
                if other is not item and view.crosses(other.box)
            ]
            marks = [*others, self._mark(view, item, is_main=True, named=False)]
            frame = _Frame(left + column * (PANEL + GAP), y, PANEL, PANEL)
            limits = view_limits(view, item.box, side)
            self._draw_panel(view, frame, display, limits, marks)

    def _draw_facts(self, item: Finding, display: Display, y: float) -> None:
        sheet, label = self.sheet, self.findings.label_of(item)
        colour = on_dark(label.colour_rgb)
        sheet.bar(MARGIN, y + 6, 5, 64, colour)
        x = MARGIN + 18
        sheet.text(x, y + 32, plain(item.id, 12), px=31, colour=BRIGHT, bold=True)
        sheet.text(x, y + 64, plain(label.name, 24), px=20, colour=colour)
        sheet.text(x + 236, y + 32, percent_text(item.score), px=24, colour=BRIGHT, align="right")
        sheet.bar(x, y + 86, 236, 6, FAINT)
        sheet.bar(x, y + 86, 236 * min(max(item.score, 0.0), 1.0), 6, colour)
        geometry = self.volume.geometry
        place = place_text(geometry.box_centre_ras_mm(np.array(item.box)))
        doubt = self.doubt_scale
        measured = "mask" if item.mask_value is not None else "box only"
        facts = [
            ("diameter", f"{item.diameter_mm:.1f} mm{doubt}"),
            ("volume", f"{volume_text(item.volume_ml)}{doubt}"),
            ("measured on", measured),
            ("centre, mm", f"{place}{self.doubt_sides}"),
            ("window", display.text),
            ("review", item.state),
        ]
        for line, (name, value) in enumerate(facts):
            down = y + 128 + 43 * line
            sheet.text(x, down, name, px=13.5, colour=DIM)
            shade = STATE_COLOURS.get(value, TEXT) if name == "review" else TEXT
            sheet.text(x, down + 20, value, px=18, colour=shade)

    def _mark(self, view: PlaneView, item: Finding, *, is_main: bool, named: bool) -> Mark:
        """Return what one finding looks like in one plane."""
        mask = None
        if self.findings.label_map is not None and item.mask_value is not None:
            mask = view.cut(self.findings.label_map) == item.mask_value
        return Mark(
            rectangle_mm=view.rectangle_mm(item.box),
            colour_rgb=self.findings.label_of(item).colour_rgb,
            mask=mask,
            tag=plain(item.id, 12) if named else "",
            is_main=is_main,
        )

    def _draw_panel(
        self,
        view: PlaneView,
        frame: _Frame,
        display: Display,
        limits_mm: tuple[float, float, float, float],
        marks: Sequence[Mark],
        *,
        cross: tuple[float, float] | None = None,
        bar_mm: float | None = None,
    ) -> None:
        draw_panel(
            self.sheet.panel(frame.x, frame.y, frame.width, frame.height),
            view,
            display,
            limits_mm,
            marks,
            cross_mm=cross,
            bar_mm=bar_mm,
            has_place=self.has_place,
            doubt_scale=self.doubt_scale,
            doubt_sides=self.doubt_sides,
        )


def _voxel_box(edge_kji: FloatArray) -> tuple[float, float, float, float, float, float]:
    """Return the box of the voxel that holds a point in voxel edges."""
    k, j, i = (float(np.floor(edge)) for edge in edge_kji)
    return k, j, i, k + 1, j + 1, i + 1

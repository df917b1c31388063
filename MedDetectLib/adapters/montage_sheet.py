"""The sheet a montage is drawn on: a dark page in pixels, and one image panel.

The only file that knows matplotlib. It uses the figure object and the Agg canvas: no
pyplot, no display, no global state.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from MedDetectLib.adapters.plane_views import Display, PlaneView
from MedDetectLib.core.errors import BackendUnavailable

__all__ = [
    "AMBER",
    "BRIGHT",
    "DIM",
    "FAINT",
    "TEXT",
    "Mark",
    "Sheet",
    "draw_panel",
    "on_dark",
]

PAGE, BRIGHT, TEXT, DIM, FAINT = "#0d1117", "#f2f5f8", "#c9d1d9", "#8b949e", "#2b323b"
AMBER = "#e3b341"
DPI = 150
FONT = "DejaVu Sans"
Colour = tuple[float, float, float]
_SHADE = {"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 1.5}
SCALE_BARS_MM = (500, 200, 100, 50, 20, 10, 5, 2, 1)


@dataclass(frozen=True, eq=False)
class Mark:
    """What is drawn over a panel for one finding.

    Args:
        rectangle_mm: left, top, width, height in picture mm.
        colour_rgb: 0 to 255.
        mask: (rows, columns) of the panel's plane, or None.
        tag: text beside the box; nothing if empty.
        is_main: drawn in full; others are drawn thinner.
    """

    rectangle_mm: tuple[float, float, float, float]
    colour_rgb: tuple[int, int, int]
    mask: npt.NDArray[np.bool_] | None = None
    tag: str = ""
    is_main: bool = True


class Sheet:
    """A page measured in pixels from its top left corner.

    Args:
        width, height: in pixels; the written picture has exactly this size.

    Raises:
        BackendUnavailable: ``no-matplotlib``.
    """

    def __init__(self, width: int, height: int) -> None:
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError as error:
            raise BackendUnavailable(
                "no-matplotlib",
                "the montage needs the Python package 'matplotlib'",
                todo="pip install matplotlib",
            ) from error
        self.width, self.height = width, height
        self.figure: Any = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAGE)
        FigureCanvasAgg(self.figure)

    def panel(self, x: float, y: float, width: float, height: float) -> Any:
        """Return matplotlib axes over a rectangle of the page."""
        bottom = 1 - (y + height) / self.height
        place = (x / self.width, bottom, width / self.width, height / self.height)
        axes = self.figure.add_axes(place, facecolor="black")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(color=FAINT, linewidth=0.6)
        return axes

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        px: float = 17,
        colour: str | Colour = TEXT,
        bold: bool = False,
        align: str = "left",
    ) -> None:
        """Write one line whose baseline lies at y; `px` is the height of the font."""
        self.figure.text(
            x / self.width,
            1 - y / self.height,
            text,
            fontsize=px * 72 / DPI,
            family=FONT,
            color=colour,
            weight="bold" if bold else "normal",
            ha=align,
            va="baseline",
            parse_math=False,
        )

    def bar(self, x: float, y: float, width: float, height: float, colour: str | Colour) -> None:
        """Fill a rectangle."""
        from matplotlib.patches import Rectangle

        corner = (x / self.width, 1 - (y + height) / self.height)
        self.figure.add_artist(
            Rectangle(
                corner,
                width / self.width,
                height / self.height,
                facecolor=colour,
                edgecolor="none",
                transform=self.figure.transFigure,
            )
        )

    def png(self) -> bytes:
        """Return the page as a PNG file."""
        stream = io.BytesIO()
        with warnings.catch_warnings():
            # a name in a script the font lacks is drawn as boxes; nobody can do anything
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            self.figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": "MedDetect"})
        return stream.getvalue()


def draw_panel(
    axes: Any,
    view: PlaneView,
    display: Display,
    limits_mm: tuple[float, float, float, float],
    marks: Sequence[Mark] = (),
    *,
    bar_mm: float | None = None,
    has_place: bool = True,
    doubt_scale: str = "",
    doubt_sides: str = "",
    cross_mm: tuple[float, float] | None = None,
) -> None:
    """Draw a plane with its boxes, contours, side letters and a scale bar.

    Args:
        axes: from `Sheet.panel`, of the same proportions as `limits_mm`.
        view: what to show.
        display: how values become grey.
        limits_mm: left, right, bottom, top of the field shown, in picture mm.
        marks: the findings in this plane, main ones last.
        bar_mm: room for the scale bar, a third of the panel's width if None.
        has_place: whether sides and lengths mean anything; not for a scanned picture.
        doubt_scale: set after lengths when the spacing is assumed, such as ``"?"``.
        doubt_sides: set after the letters when the orientation is assumed.
        cross_mm: where the two other planes cut this one, in picture mm.
    """
    left, right, bottom, top = limits_mm
    pixels = view.pixels.astype(np.float32)
    pixels = np.where(np.isfinite(pixels), pixels, np.float32(display.low))
    drawn_px = axes.get_window_extent().width / (right - left) * view.spacing_mm[1]
    axes.imshow(
        pixels,
        cmap="gray",
        vmin=display.low,
        vmax=display.high,
        extent=view.extent_mm,
        aspect="auto",
        interpolation="bicubic" if drawn_px > 1 else "hanning",
        interpolation_stage="data",
    )
    axes.set(xlim=(left, right), ylim=(bottom, top), autoscale_on=False)
    if cross_mm is not None:
        axes.axvline(cross_mm[0], color="white", linewidth=0.5, alpha=0.22)
        axes.axhline(cross_mm[1], color="white", linewidth=0.5, alpha=0.22)
    for mark in marks:
        _draw_mark(axes, view, mark)
    if not has_place:
        return
    _write_sides(axes, view, doubt_sides)
    _draw_scale_bar(axes, limits_mm, bar_mm or 0.36 * (right - left), doubt_scale)


def _draw_mark(axes: Any, view: PlaneView, mark: Mark) -> None:
    """Draw one finding's box and contour, with a dark rim that sets it off from bright tissue."""
    from matplotlib.patches import Rectangle

    colour = on_dark(mark.colour_rgb)
    left, top, width, height = mark.rectangle_mm
    line = 0.9 if mark.is_main else 0.6
    has_mask = mark.mask is not None and bool(mark.mask.any())
    edge = lighter(colour, 0.6) if has_mask else colour
    box = Rectangle((left, top), width, height, fill=False, edgecolor=edge, linewidth=line)
    box.set_path_effects(_rim(line + 0.7))
    axes.add_patch(box)
    if mark.mask is not None and has_mask:
        axes.contour(
            *_contour_grid(mark.mask, view.spacing_mm),
            levels=[0.5],
            colors=[colour],
            linewidths=line + 0.2,
        )
    if mark.tag:
        axes.annotate(
            mark.tag,
            (left + width, top) if mark.is_main else (left, top + height),
            (2, 1) if mark.is_main else (-2, -1),
            ha="left" if mark.is_main else "right",
            va="bottom" if mark.is_main else "top",
            textcoords="offset points",
            color=colour,
            fontsize=6.5,
            family=FONT,
            weight="bold",
            parse_math=False,
            path_effects=_rim(1.6),
            annotation_clip=True,
        )


def _contour_grid(
    mask: npt.NDArray[np.bool_], spacing_mm: tuple[float, float]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return x, y (picture mm of pixel centres) and the mask as numbers.

    Cut to the mask with an empty border, so that its outline closes at the image's edge.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    x = (np.arange(left - 1, right + 1) + 0.5) * spacing_mm[1]
    y = (np.arange(top - 1, bottom + 1) + 0.5) * spacing_mm[0]
    return x, y, np.pad(mask[top:bottom, left:right], 1).astype(float)


def _write_sides(axes: Any, view: PlaneView, doubt: str) -> None:
    """Write the plane's name and place, and the patient's side at each border."""
    width = axes.get_window_extent().width
    corner = view.name if width > 200 else ""
    if width > 330:
        corner = f"{view.name}  {view.place}{doubt}"
    left, right, top, bottom = (f"{letters}{doubt}" for letters in view.sides)
    for x, y, text, across, down, colour in (
        (0.02, 0.98, corner, "left", "top", TEXT),
        (0.02, 0.5, left, "left", "center", BRIGHT),
        (0.98, 0.5, right, "right", "center", BRIGHT),
        (0.5, 0.98, top, "center", "top", BRIGHT),
        (0.5, 0.02, bottom, "center", "bottom", BRIGHT),
    ):
        is_side = colour == BRIGHT
        axes.text(
            x,
            y,
            text,
            transform=axes.transAxes,
            ha=across,
            va=down,
            color=colour,
            fontsize=8 if is_side else 6.5,
            weight="bold" if is_side else "normal",
            family=FONT,
            parse_math=False,
            path_effects=_rim(2.2) if is_side else [],
            bbox=None if is_side else _SHADE,
        )


def _draw_scale_bar(
    axes: Any, limits_mm: tuple[float, float, float, float], room_mm: float, doubt: str
) -> None:
    """Draw a bar of a round length at the lower right."""
    from matplotlib.lines import Line2D

    left, right, bottom, top = limits_mm
    length = next((mm for mm in SCALE_BARS_MM if mm <= room_mm), SCALE_BARS_MM[-1])
    x1, y = right - 0.03 * (right - left), bottom - 0.04 * (bottom - top)
    tick = 0.012 * (bottom - top)
    x0 = x1 - length
    axes.add_line(
        Line2D(
            [x0, x0, x0, x1, x1, x1],
            [y - tick, y + tick, y, y, y - tick, y + tick],
            color=BRIGHT,
            linewidth=1.1,
            path_effects=_rim(2.4),
        )
    )
    axes.annotate(
        f"{length} mm{doubt}",
        ((x0 + x1) / 2, y),
        (0, 3.2),
        textcoords="offset points",
        color=BRIGHT,
        fontsize=6.5,
        family=FONT,
        ha="center",
        path_effects=_rim(1.6),
    )


def _rim(width: float) -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width, foreground="black", alpha=0.8)]


def on_dark(colour_rgb: tuple[int, int, int]) -> Colour:
    """Return a colour light enough to be seen on black, 0 to 1."""
    red, green, blue = (min(max(c, 0), 255) / 255 for c in colour_rgb)
    bright = 0.3 * red + 0.59 * green + 0.11 * blue
    return lighter((red, green, blue), max(0.0, (0.5 - bright) / max(1 - bright, 0.1)))


def lighter(colour: Colour, share: float) -> Colour:
    """Return a colour mixed with a share of white."""
    red, green, blue = (c + (1 - c) * share for c in colour)
    return red, green, blue

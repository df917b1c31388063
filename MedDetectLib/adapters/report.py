"""`report.html`: the findings of one volume on one self-contained page."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np

from MedDetectLib.adapters.finding_text import (
    best_first,
    is_placed,
    percent_text,
    place_text,
    plain,
)
from MedDetectLib.adapters.report_style import STYLE
from MedDetectLib.cases.atomic import write_bytes
from MedDetectLib.core.findings import Finding, Findings
from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.labels import Label
from MedDetectLib.core.notes import Note
from MedDetectLib.core.volume import Volume

__all__ = ["write_report"]

RESEARCH_USE = "For research use; not a medical device"
HANGING_TEXT = (
    "Radiological convention: the patient’s right is on the left of axial and coronal planes,"
    " anterior is on the left of sagittal planes."
)
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
COLUMNS = (
    ("Finding", False),
    ("Label", False),
    ("Score", False),
    ("Review", False),
    ("Diameter, mm", True),
    ("Volume, mL", True),
    ("Centre, mm", False),
    ("Box R–L × A–P × S–I, mm", False),
    ("Measured on", False),
)
MINUTE_VOLUME_ML = 0.1


def write_report(volume: Volume, findings: Findings, montage_png: bytes | Path, path: Path) -> None:
    """Write one HTML file that needs nothing else: no script, no link, the picture inside.

    Every text that comes from a file is escaped, and the page forbids itself to load
    anything. It bears no patient data beyond the input's name and no date: the same
    findings give the same bytes.

    Args:
        volume: the image the findings lie on.
        findings: on the volume's own grid.
        montage_png: the picture, or the file it is in.
        path: the file to write.

    Raises:
        StoreError: ``cannot-write``.
    """
    picture = montage_png if isinstance(montage_png, bytes) else montage_png.read_bytes()
    write_bytes(path, _page(volume, findings, picture).encode("utf-8"))


def _page(volume: Volume, findings: Findings, picture: bytes) -> str:
    """Return the whole document."""
    name = _text(volume.name)
    body = [
        _header(volume, findings),
        _notes(dict.fromkeys((*volume.notes, *findings.notes))),
        _findings_table(findings),
        _case_scores(findings),
        _montage(picture, is_placed(volume, findings)),
        _provenance(findings),
        _geometry(volume),
        f"<footer>{RESEARCH_USE}. Made by MedDetect"
        f" {_text(findings.provenance.meddetect_version)}.</footer>",
    ]
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{name} – MedDetect findings</title>\n<style>\n{STYLE}\n</style>",
            "</head>\n<body>\n<main>",
            *(part for part in body if part),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _header(volume: Volume, findings: Findings) -> str:
    made = findings.provenance
    model = f"{_text(made.model)} {_text(made.model_version)}"
    count = len(findings)
    said = f"{count} finding{'' if count == 1 else 's'}" if count else "no findings"
    if not count and findings.case_scores:
        said = "scores of the whole case"
    modality = _text(volume.modality) or "unknown modality"
    return (
        f'<header>\n<div class="kind">MedDetect findings</div>\n<h1>{_text(volume.name)}</h1>\n'
        f'<p class="lead">{said} · {modality} · model {model}'
        f" <code>{_text(made.model_sha256[:12])}</code></p>\n"
        f'<p class="research">{RESEARCH_USE}</p>\n</header>'
    )


def _notes(notes: Iterable[Note]) -> str:
    """Return what was accepted, replaced or left out, where nobody can miss it."""
    lines = [f"<li><code>{_text(n.code)}</code>{_text(n.text)}</li>" for n in notes]
    if not lines:
        return ""
    return '<ul class="notes" aria-label="Notes">\n' + "\n".join(lines) + "\n</ul>"


def _findings_table(findings: Findings) -> str:
    if not findings.items:
        said = "" if findings.case_scores else '<p class="dim">The model found nothing.</p>'
        return f"<h2>Findings</h2>\n{said}" if said else ""
    heads = "".join(
        f'<th scope="col"{_class("number" if is_number else "")}>{name}</th>'
        for name, is_number in COLUMNS
    )
    rows = "\n".join(_finding_row(item, findings) for item in best_first(findings))
    return (
        f'<h2>Findings</h2>\n<div class="scroll">\n<table>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )


def _finding_row(item: Finding, findings: Findings) -> str:
    geometry = findings.geometry
    centre = geometry.box_centre_ras_mm(np.array(item.box))
    sides = geometry.box_size_kji_mm(np.array(item.box))
    order = geometry.axis_map_to("LPS").order[::-1]
    size = " × ".join(f"{sides[axis]:.1f}" for axis in order)
    ras = ", ".join(f"{value:.2f}" for value in centre)
    digits = 3 if item.volume_ml < MINUTE_VOLUME_ML else 2
    cells = (
        f'<th scope="row">{_text(item.id)}</th>',
        f"<td>{_label(findings.label_of(item))}</td>",
        f"<td>{_meter(item.score)}</td>",
        f"<td{_class(_text(item.state))}>{_text(item.state)}</td>",
        f'<td class="number">{item.diameter_mm:.1f}</td>',
        f'<td class="number">{item.volume_ml:.{digits}f}</td>',
        f'<td title="RAS {ras} mm">{place_text(centre)}</td>',
        f"<td>{size}</td>",
        f"<td>{'box only' if item.mask_value is None else 'mask'}</td>",
    )
    return f"<tr>{''.join(cells)}</tr>"


def _case_scores(findings: Findings) -> str:
    if not findings.case_scores:
        return ""
    labels = {label.value: label for label in findings.labels}
    rows = []
    for score in sorted(findings.case_scores, key=lambda score: -score.score):
        known = labels.get(score.label)
        name = _label(known) if known else f"class {score.label}"
        rows.append(f'<tr><th scope="row">{name}</th><td>{_meter(score.score)}</td></tr>')
    return _facts_of("Scores of the whole case", rows)


def _montage(picture: bytes, is_placed: bool) -> str:
    data = base64.b64encode(picture).decode("ascii")
    caption = f"<figcaption>{HANGING_TEXT}</figcaption>\n" if is_placed else ""
    return (
        "<h2>Pictures</h2>\n<figure>\n"
        f'<img alt="The findings in axial, coronal and sagittal planes, with boxes and contours"'
        f' src="data:image/png;base64,{data}">\n'
        f"{caption}</figure>"
    )


def _provenance(findings: Findings) -> str:
    made = findings.provenance
    seconds = " · ".join(f"{_text(stage)} {spent:.2f} s" for stage, spent in made.seconds.items())
    return _facts(
        "How they came about",
        [
            ("Input", _text(made.input_name)),
            ("Input SHA-256", f"<code>{_text(made.input_sha256)}</code>"),
            ("Model", f"{_text(made.model)} {_text(made.model_version)}"),
            ("Model SHA-256", f"<code>{_text(made.model_sha256)}</code>"),
            ("Backend", _text(made.backend)),
            ("Precision", _text(made.precision)),
            ("Device", _text(made.device)),
            ("Time per stage", seconds or "not measured"),
            ("MedDetect", _text(made.meddetect_version)),
        ],
    )


def _geometry(volume: Volume) -> str:
    own: Geometry = volume.geometry
    size = " × ".join(str(n) for n in own.shape_kji[::-1])
    spacing = " × ".join(f"{mm:.4g}" for mm in own.spacing_kji_mm[::-1])
    oblique = "yes: its axes are tilted against the body" if own.is_oblique else "no"
    return _facts(
        "The volume’s grid",
        [
            ("Modality", _text(volume.modality) or "unknown"),
            ("Voxels (columns × rows × slices)", size),
            ("Spacing, mm", spacing),
            ("Axes run towards", _text(own.orientation)),
            ("Oblique", oblique),
            ("First voxel, mm", place_text(own.origin_ras_mm)),
        ],
    )


def _facts(title: str, facts: Sequence[tuple[str, str]]) -> str:
    """Return a table of names and values; the values are HTML already."""
    return _facts_of(
        title, [f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in facts]
    )


def _facts_of(title: str, rows: Sequence[str]) -> str:
    lines = "\n".join(rows)
    return (
        f'<h2>{title}</h2>\n<div class="scroll">\n<table class="facts">\n<tbody>\n{lines}\n'
        "</tbody>\n</table>\n</div>"
    )


def _label(label: Label) -> str:
    red, green, blue = (min(max(int(c), 0), 255) for c in label.colour_rgb)
    return (
        f'<span class="swatch" style="background:rgb({red} {green} {blue})"></span>'
        f"{_text(label.name)}"
    )


def _meter(score: float) -> str:
    share = 100 * min(max(score, 0.0), 1.0)
    bar = f'<span class="bar"><span style="width:{share:.1f}%"></span></span>'
    return f'<span title="{score:.4f}">{bar}{_text(percent_text(score))}</span>'


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _text(text: str) -> str:
    """Return text that may come from a file as HTML that can only be text."""
    return escape(plain(str(text)), quote=True)

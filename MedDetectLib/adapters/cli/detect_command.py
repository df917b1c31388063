"""`meddetect detect`: one volume in, a folder of findings out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from MedDetectLib.adapters.cli import progress
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Findings
from MedDetectLib.core.volume import Volume
from MedDetectLib.core.watch import Watch

__all__ = ["add_to", "describe", "print_findings", "run"]


def add_to(commands: Any, everywhere: argparse.ArgumentParser) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser(
        "detect",
        parents=[everywhere],
        help="run a model on a CT or MRI volume",
        description="Run a model on a volume and write findings.json, segmentation.seg.nrrd,"
        " boxes.json, boxes.mrk.json, scene.mrb, montage.png and report.html.",
    )
    parser.add_argument(
        "input",
        nargs="+",
        type=Path,
        help="NIfTI, NRRD or MetaImage file, or DICOM file or folder; for a model with"
        " several channels give them all, in the model's order",
    )
    parser.add_argument("--model", required=True, help="a model's name or folder")
    parser.add_argument("--out", required=True, type=Path, help="folder for the results")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results")
    parser.add_argument(
        "--series",
        action="append",
        default=[],
        help="which series (UID, or its end), or '#2' in a 4-D file; for several inputs once"
        " each, in their order, or once for all",
    )
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="CODE",
        help="accept one flaw of the input by its code; it is then flagged in the findings",
    )
    parser.add_argument(
        "--modality",
        action="append",
        default=[],
        help="say what the input is (CT, MR) if it does not; several as for --series",
    )
    parser.add_argument("--backend", default="auto", help="inference engine (default: auto)")
    parser.add_argument(
        "--precision",
        choices=("f32", "f16", "bf16"),
        default="f32",
        help="what the network computes in",
    )
    parser.add_argument(
        "--max-memory",
        metavar="SIZE",
        help="the most this program may hold, e.g. 8GB (default: MEDDETECT_MAX_MEMORY, else what"
        " is free); what would take more is done in bands, which takes longer",
    )
    parser.add_argument(
        "--max-gpu-memory",
        metavar="SIZE",
        help="the most the run may take of the GPU's memory beside the network (default:"
        " MEDDETECT_MAX_GPU_MEMORY, else what is free); fewer windows are then run at a time",
    )
    parser.add_argument(
        "--skip-empty",
        action="store_true",
        help="take windows in which there is nothing to see for background without running the"
        " network on them; a note says how many",
    )
    parser.add_argument("--no-scene", action="store_true", help="do not write scene.mrb")
    progress.add_to(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read, detect, write, tell."""
    from MedDetectLib.adapters.outputs import check_folder, write_outputs
    from MedDetectLib.inference.backends.choose import open_backend
    from MedDetectLib.inference.model import Model
    from MedDetectLib.models.registry import find_model

    check_folder(options.out, options.overwrite)
    limits = {
        "max_memory_bytes": _bytes(options.max_memory, "--max-memory"),
        "max_gpu_memory_bytes": _bytes(options.max_gpu_memory, "--max-gpu-memory"),
    }
    with progress.shown(options, "detect") as watch:
        folder, card = find_model(options.model)
        volumes = _read(options, watch)  # before an engine is built for minutes
        from MedDetectLib.inference.detect import detect

        engine = open_backend(card, folder, options.backend, options.precision, watch)
        with Model(card, engine) as model:
            findings = detect(volumes, model, watch, skip_empty=options.skip_empty, **limits)
        with watch.stage("write"):
            findings, files = write_outputs(
                volumes[0], findings, options.out, scene=not options.no_scene
            )
    if options.json:
        print(json.dumps(describe(findings, files), indent=2))
    else:
        print_findings(findings)
        print(f"\nResults in {options.out}: {', '.join(sorted(files))}")
    return 0


def _bytes(text: str | None, option: str) -> int | None:
    from MedDetectLib.core.memory import bytes_from_text

    return bytes_from_text(text, option) if text else None


def describe(findings: Findings, files: dict[str, Path]) -> dict[str, Any]:
    """Return what `--json` prints: the findings file's content and where files are."""
    return {**findings.to_json(), "files": {name: str(path) for name, path in files.items()}}


def print_findings(findings: Findings) -> None:
    """Print findings, case scores and notes as a person wants to read them."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if findings.items:
        table = Table("id", "label", "score", "diameter mm", "volume mL", "place RAS mm")
        for item in findings:
            place = findings.geometry.box_centre_ras_mm(item.box)
            table.add_row(
                item.id,
                findings.label_of(item).name,
                f"{item.score:.3f}",
                f"{item.diameter_mm:.1f}",
                f"{item.volume_ml:.2f}",
                " ".join(f"{x:.1f}" for x in place),
            )
        console.print(table)
    names = {label.value: label.name for label in findings.labels}
    for score in findings.case_scores:
        console.print(f"{names[score.label]}: {score.score:.3f}", markup=False)
    if not findings.items and not findings.case_scores:
        console.print("no findings")
    for note in findings.notes:
        console.print(f"note[{note.code}]: {note.text}", markup=False)
    seconds = ", ".join(f"{k} {v:.1f} s" for k, v in findings.provenance.seconds.items())
    made_by = findings.provenance
    console.print(
        f"{made_by.model} {made_by.model_version} on {made_by.backend}; {seconds}", markup=False
    )


def _read(options: argparse.Namespace, watch: Watch) -> list[Volume]:
    from MedDetectLib.cases.image_files import read_volume

    series = _one_each(options.series, options.input, "--series")
    modalities = _one_each(options.modality, options.input, "--modality")
    with watch.stage("read"):
        return [
            read_volume(path, series=chosen, accept=options.accept, modality=modality)
            for path, chosen, modality in zip(options.input, series, modalities, strict=True)
        ]


def _one_each(given: list[str], inputs: list[Path], option: str) -> list[str | None]:
    """Return what was given for each input: once for all, or once each."""
    if len(given) not in (0, 1, len(inputs)):
        raise InputError(
            "wrong-channels",
            f"{option} was given {len(given)} times for {len(inputs)} inputs",
            todo="give it once for all inputs, or once for each in their order",
        )
    return [*given] if len(given) == len(inputs) else [given[0] if given else None] * len(inputs)

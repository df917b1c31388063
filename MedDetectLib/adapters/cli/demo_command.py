"""`meddetect demo`: the main job on the bundled samples, checked against their truth."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from MedDetectLib.adapters.cli import progress
from MedDetectLib.core.errors import InputError
from MedDetectLib.core.findings import Findings
from MedDetectLib.models.registry import resource_folder

__all__ = ["add_to"]

_DEMOS = {"demo-chest-ct": "CT", "demo-brain-mr": "MR"}


@dataclass(frozen=True)
class Planted:
    """One lesion that was put into a sample, and the finding that hit it, if any."""

    centre_ras_mm: tuple[float, float, float]
    diameter_mm: float
    found_as: str | None


def add_to(commands: Any, everywhere: argparse.ArgumentParser) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser(
        "demo",
        parents=[everywhere],
        help="run the bundled models on the bundled samples",
        description="Detect in the bundled phantoms and compare with what was planted in them."
        " Exits with 70 if a planted lesion is missed.",
    )
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for results")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results")
    progress.add_to(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run every demo and say which planted lesions were found."""
    from MedDetectLib.adapters.outputs import check_folder

    for name in _DEMOS:
        check_folder(options.out / name, options.overwrite)
    results = {name: _run_one(name, modality, options) for name, modality in _DEMOS.items()}
    missed = sum(p.found_as is None for planted, _ in results.values() for p in planted)
    if options.json:
        print(json.dumps({name: _row(*result) for name, result in results.items()}, indent=2))
    elif missed:
        print(f"\n{missed} planted lesion(s) were MISSED")
    else:
        print(f"\nEvery planted lesion was found. Open {options.out / 'demo-chest-ct'}/report.html")
    return 70 if missed else 0


def _run_one(
    name: str, modality: str, options: argparse.Namespace
) -> tuple[list[Planted], dict[str, Path]]:
    from MedDetectLib.adapters.cli.detect_command import print_findings
    from MedDetectLib.adapters.outputs import write_outputs
    from MedDetectLib.cases.image_files import read_volume
    from MedDetectLib.inference.detect import detect
    from MedDetectLib.inference.model import load_model

    sample = resource_folder() / "SampleData" / f"{name}.nii.gz"
    with progress.shown(options, name) as watch, load_model(name) as model:
        volume = read_volume(sample, modality=modality)
        findings = detect(volume, model, watch)
        findings, files = write_outputs(volume, findings, options.out / name)
    planted = _compare(findings, sample.with_name(f"{name}.truth.json"))
    if not options.json:
        print(f"\n{name}: {len(findings)} finding(s), {len(planted)} lesion(s) planted")
        print_findings(findings)
        for lesion in planted:
            place = " ".join(f"{x:.1f}" for x in lesion.centre_ras_mm)
            said = f"found as {lesion.found_as}" if lesion.found_as else "MISSED"
            print(f"planted {lesion.diameter_mm:.1f} mm at {place}: {said}")
    return planted, files


def _compare(findings: Findings, truth: Path) -> list[Planted]:
    """Match planted lesions to findings: a hit's mask covers the lesion's centre voxel."""
    try:
        lesions = json.loads(truth.read_text("utf-8"))["lesions"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError("no-truth", f"cannot be read ({error})", where=truth) from error
    planted = []
    for lesion in lesions:
        k, j, i = np.rint(findings.geometry.ras_to_index(lesion["centre_ras_mm"])).astype(int)
        value = 0 if findings.label_map is None else int(findings.label_map[k, j, i])
        hit = next((f.id for f in findings if f.mask_value == value), None) if value else None
        right, anterior, superior = lesion["centre_ras_mm"]
        planted.append(Planted((right, anterior, superior), lesion["diameter_mm"], hit))
    return planted


def _row(planted: list[Planted], files: dict[str, Path]) -> dict[str, Any]:
    return {
        "planted": [vars(lesion) for lesion in planted],
        "files": {name: str(path) for name, path in files.items()},
    }

"""One run, or the plan of one, in a process of its own.

python -m MedDetectLib.evaluation.bench.memory_side plan|run SCAN.npz MODEL CEILING

Prints one line of JSON about what comes on top of Python, our modules and the volume. CEILING
is a number of bytes, 0 for none.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import numpy as np

from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.process_memory import peak_bytes, resident_bytes
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.memory_plan import plan_memory, plan_run, warm
from MedDetectLib.inference.model import load_model


def plan(volume: Volume, model_folder: str) -> dict[str, Any]:
    """Return the estimate; `held` is what the process had before."""
    before = resident_bytes()
    with load_model(model_folder) as model:
        warm(model)
        planned = plan_run(volume, model)
        itemsizes = (volume.array.itemsize,)
        least = plan_memory(model.card, volume.geometry, itemsizes=itemsizes, free_bytes=0)
    network = planned.held_bytes - before
    return {
        "held": before,
        "network": network,
        "estimate": network + planned.added_bytes,
        "least": network + least.added_bytes,
        "parts": planned.parts,
    }


def run(volume: Volume, model_folder: str, ceiling_bytes: int | None) -> dict[str, Any]:
    """Return how much the run added at its highest, and what it found."""
    before = resident_bytes()
    with load_model(model_folder) as model:
        findings = detect(volume, model, max_memory_bytes=ceiling_bytes)
    grown = peak_bytes() - before
    digest = hashlib.sha256(findings.class_map().tobytes()).hexdigest()
    notes = [note.text for note in findings.notes if note.code == "memory-shrunk"]
    return {"grown": grown, "notes": notes, "sha256": digest}


def main() -> None:
    """Load the scan, do what is asked, tell."""
    do, path, model_folder, ceiling = sys.argv[1:]
    with np.load(path, allow_pickle=False) as stored:
        array = stored["array"]
        geometry = Geometry(tuple(array.shape), stored["ijk_to_ras"])
    volume = Volume(array, geometry, modality="CT")
    said = (
        plan(volume, model_folder)
        if do == "plan"
        else run(volume, model_folder, int(ceiling) or None)
    )
    print(json.dumps(said))


if __name__ == "__main__":
    main()

"""One `detect()` in a process of its own, and how much its memory grew.

python -m MedDetectLib.evaluation.bench.memory_side SCAN.npz MODEL CEILING

Prints one line of JSON: {"grown": bytes, "plan": {...}, "sha256": of the class map}. CEILING
is a number of bytes, 0 for none.
"""

from __future__ import annotations

import hashlib
import json
import sys

import numpy as np

from MedDetectLib.core.geometry import Geometry
from MedDetectLib.core.process_memory import peak_bytes, resident_bytes
from MedDetectLib.core.volume import Volume
from MedDetectLib.inference.detect import detect
from MedDetectLib.inference.model import load_model


def main() -> None:
    """Load the scan, note the memory held, detect, tell."""
    path, model_folder, ceiling = sys.argv[1:]
    with np.load(path, allow_pickle=False) as stored:
        array = stored["array"]
        geometry = Geometry(tuple(array.shape), stored["ijk_to_ras"])
    volume = Volume(array, geometry, modality="CT")
    before = resident_bytes()
    with load_model(model_folder) as model:
        findings = detect(volume, model, max_memory_bytes=int(ceiling) or None)
    grown = peak_bytes() - before
    digest = hashlib.sha256(findings.class_map().tobytes()).hexdigest()
    notes = [note.code for note in findings.notes]
    print(json.dumps({"grown": grown, "notes": notes, "sha256": digest}))


if __name__ == "__main__":
    main()

"""A store of several patients in known splits, read in several ways."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "store"))
import store_samples as samples

from MedDetectLib.cases.store.case_store import CaseStore
from MedDetectLib.cases.store.signing import Saying
from MedDetectLib.cases.store.split import Ratios

PATIENT = "Miller-1956-{n}"


@dataclass
class World:
    """The store, and the case ids by what is the matter with them."""

    store: CaseStore
    ids: dict[str, str]


def world(folder: Path) -> World:
    """Cases of all splits; patients are tried until each split has enough of them."""
    store = CaseStore.open_or_create(folder, Ratios(0.5, 0.25, 0.25))
    wanted = {
        "train": ["reviewed", "rejected", "empty", "unreviewed", "unsaid", "boxes", "twice"],
        "validation": ["validation"],
        "frozen": ["frozen"],
    }
    ids: dict[str, str] = {}
    n = 0
    while any(wanted.values()):
        n += 1
        case = store.import_volume(samples.volume(n), PATIENT.format(n=n)).case
        what = wanted[case.split].pop(0) if wanted[case.split] else f"spare-{n}"
        ids[what] = case.id
        say(store, case.id, what, n)
    return World(store, ids)


def say(store: CaseStore, case_id: str, what: str, n: int) -> None:
    """Say about a case what its name promises."""
    model = samples.findings(n % 2)
    if what.startswith(("spare", "unsaid")):
        return
    store.add_version(case_id, model, Saying("ai", "lung 1.2"))
    if what == "unreviewed":
        return
    truth = model
    if what == "rejected":
        truth = replace(model, items=(model.items[0], replace(model.items[1], state="rejected")))
    elif what == "empty":
        truth = replace(model, items=tuple(replace(item, state="rejected") for item in model.items))
    elif what == "boxes":
        truth = samples.findings(boxes=True)
    store.add_version(case_id, truth, Saying("review", "Dr Jekyll", comment="seen Miller"))
    if what == "twice":
        store.add_version(case_id, samples.findings(1), Saying("review", "Dr Hyde"))


def every_byte(folder: Path) -> bytes:
    """All file names and contents below a folder, unpacked."""
    import gzip

    parts = []
    for path in sorted(folder.rglob("*")):
        parts.append(path.relative_to(folder).as_posix().encode())
        if path.is_file():
            data = path.read_bytes()
            parts.append(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    return b"\n".join(parts)


def array_of(path: Path) -> np.ndarray:
    """[k, j, i] voxels of a NIfTI file."""
    import nibabel

    return np.asarray(nibabel.load(path).dataobj).T

"""One of several writers: signs and imports, and writes down what it was told is stored.

python writer.py STORE NAME OPERATIONS ACKNOWLEDGED
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

import numpy as np
import store_samples as samples

from MedDetectLib.cases.store.case_store import CaseStore, Saying
from MedDetectLib.core.errors import StoreError
from MedDetectLib.core.volume import Volume

IMPORT_EVERY = 50


def own_volume(name: str, n: int) -> Volume:
    rng = np.random.default_rng([n, *name.encode()])
    array = rng.integers(0, 1000, samples.SHAPE).astype(np.int16)
    return Volume(array, samples.oblique(), "CT", f"{name}-{n}")


def main(folder: str, name: str, operations: int, acknowledged: Path) -> None:
    store = CaseStore(folder, wait_s=2.0)
    cases = [row.id for row in store.cases()]
    chance = random.Random(name)
    kinds = [samples.findings(shift) for shift in range(4)]
    with acknowledged.open("w", buffering=1) as told:
        for n in range(operations):
            act = f"{name}-{n}"
            while True:
                try:
                    if n % IMPORT_EVERY == 0:
                        case = store.import_volume(own_volume(name, n), f"{name}-{n % 7}").case
                        told.write(json.dumps(["import", case.id, act]) + "\n")
                    else:
                        case_id = chance.choice(cases)
                        saying = Saying("review", name, act=act)
                        version = store.add_version(case_id, chance.choice(kinds), saying)
                        told.write(json.dumps(["version", case_id, act, version.number]) + "\n")
                    break
                except StoreError as error:
                    if error.code != "busy":
                        raise
                    time.sleep(0.01 * chance.random())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))

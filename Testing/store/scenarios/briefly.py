"""An import and a signing, struck in two ways only: for the suite that runs every time.

The other scenarios strike in every way; they take minutes.
"""

from store_world import CaseStore, Saying, prepare_store, samples

import __main__

if hasattr(__main__, "STRIKES"):  # the process that enumerates, see fault_points.py
    __main__.STRIKES = {"kill-after": __main__.STRIKES["kill-after"]}
    __main__.WAYS = ("names",)


def prepare(folder):
    prepare_store(folder)


def act(folder, acknowledge):
    store = CaseStore(folder / "store")
    case = store.import_volume(samples.volume(3), "P3").case
    acknowledge("P3")
    store.add_version(case.id, samples.findings(2), Saying("review", "A", act="one"))
    acknowledge("P3 one")


def check(folder, acknowledged):
    store = CaseStore(folder / "store", wait_s=5)
    rows = {row.patient: row for row in store.cases()}
    assert {"P1", "P2", *(said.split()[0] for said in acknowledged)} <= set(rows)
    assert rows["P1"].versions == 2
    if "P3" in rows:
        versions = store.versions(rows["P3"].id)
        assert rows["P3"].versions == len(versions)
        assert "P3 one" not in acknowledged or len(versions) == 1
        store.volume(rows["P3"].id)
        for version in versions:
            assert samples.same(store.findings(version.case, 1), samples.findings(2))
    again = store.import_volume(samples.volume(3), "P3", existing_ok=True)
    assert again.is_new == ("P3" not in rows), "the retry made a second case"

"""A store is made, with its first case."""

from store_world import CaseStore, Saying, samples


def prepare(folder):
    pass


def act(folder, acknowledge):
    store = CaseStore.open_or_create(folder / "store")
    acknowledge("made")
    store.import_volume(samples.volume(3), "P3", samples.findings())
    acknowledge("P3")


def check(folder, acknowledged):
    if acknowledged:
        CaseStore(folder / "store")
    store = CaseStore.open_or_create(folder / "store", wait_s=5)
    report = store.verify(deep=True)
    assert report.problems == []
    assert report.index == []
    rows = list(store.cases())
    assert [row.patient for row in rows] in ([], ["P3"])
    assert rows or "P3" not in acknowledged
    case = store.import_volume(samples.volume(3), "P3", existing_ok=True).case
    store.add_version(case.id, samples.findings(1), Saying("review", "A"))
    assert store.count() == 1

"""An image with a model's findings is imported."""

from store_world import CaseStore, check_store, prepare_store, samples


def prepare(folder):
    prepare_store(folder)


def act(folder, acknowledge):
    store = CaseStore(folder / "store")
    store.import_volume(samples.volume(3), "P3", samples.findings(3, boxes=True))
    acknowledge("P3")


def check(folder, acknowledged):
    store = check_store(folder, acknowledged)
    rows = [row for row in store.cases() if row.patient == "P3"]
    for row in rows:
        assert row.versions == 1, "the case is there without its findings"
        assert samples.same(store.findings(row.id, 1), samples.findings(3, boxes=True))
    again = store.import_volume(samples.volume(3), "P3", existing_ok=True)
    assert again.is_new == (not rows), "the retry made a second case"

"""The index is gone or damaged, and somebody asks for a list."""

from store_world import CaseStore, check_store, prepare_store


def prepare(folder):
    store = prepare_store(folder)
    (store.folder / "index.sqlite").write_bytes(b"this is no index" * 100)


def act(folder, acknowledge):
    rows = list(CaseStore(folder / "store").cases())
    assert len(rows) == 2
    # A record that could not be read just now is listed as damaged, and well the next time.
    assert {row.patient for row in rows if row.status != "damaged"} <= {"P1", "P2"}
    acknowledge("P1 before")


def check(folder, acknowledged):
    check_store(folder, acknowledged)

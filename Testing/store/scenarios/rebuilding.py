"""The index is made anew and leftovers are removed."""

import os

from store_world import CaseStore, check_store, prepare_store


def prepare(folder):
    store = prepare_store(folder)
    unreferred = store.folder / "blobs" / "ab" / f"{'ab' * 32}.json"
    unreferred.parent.mkdir(exist_ok=True)
    unreferred.write_bytes(b"left by a crash")
    old = store.folder / "cases" / ".writing-0123456789abcdef"
    old.mkdir()
    (old / "case.json").write_bytes(b"torn")
    os.utime(old, (0, 0))


def act(folder, acknowledge):
    report = CaseStore(folder / "store").verify(repair=True)
    if report.is_good:  # a file that cannot be read just now is a problem, and is said
        acknowledge("P1 before")


def check(folder, acknowledged):
    check_store(folder, acknowledged)

"""Two readings are signed, the second by another reader."""

from store_world import CaseStore, Saying, case_of, check_store, prepare_store, samples


def prepare(folder):
    prepare_store(folder)


def act(folder, acknowledge):
    store = CaseStore(folder / "store")
    case_id = case_of(store, "P1").id
    for n, name in ((2, "one"), (3, "two")):
        store.add_version(case_id, samples.findings(n), Saying("review", name, 1, act=name))
        acknowledge(f"P1 {name}")


def check(folder, acknowledged):
    store = check_store(folder, acknowledged)
    case_id = case_of(store, "P1").id
    by_act = {version.act: version.number for version in store.versions(case_id)}
    for n, name in ((2, "one"), (3, "two")):
        if name in by_act:
            assert samples.same(store.findings(case_id, by_act[name]), samples.findings(n))
        saying = Saying("review", name, 1, act=name)
        again = store.add_version(case_id, samples.findings(n), saying)
        assert name not in by_act or again.number == by_act[name], "the retry was stored twice"

"""Who may write: one at a time, the dead replaced, the slow one told."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading

import pytest
import store_samples as samples

from MedDetectLib.cases import byte_lock
from MedDetectLib.cases.store import file_system, lease
from MedDetectLib.cases.store.case_store import CaseStore, Saying
from MedDetectLib.cases.store.file_system import is_network, kind_of_mount, this_host
from MedDetectLib.cases.store.lease import Lease
from MedDetectLib.core.errors import StoreError

NETWORK = pytest.mark.parametrize("network", [False, True])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "locks").mkdir()
    return tmp_path / "locks"


def left_behind(folder, number=7, **changes):
    """A lease file as a writer that is gone leaves it."""
    words = {"host": vars(this_host()), "pid": dead_process(), "since": "then", **changes}
    (folder / f"{number:08d}.held").write_text(json.dumps(words))


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@NETWORK
def test_a_second_writer_is_told_who_is_at_work(folder, network):
    with Lease(folder, network=network):
        with pytest.raises(StoreError) as caught:
            Lease(folder, network=network, wait_s=0.05).__enter__()
        assert (caught.value.code, caught.value.exit_code) == ("busy", 75)
        assert f"process {os.getpid()}" in str(caught.value)
    with Lease(folder, network=network, wait_s=0.05):
        pass


@NETWORK
def test_threads_take_turns_and_nobody_is_in_twice(folder, network):
    inside, most, turns = [], [], []

    def work():
        for _ in range(25):
            with Lease(folder, network=network) as held:
                inside.append(1)
                most.append(len(inside))
                held.check()
                inside.pop()
                turns.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(turns), max(most)) == (100, 1)
    assert len([p for p in folder.iterdir() if p.suffix in (".held", ".free")]) == 1


@NETWORK
def test_the_lease_of_a_dead_process_of_this_computer_is_taken_over_at_once(folder, network):
    left_behind(folder)
    with Lease(folder, network=network, wait_s=0.05) as held:
        held.check()


def test_a_lease_from_before_the_power_went_is_taken_over_on_a_local_disk(folder):
    left_behind(folder, host={**vars(this_host()), "boot": "another"}, pid=os.getpid())
    with Lease(folder, network=False, wait_s=0.05):
        pass
    (folder / "00000099.held").write_bytes(b"")  # its words were not flushed
    with Lease(folder, network=False, wait_s=0.05):
        pass


@NETWORK
def test_another_computers_lease_is_respected_until_it_falls_silent(folder, network, monkeypatch):
    elsewhere = {"name": "elsewhere", "boot": "x", "processes": "y"}
    left_behind(folder, host=elsewhere)
    with pytest.raises(StoreError, match="elsewhere"):
        Lease(folder, network=network, wait_s=0.05).__enter__()
    monkeypatch.setattr(lease, "STALE_S", 0.1)
    with Lease(folder, network=network, wait_s=5):
        pass


def test_a_heartbeat_keeps_another_computers_lease_alive(folder, monkeypatch):
    left_behind(folder, host={"name": "elsewhere", "boot": "x", "processes": "y"})
    monkeypatch.setattr(lease, "STALE_S", 0.3)
    stop = threading.Event()

    def beat():
        n = 0
        while not stop.wait(0.02):
            n += 1
            os.utime(folder / "00000007.held", (n, n))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(StoreError, match="busy"):
            Lease(folder, network=True, wait_s=1).__enter__()
    finally:
        stop.set()
        thread.join()


def test_a_writer_that_was_overtaken_finds_out_and_changes_nothing(tmp_path, monkeypatch):
    store = CaseStore.open_or_create(tmp_path / "s", network=True)
    case = store.import_volume(samples.volume(), "P1").case
    from MedDetectLib.cases.store.change_log import ChangeLog

    entered = Lease.check

    def overtaken(self):
        (self.folder / f"{self._number + 1:08d}.held").write_text("{}")
        entered(self)

    monkeypatch.setattr(Lease, "check", overtaken)
    monkeypatch.setattr(ChangeLog, "begin", lambda *_: pytest.fail("it went on"))
    with pytest.raises(StoreError) as caught:
        store.add_version(case.id, samples.findings(), Saying("review", "A"))
    assert (caught.value.code, caught.value.exit_code) == ("lost-lease", 75)
    assert store.versions(case.id) == ()


@NETWORK
def test_without_hard_links_there_is_still_one_writer_and_one_of_each_version(
    tmp_path, monkeypatch, network
):
    def no_links(*_):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    store = CaseStore.open_or_create(tmp_path / "s", network=network)
    case = store.import_volume(samples.volume(), "P1", samples.findings()).case
    for n in range(3):
        assert samples.signed(store, case.id, f"R{n}", n).number == n + 2
    assert store.verify(deep=True).is_good
    locks = store.folder / "locks"
    with Lease(locks, network=network), pytest.raises(StoreError, match="busy"):
        Lease(locks, network=network, wait_s=0.05).__enter__()


def test_without_byte_locks_the_numbered_files_alone_keep_writers_apart(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(byte_lock, "lock_byte", no_locks)
    store = CaseStore.open_or_create(tmp_path / "s", network=False)
    case = store.import_volume(samples.volume(), "P1", samples.findings()).case
    assert samples.signed(store, case.id, "A").number == 2
    locks = store.folder / "locks"
    with Lease(locks, network=False), pytest.raises(StoreError, match=f"process {os.getpid()}"):
        Lease(locks, network=False, wait_s=0.05).__enter__()


def test_a_listing_that_stays_old_keeps_nobody_waiting_for_ever(folder, monkeypatch):
    (folder / "00000004.held").write_text("{}")
    old = lease._Owner(3, False)
    tries = []
    monkeypatch.setattr(Lease, "_newest", lambda self: tries.append(1) or old)
    with pytest.raises(StoreError, match="busy"):
        Lease(folder, network=True, wait_s=0.3).__enter__()
    assert len(tries) < 300  # it pauses in between


# --- file systems ----------------------------------------------------------------------

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
//nas/x /mnt/with\\040space cifs rw 0 0
tmpfs /home/local tmpfs rw 0 0
host: /media/ssh fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind", "network"),
    [
        ("/data/s", "ext4", False),
        ("/home/a/s", "nfs4", True),
        ("/home/local/s", "tmpfs", False),
        ("/mnt/with space/s", "cifs", True),
        ("/media/ssh", "fuse.sshfs", True),
        ("/homework", "ext4", False),
    ],
)
def test_network_file_systems_are_known_by_their_mount(folder, kind, network):
    from pathlib import Path

    assert kind_of_mount(MOUNTS, Path(folder)) == kind
    assert bool(file_system.NETWORK_KINDS.match(kind)) is network


def test_a_person_may_say_that_a_folder_is_on_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDDETECT_STORE_NETWORK", "1")
    assert is_network(tmp_path)
    monkeypatch.setenv("MEDDETECT_STORE_NETWORK", "0")
    assert not is_network(tmp_path)


def test_on_a_network_the_index_lies_on_this_computer_and_everything_works(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = CaseStore.open_or_create(tmp_path / "s", network=True)
    case = store.import_volume(samples.volume(), "P1", samples.findings()).case
    samples.signed(store, case.id, "A")
    assert not list(store.folder.glob("index*"))
    assert list((tmp_path / "cache").rglob("*.sqlite"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other computer"))
    other = CaseStore(tmp_path / "s", network=True)
    assert [row.versions for row in other.cases()] == [2]
    samples.signed(other, case.id, "B")
    assert [row.status for row in store.cases()] == ["read-twice"]

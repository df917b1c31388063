from __future__ import annotations

import ctypes

import pytest

from MedDetectLib.core import memory, process_memory

GIB = 1 << 30


def machine(root, free_gib, **files):
    """Write what Linux tells of its memory."""
    (root / "proc").mkdir()
    kib = free_gib * GIB // 1024
    (root / "proc" / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable: {kib} kB\n")
    for name, value in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return root


def group(limit, used, files):
    return {
        "memory_dot_max": limit,
        "memory_dot_current": used,
        "memory_dot_stat": f"anon 7\ninactive_file {files}\nslab 1",
    }


@pytest.mark.parametrize(
    ("told", "left_gib"),
    [
        ({}, 20),
        (group("max", 5 * GIB, 0), 20),
        (group(8 * GIB, 3 * GIB, 0), 5),
        (group(8 * GIB, 7 * GIB, 4 * GIB), 5),  # mostly files that have been read
        (group(8 * GIB, 9 * GIB, 0), 0),
        (group(64 * GIB, 3 * GIB, 0), 20),
        ({"memory_dot_max": 8 * GIB}, 20),  # half told
        ({"memory_dot_max": 8 * GIB, "memory_dot_current": 3 * GIB}, 5),
        (
            {
                "memory__memory_dot_limit_in_bytes": 8 * GIB,
                "memory__memory_dot_usage_in_bytes": 6 * GIB,
                "memory__memory_dot_stat": f"inactive_file 1\ntotal_inactive_file {2 * GIB}",
            },
            4,
        ),
    ],
)
def test_in_a_container_what_its_limit_leaves_is_free(tmp_path, told, left_gib):
    assert memory._available_linux(machine(tmp_path, 20, **told)) == left_gib * GIB


def test_a_machine_that_does_not_tell_is_asked_otherwise(tmp_path):
    assert memory._available_linux(tmp_path) is None


def test_what_windows_tells_of_a_process_is_read_as_it_lays_it_out():
    def this_process():
        return -1

    def tell(process, where, size):
        assert (process, size) == (-1, 72 if ctypes.sizeof(ctypes.c_void_p) == 8 else 40)
        values = [size, 3, 900, 700, *range(6)]
        kinds = [ctypes.c_uint32] * 2 + [ctypes.c_size_t] * 8
        address = ctypes.addressof(where._obj)
        for kind, value in zip(kinds, values, strict=True):
            kind.from_address(address).value = value
            address += ctypes.sizeof(kind)
        return 1

    class Kernel:
        GetCurrentProcess = staticmethod(this_process)
        K32GetProcessMemoryInfo = staticmethod(tell)

    counters = process_memory._counters(Kernel())
    assert (counters.peak, counters.now) == (900, 700)


def test_this_process_holds_something_and_never_more_than_its_peak():
    assert 1 << 20 < process_memory.resident_bytes() <= process_memory.peak_bytes()

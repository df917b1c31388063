from __future__ import annotations

import pytest

from MedDetectLib.core import memory

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

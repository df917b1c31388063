"""Which kind of file system a store lies on: what may be relied on there differs.

On a network file system byte locks are not trusted (they are lost, or local to each client)
and SQLite is kept away: its file is unsafe where locks are.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Host", "is_network", "kind_of_mount", "process_lives", "this_host"]

NETWORK_KINDS = re.compile(
    r"^(nfs\d?|cifs|smb\w*|ncpfs|afs|9p|ceph|glusterfs|lustre|beegfs|gpfs|ocfs2|gfs2?|davfs"
    r"|fuse\.(sshfs|s3fs|rclone|davfs2?|glusterfs|ceph\S*|gcsfuse|smbnetfs|goofys|mergerfs))$"
)


def is_network(folder: Path) -> bool:
    """Whether other computers may write to this folder behind our locks.

    `MEDDETECT_STORE_NETWORK` set to 1 or 0 answers for a file system this cannot tell
    (macOS, exotic FUSE mounts); unknown ones count as local.
    """
    said = os.environ.get("MEDDETECT_STORE_NETWORK", "")
    if said in ("0", "1"):
        return said == "1"
    if os.name == "nt":
        return _is_network_drive(folder)
    try:
        mounts = Path("/proc/self/mounts").read_text("utf-8", "surrogateescape")
    except OSError:
        return False
    return bool(NETWORK_KINDS.match(kind_of_mount(mounts, Path(os.path.realpath(folder)))))


def kind_of_mount(mounts: str, folder: Path) -> str:
    """Return the file system type of a folder, from the text of ``/proc/self/mounts``."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[1])
        if folder.is_relative_to(point) and len(point) >= best:  # the last mount hides others
            best, kind = len(point), fields[2]
    return kind


@dataclass(frozen=True)
class Host:
    """A computer as others see it: its name, its present boot, its process numbers' world."""

    name: str
    boot: str
    processes: str


@cache
def this_host() -> Host:
    """Say where this process runs; what the system does not tell stays empty."""
    boot = processes = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    with contextlib.suppress(OSError, AttributeError):
        processes = os.readlink("/proc/self/ns/pid")
    return Host(socket.gethostname(), boot, processes)


def _is_network_drive(folder: Path) -> bool:
    """Ask Windows."""
    if sys.platform != "win32":
        return False
    import ctypes

    drive = os.path.splitdrive(os.path.realpath(folder))[0]
    if drive.startswith("\\\\"):
        return True
    return int(ctypes.windll.kernel32.GetDriveTypeW(drive + "\\")) == 4  # DRIVE_REMOTE


def process_lives(pid: int) -> bool:
    """Whether a process of this computer is there; where it cannot be told, it is."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

"""A real PACS of the test's own: Orthanc on free ports in a temporary folder, stopped surely."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")


@dataclass(frozen=True)
class Orthanc:
    """Where it listens."""

    http_port: int
    dicom_port: int

    @property
    def to(self):
        return f"127.0.0.1:{self.dicom_port}/ORTHANC"

    @property
    def web(self):
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def asked(self, path):
        """What its own interface says, which no code of ours goes through."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)

    @property
    def instances(self):
        """SOP Instance UIDs it holds."""
        return sorted(
            one["MainDicomTags"]["SOPInstanceUID"] for one in self.asked("/instances?expand")
        )


def free_ports(count):
    """Ports nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextlib.contextmanager
def running_orthanc(folder: Path):
    """Start one, and kill it at the end whatever happens."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("Orthanc is not installed (apt: orthanc orthanc-dicomweb)")
    plugins = [str(p) for where in PLUGINS for p in Path(where).glob("libOrthancDicomWeb.so*")]
    if not plugins:
        pytest.skip("Orthanc has no DICOMweb (apt: orthanc-dicomweb)")
    http_port, dicom_port = free_ports(2)
    settings = {
        "Name": "MedDetect tests",
        "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "index"),
        "Plugins": plugins[:1], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "HttpPort": http_port, "DicomPort": dicom_port, "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "DicomCheckCalledAet": True, "DicomAlwaysAllowStore": True, "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True, "OverwriteInstances": False, "ConcurrentJobs": 1,
        "HttpThreadsCount": 4,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(folder / "orthanc.json")], stdout=log, stderr=log, cwd=folder
        )
    try:
        server = Orthanc(http_port, dicom_port)
        wait_for(server, process, folder / "orthanc.log")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def wait_for(server, process, log):
    """Return when it answers on both ports."""
    end = time.monotonic() + 40
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"Orthanc ended at once: {log.read_text()[-2000:]}")
        with contextlib.suppress(OSError, urllib.error.URLError):
            server.asked("/system")
            socket.create_connection(("127.0.0.1", server.dicom_port), 1).close()
            return
        time.sleep(0.1)
    raise RuntimeError(f"Orthanc did not start: {log.read_text()[-2000:]}")

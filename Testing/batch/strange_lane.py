"""A lane in which some cases do harm; stands in for a decoder or driver that crashes."""

import os
import signal
import sys
import time
from pathlib import Path

from MedDetectLib.adapters.batch import lane_process

read = lane_process._volumes
write = lane_process._write


def _volumes(case, told):
    note(case.name, "read")
    if case.name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGKILL)
    if case.name.startswith("stuck"):
        time.sleep(600)
    if case.name.startswith("odd"):
        raise ZeroDivisionError("odd file")
    return read(case, told)


def _write(case, findings, told):
    note(case.case.name, "computed")
    if case.case.name.startswith("hang"):
        time.sleep(600)
    if case.case.name.startswith("slow"):
        time.sleep(1.0)
    files = write(case, findings, told)
    note(case.case.name, "written")
    return files


def note(name, what):
    with Path(os.environ["LANE_LOG"]).open("a") as log:
        log.write(f"{time.monotonic()} {os.getpid()} {name} {what}\n")


lane_process._volumes, lane_process._write = _volumes, _write

if __name__ == "__main__":
    # called as: python -P -m MedDetectLib.adapters.batch.lane_process [--life N]
    lane_process.main(sys.argv[4:])

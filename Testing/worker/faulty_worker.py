"""The real worker over engines that fail; what is asked for as backend says how.

"ok", "sleep 5" (per window), "hog 5" (the same, holding Python's lock), "kill", "kill-in-
prepare", "kill-after 0.1", "exit 3", "memory" (more than there is), "chatter" (prints),
"garbage" (writes past the protocol), "child" (starts a long-lived process and hangs).
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from MedDetectLib.core.watch import Progress, Watch
from MedDetectLib.inference.backends.function import FunctionBackend
from MedDetectLib.inference.worker.__main__ import main
from MedDetectLib.inference.worker.jobs import Jobs
from MedDetectLib.inference.worker.warm import WarmModels
from MedDetectLib.models.card import ModelCard
from MedDetectLib.models.registry import find_model


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def open_faulty(
    card: ModelCard, folder: Path, backend: str, precision: str, watch: Watch
) -> FunctionBackend:
    what, _, number = backend.partition(" ")

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        misbehave(what, float(number or 0), batch)
        return {"logits": np.concatenate([100.0 - batch, batch - 100.0], axis=1)}

    return FunctionBackend(run)


def misbehave(what: str, number: float, batch: np.ndarray) -> None:
    if what == "sleep":
        time.sleep(number)
    elif what == "hog":
        time.sleep(0.3)  # let the progress out
        ctypes.PyDLL(None).usleep(int(number * 1e6))  # PyDLL does not release the lock
    elif what == "kill":
        kill_myself()
    elif what == "exit":
        print("these are my last words", file=sys.stderr, flush=True)
        os._exit(int(number))
    elif what == "memory":
        import resource

        limit = 4 << 30
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        try:
            np.ones(limit, np.uint8)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    elif what == "chatter":
        print('{"event": "result"} from print')
        os.write(1, b"from C\n" * 2000)
        subprocess.run(["echo", "from a child"], check=True)
        sys.stdout.flush()
    elif what == "garbage":
        os.write(protocol_handle, b"\x00\xff not json\n")
        time.sleep(5)
    elif what == "stranger":
        os.write(protocol_handle, b'{"event":"result","id":99999,"value":null}\n')
        time.sleep(5)
    elif what == "child":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        time.sleep(0.3)
        time.sleep(60)
    elif what == "bug":
        raise ZeroDivisionError("planted")


class FaultyJobs(Jobs):
    """Dies in between, where a backend is not asked."""

    def run(self, message: dict[str, Any], watch: Watch) -> Any:
        what, _, number = str(message.get("backend", "")).partition(" ")
        tell = watch.on_progress

        def spy(progress: Progress) -> None:
            if what == "kill-in-prepare" and progress.stage == "prepare":
                kill_myself()
            if tell is not None:
                tell(progress)

        answer = super().run(message, Watch(spy, watch.should_stop))
        if what == "kill-after":
            threading.Timer(float(number), kill_myself).start()
        return answer


protocol_handle = os.dup(1)  # before main hides it: a fault needs a way past the protection

if __name__ == "__main__":
    main(lambda: FaultyJobs(WarmModels(find_model, open_faulty)))

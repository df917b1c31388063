"""Long work on files beside the window: a thread that gets its share of time from a timer.

Inside Slicer a Python thread stands still while Qt waits for events. What takes long in it
(compressing, hashing, writing) does not need Python; for the rest the timer steps aside.
"""

import threading

import qt

from MedDetectLib.core.errors import MedDetectError

TICK_MS = 20
SHARE_S = 0.012
"""So much of each tick belongs to the thread, if it needs it."""


class Background:
    """One piece of work at a time; it cannot be stopped, only awaited."""

    def __init__(self):
        self._thread = None
        self._timer = qt.QTimer()
        self._timer.interval = TICK_MS
        self._timer.connect("timeout()", self._tick)

    @property
    def busy(self):
        """Whether work is being done."""
        return self._thread is not None

    def start(self, work, onDone, onFailed):
        """Do `work()` in a thread; its answer goes to `onDone`, its error to `onFailed`.

        Args:
            work: touches neither Qt nor the scene.
            onDone: called with what `work` returned, in this thread.
            onFailed: called with a MedDetectError, in this thread.
        """
        if self.busy:
            raise RuntimeError("one piece of work at a time")
        self._answer = self._error = None
        self._onDone, self._onFailed = onDone, onFailed
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()
        self._timer.start()

    def finish(self):
        """Wait for the end; nobody is told."""
        self._timer.stop()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _run(self, work):
        try:
            self._answer = work()
        except MedDetectError as error:
            self._error = error
        except Exception as error:  # a thread is an outermost door: nobody else would say it
            self._error = MedDetectError("bug", f"{type(error).__name__}: {error}")

    def _tick(self):
        self._thread.join(SHARE_S)
        if self._thread.is_alive():
            return
        self._timer.stop()
        self._thread = None
        if self._error is not None:
            self._onFailed(self._error)
        else:
            self._onDone(self._answer)

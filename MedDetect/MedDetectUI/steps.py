"""Long work from a timer: a generator whose steps take no longer than a person notices."""

import logging

import qt

from MedDetectLib.core.errors import MedDetectError

TICK_MS = 5


class Steps:
    """One piece of work at a time."""

    def __init__(self):
        self._forget()
        self._timer = qt.QTimer()
        self._timer.interval = TICK_MS
        self._timer.connect("timeout()", self._step)

    @property
    def busy(self):
        """Whether there is work."""
        return self._steps is not None

    def start(self, steps, onDone, onFailed):
        """Do work.

        Args:
            steps: a generator; what it returns goes to `onDone`.
            onDone: called with the answer.
            onFailed: called with a MedDetectError.
        """
        if self.busy:
            raise RuntimeError("one piece of work at a time")
        self._steps, self._onDone, self._onFailed = steps, onDone, onFailed
        self._timer.start()

    def stop(self):
        """Give up; nobody is told."""
        self._timer.stop()
        steps = self._steps
        self._forget()
        if steps is not None and not steps.gi_running:
            steps.close()

    def finish(self):
        """Do all that is left at once; nobody is told, a failure is left to the next look."""
        self._timer.stop()
        steps = self._steps
        self._forget()
        if steps is None or steps.gi_running:
            return
        try:
            for _ in steps:
                pass
        except Exception:  # whoever waits has other things to close
            logging.exception("work could not be finished")

    def _step(self):
        if self._steps is None or self._steps.gi_running:
            return  # somebody in a step has let Qt handle events, this timer's among them
        try:
            next(self._steps)
        except StopIteration as end:
            self._end()(end.value)
        except MedDetectError as error:
            self._end(failed=True)(error)
        except Exception as error:  # the timer is an outermost door: nobody else would say it
            text = f"{type(error).__name__}: {error}"
            self._end(failed=True)(MedDetectError("bug", text))

    def _end(self, failed=False):
        self._timer.stop()
        onDone, onFailed = self._onDone, self._onFailed
        self._forget()
        return onFailed if failed else onDone

    def _forget(self):
        """Keep nothing of what was done: a listener may hold images."""
        self._steps = self._onDone = self._onFailed = None


def answerOf(request):
    """Poll a request of a WorkerClient in steps, and return its answer."""
    while not request.poll():
        yield
    return request.result()

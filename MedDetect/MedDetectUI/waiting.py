"""An answer that is awaited from a timer, so that nothing else has to wait."""

import qt

from MedDetectLib.core.errors import MedDetectError

POLL_MS = 30


class Waiting:
    """At most one request at a time; a new one replaces the last, whose answer is dropped."""

    def __init__(self):
        self._request = None
        self._timer = qt.QTimer()
        self._timer.interval = POLL_MS
        self._timer.connect("timeout()", self.poll)

    @property
    def busy(self):
        """Whether an answer is awaited."""
        return self._request is not None

    def start(self, ask, onAnswer, onError):
        """Ask, and call `onAnswer(answer)` or `onError(error)` later.

        Args:
            ask: returns a request with `poll` and `result`.
            onAnswer: takes the answer.
            onError: takes a MedDetectError.
        """
        self.stop()
        self._onAnswer, self._onError = onAnswer, onError
        try:
            self._request = ask()
        except MedDetectError as error:
            onError(error)
            return
        self._timer.start()

    def poll(self):
        """Look whether the answer is there; called by the timer."""
        request = self._request
        if request is None or not request.poll():
            return
        self.stop()
        try:
            answer = request.result()
        except MedDetectError as error:
            self._onError(error)
            return
        self._onAnswer(answer)

    def stop(self):
        """Forget the request."""
        self._timer.stop()
        self._request = None

"""A client without a worker, for tests and for a self-test where no engine is set up.

It answers like `WorkerClient`, from a function in this process, after a few polls.
"""

from MedDetectLib.core.errors import Cancelled, MedDetectError
from MedDetectLib.core.watch import Progress


class StandInRequest:
    """One question; the answer comes after so many polls."""

    def __init__(self, answer, polls, onProgress=None):
        self._answer, self._left, self._all = answer, polls, polls
        self._onProgress = onProgress
        self._value = self._error = None
        self.done = False
        self.filled = True

    def poll(self):
        """Come one poll closer to the answer."""
        if self.done:
            return True
        self._left -= 1
        if self._onProgress is not None:
            fraction = 1.0 - max(self._left, 0) / self._all
            self._onProgress(Progress("detect", fraction, 0.02 * max(self._left, 0)))
        if self._left <= 0:
            self.done = True
            try:
                self._value = self._answer()
            except MedDetectError as error:
                self._error = error
        return self.done

    def cancel(self):
        """End with `Cancelled`."""
        if not self.done:
            self.done, self._error = True, Cancelled()

    def result(self):
        """Return the answer, or raise why there is none."""
        while not self.poll():
            pass
        if self._error is not None:
            raise self._error
        return self._value


class StandInClient:
    """What the panel asks of a client.

    Args:
        find: volumes -> Findings; may raise a MedDetectError.
        polls: after how many polls the answer is there.
        plan: what `submit_plan` answers, a MemoryPlan.
    """

    def __init__(self, find, polls=3, plan=None):
        self._find, self.polls, self._plan = find, polls, plan
        self.asked = []
        self.closed = False
        self.trimmed = 0

    def submit(self, volumes, model, *, on_progress=None, backend="auto", precision="f32", **more):
        """Begin; the answer is what `find` says."""
        self.asked.append((model, backend, precision))
        request = StandInRequest(lambda: self._find(volumes), self.polls, on_progress)
        self.last = request
        return request

    def submit_plan(self, *_arguments, **_options):
        """Answer the plan given at the start, or that there is none."""
        return StandInRequest(self._answer_plan, 1)

    def _answer_plan(self):
        if self._plan is None:
            raise MedDetectError("no-plan", "the stand-in has no plan")
        return self._plan

    def trim(self):
        """Take note."""
        self.trimmed += 1

    def close(self):
        """Take note."""
        self.closed = True


def brightFindings(volume, threshold=None, labels=None, limit=1000):
    """Find what is brighter than a threshold, one finding per connected part.

    Args:
        volume: a `Volume`.
        threshold: in the volume's unit; the brightest hundredth if None.
        labels: classes; one called ``bright`` if None. Findings take turns.
        limit: how many of the largest parts count.
    """
    import numpy as np
    from scipy import ndimage

    from MedDetectLib.core.findings import Finding, Findings, Provenance
    from MedDetectLib.core.labels import Label
    from MedDetectLib.core.measure import measure_mask, tight_box

    labels = labels or (Label(1, "bright", (230, 120, 40)),)
    if threshold is None:
        threshold = float(np.percentile(volume.array, 99))
    found, count = ndimage.label(volume.array > threshold)
    sizes = np.bincount(found.ravel(), minlength=count + 1)[1:]
    largest = 1 + np.argsort(-sizes, kind="stable")[:limit]
    parts = np.zeros(found.shape, np.uint16)
    items = []
    places = ndimage.find_objects(found)
    for value, number in enumerate(largest, start=1):
        where = places[number - 1]
        parts[where][found[where] == number] = value
        mask = parts == value
        diameter_mm, volume_ml = measure_mask(mask, volume.geometry)
        label = labels[(value - 1) % len(labels)].value
        score = 1.0 - 0.9 * (value - 1) / max(len(largest), 1)
        items.append(
            Finding(f"F{value}", label, score, tight_box(mask), value, diameter_mm, volume_ml)
        )
    source = Provenance(
        "stand-in", "1.0.0", "0" * 64, "none", "f32", "cpu", volume.name, volume.sha256, "0"
    )
    return Findings(volume.geometry, tuple(labels), tuple(items), parts, source)

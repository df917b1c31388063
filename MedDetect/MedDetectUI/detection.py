"""One detection: from voxels in the scene to findings, a piece at a time, from a timer.

Nothing here waits. If the scene changes so that the findings would no longer fit (a volume
is removed or changed, the scene is closed), the run ends itself and says so.
"""

import time

import numpy as np
import qt
import slicer
import vtk
from slicer.i18n import tr as _

from MedDetectLib.core.errors import Cancelled, MedDetectError

POLL_MS = 20
PIECE_S = 0.01
"""So long one piece of work may take."""


class DetectionRun:
    """A run that has begun; it ends by calling `onEnd(run)` once.

    Args:
        client: a WorkerClient.
        volumeNodes: one vtkMRMLScalarVolumeNode per channel of the model.
        model: the model's name or folder.
        backend: as in `WorkerClient.detect`.
        precision: as in `WorkerClient.detect`.
        onProgress: called with `core.watch.Progress`.
        onEnd: called with this run.

    Raises:
        InputError: a node that holds no image.

    Attributes:
        state: ``running``, ``done``, ``failed`` or ``cancelled``.
        findings: the answer once `state` is ``done``.
        error: why it failed, or who cancelled it.
        seconds: how long it took.
    """

    def __init__(
        self,
        client,
        volumeNodes,
        model,
        backend="auto",
        precision="f32",
        onProgress=None,
        onEnd=None,
    ):
        from MedDetectLib.adapters.mrml.volume_node import volume_view

        self.volumeNodes = tuple(volumeNodes)
        for node in self.volumeNodes:
            volume_view(node)
        self.model = model
        self.state = "running"
        self.findings = None
        self.error = None
        self.seconds = 0.0
        self._begun = time.monotonic()
        self._scene = slicer.mrmlScene
        self._ids = tuple(node.GetID() for node in self.volumeNodes)
        self._marks = tuple(_mark(node) for node in self.volumeNodes)
        self._onProgress, self._onEnd = onProgress, onEnd
        self._request = None
        self._steps = self._work(client, backend, precision)
        self._timer = qt.QTimer()
        self._timer.interval = POLL_MS
        self._timer.connect("timeout()", self.step)
        self._timer.start()

    @property
    def running(self):
        """Whether it has not ended yet."""
        return self.state == "running"

    def step(self):
        """Do the next piece; called by the timer, harmless when the run has ended."""
        if not self.running or self._steps.gi_running:
            return  # ended, or somebody in a step has let Qt handle events
        try:
            why = self.whyStale()
            if why:
                raise Cancelled(why)
            next(self._steps)
        except StopIteration:
            self._end("done")
        except Cancelled as error:
            self._end("cancelled", error)
        except MedDetectError as error:
            self._end("failed", error)
        except Exception as error:  # the timer is an outermost door: nobody else would say it
            self._end("failed", MedDetectError("bug", f"{type(error).__name__}: {error}"))

    def cancel(self, why=""):
        """Stop; the run ends at once, the worker within a second."""
        if self.running:
            self._end("cancelled", Cancelled(why or _("stopped on request")))

    def wait(self):
        """Work until the end without the timer, for scripts; return the findings.

        Raises:
            MedDetectError: why there are none.
        """
        if self.running:
            self._timer.stop()
        while self.running:
            self.step()
            time.sleep(POLL_MS / 1000.0)
        if self.error is not None:
            raise self.error
        return self.findings

    def whyStale(self):
        """Return why what is found does not fit the scene any more, empty while it does."""
        if slicer.mrmlScene is not self._scene:
            return _("another scene was opened")
        for node, nodeId, mark in zip(self.volumeNodes, self._ids, self._marks, strict=True):
            if self._scene.GetNodeByID(nodeId) is not node:
                return _("the image was removed from the scene")
            if _mark(node) != mark:
                return _("the image was changed; run again")
        return ""

    def _work(self, client, backend, precision):
        volumes = []
        for node in self.volumeNodes:
            volumes.append((yield from _checked(node)))
        self._request = client.submit(
            volumes if len(volumes) > 1 else volumes[0],
            self.model,
            on_progress=self._progress,
            backend=backend,
            precision=precision,
            piecewise=True,
        )
        while not self._request.poll():
            yield
        self.findings = self._request.result()

    def _progress(self, progress):
        if self.running and self._onProgress is not None:  # a stopped worker speaks on a little
            self._onProgress(progress)

    def _end(self, state, error=None):
        _done(self._timer)
        if not self._steps.gi_running:
            self._steps.close()
        self.seconds = time.monotonic() - self._begun
        if self._request is not None and not self._request.done:
            self._request.cancel()
            _letGo(self._request)
        self.state, self.error = state, error
        if state != "done":
            self.findings = None
        if self._onEnd is not None:
            self._onEnd(self)


class DetectionResult:
    """What the console gets: `segmentationNode` and `findings`, or `error`."""

    def __init__(self, segmentationNode=None, findings=None, error=None):
        self.segmentationNode = segmentationNode
        self.findings = findings
        self.error = error


def _checked(node):
    """Look at a node's voxels plane by plane as `check_voxels` does; return the `Volume`.

    The voxels stay the node's own: they are copied by the request, piece by piece.
    """
    from MedDetectLib.adapters.mrml.volume_node import volume_view
    from MedDetectLib.core.quality import check_voxels

    volume = volume_view(node)
    isFloat, constant = volume.array.dtype.kind == "f", True
    first, until = volume.array.flat[0], time.monotonic() + PIECE_S
    for plane in volume.array:
        constant = constant and bool((plane == first).all())
        if isFloat and not np.isfinite(plane).all():
            return check_voxels(volume)  # says where and how many
        if not isFloat and not constant:
            break
        if time.monotonic() > until:
            yield
            until = time.monotonic() + PIECE_S
    return check_voxels(volume) if constant else volume


def _mark(node):
    """Return what changes when a volume's voxels or place do; its name is no part of it."""
    from MedDetectLib.adapters.mrml.placement import to_world_matrix

    image = node.GetImageData()
    toRas = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(toRas)
    numbers = [toRas.GetElement(row, column) for row in range(4) for column in range(4)]
    numbers += to_world_matrix(node).ravel().tolist()
    return (None if image is None else image.GetMTime(), tuple(numbers))


def _done(timer):
    """End a timer; as long as it lives it keeps its listener, and that the findings."""
    timer.stop()
    timer.deleteLater()


_leaving = {}


def _letGo(request):
    """Go on polling a cancelled request until the worker has obeyed or was killed."""
    timer = qt.QTimer()
    timer.interval = POLL_MS

    def poll():
        if request.poll():
            _done(timer)
            _leaving.pop(id(request), None)

    timer.connect("timeout()", poll)
    _leaving[id(request)] = timer
    timer.start()

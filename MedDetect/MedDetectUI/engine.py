"""Which Python runs the worker, and with which packages: decided here and nowhere else."""

import importlib.util
import shutil
import sys

import slicer

from MedDetectLib.core.errors import BackendUnavailable

ENGINES = ("onnxruntime", "openvino")
ALSO_NEEDED = ("jsonschema", "scipy", "numpy")


class EnginePlace:
    """Where networks run.

    In Slicer that is PythonSlicer with packages from a folder of our own. A Python that
    already has an engine (a developer's, or the tests') needs no such folder.

    Args:
        environment: an EngineEnvironment; made for `python` if None.
        python: the Python that runs; PythonSlicer if there is one, else this one.
    """

    def __init__(self, environment=None, python=None):
        self.python = python or shutil.which("PythonSlicer") or sys.executable
        if environment is None:
            from MedDetectLib.adapters.environment import EngineEnvironment

            environment = EngineEnvironment(python=self.python)
        self.environment = environment
        self._ready = False

    @property
    def packages(self):
        """Folders with packages for the worker."""
        return tuple(self.environment.packages)

    @property
    def ownPackages(self):
        """Whether this Python has all that is needed by itself."""
        return any(map(_isThere, ENGINES)) and all(map(_isThere, ALSO_NEEDED))

    @property
    def ready(self):
        """Whether a network can be run now; once true it is not looked up again."""
        if not self._ready:
            self._ready = self.ownPackages or self.environment.status().ready
        return self._ready

    def status(self):
        """Return one line for a person."""
        status = self.environment.status()
        if not status.ready and self.ownPackages:
            return f"{self.python} has an engine of its own"
        return status.detail

    def client(self):
        """Return a WorkerClient that runs there."""
        from MedDetectLib.inference.worker.client import WorkerClient

        return WorkerClient(python=self.python, packages=self.packages)


def mustBeReady(place):
    """Refuse to go on without an engine, with the way out that helps in Slicer.

    Args:
        place: an EnginePlace.

    Raises:
        BackendUnavailable: ``no-environment``.
    """
    if not place.ready:
        raise BackendUnavailable(
            "no-environment", place.status(), todo="set up the engine in the MedDetect panel"
        )


def _isThere(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


def missingRequirements(requirementsPath):
    """Return what the panel itself needs and this Slicer lacks, as text; usually empty.

    Nothing is ever installed into Slicer: what is listed there comes with it.
    """
    import slicer.packaging

    needed = slicer.packaging.load_requirements(requirementsPath)
    return ", ".join(str(each) for each in needed if not slicer.packaging.pip_check(each))


def mayAsk():
    """Whether there is somebody in front of a window who can answer a dialog."""
    return slicer.util.mainWindow() is not None and not slicer.app.testingEnabled()

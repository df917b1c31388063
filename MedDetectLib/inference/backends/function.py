"""A backend that answers with a function: for tests, and for trying the path by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from MedDetectLib.inference.backends.base import Choice, Tensors

__all__ = ["FunctionBackend"]


class FunctionBackend:
    """Calls a Python function where a network would be run.

    Args:
        function: takes a batch (N, C, k, j, i), returns output tensors by name.
    """

    device_network = None

    def __init__(self, function: Callable[[npt.NDArray[np.float32]], Tensors]) -> None:
        self._function = function
        self.choice = Choice("function", "cpu", "f32", "given by the caller")
        self.calls = 0

    def run(self, batch: npt.NDArray[np.float32]) -> Tensors:
        """Call the function."""
        self.calls += 1
        return self._function(batch)

    def interrupt(self) -> None:
        """Do nothing: a Python function cannot be broken off."""

    def close(self) -> None:
        """Do nothing."""

"""TensorRT and TensorRT for RTX: two packages, one set of names."""

from __future__ import annotations

from typing import Any, Literal

from MedDetectLib.core.errors import BackendUnavailable

__all__ = ["Flavour", "Listener", "last_words", "make_logger", "tensorrt_module", "version"]

Flavour = Literal["tensorrt", "tensorrt_rtx"]

_PACKAGES = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx-cu13"}


def tensorrt_module(flavour: Flavour) -> Any:
    """Return the package.

    Raises:
        BackendUnavailable: ``no-tensorrt``, ``no-tensorrt_rtx``.
    """
    try:
        if flavour == "tensorrt":
            import tensorrt  # type: ignore[import-not-found,import-untyped,unused-ignore]

            return tensorrt
        return _for_rtx()
    except (ImportError, OSError) as error:  # OSError: a library it needs is missing
        raise BackendUnavailable(
            f"no-{flavour}",
            f"{flavour} cannot be loaded ({error})",
            todo=f"install it: pip install {_PACKAGES[flavour]}",
        ) from None


def _for_rtx() -> Any:
    try:
        import tensorrt_rtx  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ModuleNotFoundError as error:
        if error.name != "tensorrt_rtx":
            raise
        import tensorrt_rtx_bindings  # type: ignore[import-not-found,import-untyped,unused-ignore]

        return tensorrt_rtx_bindings  # the same names, where only the wheels are installed
    return tensorrt_rtx


def version(flavour: Flavour) -> str:
    """Return the package's version.

    Raises:
        BackendUnavailable: see `tensorrt_module`.
    """
    return str(tensorrt_module(flavour).__version__)


Listener = list[str]
"""Where a logger writes errors down, in the order they come."""


def make_logger(trt: Any, errors: Listener) -> Any:
    """Return a TensorRT logger that keeps errors for whoever has to explain them."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # the package is untyped
        """Nothing is printed: stdout and stderr belong to the program."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            """Take a message, from any thread."""
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                errors.append(" ".join(message.split()))

    return Logger()


def last_words(errors: Listener) -> str:
    """Return the last error in bounded length."""
    return errors[-1][:300] if errors else "it does not say why"

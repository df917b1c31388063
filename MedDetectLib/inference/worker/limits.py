"""How long the client waits for what."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """How long the client waits for what, in seconds.

    Args:
        start_s: for the worker's first word. Generous: a virus scanner reads every file
            of a fresh installation first.
        silence_s: for any sign of life of a busy worker. It beats twice a second, but a
            library that holds Python's interpreter lock (loading a large network, labelling
            a large volume) silences it, so this must be longer than any such call.
        cancel_s: for a stop to be obeyed; then the worker is killed, which is quicker than
            the second a cancel may take.
        close_s: for a polite end.
    """

    start_s: float = 120.0
    silence_s: float = 30.0
    cancel_s: float = 0.7
    close_s: float = 1.0

"""Long work in steps, between which a window can be drawn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import TypeVar

__all__ = ["finished", "in_background", "scaled"]

T = TypeVar("T")

WAIT_S = 0.01
"""How long a step waits for the thread. In Slicer the main thread keeps Python's lock while
Qt's loop runs; a thread gets on only while somebody waits for it."""


def finished(steps: Generator[float, None, T]) -> T:
    """Take all steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def scaled(
    steps: Generator[float, None, T], first: float, last: float
) -> Generator[float, None, T]:
    """Take steps as a part of something longer, from `first` to `last` of the whole."""
    try:
        while True:
            yield first + (last - first) * next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


def in_background(
    work: Callable[[], T], done: float = 0.0, drop: Callable[[T], None] | None = None
) -> Generator[float, None, T]:
    """Do work in a thread, giving a step every few milliseconds.

    It must touch no scene.

    Args:
        work: what is done; its exception is raised here.
        done: how much of the whole is done meanwhile, 0 to 1.
        drop: what becomes of a result that nobody waits for any more, because the generator
            was closed; called in the thread.
    """
    result: list[T] = []
    failure: list[BaseException] = []
    lock, is_left = threading.Lock(), threading.Event()

    def run() -> None:
        try:
            made = work()
        except BaseException as error:  # raised again by whoever waits
            failure.append(error)
            return
        with lock:
            result.append(made)
            if is_left.is_set() and drop is not None:
                drop(made)

    thread = threading.Thread(target=run, name="MedDetect desk", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(WAIT_S)
            yield done
    except GeneratorExit:
        with lock:
            is_left.set()
            if result and drop is not None:
                drop(result[0])
        raise
    if failure:
        raise failure[0]
    return result[0]

"""`python -m MedDetectLib.inference.worker`: started by `WorkerClient`, not by hand."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from MedDetectLib.inference.worker.lifeline import end_now, take_over_streams, tie_to_parent
from MedDetectLib.inference.worker.outbox import Outbox
from MedDetectLib.inference.worker.serve import Session, Work

__all__ = ["main"]


def main(make_work: Callable[[], Work], arguments: Sequence[str] | None = None) -> None:
    """Serve one client over standard input and output; does not return."""
    commands, answers = take_over_streams()
    parser = argparse.ArgumentParser(description="MedDetect's worker; see docs/worker-protocol.md")
    parser.add_argument("--silence", type=float, default=30.0, help="the client's patience, s")
    parser.add_argument("--own-group", action="store_true", help="leads a process group")
    parser.add_argument("--tie-to-parent", action="store_true", help="die with parent's thread")
    options = parser.parse_args(arguments)
    if options.tie_to_parent:
        tie_to_parent()
    outbox = Outbox(answers, lambda: end_now(options.own_group))
    Session(commands, outbox, lambda: end_now(options.own_group), options.silence).run(make_work)


def _work() -> Work:
    """Import what computes only after the hello: it takes a while."""
    from MedDetectLib.inference.backends.choose import open_backend
    from MedDetectLib.inference.worker.jobs import Jobs
    from MedDetectLib.inference.worker.warm import WarmModels
    from MedDetectLib.models.registry import find_model

    return Jobs(WarmModels(find_model, open_backend))


if __name__ == "__main__":
    main(_work)

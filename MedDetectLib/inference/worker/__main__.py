"""`python -m MedDetectLib.inference.worker`: started by `WorkerClient`, not by hand."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from MedDetectLib.inference.worker.lifeline import end_now, post_guard, take_over_streams
from MedDetectLib.inference.worker.outbox import Outbox
from MedDetectLib.inference.worker.serve import Session, Work

__all__ = ["main"]


def main(make_work: Callable[[], Work], arguments: Sequence[str] | None = None) -> None:
    """Serve one client over standard input and output; does not return."""
    commands, answers = take_over_streams()
    parser = argparse.ArgumentParser(description="MedDetect's worker; see docs/worker-protocol.md")
    parser.add_argument(
        "--life", type=int, help="descriptor that closes with the client; we lead a process group"
    )
    options = parser.parse_args(arguments)
    leads_group = options.life is not None
    if leads_group:
        post_guard(options.life)
    outbox = Outbox(answers, lambda: end_now(leads_group))
    Session(commands, outbox, lambda: end_now(leads_group)).run(make_work)


def _work() -> Work:
    """Import what computes only after the hello: it takes a while."""
    from MedDetectLib.inference.backends.choose import open_backend
    from MedDetectLib.inference.worker.jobs import Jobs
    from MedDetectLib.inference.worker.warm import WarmModels
    from MedDetectLib.models.registry import find_model

    return Jobs(WarmModels(find_model, open_backend))


if __name__ == "__main__":
    main(_work)
